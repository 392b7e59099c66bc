"""Checks of single values: numbers in a range, integers and truth values.

Each check returns the value as a plain Python one, because NumPy's scalars would promote float32 arrays and
cannot be stored in checkpoints. An error states the argument, what was expected, and the value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["boolean", "integer", "is_number", "number"]

Range: TypeAlias = Literal[
    "positive and finite", "finite and not negative", "in [0, 1)", "in (0, 1)", "in (0, 1]", "in [0, 1]"
]

# Comparisons with NaN are False, so that it is in no range.
_INSIDE: dict[str, Callable[[float], bool]] = {
    "positive and finite": lambda x: 0 < x < math.inf,
    "finite and not negative": lambda x: 0 <= x < math.inf,
    "in [0, 1)": lambda x: 0 <= x < 1,
    "in (0, 1)": lambda x: 0 < x < 1,
    "in (0, 1]": lambda x: 0 < x <= 1,
    "in [0, 1]": lambda x: 0 <= x <= 1,
}


def is_number(value: Any) -> bool:
    """Whether `value` is a real number of Python or NumPy; True and False are not.

    Examples
    --------
    >>> is_number(1), is_number(True), is_number("1")
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def number(
    name: str,
    value: Any,
    inside: Range | Callable[[float], bool] = "positive and finite",
    expected: str | None = None,
) -> float:
    """Return a number of a range as a Python float.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : float
        A real number of Python or NumPy.
    inside : str or callable
        Name of the range, or a function that returns whether a number is in it; by default the number must
        be positive and finite.
    expected : str, optional
        What the error says after "must", by default "be " and the name of the range.

    Raises
    ------
    ValueError
        If `value` is no number of the range.

    Examples
    --------
    >>> number("momentum", 0, "in [0, 1)")
    0.0
    >>> number("momentum", 1.5, "in [0, 1)")
    Traceback (most recent call last):
    ...
    ValueError: momentum must be in [0, 1), got 1.5
    """
    try:
        result = float(value) if is_number(value) else math.nan
    except OverflowError:  # an integer beyond the largest float
        result = math.inf
    if not (inside if callable(inside) else _INSIDE[inside])(result):
        raise ValueError(f"{name} must {expected or f'be {inside}'}, got {value!r}")
    return result


def integer(
    name: str, value: Any, least: int = 1, below: float = math.inf, expected: str | None = None
) -> int:
    """Return an integer in [least, below) as a Python int.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : int
        An integer of Python or of any array library.
    least, below : int
        Ends of the range.
    expected : str, optional
        What the error says after "must", by default that it must be an integer of at least `least`.

    Raises
    ------
    ValueError
        If `value` is no integer of the range. True and False are no integers here.

    Examples
    --------
    >>> integer("epochs", 3)
    3
    >>> integer("epochs", 0)
    Traceback (most recent call last):
    ...
    ValueError: epochs must be an integer of at least 1, got 0
    """
    try:
        result = operator.index(value)
    except TypeError:
        result = least - 1
    if isinstance(value, bool | np.bool_) or not least <= result < below:
        raise ValueError(f"{name} must {expected or f'be an integer of at least {least}'}, got {value!r}")
    return result


def boolean(name: str, value: Any, hint: str = "") -> bool:
    """Return a truth value as a Python bool.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : bool
        A truth value of Python or NumPy.
    hint : str
        Text at the end of the error.

    Raises
    ------
    TypeError
        If `value` is neither True nor False. No other value of its type would do, and Python would take
        "no" for True.

    Examples
    --------
    >>> boolean("shuffle", "no")
    Traceback (most recent call last):
    ...
    TypeError: shuffle must be True or False, got 'no'
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}{hint}")
    return bool(value)
