"""Gates: the arithmetic of a network, each with its vector-Jacobian product.

A gate of one array returns ``(y, vjp)`` with ``vjp(dy) -> dx``, a gate of two ``(z, vjp)`` with
``vjp(dz) -> (dx, dy)``. Two arrays broadcast as usual; their gradients are summed over the broadcast axes
and always have the shapes of the operands. A gradient may be the array that was passed in (that of `add` is):
treat it as read-only.

The second operand may be a Python number; its gradient is then an array of shape ().
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from anyback.arrays import Array, Vjp, namespace
from anyback.docstrings import complete

__all__ = [
    "add",
    "divide",
    "exp",
    "log",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "reciprocal",
    "sqrt",
    "square",
    "subtract",
    "sum",
]


def add(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Add: z = x + y, dx = dz, dy = dz.

    Parameters
    ----------
    x : array
        Broadcasts with `y`.
    y : array or float
        Broadcasts with `x`.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = add(np.zeros((2, 3)), np.ones(3))
    >>> vjp(np.ones((2, 3)))[1].tolist()
    [2.0, 2.0, 2.0]
    """
    shape_x, shape_y = _shape(x), _shape(y)
    return x + y, lambda dz: (_unbroadcast(dz, shape_x), _unbroadcast(dz, shape_y))


def subtract(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Subtract: z = x - y, dx = dz, dy = -dz.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = subtract(np.asarray([3.0]), np.asarray([1.0]))
    >>> [g.tolist() for g in vjp(np.asarray([5.0]))]
    [[5.0], [-5.0]]
    """
    shape_x, shape_y = _shape(x), _shape(y)
    return x - y, lambda dz: (_unbroadcast(dz, shape_x), -_unbroadcast(dz, shape_y))


def multiply(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Multiply: z = x y, dx = dz y, dy = dz x. Each gradient is the other operand's value.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = multiply(np.asarray([3.0]), np.asarray([4.0]))
    >>> [g.tolist() for g in vjp(np.asarray([1.0]))]
    [[4.0], [3.0]]
    """
    return x * y, lambda dz: (_unbroadcast(dz * y, _shape(x)), _unbroadcast(dz * x, _shape(y)))


def divide(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Divide: z = x / y, dx = dz / y, dy = -dz z / y.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = divide(np.asarray([3.0]), np.asarray([2.0]))
    >>> [g.tolist() for g in vjp(np.asarray([1.0]))]
    [[0.5], [-0.75]]
    """
    z = x / y

    def vjp(dz: Array) -> tuple[Array, Array]:
        dx = dz / y
        return _unbroadcast(dx, _shape(x)), -_unbroadcast(dx * z, _shape(y))

    return z, vjp


def maximum(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Take the larger: z = max(x, y). The gradient goes to it, in a tie to `x`.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = maximum(np.asarray([1.0, 2.0, 3.0]), np.asarray([2.0, 2.0, 2.0]))
    >>> [g.tolist() for g in vjp(np.asarray([5.0, 6.0, 7.0]))]
    [[0.0, 6.0, 7.0], [5.0, 0.0, 0.0]]
    """
    xp = _namespace(x, y)
    return xp.maximum(x, y), _routed(xp, x >= y, _shape(x), _shape(y))


def minimum(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Take the smaller: z = min(x, y). The gradient goes to it, in a tie to `x`.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = minimum(np.asarray([1.0, 2.0, 3.0]), np.asarray([2.0, 2.0, 2.0]))
    >>> [g.tolist() for g in vjp(np.asarray([5.0, 6.0, 7.0]))]
    [[5.0, 6.0, 0.0], [0.0, 0.0, 7.0]]
    """
    xp = _namespace(x, y)
    return xp.minimum(x, y), _routed(xp, x <= y, _shape(x), _shape(y))


def matmul(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Multiply matrices: Z = X Y, dX = dZ Y^T, dY = X^T dZ.

    Parameters
    ----------
    x : array (..., n, m) or (m,)
        Leading axes broadcast.
    y : array (..., m, k) or (m,)
        Leading axes broadcast.

    Returns
    -------
    z : array (..., n, k)
        Without the axis n or k where `x` or `y` is a vector.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = matmul(np.ones((2, 3)), np.ones((3, 4)))
    >>> [g.shape for g in vjp(z)]
    [(2, 3), (3, 4)]
    """
    xp = namespace(x)

    def vjp(dz: Array) -> tuple[Array, Array]:
        a, b = x, y
        if y.ndim == 1:
            dz, b = xp.expand_dims(dz, axis=-1), xp.expand_dims(y, axis=-1)
        if x.ndim == 1:
            dz, a = xp.expand_dims(dz, axis=-2), xp.expand_dims(x, axis=-2)
        dx = _unbroadcast(dz @ xp.matrix_transpose(b), tuple(a.shape))
        dy = _unbroadcast(xp.matrix_transpose(a) @ dz, tuple(b.shape))
        return xp.reshape(dx, tuple(x.shape)), xp.reshape(dy, tuple(y.shape))

    return x @ y, vjp


def negative(x: Array) -> tuple[Array, Vjp]:
    """Negate: y = -x, dx = -dy.

    Parameters
    ----------
    x : array
        Any shape.

    Returns
    -------
    y : array
        Of the shape of `x`.
    vjp : callable
        ``vjp(dy) -> dx``.

    Examples
    --------
    >>> import numpy as np
    >>> negative(np.asarray([2.0]))[0].tolist()
    [-2.0]
    """
    return -x, lambda dy: -dy


def reciprocal(x: Array) -> tuple[Array, Vjp]:
    """Invert: y = 1 / x, dx = -dy y^2.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = reciprocal(np.asarray([2.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([0.5], [-0.25])
    """
    y = 1.0 / x
    return y, lambda dy: -dy * y * y


def square(x: Array) -> tuple[Array, Vjp]:
    """Square: y = x^2, dx = 2 x dy.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = square(np.asarray([3.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([9.0], [6.0])
    """
    return x * x, lambda dy: 2.0 * dy * x


def sqrt(x: Array) -> tuple[Array, Vjp]:
    """Take the square root: y = x^(1/2), dx = dy / (2 y).

    Parameters
    ----------
    x : array
        Any shape, x >= 0; at 0 the gradient is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = sqrt(np.asarray([4.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([2.0], [0.25])
    """
    y = namespace(x).sqrt(x)
    return y, lambda dy: 0.5 * dy / y


def power(x: Array, exponent: float) -> tuple[Array, Vjp]:
    """Raise to a fixed power: y = x^p, dx = dy p x^(p - 1).

    Parameters
    ----------
    x : array
        Any shape; x > 0 unless the exponent is an integer.
    exponent : float
        A Python number p.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = power(np.asarray([2.0]), 3.0)
    >>> y.tolist(), vjp(1.0).tolist()
    ([8.0], [12.0])
    """

    def vjp(dy: Array) -> Array:
        # 0 x^(-1) would be 0 times infinity at x = 0.
        slope = exponent * x ** (exponent - 1.0) if exponent else 0.0 * x
        return dy * slope

    return x**exponent, vjp


def exp(x: Array) -> tuple[Array, Vjp]:
    """Exponentiate: y = e^x, dx = dy y.

    Examples
    --------
    >>> import numpy as np
    >>> exp(np.asarray([0.0]))[0].tolist()
    [1.0]
    """
    y = namespace(x).exp(x)
    return y, lambda dy: dy * y


def log(x: Array) -> tuple[Array, Vjp]:
    """Take the natural logarithm: y = ln x, dx = dy / x.

    Parameters
    ----------
    x : array
        Any shape, x > 0.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = log(np.asarray([1.0, 2.0]))
    >>> vjp(1.0).tolist()
    [1.0, 0.5]
    """
    return namespace(x).log(x), lambda dy: dy / x


def sum(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> tuple[Array, Vjp]:
    """Sum over some axes: every element of x receives the gradient of its sum.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Axes to sum over, by default all.
    keepdims : bool
        Whether those axes are kept, with length 1.

    Returns
    -------
    y : array
        The sums.
    vjp : callable
        ``vjp(dy) -> dx``; for the sum over all axes, dy may be a Python number.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = sum(np.ones((2, 3)), axis=0)
    >>> y.tolist(), vjp(np.asarray([1.0, 2.0, 3.0])).tolist()
    ([2.0, 2.0, 2.0], [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    """
    xp = namespace(x)

    def vjp(dy: Array) -> Array:
        if axis is not None and not keepdims:
            axes = axis if isinstance(axis, tuple) else (axis,)
            summed = {a % x.ndim for a in axes}
            dy = xp.reshape(dy, tuple(1 if a in summed else n for a, n in enumerate(x.shape)))
        return xp.zeros_like(x) + dy

    return xp.sum(x, axis=axis, keepdims=keepdims), vjp


def _namespace(x: Array, y: Array) -> Any:
    return namespace(x if hasattr(x, "shape") else y)  # NumPy's float64 is a Python float too


def _shape(x: Array) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


def _unbroadcast(dz: Array, shape: tuple[int, ...]) -> Array:
    """Return `dz` summed over the axes along which an array of `shape` was broadcast to it."""
    if tuple(dz.shape) == shape:
        return dz
    xp = namespace(dz)
    extra = dz.ndim - len(shape)
    stretched = tuple(i + extra for i, n in enumerate(shape) if n == 1 and dz.shape[i + extra] != 1)
    return xp.reshape(xp.sum(dz, axis=(*range(extra), *stretched)), shape)


def _routed(xp: Any, to_x: Array, shape_x: tuple[int, ...], shape_y: tuple[int, ...]) -> Vjp:
    """Return the vjp of a selection: the gradient goes to x where `to_x`, else to y."""

    def vjp(dz: Array) -> tuple[Array, Array]:
        dx, dy = xp.where(to_x, dz, 0.0), xp.where(to_x, 0.0, dz)
        return _unbroadcast(dx, shape_x), _unbroadcast(dy, shape_y)

    return vjp


for _name in __all__:  # `add` and `negative` document what all gates of two arrays and of one have in common
    _gate = globals()[_name]
    _gate.__doc__ = complete(_gate.__doc__, (add if "y" in signature(_gate).parameters else negative).__doc__)
