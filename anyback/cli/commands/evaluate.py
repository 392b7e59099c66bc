"""``anyback evaluate``."""

from __future__ import annotations

from typing import Annotated

from anyback.cli.app import command
from anyback.cli.options import DATA, BackendName, Data, DropOfRun, RunPath, TargetOfRun, option

__all__ = ["evaluate"]


@command(
    "anyback evaluate runs/digits-20260101-120000 digits",
    "anyback evaluate runs/prices new_prices.csv --backend cupy",
)
def evaluate(
    run: RunPath,
    data: Data,
    target: TargetOfRun = None,
    drop: DropOfRun = None,
    all_rows: Annotated[
        bool, option(DATA, "", "Evaluate all rows, including the training rows.", "--all")
    ] = False,
    backend: BackendName = None,
) -> None:
    """Print the loss and metrics of RUN on DATA.

    For classes, print precision, recall and F1 of each. If DATA has a test set, or RUN was trained on DATA,
    only the held-out rows are evaluated.
    """
    from anyback.cli import inference

    inference.evaluate(run, data, target, drop, backend, all_rows)
