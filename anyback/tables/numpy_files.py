"""Read .npy and .npz files, without unpickling."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.tables._base import DataError, Table, did_you_mean
from anyback.tables.targets import (
    checked_inputs,
    checked_numbers,
    encode_targets,
    held_labels,
    numeric_targets,
)

__all__ = ["X_KEYS", "X_TEST_KEYS", "first_of", "load_npz", "read_npy", "read_npz"]

X_KEYS, _Y_KEYS = ("x_train", "X_train", "x", "X"), ("y_train", "Y_train", "y", "Y")
X_TEST_KEYS, _Y_TEST_KEYS = ("x_test", "X_test"), ("y_test", "Y_test")


def first_of(names: Any, wanted: Sequence[str]) -> str | None:
    """Return the first of the wanted names that exists, or None."""
    return next((name for name in wanted if name in names), None)


def read_npy(file: Path) -> Array:
    """Return the array in an .npy file."""
    x = _load_numpy(file)
    if isinstance(x, dict):
        raise DataError(f"{file}: holds several arrays: its name should end in .npz")
    return x


def read_npz(file: Path) -> dict[str, Array]:
    """Return every array in an .npz file."""
    arrays = _load_numpy(file)
    if not isinstance(arrays, dict):
        raise DataError(f"{file}: holds one array: its name should end in .npy")
    return arrays


def _load_numpy(file: Path) -> Array | dict[str, Array]:
    """Return the array or the arrays in a NumPy file; nothing is unpickled."""
    arrays, key = {}, "the file"
    try:
        # If NumPy opens a damaged file itself, it does not close it.
        with file.open("rb") as source:
            if not source.peek(1):
                raise DataError(f"{file}: the file is empty")
            loaded = np.load(source, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded as archive:
                for key in archive.files:
                    arrays[key] = np.asarray(archive[key])
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{file}: {key} is larger than the available memory") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{file}: {key} would have to be unpickled, which can run arbitrary code: "
                "save numbers or strings"
            ) from None
        raise DataError(f"{file}: not a NumPy file, or a damaged one: {_line(error)}") from None
    return arrays


def _line(error: Exception) -> str:
    """Return the message of an error as one line."""
    return " ".join(str(error).split())


def load_npz(file: Path, target: str | int | None, kind: str | None, classes: Sequence[str] | None) -> Table:
    """Return the table in an .npz file, with its test set if it has one."""
    arrays = read_npz(file)
    names = ", ".join(arrays) or "none"
    y_key = first_of(arrays, _Y_KEYS) if target is None else str(target)
    if y_key is None:
        raise DataError(
            f"{file}: expected the arrays x and y, or --target with the name of the targets, got {names}"
        )
    if y_key not in arrays:
        raise DataError(f"{file}: no array {y_key!r}, got {names}{did_you_mean(y_key, list(arrays))}")
    others = [key for key in arrays if key != y_key]
    x_key = first_of(others, X_KEYS) or (others[0] if len(others) == 1 else None)
    if x_key is None:
        raise DataError(f"{file}: expected inputs in an array x, got {names}")
    x, y, kind, names_of_classes = _pair(file, arrays, x_key, y_key, kind, classes)
    test = None
    x_test, y_test = first_of(arrays, X_TEST_KEYS), first_of(arrays, _Y_TEST_KEYS)
    if x_test is not None and y_test is not None and y_test != y_key and x_test != x_key:
        if arrays[x_test].shape[1:] != x.shape[1:]:
            raise DataError(
                f"{file}: {x_test} must have samples of shape {x.shape[1:]} as {x_key} has, "
                f"got {arrays[x_test].shape[1:]}"
            )
        if names_of_classes is None and kind == "labels":
            # The test set may lack a class, so its own values do not show that it holds labels.
            _, held = _same_length(file, arrays, x_test, y_test)
            test = (
                checked_inputs(file, arrays[x_test], x_test),
                held_labels(file, checked_numbers(file, held, y_test), y_test, int(y.max()) + 1),
            )
        else:
            test = _pair(file, arrays, x_test, y_test, kind, names_of_classes)[:2]
    return Table(x, y, kind, classes=names_of_classes, target=y_key, test=test)


def _same_length(file: Path, arrays: dict[str, Array], x_key: str, y_key: str) -> tuple[Array, Array]:
    x, y = arrays[x_key], arrays[y_key]
    if x.shape[:1] != y.shape[:1] or y.ndim == 0:
        raise DataError(
            f"{file}: {x_key} and {y_key} must have the same number of rows, got {x.shape} and {y.shape}"
        )
    return x, y


def _pair(
    file: Path,
    arrays: dict[str, Array],
    x_key: str,
    y_key: str,
    kind: str | None,
    classes: Sequence[str] | None,
) -> tuple[Array, Array, str, tuple[str, ...] | None]:
    x, y = _same_length(file, arrays, x_key, y_key)
    y = y if y.dtype.kind == "U" else numeric_targets(file, y, y_key, kind)
    return checked_inputs(file, x, x_key), *encode_targets(file, y, kind, classes)
