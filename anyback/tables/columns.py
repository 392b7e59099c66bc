"""Which columns of a file are the target and the inputs, by name or number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from anyback.tables._base import DataError, did_you_mean, listed

__all__ = ["columns_named", "input_columns", "target_column", "unnamed_columns"]


def target_column(file: Path, target: str | int | None, width: int, header: list[str] | None) -> int:
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
        near = did_you_mean(str(target), header) or f"; there are {listed(header)}"
        raise DataError(f"{file}: no column {target!r} to be the target{near}") from None
    if not -width <= column < width:
        raise DataError(
            f"{file}: the target must be in [0, {width}), as there are {width} columns, got {column}"
        )
    return column % width


def columns_named(file: Path, features: Sequence[str], header: list[str]) -> list[int]:
    """Return the columns with these names."""
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
    """Return the columns of the inputs: neither the target's nor one to drop."""
    dropped = set()
    for name in drop:
        if header and name in header:
            dropped |= {i for i in range(width) if header[i] == name}
        elif re.fullmatch("-?[0-9]+", name) and -width <= int(name) < width:
            dropped.add(int(name) % width)
        else:
            known = did_you_mean(name, header or []) or f"; there are {listed(header)}" if header else ""
            raise DataError(
                f"{file}: no column {name!r} to drop{known or f', as its columns are 0 ... {width - 1}'}"
            )
    if column in dropped:
        raise DataError(f"{file}: the target cannot be dropped too, got {', '.join(drop)}")
    return [i for i in range(width) if i != column and i not in dropped]


def unnamed_columns(
    width: int, expected: int | None, drop: Sequence[str], ignore: Sequence[str]
) -> tuple[Sequence[str], str | None]:
    """Return the columns to leave out of a table without names, by its width, and the one to ignore."""
    numbers = [name for name in ignore if re.fullmatch("-?[0-9]+", name)]
    if expected is not None and numbers and width == expected + len(drop) + len(numbers):
        return [*drop, *numbers], str(int(numbers[0]) % width)
    return ((), None) if width == expected else (drop, None)
