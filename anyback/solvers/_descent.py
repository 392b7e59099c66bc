"""Gradient descent, step by step, with its path: the form in which it is taught."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array, namespace
from anyback.optimizers import SGD
from anyback.optimizers._base import Optimizer, Rate
from anyback.solvers._gradient import with_slope
from anyback.solvers._numbers import finite, flat, function, like, real
from anyback.validation import integer, number

__all__ = ["Descent", "gradient_descent"]


@dataclass(frozen=True)
class Descent:
    """The result of `gradient_descent`.

    Attributes
    ----------
    x : array
        The last point.
    path : array (steps + 1, ...)
        All points, the start included; fewer if it diverged.
    values : array (steps + 1,)
        The value of the function at each of them.
    gradient : array like x
        The gradient at the last point.
    diverged : bool
        Whether the values grew without bound. Not having reached a minimum yet is no divergence.
    message : str
        Why it ended, in one line.

    Examples
    --------
    >>> import numpy as np
    >>> run = gradient_descent(lambda x: np.sum(x**2), np.asarray([1.0]), lr=0.25, steps=2)
    >>> [round(float(x), 6) for x in run.path[:, 0]], run.diverged
    ([1.0, 0.5, 0.25], False)
    """

    x: Array
    path: Array
    values: Array
    gradient: Array
    diverged: bool
    message: str


def gradient_descent(
    f: Callable[[Array], Any],
    x: Any,
    *,
    lr: Rate | None = None,
    steps: int = 100,
    optimizer: Optimizer | None = None,
    gradient: Callable[[Array], Any] | None = None,
    h: float = 1e-4,
    bound: float = 1e8,
) -> Descent:
    """Minimise a function by gradient descent.

    Equation::

        x = x - lr f'(x)

    Source: Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées" (1847);
    Nocedal and Wright, "Numerical optimization", 2nd edition (2006), section 2.2.

    Parameters
    ----------
    f : callable
        ``f(x)`` returns a number, and `numerical_gradient` computes the gradient; or it returns
        ``(value, vjp)``, and ``vjp()`` is the gradient.
    x : array
        The start: any shape, any library. Integers become the library's floats.
    lr : float or schedule
        Learning rate; 0.1 if neither it nor an optimizer is given.
    steps : int
        Number of steps; only divergence ends it earlier.
    optimizer : Optimizer, optional
        One of `anyback.optimizers` instead of plain descent, with its own learning rate.
    gradient : callable, optional
        ``gradient(x)`` like x, where it is known.
    h : float
        Step of the numerical gradient.
    bound : float
        How far is too far: the descent diverged once an element of x is larger than `bound` times the
        largest at the start (than `bound` itself where that is below 1). At the default, float64 has lost
        half its digits for a step of 1.

    Returns
    -------
    Descent
        The path, the values, and whether it diverged: an x beyond the bound, or an x or value that is not
        finite. The path then ends at the last point where all was finite.

    Raises
    ------
    TypeError
        If `x` holds no real numbers, or `optimizer` is no Optimizer.
    ValueError
        If the start, the value there or an option is out of range, both `lr` and `optimizer` are given, or
        `f` or a gradient gives something of another shape.

    Notes
    -----
    Each step reads back two numbers, the value and the size of x.

    Examples
    --------
    >>> import numpy as np
    >>> def bowl(x):
    ...     return np.sum(x**2), lambda dy: 2.0 * x * dy
    >>> gradient_descent(bowl, np.asarray([-3.0, 4.0]), lr=0.25, steps=20).message
    '20 steps, value 2.27e-11, largest slope 7.63e-06'
    >>> gradient_descent(bowl, np.asarray([-3.0, 4.0]), lr=10.0).message
    'diverged at step 7: x grew to 3.58e+09, beyond the bound of 4e+08'
    """
    steps, h, bound = integer("steps", steps), number("h", h), number("bound", bound)
    if optimizer is None:
        optimizer = SGD(0.1 if lr is None else lr)
    elif not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer such as anyback.Adam(), got {optimizer!r}")
    elif lr is not None:
        raise ValueError(f"lr and optimizer exclude each other, got lr {lr!r} and {optimizer!r}")
    ask = with_slope(function("f", f), None if gradient is None else function("gradient", gradient), h)
    x = finite("x", real("x", x))
    xp, shape = namespace(x), tuple(x.shape)
    limit = bound * max(1.0, _largest(x))
    value, slope = ask(x)
    if not math.isfinite(float(value)):
        raise ValueError(f"f must be finite at the start, got {float(value)}")
    path, values, slots, ended = [x], [value], optimizer.init(flat(x)), ""
    for t in range(1, steps + 1):
        w, slots = optimizer.step(flat(x), flat(slope()), slots, t)
        ahead = xp.reshape(w, shape)
        size = _largest(ahead)
        if not math.isfinite(size):
            ended = f"diverged at step {t}: x is no longer finite"
            break
        value_ahead, slope_ahead = ask(ahead)
        if not math.isfinite(float(value_ahead)):
            ended = f"diverged at step {t}: f is {float(value_ahead)}"
            break
        x, value, slope = ahead, value_ahead, slope_ahead
        path.append(x)
        values.append(value)
        if size > limit:
            ended = f"diverged at step {t}: x grew to {size:.3g}, beyond the bound of {limit:.3g}"
            break
    g = slope()
    message = ended or f"{steps} steps, value {float(value):.3g}, largest slope {_largest(g):.3g}"
    return Descent(x, xp.stack(path), xp.stack([like(v, x) for v in values]), g, bool(ended), message)


def _largest(x: Array) -> float:
    """Return the size of the largest element, on the host."""
    xp = namespace(x)
    return float(xp.max(xp.abs(x)))
