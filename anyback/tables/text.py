"""Read .csv and .tsv files."""

from __future__ import annotations

import csv
import math
import re
import shlex
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np

from anyback.arrays import Array
from anyback.tables._base import DataError, Table, listed
from anyback.tables.columns import columns_named, input_columns, target_column, unnamed_columns
from anyback.tables.targets import encode_targets

__all__ = ["load_text", "read_text"]

# How missing values are written. Such a cell is not a column name either.
_MISSING = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
_FILL, _POINT = ": fill it in or remove the row", ": write decimals with a point"


def load_text(
    file: Path,
    target: str | int | None,
    kind: str | None,
    classes: Sequence[str] | None,
    features: Sequence[str] | None,
    drop: Sequence[str],
) -> Table:
    """Return the table in a text file."""
    x, cells, names, name, lines = read_text(file, target, features, drop=drop)
    where = f"column {name!r}" if names else f"column {name}"
    numbers = [_number(cell) for cell in cells]
    for cell, line in zip(cells, lines, strict=True):
        if cell.casefold() in _MISSING:
            raise DataError(f"{file}: line {line}, {where}: missing target, got {cell!r}: remove the row")
    whole: dict[float, int] = {}
    for cell, number, line in zip(cells, numbers, lines, strict=True):
        if number is None or kind not in (None, "labels") or not 2**53 <= abs(number) < math.inf:
            continue
        # Two classes that round to the same number would become one.
        if re.fullmatch("[-+]?[0-9]+", cell) and whole.setdefault(number, int(cell)) != int(cell):
            raise DataError(
                f"{file}: line {line}, {where}: too many digits for a number, "
                f"got {cell!r}, which rounds to the same number as {whole[number]}"
            )
    text = [i for i, number in enumerate(numbers) if number is None]
    comma = next((i for i in text if _DECIMAL_COMMA.fullmatch(cells[i])), None)
    if comma is not None and kind != "labels" and classes is None:
        raise DataError(
            f"{file}: line {lines[comma]}, {where}: expected a number, got {cells[comma]!r}{_POINT}"
        )
    if text and len(text) < len(numbers) and kind != "labels" and classes is None:
        # Numbers and names are mixed: the rarer of the two is taken for the mistake.
        number = next(i for i in range(len(numbers)) if numbers[i] is not None)
        odd = text[0] if 2 * len(text) <= len(numbers) else number
        expected = "a number" if odd in text else "a class name"
        raise DataError(
            f"{file}: line {lines[odd]}, {where}: expected {expected} as in other rows, got {cells[odd]!r}"
        )
    y: Array = np.array(cells) if text else np.array(numbers, dtype=np.float64)
    if not text and not np.isfinite(y).all():
        odd = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(f"{file}: line {lines[odd]}, {where}: expected a finite number, got {cells[odd]!r}")
    y, kind, classes = encode_targets(file, y, kind, classes, lambda row: f"line {lines[row]}, {where}")
    return Table(x, y, kind, names, classes, name if names else None)


def read_text(
    file: Path,
    target: str | int | None,
    features: Sequence[str] | None,
    *,
    inputs_only: bool = False,
    ignore: Sequence[str] = (),
    drop: Sequence[str] = (),
    expected: int | None = None,
) -> tuple[Array, list[str], tuple[str, ...] | None, str, list[int]]:
    """Return inputs, target cells, input names, target name, and the line number of each row."""
    rows = _rows(file)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file}: the file is empty")
    second = next(rows, None)
    header = _header(first[1], second[1] if second else [], [target, *drop])
    if header and second is None:
        raise DataError(f"{file}: has a header but no rows")
    width = len(first[1])
    if not inputs_only and width < 2:
        sign = "tabs" if file.suffix == ".tsv" else "commas"
        raise DataError(
            f"{file}: expected inputs and a target separated by {sign}, got one column, {first[1][0]!r}"
        )
    column = None if inputs_only else target_column(file, target, width, header)
    left = None
    if features is not None and header:
        columns = columns_named(file, features, header)
    else:
        dropped, left = (drop, None) if header else unnamed_columns(width, expected, drop, ignore)
        columns = input_columns(file, width, column, header, dropped)
        columns = [i for i in columns if not (header and header[i] in ignore)]
    if not columns:
        raise DataError(f"{file}: no columns are left for the inputs")
    if features is not None and len(features) != len(columns):
        raise DataError(
            f"{file}: expected {len(features)} columns of inputs, got {len(columns)}: "
            f"the model expects {listed(features)}"
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
            # float() accepts 1_000, which is not a number in a table.
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
        fault = "missing value" if math.isnan(value) else "expected a finite number"
        remedy = _FILL if math.isnan(value) else ""
        raise DataError(f"{file}: line {lines[row_number]}, {where}: {fault}, got {value}{remedy}")
    names = tuple(header[i] for i in columns) if header else None
    name = left or "" if column is None else header[column] if header else str(column)
    return x, cells, names, name, lines


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank, with its line number from 1."""
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
                    raise DataError(f"{file}: line {line}: all values are missing")
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
    """Return the delimiter of a .csv file: semicolon or tab if the first line has these and no comma."""
    line = next((line for line in source if line.strip()), "")
    source.seek(0)
    bare = re.sub('"[^"]*"', "", line)
    counts = {sign: bare.count(sign) for sign in ";\t"}
    return "," if "," in bare or not any(counts.values()) else max(counts, key=counts.__getitem__)


def _header(first: list[str], second: list[str], wanted_names: Sequence[str | int | None]) -> list[str]:
    """Return the names in the first row, or an empty list if it is a row of data."""
    names = [cell.strip() for cell in first]
    wanted = any(isinstance(w, str) and w in names and _number(w) is None for w in wanted_names)
    for name, below in zip(names, second, strict=False):
        if name.casefold() not in _MISSING and not _like_a_number(name) and _like_a_number(below):
            wanted = True
    if not second and all(_number(name) is None for name in names):
        wanted = True
    return names if wanted else []


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
    """Raise a DataError that names the cell and how to fix it."""
    i = next(i for i in columns if _number(row[i]) is None)
    cell = row[i].strip()
    drop = f"--drop {shlex.quote(header[i] if header and ',' not in header[i] else str(i))}"
    fault = "expected a number"
    if cell.casefold() in _MISSING:
        fault, remedy = "missing value", _FILL
    elif "\0" in cell:
        remedy = ": it contains a NUL, as in UTF-16: save the file as UTF-8"
    elif _DECIMAL_COMMA.fullmatch(cell):
        remedy = _POINT
    elif first:
        remedy = f": drop the column with {drop}, or encode it as numbers"
    else:
        remedy = f": correct it, or drop the column with {drop}"
    raise DataError(f"{file}: line {line}, {_column(i, header)}: {fault}, got {row[i]!r}{remedy}")
