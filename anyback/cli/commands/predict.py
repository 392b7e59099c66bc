"""``anyback predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from anyback.cli.app import command
from anyback.cli.options import OUTPUT, BackendName, Data, DropOfRun, RunPath, option

__all__ = ["predict"]


@command(
    "anyback predict runs/iris flowers.csv --proba > predictions.csv",
    "anyback predict runs/digits-20260101-120000 digits --out digits.npy",
)
def predict(
    run: RunPath,
    data: Data,
    drop: DropOfRun = None,
    out: Annotated[
        Path | None,
        option(OUTPUT, "FILE", "A .csv or .npy file.", show_default="CSV on standard output"),
    ] = None,
    proba: Annotated[bool, option(OUTPUT, "", "Write class probabilities, too.", "--proba")] = False,
    backend: BackendName = None,
) -> None:
    """Predict a class or numbers for each row of DATA.

    If the file has a header, input columns are matched by name; the target column may be missing. If DATA
    has a test set, only the test set is predicted.
    """
    from anyback.cli import inference

    inference.predict(run, data, drop, out, proba, backend)
