"""Files of data, as the command line takes them: .csv, .tsv, .npz, .npy, IDX folders, and what ships."""

from __future__ import annotations

import csv
import math
import os
import re
import shlex
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np

from anyback import datasets
from anyback.arrays import Array
from anyback.datasets._mnist import parts, read_part

__all__ = ["DataError", "Table", "load", "load_inputs"]

SHIPPED = ("digits", "mnist")
_SUFFIXES = (".csv", ".tsv", ".npz", ".npy")
# What people write where a value is missing. Such a cell is no name of a column either.
_MISSING = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
_FILL, _POINT = ": fill it in or remove the row", ": write decimals with a point"
_X_KEYS, _Y_KEYS = ("x_train", "X_train", "x", "X"), ("y_train", "Y_train", "y", "Y")
_X_TEST_KEYS, _Y_TEST_KEYS = ("x_test", "X_test"), ("y_test", "Y_test")


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


def load(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> Table:
    r"""Read inputs and targets from a file, a folder, or a data set that ships.

    - ``digits`` and ``mnist`` are the data sets of `anyback.datasets` (``./digits`` is a path).
    - ``.csv`` (commas; semicolons or tabs where its first line has no comma) and ``.tsv`` (tabs), UTF-8,
      with a header or without: one row a sample. There is a header where a column
      has a text over a number. The target is the last column or the one that `target` names
      or counts from 0 (-1 is the last); it may hold class names. Every other cell is a number.
    - ``.npz``: arrays ``x`` and ``y``, or ``x_train``, ``y_train`` and, held out, ``x_test``, ``y_test``.
      `target` names another array for the targets.
    - ``.npy``: a matrix; the target is the last column or the one that `target` counts. Nothing is ever
      unpickled.
    - a folder with the four IDX files of MNIST, or two of them.

    Parameters
    ----------
    path : str or os.PathLike
        What to read.
    target : str or int, optional
        Which column or array is the target. A name goes before a number.
    kind : str, optional
        What the targets must be, the ``targets`` of a loss. "labels" makes classes of whatever values there
        are; any other takes the numbers as they are. By default class names are labels, and whole numbers
        if at most 20 of them differ or if they are exactly 0 ... k-1, and there are at least two different
        ones and fewer than rows.
    classes : sequence of str, optional
        Class names to count by, for a second file of the same kind: those of `Table.classes`.
    features : sequence of str, optional
        Columns to use as inputs and their order, for a second file: those of `Table.features`.
    drop : sequence of str, optional
        Columns of a text file or a matrix that are no inputs, by name or number.

    Returns
    -------
    Table
        Inputs (n, ...) and targets (n,) or (n, k), with the names that were found.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged or of an unknown kind, has no such target or column, a missing
        or non-numeric or non-finite cell, rows of different lengths, or is not UTF-8.

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
            raise DataError(f"{name}: a target cannot be chosen here, got {target!r}: its labels are known")
        return _builtin(name) if file is None else _folder(file)
    if file.suffix == ".npz":
        return _load_npz(file, target, kind, classes)
    if file.suffix == ".npy":
        x = _load_npy(file)
        if x.ndim != 2 or x.shape[1] < 2:
            raise DataError(
                f"{file}: expected a matrix (n, columns) of inputs and a target, got the shape {x.shape}"
            )
        column = _index(file, target, x.shape[1], None)
        y, kind, names = _targets(file, _target_numbers(file, x[:, column], "target", kind), kind, classes)
        others = _others(file, x.shape[1], column, None, drop)
        return Table(_inputs(file, x[:, others]), y, kind, classes=names)
    return _load_text(file, target, kind, classes, features, drop)


def load_inputs(
    path: str | os.PathLike[str],
    features: Sequence[str] | None = None,
    *,
    ignore: Sequence[str] = (),
    drop: Sequence[str] = (),
    width: int | None = None,
) -> Table:
    """Read inputs alone, for predictions.

    Parameters
    ----------
    path : str or os.PathLike
        As for `load`; of data with a held-out part its inputs are taken, of an .npz file the array ``x``, or
        the only one.
    features : sequence of str, optional
        Columns to use and their order, where the file has a header.
    ignore : sequence of str, optional
        Columns to leave out where they occur, such as the target the model was trained on; by number, from 0
        or from the end, in a table without names that has as many more than `width`.
    drop : sequence of str, optional
        Columns that are no inputs, by name or number.
    width : int, optional
        How many inputs there should be: a file without names that has no more of them drops nothing.

    Returns
    -------
    Table
        Inputs (n, ...); `Table.y` and `Table.kind` are None, and `Table.target` is the number of the column
        that was left out of a table without names.

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
        arrays = _arrays(file)
        key = _first(arrays, (*_X_TEST_KEYS, "x", "X", *_X_KEYS))
        if key is None and len(arrays) == 1:
            (key,) = arrays
        if key is None:
            raise DataError(f"{file}: expected an array x, got {', '.join(arrays) or 'none'}")
        return Table(_inputs(file, arrays[key]), None, None)
    if file.suffix == ".npy":
        x = _inputs(file, _load_npy(file))
        left = None
        if x.ndim == 2:
            dropped, left = _unnamed(x.shape[1], width, drop, ignore)
            x = x[:, _others(file, x.shape[1], None, None, dropped)]
        return Table(x, None, None, target=left)
    x, _, names, left, _ = _read_text(
        file, None, features, inputs_only=True, ignore=ignore, drop=drop, expected=width
    )
    return Table(x, None, None, features=names, target=left or None)


def _existing(name: str) -> Path | None:
    """Return the file or folder called `name`, or None for a data set that ships."""
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
        raise DataError(f"no such file: {name!r}{_near(file.name, [*SHIPPED, *siblings])}")
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


def _near(name: str, known: Sequence[str]) -> str:
    """Return a suggestion to end an error with, or nothing."""
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _held_labels(file: Path, y: np.ndarray, key: str, classes: int) -> np.ndarray:
    """Return held-out labels, which must be among those of the training part."""
    wrong = (y != np.floor(y)) | (y < 0) | (y >= classes)
    if y.ndim != 1 or wrong.any():
        got = f"the shape {y.shape}" if y.ndim != 1 else f"{y[wrong][0]:g} at row {int(np.argmax(wrong))}"
        raise DataError(f"{file}: {key} must hold labels in [0, {classes}), got {got}")
    return y.astype(np.int64)


def _first(names: Any, wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _builtin(name: str) -> Table:
    try:
        (x, y), test = datasets.digits() if name == "digits" else datasets.mnist()
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from None
    return Table(x, y, "labels", test=test)


def _folder(folder: Path) -> Table:
    """Return MNIST's parts; one that is alone there is the data, whichever it is."""
    found = parts(folder)
    if not found:
        raise DataError(
            f"{folder}: expected IDX files in this folder, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
            f"(.gz or not) or the same of train"
        )
    try:
        (x, y), *test = [read_part(folder, part) for part in found]
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from None
    return Table(x, y, "labels", test=test[0] if test else None)


# --- targets and inputs -------------------------------------------------------------------------------


def _inputs(file: Path, x: Array, label: str = "x") -> Array:
    """Return inputs as this module promises them: two axes or more, numbers, finite."""
    if x.ndim < 2:
        raise DataError(
            f"{file}: expected inputs of shape (n, ...) with two axes or more, {label} is {x.shape}"
        )
    return _numbers(file, x, label)


def _numbers(file: Path, x: Array, label: str) -> Array:
    if x.dtype.kind not in "buif":
        raise DataError(f"{file}: {label} must hold numbers, got dtype {x.dtype}")
    if 0 in x.shape:
        raise DataError(f"{file}: {label} is empty: its shape is {x.shape}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype not in (np.uint8, np.float32):
        with np.errstate(over="ignore"):  # a long double may become infinite, which is refused next
            x = x.astype(np.float64)
    if x.dtype != np.uint8 and not np.isfinite(x).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        column = f", column {', '.join(map(str, at[1:]))}" if at[1:] else ""
        raise DataError(f"{file}: {label} must be finite, got {x[at]} at row {at[0]}{column}")
    return np.ascontiguousarray(x)


def _target_numbers(file: Path, y: Array, label: str, kind: str | None) -> Array:
    """Return targets as numbers; two classes that would be one when they are rounded are refused."""
    if kind in (None, "labels") and y.dtype.kind in "iu":
        whole = np.unique(y)
        same = whole[1:][np.diff(whole.astype(np.float64)) == 0]
        if same.size:
            raise DataError(f"{file}: {label}: too many digits for a number, got {same[0]}")
    return _numbers(file, y, label)


def _targets(
    file: Path,
    y: Array,
    kind: str | None,
    classes: Sequence[str] | None,
    place: Callable[[int], str] = "row {}".format,
) -> tuple[Array, str, tuple[str, ...] | None]:
    """Return targets, what they are, and the names of their classes; `y` holds finite numbers or text."""
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
        # Numbers in their own order, text in the alphabet's.
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


# --- NumPy's files ------------------------------------------------------------------------------------


def _load_npy(file: Path) -> Array:
    """Return the array in an .npy file."""
    x = _load_numpy(file)
    if isinstance(x, dict):
        raise DataError(f"{file}: holds several arrays: its name should end in .npz")
    return x


def _arrays(file: Path) -> dict[str, Array]:
    """Return every array in an .npz file."""
    arrays = _load_numpy(file)
    if not isinstance(arrays, dict):
        raise DataError(f"{file}: holds one array: its name should end in .npy")
    return arrays


def _load_numpy(file: Path) -> Array | dict[str, Array]:
    """Return the array or the arrays in a file of NumPy's; nothing is unpickled."""
    arrays, key = {}, "the file"
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
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
        raise DataError(f"{file}: {key} says that it is larger than the memory there is") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{file}: {key} would have to be unpickled, and that can run any code: save numbers or text"
            ) from None
        raise DataError(f"{file}: not a NumPy file, or a damaged one: {_line(error)}") from None
    return arrays


def _line(error: Exception) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split())


def _load_npz(file: Path, target: str | int | None, kind: str | None, classes: Sequence[str] | None) -> Table:
    arrays = _arrays(file)
    names = ", ".join(arrays) or "none"
    y_key = _first(arrays, _Y_KEYS) if target is None else str(target)
    if y_key is None:
        raise DataError(f"{file}: expected the arrays x and y, or --target to name the targets, got {names}")
    if y_key not in arrays:
        raise DataError(f"{file}: no array {y_key!r}, got {names}{_near(y_key, list(arrays))}")
    others = [key for key in arrays if key != y_key]
    x_key = _first(others, _X_KEYS) or (others[0] if len(others) == 1 else None)
    if x_key is None:
        raise DataError(f"{file}: expected inputs in an array x, got {names}")
    x, y, kind, names_of_classes = _pair(file, arrays, x_key, y_key, kind, classes)
    test = None
    x_test, y_test = _first(arrays, _X_TEST_KEYS), _first(arrays, _Y_TEST_KEYS)
    if x_test is not None and y_test is not None and y_test != y_key and x_test != x_key:
        if arrays[x_test].shape[1:] != x.shape[1:]:
            raise DataError(
                f"{file}: {x_test} must have samples of shape {x.shape[1:]} as {x_key} has, "
                f"got {arrays[x_test].shape[1:]}"
            )
        if names_of_classes is None and kind == "labels":
            # The held-out part may lack a class: it holds labels because the training part does.
            _, held = _same_length(file, arrays, x_test, y_test)
            test = (
                _inputs(file, arrays[x_test], x_test),
                _held_labels(file, _numbers(file, held, y_test), y_test, int(y.max()) + 1),
            )
        else:
            test = _pair(file, arrays, x_test, y_test, kind, names_of_classes)[:2]
    return Table(x, y, kind, classes=names_of_classes, target=y_key, test=test)


def _same_length(file: Path, arrays: dict[str, Array], x_key: str, y_key: str) -> tuple[Array, Array]:
    x, y = arrays[x_key], arrays[y_key]
    if x.shape[:1] != y.shape[:1] or y.ndim == 0:
        raise DataError(f"{file}: {x_key} and {y_key} must have as many rows, got {x.shape} and {y.shape}")
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
    y = y if y.dtype.kind == "U" else _target_numbers(file, y, y_key, kind)
    return _inputs(file, x, x_key), *_targets(file, y, kind, classes)


# --- text ---------------------------------------------------------------------------------------------


def _load_text(
    file: Path,
    target: str | int | None,
    kind: str | None,
    classes: Sequence[str] | None,
    features: Sequence[str] | None,
    drop: Sequence[str],
) -> Table:
    x, cells, names, name, lines = _read_text(file, target, features, drop=drop)
    where = f"column {name!r}" if names else f"column {name}"
    numbers = [_number(cell) for cell in cells]
    for cell, line in zip(cells, lines, strict=True):
        if cell.casefold() in _MISSING:
            raise DataError(
                f"{file}: line {line}, {where}: the target is missing, got {cell!r}: remove the row"
            )
    whole: dict[float, int] = {}
    for cell, number, line in zip(cells, numbers, lines, strict=True):
        if number is None or kind not in (None, "labels") or not 2**53 <= abs(number) < math.inf:
            continue
        # Two classes whose numbers are rounded to one would be one.
        if re.fullmatch("[-+]?[0-9]+", cell) and whole.setdefault(number, int(cell)) != int(cell):
            raise DataError(
                f"{file}: line {line}, {where}: too many digits for a number, "
                f"got {cell!r}, which is rounded as {whole[number]} is"
            )
    text = [i for i, number in enumerate(numbers) if number is None]
    comma = next((i for i in text if _DECIMAL_COMMA.fullmatch(cells[i])), None)
    if comma is not None and kind != "labels" and classes is None:
        raise DataError(
            f"{file}: line {lines[comma]}, {where}: expected a number, got {cells[comma]!r}{_POINT}"
        )
    if text and len(text) < len(numbers) and kind != "labels" and classes is None:
        # Mixed: the rarer sort is the mistake.
        number = next(i for i in range(len(numbers)) if numbers[i] is not None)
        odd = text[0] if 2 * len(text) <= len(numbers) else number
        sort = "a number" if odd in text else "a class name"
        raise DataError(
            f"{file}: line {lines[odd]}, {where}: expected {sort} as elsewhere, got {cells[odd]!r}"
        )
    y: Array = np.array(cells) if text else np.array(numbers, dtype=np.float64)
    if not text and not np.isfinite(y).all():
        odd = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(f"{file}: line {lines[odd]}, {where}: expected a finite number, got {cells[odd]!r}")
    y, kind, classes = _targets(file, y, kind, classes, lambda row: f"line {lines[row]}, {where}")
    return Table(x, y, kind, names, classes, name if names else None)


def _read_text(
    file: Path,
    target: str | int | None,
    features: Sequence[str] | None,
    *,
    inputs_only: bool = False,
    ignore: Sequence[str] = (),
    drop: Sequence[str] = (),
    expected: int | None = None,
) -> tuple[Array, list[str], tuple[str, ...] | None, str, list[int]]:
    """Return inputs, the target's cells, names of the inputs, name of the target and each row's line."""
    rows = _rows(file)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file}: the file is empty")
    second = next(rows, None)
    header = _header(first[1], second[1] if second else [], [target, *drop])
    if header and second is None:
        raise DataError(f"{file}: has a header and no rows")
    width = len(first[1])
    if not inputs_only and width < 2:
        sign = "tabs" if file.suffix == ".tsv" else "commas"
        raise DataError(
            f"{file}: expected inputs and a target separated by {sign}, got one column, {first[1][0]!r}"
        )
    column = None if inputs_only else _index(file, target, width, header)
    left = None
    if features is not None and header:
        columns = _named(file, features, header)
    else:
        dropped, left = (drop, None) if header else _unnamed(width, expected, drop, ignore)
        columns = _others(file, width, column, header, dropped)
        columns = [i for i in columns if not (header and header[i] in ignore)]
    if not columns:
        raise DataError(f"{file}: no columns are left for the inputs")
    if features is not None and len(features) != len(columns):
        raise DataError(
            f"{file}: expected {len(features)} columns of inputs, got {len(columns)}: "
            f"the model takes {_some(features)}"
        )
    plain = columns == list(range(width))

    values, cells = array("d"), []
    lines: list[int] = []
    for line, row in chain([] if header else [first], [second] if second else [], rows):
        if len(row) != width:
            raise DataError(
                f"{file}: line {line} has {len(row)} cells, expected {width} as in line {first[0]}"
            )
        if column is not None:
            cells.append(row[column].strip())
        inputs = row if plain else [row[i] for i in columns]
        try:
            # Python's float takes 1_000 for a number; nobody who writes tables does.
            if "_" in "".join(inputs):
                raise ValueError
            values.extend(map(float, inputs))
        except ValueError:
            _bad_cell(file, line, row, columns, header, first=not lines)
        lines.append(line)
    x = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(columns))
    finite = np.isfinite(x)
    if not finite.all():
        row_number, i = (int(k) for k in np.argwhere(~finite)[0])
        where = _column(columns[i], header)
        value = x[row_number, i]
        fault = "the cell is missing" if math.isnan(value) else "expected a finite number"
        remedy = _FILL if math.isnan(value) else ""
        raise DataError(f"{file}: line {lines[row_number]}, {where}: {fault}, got {value}{remedy}")
    names = tuple(header[i] for i in columns) if header else None
    name = left or "" if column is None else header[column] if header else str(column)
    return x, cells, names, name, lines


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank, with its line number in the file, from 1."""
    line = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            delimiter = "\t" if file.suffix == ".tsv" else _delimiter(source)
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            while True:
                line = reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    return
                if row and any(cell.strip() for cell in row):
                    yield line, row
                elif len(row) > 1:
                    raise DataError(f"{file}: line {line}: every cell is missing")
    except UnicodeDecodeError:
        data = file.read_bytes()
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{file}: line {line} is not UTF-8 text, got the byte 0x{data[error.start]:02x}: "
                "save it as UTF-8"
            ) from None
        raise
    except csv.Error as error:
        raise DataError(f"{file}: line {line}: {error}") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def _delimiter(source: TextIO) -> str:
    """Return what separates the cells of a .csv file: no comma, if its first line has none but others."""
    line = next((line for line in source if line.strip()), "")
    source.seek(0)
    bare = re.sub('"[^"]*"', "", line)
    counts = {sign: bare.count(sign) for sign in ";\t"}
    return "," if "," in bare or not any(counts.values()) else max(counts, key=counts.__getitem__)


def _header(first: list[str], second: list[str], wanted_names: Sequence[str | int | None]) -> list[str]:
    """Return the names in the first row, or nothing if it is a row of data."""
    names = [cell.strip() for cell in first]
    wanted = any(isinstance(w, str) and w in names and _number(w) is None for w in wanted_names)
    for name, below in zip(names, second, strict=False):
        if name.casefold() not in _MISSING and not _like_a_number(name) and _like_a_number(below):
            wanted = True
    if not second and all(_number(name) is None for name in names):
        wanted = True
    return names if wanted else []


def _index(file: Path, target: str | int | None, width: int, header: list[str] | None) -> int:
    """Return the number of the target's column."""
    if target is None:
        return width - 1
    if header and str(target) in header:
        if header.count(str(target)) > 1:
            raise DataError(f"{file}: more than one column {str(target)!r}: choose the target by its number")
        return header.index(str(target))
    try:
        column = int(target)
    except ValueError:
        if not header:
            raise DataError(
                f"{file}: its columns have no names: the target must be in [0, {width}), got {target!r}"
            ) from None
        near = _near(str(target), header) or f"; there are {_some(header)}"
        raise DataError(f"{file}: no column {target!r} to be the target{near}") from None
    if not -width <= column < width:
        raise DataError(
            f"{file}: the target must be in [0, {width}), as there are {width} columns, got {column}"
        )
    return column % width


def _named(file: Path, features: Sequence[str], header: list[str]) -> list[int]:
    """Return the columns with these names."""
    for name in features:
        if header.count(name) > 1:
            raise DataError(f"{file}: more than one column {name!r}")
        if name not in header:
            raise DataError(
                f"{file}: no column {name!r}{_near(name, header)}: expected the columns {_some(features)}"
            )
    return [header.index(name) for name in features]


def _others(
    file: Path, width: int, column: int | None, header: list[str] | None, drop: Sequence[str]
) -> list[int]:
    """Return the columns of the inputs: neither the target's nor one to drop."""
    dropped = set()
    for name in drop:
        if header and name in header:
            dropped |= {i for i in range(width) if header[i] == name}
        elif re.fullmatch("-?[0-9]+", name) and -width <= int(name) < width:
            dropped.add(int(name) % width)
        else:
            known = _near(name, header or []) or f"; there are {_some(header)}" if header else ""
            raise DataError(
                f"{file}: no column {name!r} to drop{known or f', as its columns are 0 ... {width - 1}'}"
            )
    if column in dropped:
        raise DataError(f"{file}: the target cannot be dropped too, got {', '.join(drop)}")
    return [i for i in range(width) if i != column and i not in dropped]


def _unnamed(
    width: int, expected: int | None, drop: Sequence[str], ignore: Sequence[str]
) -> tuple[Sequence[str], str | None]:
    """Return the columns to leave out of a table without names, by its width, and the one to ignore."""
    numbers = [name for name in ignore if re.fullmatch("-?[0-9]+", name)]
    if expected is not None and numbers and width == expected + len(drop) + len(numbers):
        return [*drop, *numbers], str(int(numbers[0]) % width)
    return ((), None) if width == expected else (drop, None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _like_a_number(cell: str) -> bool:
    return _number(cell) is not None or _DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def _column(i: int, header: list[str]) -> str:
    return f"column {header[i]!r}" if header else f"column {i}"


def _bad_cell(
    file: Path, line: int, row: list[str], columns: list[int], header: list[str], *, first: bool
) -> NoReturn:
    """Say which cell is no number, and what to do about it."""
    i = next(i for i in columns if _number(row[i]) is None)
    cell = row[i].strip()
    drop = f"--drop {shlex.quote(header[i] if header and ',' not in header[i] else str(i))}"
    fault = "expected a number"
    if cell.casefold() in _MISSING:
        fault, remedy = "the cell is missing", _FILL
    elif "\0" in cell:
        remedy = ": it holds a NUL, as UTF-16 does: save the file as UTF-8"
    elif _DECIMAL_COMMA.fullmatch(cell):
        remedy = _POINT
    elif first:
        remedy = f": drop it with {drop}, or encode it as numbers"
    else:
        remedy = f": correct it, or drop the column with {drop}"
    raise DataError(f"{file}: line {line}, {_column(i, header)}: {fault}, got {row[i]!r}{remedy}")
