"""Clipping of gradients by norm or by value.

The functions take one flat gradient (P,), or K gradients (K, P), each with its own norm, and read nothing
back to the host.
"""

from __future__ import annotations

from anyback.arrays import Array, namespace
from anyback.validation import number

__all__ = ["clip_by_norm", "clip_by_value", "global_norm"]


def global_norm(g: Array) -> Array:
    """Return the Euclidean norm over the last axis.

    Equation: top sqrt(sum (g / top)^2) with top = max abs(g), because in single precision squares overflow
    from 2e19 on and underflow below 1e-23, long before the norm itself does.

    Parameters
    ----------
    g : array (..., P)
        Flat gradients.

    Returns
    -------
    array (..., 1)
        The norm of each gradient; NaN if any of its elements is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> global_norm(np.asarray([3.0, -4.0]))
    array([5.])
    """
    xp = namespace(g)
    top = xp.max(xp.abs(g), axis=-1, keepdims=True)
    top = xp.where(top == 0.0, 1.0, top)
    scaled = g / top
    scaled *= scaled
    return top * xp.sqrt(xp.sum(scaled, axis=-1, keepdims=True))


def clip_by_norm(g: Array, limit: float) -> Array:
    """Return the gradient, scaled to the norm `limit` if its norm is larger.

    Equation: g / max(1, norm(g) / limit). Other gradients, zero included, are returned unchanged to the bit.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).

    Parameters
    ----------
    g : array (..., P)
        Flat gradients, each with the norm of its last axis.
    limit : float
        Largest norm.

    Returns
    -------
    array (..., P)
        All NaN if the norm is NaN.

    Raises
    ------
    ValueError
        If `limit` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> clip_by_norm(np.asarray([3.0, -4.0]), 1.0)
    array([ 0.6, -0.8])
    """
    limit = number("limit", limit)
    excess = global_norm(g) / limit
    return g / namespace(g).where(excess <= 1.0, 1.0, excess)


def clip_by_value(g: Array, limit: float) -> Array:
    """Return the gradient with each element clipped to [-limit, limit].

    Parameters
    ----------
    g : array (...)
        Gradients.
    limit : float
        Largest absolute value of an element.

    Returns
    -------
    array (...)
        NaN where `g` is NaN.

    Raises
    ------
    ValueError
        If `limit` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> clip_by_value(np.asarray([0.5, -4.0]), 1.0)
    array([ 0.5, -1. ])
    """
    limit = number("limit", limit)
    return namespace(g).clip(g, -limit, limit)
