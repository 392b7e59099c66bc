"""What a run and an evaluation print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyback.cli.app import console

__all__ = ["figures", "per_class", "summary", "table"]


def table(*columns: str, title: str | None = None) -> Any:
    """Return an empty table: text to the left in its first column, numbers to the right in the others."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column.replace("_", " "), justify="right" if i else "left", overflow="fold")
    return made


def figures(parts: Mapping[str, Mapping[str, float]], title: str | None = None) -> Any:
    """Return a table of parts of the data with their rows, loss and metrics."""
    names = [name for name in next(iter(parts.values())) if name != "rows"]
    made = table("", "rows", *names, title=title)
    for part, values in parts.items():
        made.add_row(part, f"{values['rows']:,}", *(f"{values[name]:.4f}" for name in names))
    return made


def per_class(matrix: np.ndarray, classes: Sequence[str]) -> Any:
    """Return a table of precision, recall and F1 of every class, from a confusion matrix."""
    made = table("class", "precision", "recall", "f1", "rows")
    hits, guessed, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)

    def share(part: float, whole: float) -> str:
        return f"{part / whole:.4f}" if whole else "-"

    for i, name in enumerate(classes):
        values = (
            share(hits[i], guessed[i]),
            share(hits[i], actual[i]),
            share(2 * hits[i], guessed[i] + actual[i]),
        )
        made.add_row(name, *values, f"{actual[i]:,.0f}")
    return made


def _why(backend: Mapping[str, str]) -> str:
    """Return in a few words why "auto" took a backend; ``anyback backends`` has the details."""
    automatic, _, reason = backend["reason"].partition("auto: ")
    if automatic or not reason:
        return ""
    if backend["name"] == "numpy":
        reason = "no CUDA GPU" if "no CUDA GPU" in reason else "no CuPy"
    return f" (auto: {reason})"


def summary(about: Mapping[str, Any], folder: str) -> None:
    """Print what run.json tells of a run that is over."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    options, data, backend, run = (about[name] for name in ("options", "data", "backend", "training"))
    count = len(data["classes"] or ()) or about["outputs"]
    learned = (
        f"{count} classes"
        if data["classes"]
        else f"{count} {'number' if count == 1 else 'numbers'} to predict"
    )
    widths = " > ".join(map(str, [data["width"], *about["units"], about["outputs"]]))
    extra = f", dropout {options['dropout']:g}" if options["dropout"] and about["units"] else ""
    batch = "all rows at once" if options["batch_size"] == "full" else f"batches of {options['batch_size']}"
    best = "" if run["best_epoch"] is None else f"; best epoch {run['best_epoch']}"
    for name, value in {
        "data": f"{data['path']}: {data['width']} features, {learned}",
        "backend": f"{backend['name']} {backend['version']}, {options['dtype']}{_why(backend)}",
        "network": f"{widths}, {options['activation']}{extra}: {about['parameters']:,} parameters",
        "training": f"{about['loss'].replace('_', ' ')}, {about['optimizer']}, lr {about['lr']:g}, {batch}",
        "epochs": f"{run['epochs']} of {options['epochs']} in {run['seconds']:.1f} s, {run['ended']}{best}",
    }.items():
        grid.add_row(name, value)
    out = console()
    out.print(grid)
    out.print(figures(about["figures"]))
    out.print(f"run folder: {folder}", soft_wrap=True)
