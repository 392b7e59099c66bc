"""Penalties on parameters: each returns its value and its vector-Jacobian product.

They take the flat vector of parameters (P,), or K of them (K, P), with a mask of the penalised elements.
"""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, Vjp, namespace

__all__ = ["l1", "l2"]


def l1(w: Array, mask: Any = 1.0) -> tuple[Array, Vjp]:
    """Return the sum of absolute values over the last axis: sum(mask abs(w)).

    Source: Tibshirani, "Regression shrinkage and selection via the lasso" (1996).

    Parameters
    ----------
    w : array (..., P)
        Flat parameters.
    mask : float or array (P,)
        1 for penalised parameters, 0 for others.

    Returns
    -------
    value : array (...)
        The penalty.
    vjp : callable
        ``vjp(dvalue=1.0) -> dw``, with `dvalue` a float or an array (...); 0 where w is 0.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = l1(np.asarray([1.0, -2.0]))
    >>> float(value), vjp()
    (3.0, array([ 1., -1.]))
    """
    xp = namespace(w)
    return xp.sum(mask * xp.abs(w), axis=-1), lambda dvalue=1.0: _upstream(xp, dvalue) * mask * xp.sign(w)


def l2(w: Array, mask: Any = 1.0) -> tuple[Array, Vjp]:
    """Return the sum of squares over the last axis: sum(mask w^2).

    Source: Hoerl and Kennard, "Ridge regression" (1970).

    Parameters
    ----------
    w : array (..., P)
        Flat parameters.
    mask : float or array (P,)
        1 for penalised parameters, 0 for others.

    Returns
    -------
    value : array (...)
        The penalty.
    vjp : callable
        ``vjp(dvalue=1.0) -> dw``, with `dvalue` a float or an array (...).

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = l2(np.asarray([1.0, -2.0]))
    >>> float(value), vjp()
    (5.0, array([ 2., -4.]))
    """
    xp = namespace(w)
    return xp.sum(mask * w * w, axis=-1), lambda dvalue=1.0: 2.0 * _upstream(xp, dvalue) * mask * w


def _upstream(xp: Any, dvalue: Any) -> Any:
    """Return `dvalue` in a shape that broadcasts with (..., P)."""
    return float(dvalue) if isinstance(dvalue, int | float) else xp.expand_dims(dvalue, axis=-1)
