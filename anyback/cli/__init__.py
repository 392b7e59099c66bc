"""The command line: ``anyback train``, ``evaluate``, ``predict``, ``backends`` and ``gradcheck``.

Commands are declared here and do their work elsewhere; what takes time to import is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from anyback import __version__, activations, losses, metrics, optimizers
from anyback.cli.door import Door, console, fail

__all__ = ["app"]

app = typer.Typer(
    cls=Door,
    name="anyback",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _named(names: list[str]) -> Callable[[str], list[str]]:
    """Return a shell's completion for one of these names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"anyback {__version__}")
        raise typer.Exit


_DATA = "Data and target"
_NETWORK = "Network"
_LEARNING = "Learning"
_MACHINE = "Where and how it computes"
_RUN = "The run"
_OUT = "Output"

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="[bold]digits[/] (ships with anyback), [bold]mnist[/] (downloaded once, 11 MB), a .csv, .tsv, .npz or "
        ".npy file, or a folder of IDX files.",
        show_default=False,
    ),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint in one.", show_default=False)
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="numpy, cupy, cupy:1, torch, torch:cuda, jax, array_api_strict, or auto: a GPU that works, else NumPy.",
        show_default="$ANYBACK_BACKEND, else auto",
        autocompletion=_named(["numpy", "cupy", "torch", "torch:cuda", "jax", "array_api_strict", "auto"]),
        rich_help_panel=_MACHINE,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME|INDEX",
        help="Column or array that holds the target; columns count from 0, -1 is the last.",
        show_default="the last column, or the array y",
        rich_help_panel=_DATA,
    ),
]


def _option(*names: str, panel: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def _command(*examples: str) -> Callable[[Any], Any]:
    """Make a function a command, with its docstring as help and examples under it."""

    def make(function: Any) -> Any:
        # As they stand, the docstring's line ends would break the lines of a terminal of another width.
        paragraphs = [" ".join(paragraph.split()) for paragraph in function.__doc__.split("\n\n")]
        epilog = "\n\n".join(["[bold]Examples[/]", *examples]) if examples else None
        return app.command(help="\n\n".join(paragraphs), epilog=epilog)(function)

    return make


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train neural networks on NumPy, CuPy, PyTorch or JAX arrays.

    Start with [bold]anyback train digits[/]; [bold]anyback COMMAND --help[/] explains each command.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@_command(
    "anyback train digits",
    "anyback train iris.csv --target species --hidden 32 --epochs 200",
    "anyback train prices.csv --target price --loss huber --out runs/prices",
    "anyback train digits --resume runs/digits-20260101-120000 --epochs 120",
)
def train(
    ctx: typer.Context,
    data: Data,
    target: Target = None,
    validation: Annotated[
        float,
        _option(
            "--validation",
            panel=_DATA,
            metavar="SHARE",
            help="Share of the training rows, in [0, 1), that is not trained on but decides which epoch was best; "
            "0 for none, and the last epoch counts.",
        ),
    ] = 0.15,
    test: Annotated[
        float,
        _option(
            "--test",
            panel=_DATA,
            metavar="SHARE",
            help="Share of all rows, in [0, 1), held out for the figures at the end; it decides nothing. Data sets "
            "with a held-out part of their own (digits, mnist, .npz with x_test) keep theirs.",
        ),
    ] = 0.2,
    standardize: Annotated[
        bool,
        _option(
            "--standardize/--no-standardize",
            panel=_DATA,
            help="Bring every input column to mean 0 and standard deviation 1, as measured on the training rows.",
        ),
    ] = True,
    hidden: Annotated[
        str,
        _option(
            "--hidden", panel=_NETWORK, metavar="N,N,...", help="Units of each hidden layer; '' for a linear model."
        ),
    ] = "128,64",
    activation: Annotated[
        str,
        _option(
            "--activation",
            panel=_NETWORK,
            metavar="NAME",
            help=f"Of the hidden layers: {', '.join(activations.__all__)}.",
            autocompletion=_named(activations.__all__),
        ),
    ] = "relu",
    dropout: Annotated[
        float,
        _option(
            "--dropout",
            panel=_NETWORK,
            metavar="RATE",
            help="Share of each hidden layer's units, in [0, 1), that is silenced at random while training.",
        ),
    ] = 0.2,
    loss: Annotated[
        str,
        _option(
            "--loss",
            panel=_LEARNING,
            metavar="NAME",
            help="What training makes small; auto: softmax_cross_entropy for classes, mean_squared_error for numbers. "
            f"One of {', '.join(losses.__all__)}.",
            autocompletion=_named(["auto", *losses.__all__]),
        ),
    ] = "auto",
    metric: Annotated[
        str,
        _option(
            "--metrics",
            panel=_LEARNING,
            metavar="NAME,...",
            help="What is measured besides; auto: accuracy for classes, r2 and root_mean_squared_error for numbers; or "
            f"none. Of {', '.join(n for n in metrics.__all__ if n != 'confusion_matrix')}.",
            autocompletion=_named(["auto", "none", *metrics.__all__]),
        ),
    ] = "auto",
    optimizer: Annotated[
        str,
        _option(
            "--optimizer",
            panel=_LEARNING,
            metavar="NAME",
            help=f"One of {', '.join(optimizers.__all__)}, in upper or lower case.",
            autocompletion=_named(optimizers.__all__),
        ),
    ] = "AdamW",
    lr: Annotated[
        float | None,
        _option(
            "--lr",
            panel=_LEARNING,
            metavar="RATE",
            help="Learning rate: the size of a step.",
            show_default="the optimizer's own, 0.001 for AdamW",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        _option(
            "--weight-decay",
            panel=_LEARNING,
            metavar="RATE",
            help="How strongly weights are pulled to 0, which holds back what was learned by heart.",
            show_default="0.3 for AdamW, else the optimizer's own",
        ),
    ] = None,
    epochs: Annotated[
        int,
        _option(
            "--epochs", panel=_LEARNING, metavar="N", help="Times through the training rows, in all, resumed or not."
        ),
    ] = 60,
    patience: Annotated[
        int,
        _option(
            "--patience",
            panel=_LEARNING,
            metavar="N",
            help="Epochs without a lower validation loss after which training stops. The best epoch's weights are "
            "kept in any case.",
        ),
    ] = 20,
    batch_size: Annotated[
        str,
        _option(
            "--batch-size", panel=_LEARNING, metavar="N|full", help="Rows an update; full for all of them at once."
        ),
    ] = "32",
    backend: BackendName = None,
    dtype: Annotated[
        str,
        _option("--dtype", panel=_MACHINE, metavar="NAME", help="float32, or float64: twice the memory and time."),
    ] = "float32",
    seed: Annotated[
        int,
        _option(
            "--seed",
            panel=_MACHINE,
            metavar="N",
            help="Of the initial weights, shuffles, validation rows and dropout: the same on every backend.",
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        _option(
            "--out",
            panel=_RUN,
            metavar="DIR",
            help="The run folder, new or empty.",
            show_default="runs/DATA-TIME",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        _option(
            "--resume",
            panel=_RUN,
            metavar="DIR",
            help="Continue the run in this folder exactly where it stopped. It keeps its options; only --epochs (the "
            "total), --patience and --backend may be others.",
        ),
    ] = None,
    quiet: Annotated[
        bool, _option("--quiet", "-q", panel=_RUN, help="Show no progress; print the run folder's name only.")
    ] = False,
) -> None:
    """Train a network on DATA and leave a run folder.

    The folder holds the weights of the best epoch and all that resuming needs (checkpoint.safetensors), the figures
    of every epoch (history.csv, history.jsonl), what was asked for and what came out (run.json), and pictures
    (curves.png, confusion_matrix.png or predicted_against_true.png). Ctrl-C ends the run and keeps all whole epochs.
    """
    from anyback.cli import training
    from anyback.cli.options import Options

    options = Options(
        target=target,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        loss=loss,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        test=test,
        patience=patience,
        metrics=metric,
        standardize=standardize,
        dtype=dtype,
        seed=seed,
    )
    if resume is None:
        training.train(options, data, out, backend, quiet, ctx.obj)
        return
    if out is not None:
        fail(f"--out and --resume exclude each other, got {out} and {resume}")
    training.resume(options, _given(ctx), data, resume, backend, quiet, ctx.obj)


@_command(
    "anyback evaluate runs/digits-20260101-120000 digits",
    "anyback evaluate runs/prices new_prices.csv --backend cupy",
)
def evaluate(
    run: RunPath,
    data: Data,
    target: Target = None,
    everything: Annotated[
        bool,
        _option("--all", panel=_DATA, help="Take all rows, even those that were trained on."),
    ] = False,
    backend: BackendName = None,
) -> None:
    """Print loss and metrics of a RUN on DATA, and precision, recall and F1 of each class.

    Of the data that the run learned from, or that has a held-out part, the held-out rows are taken.
    """
    from anyback.cli import using

    using.evaluate(run, data, target, backend, everything)


@_command(
    "anyback predict runs/iris flowers.csv --proba > predictions.csv",
    "anyback predict runs/digits-20260101-120000 digits --out digits.npy",
)
def predict(
    run: RunPath,
    data: Data,
    out: Annotated[
        Path | None,
        _option(
            "--out", panel=_OUT, metavar="FILE", help="A .csv or .npy file.", show_default="CSV on standard output"
        ),
    ] = None,
    proba: Annotated[
        bool, _option("--proba", panel=_OUT, help="The probability of each class as well, in [0, 1].")
    ] = False,
    backend: BackendName = None,
) -> None:
    """Predict a class or numbers for each row of DATA.

    Inputs are found by their columns' names where the file has a header; the target may be missing. Of data with
    a held-out part, that part is taken.
    """
    from anyback.cli import using

    using.predict(run, data, out, proba, backend)


@_command()
def backends() -> None:
    """List the array libraries: version and device, or why one does not work here."""
    from anyback.cli.backends import backends as listed

    listed()


@_command("anyback gradcheck", "anyback gradcheck huber relu --backend torch")
def gradcheck(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Formulas to check; all if none is named.", show_default=False),
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


def _given(ctx: typer.Context) -> set[str]:
    """Return the names of the options that were typed, as run.json has them."""
    typed = set()
    for name in ctx.params:
        source: Any = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            typed.add("metrics" if name == "metric" else name)
    return typed
