"""The commands besides ``anyback train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyback.cli.app import command
from anyback.cli.arguments import (
    DATA,
    LEARNING,
    MACHINE,
    NETWORK,
    OUT,
    BackendName,
    Data,
    Drop,
    RunPath,
    Target,
    option,
)

__all__ = ["backends", "evaluate", "gradcheck", "parity", "predict"]


@command(
    "anyback evaluate runs/digits-20260101-120000 digits",
    "anyback evaluate runs/prices new_prices.csv --backend cupy",
)
def evaluate(
    run: RunPath,
    data: Data,
    target: Target = None,
    drop: Drop = None,
    everything: Annotated[
        bool,
        option("--all", panel=DATA, help="Take all rows, even those that were trained on."),
    ] = False,
    backend: BackendName = None,
) -> None:
    """Print loss and metrics of a RUN on DATA, and precision, recall and F1 of each class.

    Of the data that the run learned from, or that has a held-out part, the held-out rows are taken.
    """
    from anyback.cli import inference

    inference.evaluate(run, data, target, drop, backend, everything)


@command(
    "anyback predict runs/iris flowers.csv --proba > predictions.csv",
    "anyback predict runs/digits-20260101-120000 digits --out digits.npy",
)
def predict(
    run: RunPath,
    data: Data,
    drop: Drop = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            panel=OUT,
            metavar="FILE",
            help="A .csv or .npy file.",
            show_default="CSV on standard output",
        ),
    ] = None,
    proba: Annotated[
        bool, option("--proba", panel=OUT, help="The probability of each class as well, in [0, 1].")
    ] = False,
    backend: BackendName = None,
) -> None:
    """Predict a class or numbers for each row of DATA.

    Inputs are found by their columns' names where the file has a header; the target may be missing. Of data
    with a held-out part, that part is taken.
    """
    from anyback.cli import inference

    inference.predict(run, data, drop, out, proba, backend)


@command()
def backends() -> None:
    """List the array libraries: version and device, or why one does not work here."""
    from anyback.cli.backends import backends as listed

    listed()


@command("anyback gradcheck", "anyback gradcheck huber relu --backend torch")
def gradcheck(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Formulas to check; all if none is named.", show_default=False
        ),
    ] = None,
    backend: BackendName = None,
    tol: Annotated[
        float, typer.Option("--tol", metavar="ERROR", help="Largest relative error that passes.")
    ] = 1e-6,
) -> None:
    """Check the gradients of activations, losses, gates and regularizers against central differences.

    The exit code is 1 if one is wrong.
    """
    from anyback.cli.gradients import check

    check(names or [], backend, tol)


@command(
    "anyback parity --backends numpy,torch,cupy",
    "anyback parity iris.csv --target species --backends numpy,torch:cuda --dtype float32 --steps 50",
)
def parity(
    backends: Annotated[
        str,
        option(
            "--backends",
            panel=MACHINE,
            metavar="NAME,NAME,...",
            help="Two or more, with devices as in torch:cuda; the others are compared with the first.",
            show_default=False,
        ),
    ],
    data: Data = "digits",
    target: Target = None,
    drop: Drop = None,
    hidden: Annotated[
        str, option("--hidden", panel=NETWORK, metavar="N,N,...", help="Units of each hidden layer.")
    ] = "32,32",
    activation: Annotated[
        str, option("--activation", panel=NETWORK, metavar="NAME", help="Of the hidden layers.")
    ] = "relu",
    dropout: Annotated[
        float, option("--dropout", panel=NETWORK, metavar="RATE", help="After each hidden layer, in [0, 1).")
    ] = 0.2,
    loss: Annotated[
        str, option("--loss", panel=LEARNING, metavar="NAME", help="As anyback train takes it.")
    ] = "auto",
    optimizer: Annotated[
        str, option("--optimizer", panel=LEARNING, metavar="NAME", help="As anyback train takes it.")
    ] = "AdamW",
    steps: Annotated[int, option("--steps", panel=LEARNING, metavar="N", help="Updates to compare.")] = 5,
    batch_size: Annotated[
        str, option("--batch-size", panel=LEARNING, metavar="N|full", help="Rows an update.")
    ] = "32",
    dtype: Annotated[
        str, option("--dtype", panel=MACHINE, metavar="NAME", help="float64 or float32.")
    ] = "float64",
    seed: Annotated[
        int, option("--seed", panel=MACHINE, metavar="N", help="Of weights, batches and dropout.")
    ] = 0,
    tolerance: Annotated[
        float,
        option(
            "--tolerance",
            panel=OUT,
            metavar="ULP",
            help="Largest difference that passes, in units in the last place of the largest number in an "
            "operation.",
        ),
    ] = 64.0,
    out: Annotated[
        Path | None,
        option(
            "--out",
            "--output",
            panel=OUT,
            metavar="DIR",
            help="Where parity.json, every operation of every step, and parity.txt, what is printed, go.",
            show_default="runs/parity-TIME",
        ),
    ] = None,
) -> None:
    """Do the same training steps on several backends, and name the first operation that differs.

    Every operation gets the numbers that it has on the first backend: what differs is its own error. Inputs
    are standardised. The exit code is 1 if an operation differs by more than the tolerance.
    """
    from anyback.cli import parity as compared
    from anyback.cli.options import Options

    options = Options(
        target=target,
        drop=drop,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        loss=loss,
        optimizer=optimizer,
        lr=None,
        weight_decay=None,
        clip_norm=None,
        epochs=1,
        batch_size=batch_size,
        validation=0.0,
        test=0.0,
        patience=0,
        keep=1,
        metrics="none",
        standardize=True,
        dtype=dtype,
        seed=seed,
    )
    compared.parity(data, options, backends, steps, tolerance, out)
