"""``anyback train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyback.cli.app import command
from anyback.cli.options import RUN, BackendName, OptionalData, Options, option

__all__ = ["train"]


@command(
    "anyback train digits",
    "anyback train iris.csv --target species --hidden 32 --epochs 200",
    "anyback train prices.csv --target price --loss huber --out runs/prices",
    "anyback train --resume runs/digits-20260101-120000 --epochs 120",
    choices=("Activations", "Losses", "Metrics", "Optimizers"),
)
def train(
    ctx: typer.Context,
    options: Options,
    data: OptionalData = None,
    backend: BackendName = None,
    out: Annotated[
        Path | None,
        option(RUN, "DIR", "Run folder: new, or empty.", show_default="runs/DATA-TIME"),
    ] = None,
    resume: Annotated[
        Path | None,
        option(
            RUN,
            "DIR",
            "Resume the run in this folder with its data, backend and options: only --epochs, --patience, "
            "--keep and --backend may change.",
        ),
    ] = None,
    quiet: Annotated[
        bool, option(RUN, "", "Print the run folder only, no progress.", "--quiet", "-q")
    ] = False,
) -> None:
    """Train a network on DATA and write a run folder.

    Text targets are classes. Integer targets are classes if they have at most 20 distinct values, or the
    values 0 ... k-1, and fewer distinct values than rows. Other targets are numbers to predict (regression).
    --loss overrides this.

    The run folder holds checkpoint.safetensors (the best epoch's weights, and all that --resume needs),
    history.csv and history.jsonl (metrics of each epoch), run.json (options, data, results) and plots.
    Ctrl-C or SIGTERM stops after the current batch and saves; a second Ctrl-C stops at once.
    """
    from anyback.cli import run

    if resume is None:
        if data is None:
            raise ValueError("DATA is missing: a file, or digits, as in anyback train digits")
        run.train(options, data, out, backend, quiet, ctx.obj)
        return
    if out is not None:
        raise ValueError(f"--out and --resume exclude each other, got {out} and {resume}")
    run.resume(options, _typed_options(ctx), data, resume, backend, quiet, ctx.obj)


def _typed_options(ctx: typer.Context) -> set[str]:
    """Return the names of the options given on the command line."""
    sources: dict[str, Any] = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
