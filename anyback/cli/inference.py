"""Evaluation of a trained run, and predictions with it."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from anyback import metrics
from anyback.checkpoint.files import rewrite
from anyback.cli.app import console, note
from anyback.cli.report import class_table, metrics_table
from anyback.cli.run_dir import Run, open_run
from anyback.cli.splits import split_test
from anyback.cli.task import flatten, read_table, split_names
from anyback.tables import load_inputs
from anyback.training.data_checks import fingerprint

__all__ = ["evaluate", "predict"]


def evaluate(
    path: Path, data: str, target: str | None, drop: str | None, backend: str | None, all_rows: bool
) -> None:
    """Print loss and metrics and, for classes, precision, recall and F1 of each."""
    run = open_run(path, backend)
    task, trainer = run.task, run.trainer
    # Included data sets and IDX files have a fixed target.
    if target is None and Path(data).is_file():
        target = run.data.get("target")
    drop = run.drop if drop is None else drop
    table = read_table(data, target, task.loss, task.classes, run.features, drop)
    _check_width(run, table.x, data)
    if task.classes is None and table.kind == "labels":
        raise ValueError(f"{data} holds class labels, but {path} predicts {task.outputs} real numbers")
    x, y, split = table.x, table.y, "all rows"
    if not all_rows:
        fraction = run.metadata.get("options", {}).get("test", 0.0)
        same_data = run.data.get("fingerprint") == fingerprint(table.x, table.y)
        _, test = split_test(table, fraction if same_data else 0.0)
        if test is not None:
            (x, y), split = test, "held out"
    encoded = task.encode(np.asarray(y))
    values = {"rows": len(x), **trainer.evaluate(x, encoded)}
    out = console()
    out.print(metrics_table({split: values}, title=f"{path} on {data}"))
    if task.classes is not None:
        out.print(class_table(metrics.confusion_matrix(trainer.predict(x), encoded), task.classes))


def predict(
    path: Path, data: str, drop: str | None, out: Path | None, proba: bool, backend: str | None
) -> None:
    """Write a prediction for each row of the data."""
    if out is not None and out.suffix not in (".csv", ".npy"):
        raise ValueError(f"--out must end in .csv or .npy, got {str(out)!r}")
    if out is not None and out.exists() and Path(data).exists() and out.samefile(data):
        raise ValueError(f"--out {out} is the input file: choose another file")
    run = open_run(path, backend)
    # Without column names, the target was the last column unless --target was given.
    target = run.data.get("target") or ("-1" if run.data and not run.features else None)
    dropped = split_names(run.drop if drop is None else drop)
    ignore = [str(target)] if target else []
    table = load_inputs(data, run.features, ignore=ignore, drop=dropped, width=run.width)
    if table.target is not None:
        note(f"note: ignored column {table.target}, the target")
    x = flatten(table.x)
    _check_width(run, x, data)
    if out is not None and out.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, _predictions(run, x, proba), allow_pickle=False)
        rewrite(out, file.getvalue())
        return
    columns = _prediction_columns(run, x, proba)
    with _output(out) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _check_width(run: Run, x: np.ndarray, data: str) -> None:
    if x.shape[1] != run.width:
        names = run.features or ()
        expected = f": {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
        raise ValueError(f"{data} has {x.shape[1]} input columns, the run expects {run.width}{expected}")


def _predictions(run: Run, x: np.ndarray, proba: bool) -> np.ndarray:
    """Return the array of a .npy file: probabilities, means, class indices or class names."""
    if proba:
        return _probabilities(run, x)
    decoded = run.task.decode(run.trainer.predict(x))
    if run.task.classes is None or all(name == str(i) for i, name in enumerate(run.task.classes)):
        return decoded
    return np.asarray(np.array(run.task.classes)[decoded])


def _prediction_columns(run: Run, x: np.ndarray, proba: bool) -> dict[str, Iterable[Any]]:
    """Return the columns of a CSV file by name."""
    classes = run.task.classes
    decoded = run.task.decode(run.trainer.predict(x))
    if classes is None:
        if proba:
            run.trainer.predict_proba(x[:1])  # raises the error that regression has no probabilities
        # NumPy writes the shortest decimal that identifies the number in its dtype.
        text = decoded.astype(str)
        names = ["prediction"] if text.shape[1] == 1 else [f"prediction_{i}" for i in range(text.shape[1])]
        return dict(zip(names, text.T, strict=True))
    columns: dict[str, Iterable[Any]] = {"prediction": [classes[i] for i in decoded.tolist()]}
    if proba:
        for name, p in zip(classes, _probabilities(run, x).T, strict=True):
            columns[f"p_{name}"] = p.astype(str)
    return columns


def _probabilities(run: Run, x: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes); a single output is the probability of the second class."""
    p = run.trainer.predict_proba(x)
    return np.concatenate([1 - p, p], axis=1) if run.task.classes and p.shape[1] == 1 else p


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    """Yield standard output, or a buffer that replaces the file at the end."""
    if out is None:
        yield sys.stdout
    else:
        text = io.StringIO(newline="")
        yield text
        rewrite(out, text.getvalue().encode())
