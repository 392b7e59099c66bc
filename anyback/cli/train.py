"""The command ``anyback train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyback import activations, losses, metrics, optimizers
from anyback.cli.app import command, fail
from anyback.cli.arguments import (
    DATA,
    LEARNING,
    MACHINE,
    NETWORK,
    RUN,
    BackendName,
    DataOfRun,
    Drop,
    Target,
    named,
    option,
)

__all__ = ["train"]


@command(
    "anyback train digits",
    "anyback train iris.csv --target species --hidden 32 --epochs 200",
    "anyback train prices.csv --target price --loss huber --out runs/prices",
    "anyback train --resume runs/digits-20260101-120000 --epochs 120",
)
def train(
    ctx: typer.Context,
    data: DataOfRun = None,
    target: Target = None,
    drop: Drop = None,
    validation: Annotated[
        float,
        option(
            "--validation",
            panel=DATA,
            metavar="SHARE",
            help="Share of the training rows, in [0, 1), that is not trained on but decides which epoch was "
            "best; 0 for none, and the last epoch counts.",
        ),
    ] = 0.15,
    test: Annotated[
        float,
        option(
            "--test",
            panel=DATA,
            metavar="SHARE",
            help="Share of all rows, in [0, 1), held out for the figures at the end; it decides nothing. "
            "The rows are drawn at random, not class by class. Data sets with a held-out part of their own "
            "(digits, mnist, .npz with x_test) keep theirs.",
        ),
    ] = 0.2,
    standardize: Annotated[
        bool,
        option(
            "--standardize/--no-standardize",
            panel=DATA,
            help="Bring every input column to mean 0 and standard deviation 1, as measured on the "
            "training rows.",
        ),
    ] = True,
    hidden: Annotated[
        str,
        option(
            "--hidden",
            panel=NETWORK,
            metavar="N,N,...",
            help="Units of each hidden layer; '' for a linear model.",
        ),
    ] = "128,64",
    activation: Annotated[
        str,
        option(
            "--activation",
            panel=NETWORK,
            metavar="NAME",
            help=f"Of the hidden layers: {', '.join(activations.__all__)}.",
            autocompletion=named(activations.__all__),
        ),
    ] = "relu",
    dropout: Annotated[
        float | None,
        option(
            "--dropout",
            panel=NETWORK,
            metavar="RATE",
            help="Share of each hidden layer's units, in [0, 1), that is silenced at random while training.",
            show_default="0.2 for classes, 0 for numbers",
        ),
    ] = None,
    loss: Annotated[
        str,
        option(
            "--loss",
            panel=LEARNING,
            metavar="NAME",
            help="What training makes small; auto: softmax_cross_entropy for classes, mean_squared_error "
            f"for numbers. One of {', '.join(losses.__all__)}.",
            autocompletion=named(["auto", *losses.__all__]),
        ),
    ] = "auto",
    metric: Annotated[
        str,
        option(
            "--metrics",
            panel=LEARNING,
            metavar="NAME,...",
            help="What is measured besides; auto: accuracy for classes, r2 and root_mean_squared_error for "
            f"numbers; or none. Of {', '.join(n for n in metrics.__all__ if n != 'confusion_matrix')}.",
            autocompletion=named(["auto", "none", *metrics.__all__]),
        ),
    ] = "auto",
    optimizer: Annotated[
        str,
        option(
            "--optimizer",
            panel=LEARNING,
            metavar="NAME",
            help=f"One of {', '.join(optimizers.__all__)}, in upper or lower case.",
            autocompletion=named(optimizers.__all__),
        ),
    ] = "AdamW",
    lr: Annotated[
        float | None,
        option(
            "--lr",
            panel=LEARNING,
            metavar="RATE",
            help="Learning rate: the size of a step.",
            show_default="the optimizer's own, 0.001 for AdamW",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        option(
            "--weight-decay",
            panel=LEARNING,
            metavar="RATE",
            help="How strongly weights are pulled to 0, which holds back what was learned by heart.",
            show_default="0.3 for AdamW, else the optimizer's own",
        ),
    ] = None,
    clip_norm: Annotated[
        float | None,
        option(
            "--clip-norm",
            panel=LEARNING,
            metavar="NORM",
            help="Largest norm of the gradient: a longer one is shortened, which keeps training "
            "from diverging.",
            show_default="no limit",
        ),
    ] = None,
    epochs: Annotated[
        int,
        option(
            "--epochs",
            panel=LEARNING,
            metavar="N",
            help="Times through the training rows, in all, resumed or not.",
        ),
    ] = 60,
    patience: Annotated[
        int,
        option(
            "--patience",
            panel=LEARNING,
            metavar="N",
            help="Epochs without a lower validation loss after which training stops. The best epoch's "
            "weights are kept in any case.",
        ),
    ] = 20,
    batch_size: Annotated[
        str,
        option(
            "--batch-size",
            panel=LEARNING,
            metavar="N|full",
            help="Rows an update; full for all of them at once.",
        ),
    ] = "32",
    backend: BackendName = None,
    dtype: Annotated[
        str,
        option(
            "--dtype", panel=MACHINE, metavar="NAME", help="float32, or float64: twice the memory and time."
        ),
    ] = "float32",
    seed: Annotated[
        int,
        option(
            "--seed",
            panel=MACHINE,
            metavar="N",
            help="Of the initial weights, shuffles, validation rows and dropout: the same on every backend.",
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        option(
            "--out",
            panel=RUN,
            metavar="DIR",
            help="The run folder, new or empty.",
            show_default="runs/DATA-TIME",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            panel=RUN,
            metavar="DIR",
            help="Continue the run in this folder exactly where it stopped. It keeps its data, which need "
            "not be given, its backend and its options; only --epochs (the total), --patience, --keep and "
            "--backend may be others.",
        ),
    ] = None,
    keep: Annotated[
        int,
        option(
            "--keep",
            panel=RUN,
            metavar="N",
            help="Checkpoints kept: the newest, checkpoint.safetensors, and those before it, "
            "checkpoint.1.safetensors and so on. The newest that is intact is resumed.",
        ),
    ] = 2,
    quiet: Annotated[
        bool, option("--quiet", "-q", panel=RUN, help="Show no progress; print the run folder's name only.")
    ] = False,
) -> None:
    """Train a network on DATA and leave a run folder.

    The folder holds the weights of the best epoch and all that resuming needs (checkpoint.safetensors), the
    figures of every epoch (history.csv, history.jsonl), what was asked for and what came out (run.json), and
    pictures (curves.png, confusion_matrix.png or predicted_against_true.png). Ctrl-C or SIGTERM ends the run
    after the batch and saves it, to be continued with --resume; a second Ctrl-C ends it at once.
    """
    from anyback.cli import run
    from anyback.cli.options import Options

    options = Options(
        target=target,
        drop=drop,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        loss=loss,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        test=test,
        patience=patience,
        metrics=metric,
        standardize=standardize,
        dtype=dtype,
        seed=seed,
        keep=keep,
    )
    if resume is None:
        if data is None:
            fail("DATA is missing: a file, or digits, as in anyback train digits")
        run.train(options, data, out, backend, quiet, ctx.obj)
        return
    if out is not None:
        fail(f"--out and --resume exclude each other, got {out} and {resume}")
    run.resume(options, _given(ctx), data, resume, backend, quiet, ctx.obj)


def _given(ctx: typer.Context) -> set[str]:
    """Return the names of the options that were typed, as run.json has them."""
    typed = set()
    for name in ctx.params:
        source: Any = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            typed.add("metrics" if name == "metric" else name)
    return typed
