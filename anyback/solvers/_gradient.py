"""The gradient of a function: by central differences, or from its own vjp."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from array_api_compat import is_array_api_obj

from anyback.arrays import Array, device, namespace
from anyback.solvers._numbers import finite, flat, function, like, real
from anyback.validation import is_number, number

__all__ = ["Slope", "numerical_gradient", "with_slope"]

Slope: TypeAlias = Callable[[], Array]
"""Gives the gradient where a function has just been evaluated."""


def numerical_gradient(f: Callable[[Array], Any], x: Any, h: float = 1e-4) -> Array:
    """Return the gradient of a function by central differences, one element at a time.

    Equation::

        g_i = (f(x + h e_i) - f(x - h e_i)) / 2h

    Source: Nocedal and Wright, "Numerical optimization", 2nd edition (2006), section 8.1. The error is
    that of the third derivative, f''' h^2 / 6, and that of rounding, about eps abs(f) / h.

    Parameters
    ----------
    f : callable
        ``f(x)`` returns a number: a Python float or an array (). A function that returns ``(value, vjp)``
        works too; its vjp is not used. It is called twice for each element.
    x : array
        The point, of any shape and library. Integers become the library's floats.
    h : float
        The step, the same for every element. 1e-4 suits float64 and x of about 1; use 1e-2 in float32.

    Returns
    -------
    array like x
        The gradient. `x` is not changed; it is read back to check that it is finite and that `h` changes it.

    Raises
    ------
    TypeError
        If `x` holds no real numbers.
    ValueError
        If `x` is empty or not finite, `h` is not positive or lost in the rounding of `x`, or the value of
        `f` is no single number.

    Examples
    --------
    >>> import numpy as np
    >>> g = numerical_gradient(lambda x: np.sum(x**2), np.asarray([3.0, 4.0]))
    >>> [round(float(slope), 9) for slope in g]
    [6.0, 8.0]
    """
    x, h = finite("x", real("x", x)), number("h", h)
    xp = namespace(x)
    if bool(xp.any(x + h == x)):
        largest = float(xp.max(xp.abs(x)))
        raise ValueError(f"h must be large enough to change x, got {h:g} for {largest:g} as {x.dtype}")
    return _differences(function("f", f), x, h)


def with_slope(
    f: Callable[[Array], Any], gradient: Callable[[Array], Any] | None = None, h: float = 1e-4
) -> Callable[[Array], tuple[Any, Slope]]:
    """Return ``ask(x) -> (value, slope)``, from `gradient`, the vjp of `f`, or central differences."""

    def ask(x: Array) -> tuple[Any, Slope]:
        result = f(x)
        value = _value(result, x)
        if gradient is not None:
            return value, lambda: _shaped(gradient(x), x)
        if _is_pair(result):
            one = namespace(result[0]).ones_like(result[0]) if is_array_api_obj(result[0]) else 1.0
            return value, lambda: _shaped(result[1](one), x)
        return value, lambda: _differences(f, x, h)

    return ask


def _differences(f: Callable[[Array], Any], x: Array, h: float) -> Array:
    """Return central differences; NaN where h is lost in rounding."""
    xp, shape, w = namespace(x), tuple(x.shape), flat(x)
    places = xp.arange(w.shape[0], device=device(x))

    def at(i: int, d: float) -> Any:
        return _value(f(xp.reshape(xp.where(places == i, w + d, w), shape)), x)

    slopes = [like((at(i, h) - at(i, -h)) / (2.0 * h), x) for i in range(w.shape[0])]
    return xp.reshape(xp.where(w + h == w, math.nan, xp.stack(slopes)), shape)


def _is_pair(result: Any) -> bool:
    """Return whether a function returned a value and its vjp."""
    return isinstance(result, tuple) and len(result) > 1 and callable(result[1])


def _value(result: Any, x: Array) -> Any:
    """Return the number that a function of `x` returned: a Python float or an array () of floats."""
    value = result[0] if _is_pair(result) else result
    if is_number(value):  # NumPy's scalars too
        return float(value)
    if not is_array_api_obj(value):
        raise ValueError(f"f must give one number, got {type(value).__name__}")
    if tuple(value.shape):
        raise ValueError(f"f must give one number, got shape {tuple(value.shape)}")
    isdtype = namespace(value).isdtype
    if not isdtype(value.dtype, ("integral", "real floating")):
        raise ValueError(f"f must give one real number, got dtype {value.dtype}")
    return value if isdtype(value.dtype, "real floating") else like(value, x)


def _shaped(g: Any, x: Array) -> Array:
    """Return a gradient of `x` like x, whose shape it must have."""
    g = like(real("gradient", g), x)
    if tuple(g.shape) != tuple(x.shape):
        raise ValueError(f"gradient must have the shape of x, {tuple(x.shape)}, got {tuple(g.shape)}")
    return g
