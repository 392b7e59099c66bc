"""Tables and summaries that the commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyback.cli.app import console

__all__ = ["class_table", "metrics_table", "new_table", "print_summary"]


def new_table(*columns: str, title: str | None = None) -> Any:
    """Return an empty table: the first column is aligned left, the others right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column.replace("_", " "), justify="right" if i else "left", overflow="fold")
    return table


def metrics_table(splits: Mapping[str, Mapping[str, float]], title: str | None = None) -> Any:
    """Return a table with a line per split: rows, loss and metrics."""
    names = [name for name in next(iter(splits.values())) if name != "rows"]
    table = new_table("", "rows", *names, title=title)
    for split, values in splits.items():
        table.add_row(split, f"{values['rows']:,}", *(f"{values[name]:.4f}" for name in names))
    return table


def class_table(matrix: np.ndarray, classes: Sequence[str]) -> Any:
    """Return a table with precision, recall and F1 of each class, from a confusion matrix."""
    table = new_table("class", "precision", "recall", "f1", "rows")
    correct, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)

    def ratio(part: float, whole: float) -> str:
        return f"{part / whole:.4f}" if whole else "-"

    for i, name in enumerate(classes):
        precision, recall = ratio(correct[i], predicted[i]), ratio(correct[i], actual[i])
        f1 = ratio(2 * correct[i], predicted[i] + actual[i])
        table.add_row(name, precision, recall, f1, f"{actual[i]:,.0f}")
    return table


def print_summary(metadata: Mapping[str, Any], run_dir: str) -> None:
    """Print the content of a finished run's run.json."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    options, data, backend, run = (metadata[name] for name in ("options", "data", "backend", "training"))
    outputs, units = metadata["outputs"], metadata["units"]
    targets = f"{outputs} target{'' if outputs == 1 else 's'}"
    task = f"{len(data['classes'])} classes" if data["classes"] else targets
    widths = " > ".join(map(str, [data["width"], *units, outputs]))
    dropout = f", dropout {options['dropout']:g}" if options["dropout"] and units else ""
    batch = "full batch" if options["batch_size"] == "full" else f"batch size {options['batch_size']}"
    best = "" if run["best_epoch"] is None else f"; best epoch {run['best_epoch']}"
    loss = metadata["loss"].replace("_", " ")
    for name, value in {
        "data": f"{data['path']}: {data['width']} features, {task}",
        "backend": f"{backend['name']} {backend['version']}, {options['dtype']}{_auto_reason(backend)}",
        "network": f"{widths}, {options['activation']}{dropout}: {metadata['parameters']:,} parameters",
        "training": f"{loss}, {metadata['optimizer']}, lr {metadata['lr']:g}, {batch}",
        "epochs": f"{run['epochs']} of {options['epochs']} in {run['seconds']:.1f} s, {run['ended']}{best}",
    }.items():
        grid.add_row(name, value)
    out = console()
    out.print(grid)
    out.print(metrics_table(metadata["figures"]))
    out.print(f"run folder: {run_dir}", soft_wrap=True)


def _auto_reason(backend: Mapping[str, str]) -> str:
    """Return in a few words why "auto" selected a backend; ``anyback backends`` prints the details."""
    automatic, _, reason = backend["reason"].partition("auto: ")
    if automatic or not reason:
        return ""
    if backend["name"] == "numpy":
        reason = "no CUDA GPU" if "no CUDA GPU" in reason else "no CuPy"
    return f" (auto: {reason})"
