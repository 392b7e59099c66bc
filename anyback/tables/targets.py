"""Check inputs and encode targets: finite numbers, labels and class names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from anyback.arrays import Array
from anyback.tables._base import DataError

__all__ = ["checked_inputs", "checked_numbers", "encode_targets", "held_labels", "numeric_targets"]


def held_labels(file: Path, y: np.ndarray, key: str, classes: int) -> np.ndarray:
    """Return the labels of a test set, which must be labels of the training set."""
    wrong = (y != np.floor(y)) | (y < 0) | (y >= classes)
    if y.ndim != 1 or wrong.any():
        got = f"the shape {y.shape}" if y.ndim != 1 else f"{y[wrong][0]:g} at row {int(np.argmax(wrong))}"
        raise DataError(f"{file}: {key} must hold labels in [0, {classes}), got {got}")
    return y.astype(np.int64)


def checked_inputs(file: Path, x: Array, label: str = "x") -> Array:
    """Return finite numeric inputs with at least two axes."""
    if x.ndim < 2:
        raise DataError(
            f"{file}: expected inputs of shape (n, ...) with at least two axes, {label} is {x.shape}"
        )
    return checked_numbers(file, x, label)


def checked_numbers(file: Path, x: Array, label: str) -> Array:
    """Return finite numbers in C order: uint8 and float32 unchanged, other dtypes as float64."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{file}: {label} must hold numbers, got dtype {x.dtype}")
    if 0 in x.shape:
        raise DataError(f"{file}: {label} is empty: its shape is {x.shape}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype not in (np.uint8, np.float32):
        with np.errstate(over="ignore"):  # a long double may overflow: the next check refuses infinity
            x = x.astype(np.float64)
    if x.dtype != np.uint8 and not np.isfinite(x).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        column = f", column {', '.join(map(str, at[1:]))}" if at[1:] else ""
        raise DataError(f"{file}: {label} must be finite, got {x[at]} at row {at[0]}{column}")
    return np.ascontiguousarray(x)


def numeric_targets(file: Path, y: Array, label: str, kind: str | None) -> Array:
    """Return numeric targets; two classes that round to the same float64 are refused."""
    if kind in (None, "labels") and y.dtype.kind in "iu":
        whole = np.unique(y)
        same = whole[1:][np.diff(whole.astype(np.float64)) == 0]
        if same.size:
            raise DataError(f"{file}: {label}: too many digits for a number, got {same[0]}")
    return checked_numbers(file, y, label)


def encode_targets(
    file: Path,
    y: Array,
    kind: str | None,
    classes: Sequence[str] | None,
    place: Callable[[int], str] = "row {}".format,
) -> tuple[Array, str, tuple[str, ...] | None]:
    """Return targets, their kind and the class names; `y` holds finite numbers or strings."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 2:
        raise DataError(f"{file}: targets must have the shape (n,) or (n, k), got {y.shape}")
    text = y.dtype.kind == "U"
    if kind is None:
        kind = "labels" if text or classes is not None or _are_labels(y) else "reals"
    if kind != "labels":
        if text:
            raise DataError(f"{file}: {place(0)}: this loss needs numbers as targets, got {str(y.flat[0])!r}")
        return y.astype(np.float64).reshape(len(y), -1), kind, None
    if y.ndim != 1:
        raise DataError(f"{file}: labels must have the shape (n,), got {y.shape}")
    if not text and classes is None:
        distinct = np.unique(y)
        if np.array_equal(distinct, np.arange(len(distinct))):
            return y.astype(np.int64), kind, None
    named = y if text else np.array([_label(value) for value in y.tolist()])
    if classes is None:
        # Numbers in numerical order, strings in alphabetical order.
        classes = np.unique(named).tolist() if text else [_label(value) for value in distinct.tolist()]
    codes = {name: code for code, name in enumerate(classes)}
    for row, name in enumerate(named.tolist()):
        if name not in codes:
            known = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
            raise DataError(f"{file}: {place(row)}: expected one of the classes {known}, got {name!r}")
    return np.array([codes[name] for name in named.tolist()], dtype=np.int64), kind, tuple(classes)


def _label(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _are_labels(y: Array) -> bool:
    if y.ndim != 1 or not np.array_equal(y, np.floor(y)):
        return False
    distinct = np.unique(y)
    counted = np.array_equal(distinct, np.arange(len(distinct)))
    return 2 <= len(distinct) < len(y) and (len(distinct) <= 20 or counted)
