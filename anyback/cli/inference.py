"""What a trained run is for: evaluating it and predicting with it."""

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
from anyback.cli.app import console, fail, note
from anyback.cli.report import figures, per_class
from anyback.cli.run_dir import Run, open_run
from anyback.cli.splits import held_out
from anyback.cli.task import columns, flat, read
from anyback.tables import load_inputs
from anyback.training.inputs import fingerprint

__all__ = ["evaluate", "predict"]


def evaluate(
    run: Path, data: str, target: str | None, drop: str | None, backend: str | None, everything: bool
) -> None:
    """Print loss, metrics and, for classes, precision, recall and F1 of each."""
    opened = open_run(run, backend)
    task, trainer = opened.task, opened.trainer
    # Data sets that ship or have IDX files know their target by themselves.
    if target is None and Path(data).is_file():
        target = opened.data.get("target")
    drop = opened.drop if drop is None else drop
    table = read(data, target, task.loss, task.classes, opened.features, drop)
    _same_width(opened, table.x, data)
    if task.classes is None and table.kind == "labels":
        fail(f"{data} holds class labels, but {run} predicts {task.outputs} real numbers")
    x, y, part = table.x, table.y, "all rows"
    if not everything:
        share = opened.about.get("options", {}).get("test", 0.0)
        same = opened.data.get("fingerprint") == fingerprint(table.x, table.y)
        _, held = held_out(table, share if same else 0.0)
        if held is not None:
            (x, y), part = held, "held out"
    encoded = task.encode(np.asarray(y))
    values = {"rows": len(x), **trainer.evaluate(x, encoded)}
    out = console()
    out.print(figures({part: values}, title=f"{run} on {data}"))
    if task.classes is not None:
        out.print(per_class(metrics.confusion_matrix(trainer.predict(x), encoded), task.classes))


def predict(
    run: Path, data: str, drop: str | None, out: Path | None, proba: bool, backend: str | None
) -> None:
    """Write predictions, one row for each of the data's."""
    if out is not None and out.suffix not in (".csv", ".npy"):
        fail(f"--out must end in .csv or .npy, got {str(out)!r}")
    if out is not None and out.exists() and Path(data).exists() and out.samefile(data):
        fail(f"--out {out} is the data itself: choose another file")
    opened = open_run(run, backend)
    # Without names it was the last column, unless a number was given.
    target = opened.data.get("target") or ("-1" if opened.data and not opened.features else None)
    dropped = columns(opened.drop if drop is None else drop)
    ignore = [str(target)] if target else []
    table = load_inputs(data, opened.features, ignore=ignore, drop=dropped, width=opened.width)
    if table.target is not None:
        note(f"note: column {table.target}, the target's, is left out")
    x = flat(table.x)
    _same_width(opened, x, data)
    if out is not None and out.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, _array(opened, x, proba), allow_pickle=False)
        rewrite(out, file.getvalue())
        return
    named = _columns(opened, x, proba)
    with _opened(out) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(named)
        writer.writerows(zip(*named.values(), strict=True))


def _same_width(run: Run, x: np.ndarray, data: str) -> None:
    """Refuse data of another width than the run learned from, and name the run's columns."""
    if x.shape[1] != run.width:
        names = run.features or ()
        shown = f": {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""
        fail(f"{data} has {x.shape[1]} columns of inputs, the run takes {run.width}{shown}")


def _array(run: Run, x: np.ndarray, proba: bool) -> np.ndarray:
    if proba:
        return _probabilities(run, x)
    decided = run.task.decide(run.trainer.predict(x))
    if run.task.classes is None or all(name == str(i) for i, name in enumerate(run.task.classes)):
        return decided
    return np.asarray(np.array(run.task.classes)[decided])


def _columns(run: Run, x: np.ndarray, proba: bool) -> dict[str, Iterable[Any]]:
    """Return the columns of the CSV file by name."""
    classes = run.task.classes
    decided = run.task.decide(run.trainer.predict(x))
    if classes is None:
        if proba:
            run.trainer.predict_proba(x[:1])  # says why not
        # NumPy writes as many digits as tell the numbers of a dtype apart.
        shown = decided.astype(str)
        names = ["prediction"] if shown.shape[1] == 1 else [f"prediction_{i}" for i in range(shown.shape[1])]
        return dict(zip(names, shown.T, strict=True))
    columns: dict[str, Iterable[Any]] = {"prediction": [classes[i] for i in decided.tolist()]}
    if proba:
        columns |= {
            f"p_{name}": p.astype(str) for name, p in zip(classes, _probabilities(run, x).T, strict=True)
        }
    return columns


def _probabilities(run: Run, x: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes): the one output of two classes gives that of the second."""
    p = run.trainer.predict_proba(x)
    return np.concatenate([1 - p, p], axis=1) if run.task.classes and p.shape[1] == 1 else p


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Take standard output, or what the file is rewritten with in the end."""
    if out is None:
        yield sys.stdout
    else:
        text = io.StringIO(newline="")
        yield text
        rewrite(out, text.getvalue().encode())
