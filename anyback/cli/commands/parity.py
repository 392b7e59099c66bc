"""``anyback parity``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from anyback.checkpoint.files import rewrite
from anyback.cli.app import command
from anyback.cli.options import BACKEND, OUTPUT, TRAINING, Data, Options, option
from anyback.layers import MLP
from anyback.parity import parity as compare
from anyback.training.data_checks import Scaler

__all__ = ["parity"]

_JSON, _TEXT = "parity.json", "parity.txt"


@command(
    "anyback parity --backends numpy,torch,cupy",
    "anyback parity iris.csv --target species --backends numpy,torch:cuda --dtype float32 --steps 50",
    options=(
        *("target", "drop", "hidden", "activation", "dropout"),
        *("loss", "optimizer", "batch_size", "dtype", "seed"),
    ),
    defaults={"hidden": "32,32", "dropout": 0.2, "dtype": "float64"},
    choices=("Activations", "Losses", "Optimizers"),
)
def parity(
    options: Options,
    backends: Annotated[
        str,
        option(
            BACKEND,
            "NAME,NAME,...",
            "Two or more backends, with devices as in torch:cuda. The first is the reference.",
            show_default=False,
        ),
    ],
    data: Data = "digits",
    steps: Annotated[int, option(TRAINING, "N", "Training steps to compare.")] = 5,
    tolerance: Annotated[
        float,
        option(
            OUTPUT,
            "ULP",
            "Largest difference that passes, in units in the last place of an operation's largest number.",
        ),
    ] = 64.0,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "DIR",
            "Folder for parity.json (every operation of every step) and parity.txt (the printed report).",
            "--out",
            "--output",
            show_default="runs/parity-TIME",
        ),
    ] = None,
) -> None:
    """Compare each operation of training steps on several backends.

    Each operation gets the inputs that it has on the first backend, so a difference is its own error. The
    inputs of the network are standardized. The exit code is 1 if an operation exceeds the tolerance.
    """
    from anyback.cli.run_dir import new_run_dir
    from anyback.cli.task import Task, read_table

    if out is not None and (out.is_file() or any((out / name).exists() for name in (_JSON, _TEXT))):
        raise ValueError(f"--out {out} already exists: choose another folder")
    names = [name.strip() for name in backends.split(",")]
    if "" in names:
        raise ValueError(f"--backends must be comma-separated names, got {backends!r}")
    table = read_table(data, options.target, options.loss, drop=options.drop)
    task = Task.from_table(table, options.loss)
    report = compare(
        MLP(options.units, task.outputs, activation=options.activation, dropout=options.dropout or 0.0),
        Scaler.fit(table.x)(table.x, "float64"),
        task.encode(np.asarray(table.y)),
        loss=task.loss,
        backends=names,
        optimizer=options.make_optimizer(),
        steps=steps,
        batch_size=options.batch,
        dtype=options.dtype,
        seed=options.seed,
        tolerance=tolerance,
    )
    print(report)
    run_dir = new_run_dir("parity") if out is None else out
    run_dir.mkdir(parents=True, exist_ok=True)
    rewrite(run_dir / _TEXT, f"{report}\n".encode())
    rewrite(run_dir / _JSON, f"{json.dumps(report.to_dict(), indent=1)}\n".encode())
    print(f"run folder: {run_dir}")
    if report.first is not None:
        raise typer.Exit(1)
