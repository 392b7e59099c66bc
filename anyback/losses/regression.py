"""Losses for regression: each output is a real number or the logarithm of a rate."""

from __future__ import annotations

from anyback.arrays import Array, Vjp, namespace
from anyback.losses._base import loss

__all__ = [
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "smooth_l1",
    "log_cosh",
    "quantile",
    "poisson",
]


@loss(targets="reals")
def mean_squared_error(pred: Array, target: Array) -> tuple[Array, Vjp]:
    """Mean squared error, l = sum_j (z_j - t_j)^2 / k.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = mean_squared_error(np.asarray([[1.0], [3.0]]), np.zeros((2, 1)))
    >>> print(value)
    5.0
    >>> vjp()
    array([[1.],
           [3.]])
    """
    d = pred - target
    k = d.shape[-1]
    return namespace(d).sum(d * d, axis=-1) / k, lambda dl: d * (dl * (2.0 / k))


@loss(targets="reals")
def mean_absolute_error(pred: Array, target: Array) -> tuple[Array, Vjp]:
    """Mean absolute error, l = sum_j abs(z_j - t_j) / k, with the derivative 0 at 0.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = mean_absolute_error(np.asarray([[1.0], [-3.0]]), np.zeros((2, 1)))
    >>> print(value)
    2.0
    >>> vjp()
    array([[ 0.5],
           [-0.5]])
    """
    d = pred - target
    k = d.shape[-1]
    xp = namespace(d)
    return xp.sum(xp.abs(d), axis=-1) / k, lambda dl: xp.sign(d) * (dl * (1.0 / k))


@loss(targets="reals")
def huber(pred: Array, target: Array, *, delta: float = 1.0) -> tuple[Array, Vjp]:
    """Huber loss: d^2 / 2 where abs(d) <= delta, else delta (abs(d) - delta / 2), d = z - t, mean over k.

    With c = min(max(d, -delta), delta) it is c (d - c / 2), with the derivative c (Huber, "Robust
    estimation of a location parameter", 1964).

    Parameters
    ----------
    delta : float
        Where the quadratic part ends and the linear part begins; positive, in units of the target.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = huber(np.asarray([[1.0], [3.0]]), np.zeros((2, 1)))
    >>> print(value)
    1.5
    >>> vjp()
    array([[0.5],
           [0.5]])
    """
    _check_positive("delta", delta)
    d = pred - target
    k = d.shape[-1]
    xp = namespace(d)
    c = xp.clip(d, -delta, delta)
    return xp.sum(c * (d - 0.5 * c), axis=-1) / k, lambda dl: c * (dl * (1.0 / k))


@loss(targets="reals")
def smooth_l1(pred: Array, target: Array, *, beta: float = 1.0) -> tuple[Array, Vjp]:
    """Smooth L1 loss: d^2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2, d = z - t, mean over k.

    It is the Huber loss with delta = beta, divided by beta (Girshick, "Fast R-CNN", 2015).

    Parameters
    ----------
    beta : float
        Where the quadratic part ends and the linear part begins; positive, in units of the target.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = smooth_l1(np.asarray([[1.0], [3.0]]), np.zeros((2, 1)), beta=2.0)
    >>> print(value)
    1.125
    >>> vjp()
    array([[0.25],
           [0.5 ]])
    """
    _check_positive("beta", beta)
    l, vjp = huber.__wrapped__(pred, target, delta=beta)
    return l / beta, lambda dl: vjp(dl / beta)


@loss(targets="reals")
def log_cosh(pred: Array, target: Array) -> tuple[Array, Vjp]:
    """Logarithm of the hyperbolic cosine, l = sum_j log(cosh(z_j - t_j)) / k.

    With d = z - t it is close to d^2 / 2 for small d and to abs(d) - log(2) for large d; its derivative is
    tanh(d).

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = log_cosh(np.asarray([[1000.0], [0.0]]), np.zeros((2, 1)))
    >>> print(value.round(4))
    499.6534
    >>> vjp()
    array([[0.5],
           [0. ]])
    """
    d = pred - target
    k = d.shape[-1]
    xp = namespace(d)
    a = xp.abs(d)
    # log(cosh(a)) = a + log((1 + exp(-2 a)) / 2), in a form without cancellation near 0.
    l = xp.sum(a + xp.log1p(0.5 * xp.expm1(-2.0 * a)), axis=-1) / k
    return l, lambda dl: xp.tanh(d) * (dl * (1.0 / k))


@loss(targets="reals")
def quantile(pred: Array, target: Array, *, quantile: float = 0.5) -> tuple[Array, Vjp]:
    """Pinball loss: q (t - z) where t > z, else (1 - q) (z - t), mean over k.

    It is smallest at the q-th quantile of the targets; with q = 0.5 it is half the absolute error (Koenker
    and Bassett, "Regression quantiles", 1978). The derivative at z = t is 1 / 2 - q.

    Parameters
    ----------
    quantile : float
        The quantile q in (0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = quantile(np.asarray([[1.0], [-3.0]]), np.zeros((2, 1)), quantile=0.75)
    >>> print(value)
    1.25
    >>> vjp()
    array([[ 0.125],
           [-0.375]])
    """
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile must be in (0, 1), got {quantile}")
    d = pred - target
    k = d.shape[-1]
    xp = namespace(d)
    tilt = 0.5 - quantile
    l = xp.sum(0.5 * xp.abs(d) + tilt * d, axis=-1) / k
    return l, lambda dl: (0.5 * xp.sign(d) + tilt) * (dl * (1.0 / k))


@loss(targets="counts")
def poisson(pred: Array, target: Array) -> tuple[Array, Vjp]:
    """Poisson loss, l = sum_j (exp(z_j) - t_j z_j) / k, for predictions z of the logarithm of a rate.

    It is the negative log-likelihood without the term log(t!), which does not depend on predictions.
    It overflows where exp(z) does: above z = 88 in single precision.

    Parameters
    ----------
    pred : array (..., B, k)
        Logarithms z of rates.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = poisson(np.zeros((2, 1)), np.asarray([[1.0], [4.0]]))
    >>> print(value)
    1.0
    >>> vjp()
    array([[ 0. ],
           [-1.5]])
    """
    xp = namespace(pred)
    rate = xp.exp(pred)
    k = pred.shape[-1]
    return xp.sum(rate - target * pred, axis=-1) / k, lambda dl: (rate - target) * (dl * (1.0 / k))


def _check_positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name} must be positive, got {value}")
