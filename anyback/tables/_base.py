"""A table: inputs and targets with the names of columns and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from anyback.arrays import Array

__all__ = ["DataError", "Table", "listed", "did_you_mean"]


class DataError(ValueError):
    """Data that cannot be used: one line that names the file, the place in it and the value."""


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs and targets, as `load` read them.

    Parameters
    ----------
    x : numpy.ndarray
        Inputs of shape (n, ...), at least two axes: uint8 and float32 as they came, everything else float64.
    y : numpy.ndarray or None
        Targets: int64 labels of shape (n,), or float64 of shape (n, k). None where only inputs were read.
    kind : str or None
        What the targets are: "labels", or "reals" for any other numbers.
    features : tuple of str, optional
        Names of the columns of `x`, where the file has them.
    classes : tuple of str, optional
        Names of the classes, ``classes[y[i]]`` the one of row i. None where the file's own numbers are the
        labels.
    target : str, optional
        Name of the target's column or array, where the file has one.
    test : tuple of numpy.ndarray, optional
        ``(x, y)`` of a held-out part, where the data has its own.
    """

    x: Array
    y: Array | None
    kind: str | None
    features: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    target: str | None = None
    test: tuple[Array, Array] | None = None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a suggestion to end an error with, or nothing."""
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
