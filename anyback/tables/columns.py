"""Find the target and input columns of a file, by name or index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from anyback.tables._base import DataError, did_you_mean, listed

__all__ = ["columns_named", "input_columns", "target_column", "unnamed_columns"]


def target_column(file: Path, target: str | int | None, width: int, header: list[str] | None) -> int:
    """Return the index of the target column."""
    if target is None:
        return width - 1
    if header and str(target) in header:
        if header.count(str(target)) > 1:
            raise DataError(f"{file}: more than one column {str(target)!r}: choose the target by its index")
        return header.index(str(target))
    try:
        column = int(target)
    except ValueError:
        if not header:
            raise DataError(
                f"{file}: its columns have no names: the target must be in [0, {width}), got {target!r}"
            ) from None
        near = did_you_mean(str(target), header) or f"; the columns are {listed(header)}"
        raise DataError(f"{file}: no target column {target!r}{near}") from None
    if not -width <= column < width:
        raise DataError(
            f"{file}: the target must be in [0, {width}), as there are {width} columns, got {column}"
        )
    return column % width


def columns_named(file: Path, features: Sequence[str], header: list[str]) -> list[int]:
    """Return the indices of the columns with these names."""
    for name in features:
        if header.count(name) > 1:
            raise DataError(f"{file}: more than one column {name!r}")
        if name not in header:
            raise DataError(
                f"{file}: no column {name!r}{did_you_mean(name, header)}: "
                f"expected the columns {listed(features)}"
            )
    return [header.index(name) for name in features]


def input_columns(
    file: Path, width: int, column: int | None, header: list[str] | None, drop: Sequence[str]
) -> list[int]:
    """Return the indices of the input columns: all except the target and the columns to drop."""
    dropped = set()
    for name in drop:
        if header and name in header:
            dropped |= {i for i in range(width) if header[i] == name}
        elif re.fullmatch("-?[0-9]+", name) and -width <= int(name) < width:
            dropped.add(int(name) % width)
        else:
            names = listed(header) if header else f"0 ... {width - 1}"
            near = did_you_mean(name, header or []) or f"; the columns are {names}"
            raise DataError(f"{file}: no column {name!r} to drop{near}")
    if column in dropped:
        raise DataError(f"{file}: the target cannot be dropped, got {', '.join(drop)}")
    return [i for i in range(width) if i != column and i not in dropped]


def unnamed_columns(
    width: int, expected: int | None, drop: Sequence[str], ignore: Sequence[str]
) -> tuple[Sequence[str], str | None]:
    """Return the columns to drop from a table without column names, and the ignored target column, if any.

    The number of columns decides: a table of `expected` columns holds inputs only, and nothing is dropped.
    """
    numbers = [name for name in ignore if re.fullmatch("-?[0-9]+", name)]
    if expected is not None and numbers and width == expected + len(drop) + len(numbers):
        return [*drop, *numbers], str(int(numbers[0]) % width)
    return ((), None) if width == expected else (drop, None)
