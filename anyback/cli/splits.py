"""Training, validation and test rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from anyback.cli.task import Task
from anyback.random import Purpose, Stream
from anyback.tables import Table

__all__ = ["Splits", "split_test"]

Rows: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Splits:
    """The splits of a data set, with targets encoded for the loss.

    Attributes
    ----------
    training, validation, test : (x, y) or None
        None for a split of no rows.
    """

    training: Rows
    validation: Rows | None
    test: Rows | None

    @classmethod
    def from_table(cls, table: Table, task: Task, *, validation: float, test: float, seed: int) -> Splits:
        """Split a table; `validation` and `test` are fractions."""
        training, test_rows = split_test(table, test)
        validation_rows = None
        if validation:
            # The same purpose as in Trainer.fit: equal fractions select the same rows in both.
            order = Stream(seed, Purpose.SPLIT).permutation(len(training[0]))
            size = _split_size("validation", validation, len(order))
            validation_rows = _take(training, order[:size])
            training = _take(training, order[size:])

        def encode(rows: Rows | None) -> Rows | None:
            return None if rows is None else (rows[0], task.encode(rows[1]))

        return cls((training[0], task.encode(training[1])), encode(validation_rows), encode(test_rows))

    def by_name(self) -> dict[str, Rows]:
        """Return the splits that have rows, by their names in run.json; the last one judges the model."""
        splits = {"training": self.training, "validation": self.validation, "held out": self.test}
        return {name: rows for name, rows in splits.items() if rows is not None}


def split_test(table: Table, fraction: float) -> tuple[Rows, Rows | None]:
    """Return training rows and test rows: the data set's own test set, else a random fraction.

    The rows do not depend on the seed: runs can be compared, and no run trains on the test rows of another.
    """
    rows = table.x, np.asarray(table.y)
    if table.test is not None:
        return rows, table.test
    if not fraction:
        return rows, None
    order = Stream(0, Purpose.DATA).permutation(len(table.x))
    size = _split_size("test", fraction, len(order))
    return _take(rows, np.sort(order[size:])), _take(rows, np.sort(order[:size]))


def _take(rows: Rows, indices: np.ndarray) -> Rows:
    return rows[0][indices], rows[1][indices]


def _split_size(name: str, fraction: float, rows: int) -> int:
    size = round(fraction * rows)
    if not 0 < size < rows:
        raise ValueError(
            f"--{name} {fraction} of {rows} rows leaves an empty split: choose another, or 0 for none"
        )
    return size
