"""Gates: the arithmetic of a network, each with its vector-Jacobian product.

A gate of one array returns ``(y, vjp)`` with ``vjp(dy) -> dx``, a gate of two ``(z, vjp)`` with
``vjp(dz) -> (dx, dy)``. Two arrays broadcast as usual; their gradients are summed back over the
axes that were stretched, and always have the shapes of what they belong to. A gradient may be the
very array that was passed in (that of `add`): treat it as read-only.

The second operand may be a Python number; its gradient is then an array without axes.
"""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, Vjp, namespace

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
    x, y : array
        Of shapes that broadcast.

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

    def vjp(dz: Array) -> tuple[Array, Array]:
        return _unbroadcast(dz, shape_x), _unbroadcast(dz, shape_y)

    return x + y, vjp


def subtract(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Subtract: z = x - y, dx = dz, dy = -dz.

    Parameters
    ----------
    x, y : array
        Of shapes that broadcast.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = subtract(np.asarray([3.0]), np.asarray([1.0]))
    >>> [g.tolist() for g in vjp(np.asarray([5.0]))]
    [[5.0], [-5.0]]
    """
    shape_x, shape_y = _shape(x), _shape(y)

    def vjp(dz: Array) -> tuple[Array, Array]:
        return _unbroadcast(dz, shape_x), -_unbroadcast(dz, shape_y)

    return x - y, vjp


def multiply(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Multiply: z = x y, dx = dz y, dy = dz x. Each gradient is the other operand's value.

    Parameters
    ----------
    x, y : array
        Of shapes that broadcast.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

    Examples
    --------
    >>> import numpy as np
    >>> z, vjp = multiply(np.asarray([3.0]), np.asarray([4.0]))
    >>> [g.tolist() for g in vjp(np.asarray([1.0]))]
    [[4.0], [3.0]]
    """

    def vjp(dz: Array) -> tuple[Array, Array]:
        return _unbroadcast(dz * y, _shape(x)), _unbroadcast(dz * x, _shape(y))

    return x * y, vjp


def divide(x: Array, y: Array) -> tuple[Array, Vjp]:
    """Divide: z = x / y, dx = dz / y, dy = -dz z / y.

    Parameters
    ----------
    x, y : array
        Of shapes that broadcast.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

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

    Parameters
    ----------
    x, y : array
        Of shapes that broadcast.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

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

    Parameters
    ----------
    x, y : array
        Of shapes that broadcast.

    Returns
    -------
    z : array
        Of the broadcast shape.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

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
        Without the axis that a vector does not have.
    vjp : callable
        ``vjp(dz) -> (dx, dy)``.

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

    def vjp(dy: Array) -> Array:
        return -dy

    return -x, vjp


def reciprocal(x: Array) -> tuple[Array, Vjp]:
    """Invert: y = 1 / x, dx = -dy y^2.

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
    >>> y, vjp = reciprocal(np.asarray([2.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([0.5], [-0.25])
    """
    y = 1.0 / x

    def vjp(dy: Array) -> Array:
        return -dy * y * y

    return y, vjp


def square(x: Array) -> tuple[Array, Vjp]:
    """Square: y = x^2, dx = 2 x dy.

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
    >>> y, vjp = square(np.asarray([3.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([9.0], [6.0])
    """

    def vjp(dy: Array) -> Array:
        return 2.0 * dy * x

    return x * x, vjp


def sqrt(x: Array) -> tuple[Array, Vjp]:
    """Take the square root: y = x^(1/2), dx = dy / (2 y).

    Parameters
    ----------
    x : array
        Any shape, x >= 0; at 0 the gradient is infinite.

    Returns
    -------
    y : array
        Of the shape of `x`.
    vjp : callable
        ``vjp(dy) -> dx``.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = sqrt(np.asarray([4.0]))
    >>> y.tolist(), vjp(1.0).tolist()
    ([2.0], [0.25])
    """
    y = namespace(x).sqrt(x)

    def vjp(dy: Array) -> Array:
        return 0.5 * dy / y

    return y, vjp


def power(x: Array, exponent: float) -> tuple[Array, Vjp]:
    """Raise to a fixed power: y = x^p, dx = dy p x^(p - 1).

    Parameters
    ----------
    x : array
        Any shape; x > 0 unless the exponent is an integer.
    exponent : float
        A Python number p.

    Returns
    -------
    y : array
        Of the shape of `x`.
    vjp : callable
        ``vjp(dy) -> dx``.

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
    >>> exp(np.asarray([0.0]))[0].tolist()
    [1.0]
    """
    y = namespace(x).exp(x)

    def vjp(dy: Array) -> Array:
        return dy * y

    return y, vjp


def log(x: Array) -> tuple[Array, Vjp]:
    """Take the natural logarithm: y = ln x, dx = dy / x.

    Parameters
    ----------
    x : array
        Any shape, x > 0.

    Returns
    -------
    y : array
        Of the shape of `x`.
    vjp : callable
        ``vjp(dy) -> dx``.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = log(np.asarray([1.0, 2.0]))
    >>> vjp(1.0).tolist()
    [1.0, 0.5]
    """

    def vjp(dy: Array) -> Array:
        return dy / x

    return namespace(x).log(x), vjp


def sum(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> tuple[Array, Vjp]:
    """Add up: y = sum of x over some axes; every element gets the gradient of its sum.

    Parameters
    ----------
    x : array
        Any shape.
    axis : int or tuple of int, optional
        Axes to add up over, by default all.
    keepdims : bool
        Whether those axes stay, with length 1.

    Returns
    -------
    y : array
        The sums.
    vjp : callable
        ``vjp(dy) -> dx``; for the sum of all, dy may be a Python number.

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
            gone = {a % x.ndim for a in axes}
            dy = xp.reshape(dy, tuple(1 if a in gone else n for a, n in enumerate(x.shape)))
        return xp.zeros_like(x) + dy

    return xp.sum(x, axis=axis, keepdims=keepdims), vjp


def _namespace(x: Array, y: Array) -> Any:
    return namespace(x if hasattr(x, "shape") else y)  # NumPy's float64 is a Python float too


def _shape(x: Array) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


def _unbroadcast(dz: Array, shape: tuple[int, ...]) -> Array:
    """Return `dz` summed over the axes along which an array of `shape` was stretched to it."""
    if tuple(dz.shape) == shape:
        return dz
    xp = namespace(dz)
    extra = dz.ndim - len(shape)
    stretched = tuple(i + extra for i, n in enumerate(shape) if n == 1 and dz.shape[i + extra] != 1)
    return xp.reshape(xp.sum(dz, axis=(*range(extra), *stretched)), shape)


def _routed(xp: Any, to_x: Array, shape_x: tuple[int, ...], shape_y: tuple[int, ...]) -> Vjp:
    """Return the vjp of a choice: the gradient goes to x where `to_x`, else to y."""

    def vjp(dz: Array) -> tuple[Array, Array]:
        dx, dy = xp.where(to_x, dz, 0.0), xp.where(to_x, 0.0, dz)
        return _unbroadcast(dx, shape_x), _unbroadcast(dy, shape_y)

    return vjp
