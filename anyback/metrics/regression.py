"""Metrics for regression, in units of the targets or as a fraction of their variance."""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, namespace
from anyback.metrics._base import metric, summed, wide

__all__ = ["mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2"]


def _mean_of_outputs(sums: Array, total: Any) -> Array:
    """Divide sums of shape (..., k) by the total weight and average over the outputs."""
    return namespace(sums).sum(sums / _column(total), axis=-1) / sums.shape[-1]


def _column(total: Any) -> Any:
    """Append an axis for the outputs to a total of shape (...)."""
    return total[..., None] if hasattr(total, "shape") else total


def _error(pred: Array, target: Array) -> Array:
    return wide(pred) - wide(target)


@metric(targets="reals", finish=_mean_of_outputs)
def mean_absolute_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Mean of abs(pred - target) over samples and outputs, in units of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> float(mean_absolute_error(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [4.0]])))
    1.5
    """
    return summed(namespace(pred).abs(_error(pred, target)), weight, axis=-2)


@metric(targets="reals", finish=_mean_of_outputs)
def mean_squared_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Mean of (pred - target)^2 over samples and outputs, in squared units of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> float(mean_squared_error(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [4.0]])))
    2.5
    """
    e = _error(pred, target)
    return summed(e * e, weight, axis=-2)


def _root(sums: Array, total: Any) -> Array:
    xp = namespace(sums)
    return xp.sum(xp.sqrt(sums / _column(total)), axis=-1) / sums.shape[-1]


@metric(targets="reals", finish=_root)
def root_mean_squared_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Square root of the mean of (pred - target)^2 over samples, averaged over outputs, in their units.

    Examples
    --------
    >>> import numpy as np
    >>> float(root_mean_squared_error(np.asarray([[3.0], [4.0]]), np.asarray([[0.0], [8.0]]))) == 12.5**0.5
    True
    """
    e = _error(pred, target)
    return summed(e * e, weight, axis=-2)


def _r2(sums: Array, total: Any) -> Array:
    xp = namespace(sums)
    residual, first, second = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    spread = second - first * first / _column(total)
    # The difference that cancellation leaves for constant targets, summed over many batches, is not variance.
    known = spread > 1e4 * xp.finfo(sums.dtype).eps * second
    value = 1.0 - residual / xp.where(known, spread, 1.0)
    return xp.sum(xp.where(known, value, float("nan")), axis=-1) / sums.shape[-1]


@metric(targets="reals", finish=_r2, shift=True)
def r2(pred: Array, target: Array, weight: Array | None) -> Array:
    """Coefficient of determination: 1 - sum (target - pred)^2 / sum (target - mean)^2, averaged over outputs.

    1 is perfect, 0 as good as the mean of the targets, negative is worse. It is NaN for constant targets, and
    where their variance is lost to rounding: sums of squares of targets 1e4 +- 1 need float64, so that with
    float32 only the value of one call is accurate, but not that of sums over batches.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.asarray([[1.0], [2.0], [3.0], [4.0]])
    >>> round(float(r2(target + 0.5, target)), 12)
    0.8
    """
    xp = namespace(pred)
    e, t = xp.broadcast_arrays(_error(pred, target), wide(target))
    return xp.stack([summed(x, weight, axis=-2) for x in (e * e, t, t * t)], axis=-2)
