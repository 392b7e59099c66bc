"""A table: inputs, targets, and names of columns and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from anyback.arrays import Array

__all__ = ["DataError", "Table", "listed", "did_you_mean"]


class DataError(ValueError):
    """Invalid data: a one-line message with the file, the place in it and the value."""


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs and targets that `load` returns.

    Parameters
    ----------
    x : numpy.ndarray
        Inputs of shape (n, ...) with at least two axes: uint8 and float32 unchanged, other dtypes as float64.
    y : numpy.ndarray or None
        Targets: int64 labels of shape (n,), or float64 of shape (n, k). None if only inputs were read.
    kind : str or None
        Kind of the targets: "labels", or "reals" for other numbers.
    features : tuple of str, optional
        Names of the columns of `x`, if the file has them.
    classes : tuple of str, optional
        Names of the classes: ``classes[y[i]]`` is the class of row i. None if the numbers in the file are the
        labels.
    target : str, optional
        Name of the target column or array, if the file has one.
    test : tuple of numpy.ndarray, optional
        ``(x, y)`` of the test set, if the data has one.
    """

    x: Array
    y: Array | None
    kind: str | None
    features: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    target: str | None = None
    test: tuple[Array, Array] | None = None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a suggestion for the end of an error message, or an empty string."""
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Sequence[str]) -> str:
    """Return the first eight names as text."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
