"""Which rows are trained on, which choose the best epoch, and which are held out for the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from anyback.cli.app import fail
from anyback.cli.task import Task
from anyback.random import Draw, Purpose
from anyback.tables import Table

__all__ = ["Parts", "held_out"]

Rows: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Parts:
    """The parts of a data set, targets as the loss takes them.

    Attributes
    ----------
    training, validation, held_out : (x, y) or None
        Validation and held-out rows only where they were asked for.
    """

    training: Rows
    validation: Rows | None
    held_out: Rows | None

    @classmethod
    def of(cls, table: Table, task: Task, *, validation: float, test: float, seed: int) -> Parts:
        """Split a table: the data set's own held-out part, or the same random rows whatever the seed."""
        rest, held = held_out(table, test)
        checked = None
        if validation:
            # The purpose is that of Trainer.fit: a share given to either takes the same rows.
            order = Draw(seed, Purpose.SPLIT).permutation(len(rest[0]))
            size = _size("validation", validation, len(order))
            checked = rest[0][order[:size]], rest[1][order[:size]]
            rest = rest[0][order[size:]], rest[1][order[size:]]

        def encoded(rows: Rows | None) -> Rows | None:
            return None if rows is None else (rows[0], task.encode(rows[1]))

        return cls((rest[0], task.encode(rest[1])), encoded(checked), encoded(held))

    def named(self) -> dict[str, Rows]:
        """Return the parts there are, by name, the one to judge a model by last."""
        parts = {"training": self.training, "validation": self.validation, "held out": self.held_out}
        return {name: rows for name, rows in parts.items() if rows is not None}


def held_out(table: Table, share: float) -> tuple[Rows, Rows | None]:
    """Return the rows to learn from and those held out: `share` of them, unless the data set has its own.

    They do not depend on the seed, so that runs can be compared and none has seen another's.
    """
    x, y = table.x, np.asarray(table.y)
    if table.test is not None:
        return (x, y), table.test
    if not share:
        return (x, y), None
    order = Draw(0, Purpose.DATA).permutation(len(x))
    size = _size("test", share, len(order))
    held, rest = np.sort(order[:size]), np.sort(order[size:])
    return (x[rest], y[rest]), (x[held], y[held])


def _size(name: str, share: float, rows: int) -> int:
    size = round(share * rows)
    if not 0 < size < rows:
        fail(f"--{name} {share} of {rows} rows leaves an empty part: choose another share, or 0 for none")
    return size
