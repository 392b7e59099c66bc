"""The commands besides ``anyback train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyback.cli.arguments import DATA, OUT, BackendName, Data, Drop, RunPath, Target, option
from anyback.cli.program import command

__all__ = ["backends", "evaluate", "gradcheck", "predict"]


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
    from anyback.cli import using

    using.evaluate(run, data, target, drop, backend, everything)


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
    from anyback.cli import using

    using.predict(run, data, drop, out, proba, backend)


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
