"""The same training steps on several backends, compared, and the folder with what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import typer

from anyback.checkpoint.files import rewrite
from anyback.cli import run_dir
from anyback.cli.app import fail
from anyback.cli.options import Options
from anyback.cli.task import Task, read
from anyback.layers import MLP
from anyback.parity import parity as compared
from anyback.training.inputs import Scaler

__all__ = ["parity"]

_JSON, _TEXT = "parity.json", "parity.txt"


def parity(
    data: str, options: Options, backends: str, steps: int, tolerance: float, out: Path | None
) -> None:
    """Compare, print and write what was found, and exit with 1 if backends differ."""
    if out is not None and (out.is_file() or any((out / name).exists() for name in (_JSON, _TEXT))):
        fail(f"--out {out} is there already: choose another folder")
    names = [name.strip() for name in backends.split(",")]
    if "" in names:
        fail(f"--backends must be names with commas between them, got {backends!r}")
    table = read(data, options.target, options.loss, drop=options.drop)
    task = Task.of(table, options.loss)
    report = compared(
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
    folder = run_dir.fresh("parity") if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    rewrite(folder / _TEXT, f"{report}\n".encode())
    rewrite(folder / _JSON, f"{json.dumps(report.to_dict(), indent=1)}\n".encode())
    print(f"run folder: {folder}")
    if report.first is not None:
        raise typer.Exit(1)
