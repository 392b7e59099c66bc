"""The entry points `load` and `load_inputs`, which choose a reader by the type of file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from anyback import datasets
from anyback.datasets._mnist import parts, read_part
from anyback.tables._base import DataError, Table, did_you_mean
from anyback.tables.columns import input_columns, target_column, unnamed_columns
from anyback.tables.numpy_files import X_KEYS, X_TEST_KEYS, first_of, load_npz, read_npy, read_npz
from anyback.tables.targets import checked_inputs, encode_targets, numeric_targets
from anyback.tables.text import load_text, read_text

__all__ = ["SHIPPED", "load", "load_inputs"]

SHIPPED = ("digits", "mnist")
_SUFFIXES = (".csv", ".tsv", ".npz", ".npy")


def load(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> Table:
    r"""Read inputs and targets from a file, a folder, or an included data set.

    - ``digits`` and ``mnist`` are the data sets of `anyback.datasets` (``./digits`` is a path).
    - ``.csv`` (commas; semicolons or tabs if the first line has no comma) and ``.tsv`` (tabs), UTF-8, with or
      without a header: one row per sample. The first row is a header if a cell of text is above a number. The
      target is the last column, or the column given by name or index (-1 is the last); it may hold class
      names. All other cells must be numbers.
    - ``.npz``: arrays ``x`` and ``y``, or ``x_train``, ``y_train`` and the test set ``x_test``, ``y_test``.
      `target` names another array for the targets.
    - ``.npy``: a matrix; the target is the last column, or the column of the given index. Nothing is ever
      unpickled.
    - a folder with the four IDX files of MNIST, or with the two of its training or test set.

    Parameters
    ----------
    path : str or os.PathLike
        The file, folder or data set.
    target : str or int, optional
        Target column or array. A column named like a number has priority over an index.
    kind : str, optional
        Required kind of targets, the ``targets`` of a loss. "labels" turns the distinct values into classes;
        any other kind keeps numbers unchanged. By default strings are labels, and integers are labels if they
        have at most 20 distinct values or exactly the values 0 ... k-1, and at least two distinct values and
        fewer than rows.
    classes : sequence of str, optional
        Class names that define the labels, for a second file of the same kind: `Table.classes` of the first.
    features : sequence of str, optional
        Input columns in order, for a second file of the same kind: `Table.features` of the first.
    drop : sequence of str, optional
        Columns of a text file or matrix to leave out, by name or index.

    Returns
    -------
    Table
        Inputs (n, ...) and targets (n,) or (n, k), with names of columns and classes.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, of an unknown type or not UTF-8; if it has no such column, a
        missing, non-numeric or non-finite value, or rows of different lengths.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.csv")
    ...     with open(path, "w") as file:
    ...         size = file.write("length,width,species\n5.1,3.5,setosa\n7.0,3.2,virginica\n4.9,3.0,setosa\n")
    ...     table = load(path, "species")
    >>> table.x.shape, table.y, table.features, table.classes
    ((3, 2), array([0, 1, 0]), ('length', 'width'), ('setosa', 'virginica'))
    """
    name = os.fspath(path)
    file = _existing(name)
    _refuse_to_drop(name, file, drop)
    if file is None or file.is_dir():
        if target is not None:
            raise DataError(f"{name}: its labels are fixed: remove the target {target!r}")
        return _builtin(name) if file is None else _folder(file)
    if file.suffix == ".npz":
        return load_npz(file, target, kind, classes)
    if file.suffix == ".npy":
        x = read_npy(file)
        if x.ndim != 2 or x.shape[1] < 2:
            raise DataError(
                f"{file}: expected a matrix (n, columns) of inputs and a target, got the shape {x.shape}"
            )
        column = target_column(file, target, x.shape[1], None)
        y, kind, names = encode_targets(
            file, numeric_targets(file, x[:, column], "target", kind), kind, classes
        )
        others = input_columns(file, x.shape[1], column, None, drop)
        return Table(checked_inputs(file, x[:, others]), y, kind, classes=names)
    return load_text(file, target, kind, classes, features, drop)


def load_inputs(
    path: str | os.PathLike[str],
    features: Sequence[str] | None = None,
    *,
    ignore: Sequence[str] = (),
    drop: Sequence[str] = (),
    width: int | None = None,
) -> Table:
    """Read inputs only, for predictions.

    Parameters
    ----------
    path : str or os.PathLike
        As for `load`. If the data has a test set, its inputs are read; of an .npz file, the array ``x`` or
        the only array.
    features : sequence of str, optional
        Input columns in order, if the file has a header.
    ignore : sequence of str, optional
        Columns to leave out if they exist, such as the target of training; by index in a table without column
        names, if it has that many more columns than `width`.
    drop : sequence of str, optional
        Columns to leave out, by name or index.
    width : int, optional
        Expected number of inputs: from a file without column names that has just these, nothing is dropped.

    Returns
    -------
    Table
        Inputs (n, ...). `Table.y` and `Table.kind` are None; `Table.target` is the index of the ignored
        column of a table without column names.

    Raises
    ------
    DataError
        As `load` does.

    Examples
    --------
    >>> load_inputs("digits").x.shape
    (359, 64)
    """
    name = os.fspath(path)
    file = _existing(name)
    _refuse_to_drop(name, file, drop)
    if file is None or file.is_dir():
        table = _builtin(name) if file is None else _folder(file)
        return Table(table.x if table.test is None else table.test[0], None, None)
    if file.suffix == ".npz":
        arrays = read_npz(file)
        key = first_of(arrays, (*X_TEST_KEYS, "x", "X", *X_KEYS))
        if key is None and len(arrays) == 1:
            (key,) = arrays
        if key is None:
            raise DataError(f"{file}: expected an array x, got {', '.join(arrays) or 'none'}")
        return Table(checked_inputs(file, arrays[key]), None, None)
    if file.suffix == ".npy":
        x = checked_inputs(file, read_npy(file))
        left = None
        if x.ndim == 2:
            dropped, left = unnamed_columns(x.shape[1], width, drop, ignore)
            x = x[:, input_columns(file, x.shape[1], None, None, dropped)]
        return Table(x, None, None, target=left)
    x, _, names, left, _ = read_text(
        file, None, features, inputs_only=True, ignore=ignore, drop=drop, expected=width
    )
    return Table(x, None, None, features=names, target=left or None)


def _existing(name: str) -> Path | None:
    """Return the path of the file or folder, or None for an included data set."""
    if name in SHIPPED:
        return None
    file = Path(name).expanduser()
    try:
        found = file.exists()
        siblings = (
            [] if found or not file.parent.is_dir() else sorted(other.name for other in file.parent.iterdir())
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{name!r}: cannot be opened: {error}") from None
    if not found:
        siblings = [other for other in siblings if other.endswith(_SUFFIXES)]
        raise DataError(f"no such file: {name!r}{did_you_mean(file.name, [*SHIPPED, *siblings])}")
    if not file.is_dir() and file.suffix not in _SUFFIXES:
        raise DataError(
            f"{name}: expected a file that ends in {', '.join(_SUFFIXES)}, a folder of IDX files, "
            f"or one of {', '.join(SHIPPED)}, got {file.suffix or 'no ending'!r}"
        )
    return file


def _refuse_to_drop(name: str, file: Path | None, drop: Sequence[str]) -> None:
    if drop and (file is None or file.suffix not in (".csv", ".tsv", ".npy")):
        raise DataError(
            f"{name}: columns can be dropped from .csv, .tsv and .npy files only, got {', '.join(drop)}"
        )


def _builtin(name: str) -> Table:
    try:
        (x, y), test = datasets.digits() if name == "digits" else datasets.mnist()
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from None
    return Table(x, y, "labels", test=test)


def _folder(folder: Path) -> Table:
    """Return the training and test set in a folder of IDX files, or the only one as training data."""
    found = parts(folder)
    if not found:
        raise DataError(
            f"{folder}: expected IDX files in this folder, train-images-idx3-ubyte and "
            "train-labels-idx1-ubyte, or t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (.gz or not)"
        )
    try:
        (x, y), *test = [read_part(folder, part) for part in found]
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from None
    return Table(x, y, "labels", test=test[0] if test else None)
