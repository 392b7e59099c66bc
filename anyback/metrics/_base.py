"""What a metric is: a function that sums over a batch, and one that makes the value from the sums of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback.arrays import Array, device, follows, namespace
from anyback.criterion import Criterion

__all__ = ["Metric", "metric"]

_LABELS = {
    "pred": "array (..., B, k)\n    Raw outputs; with one output the positive class is ``pred > 0``.",
    "target": "array (..., B) or (..., B, k)\n    Labels or probabilities; with k = 1 (..., B, 1).",
}
_OTHERS = {"pred": "array (..., B, k)\n    Predictions.", "target": "array (..., B, k)\n    Targets."}


class Metric(Criterion):
    """A metric, made from a function that sums over a batch by the decorator `metric`.

    Parameters
    ----------
    function : callable
        ``function(pred, target, weight, **options) -> array (..., *m)``; see `metric`.
    targets : str
        Kind of the targets: "labels", "signs", "unit interval", "counts" or "reals".
    finish : callable
        ``finish(sums, total) -> value``.
    shift : bool
        Whether adding one number to predictions and targets leaves the value unchanged.

    Attributes
    ----------
    targets, finish
        As given.
    options : dict
        Names and default values of the options.
    base : Metric
        The metric without bound options.
    bound : dict
        The options that `bind` has bound.

    Examples
    --------
    >>> from anyback.metrics import top_k_accuracy
    >>> top_k_accuracy.targets, top_k_accuracy.options
    ('labels', {'k': 5})
    """

    def __init__(
        self, function: Callable[..., Any], targets: str, finish: Callable[..., Array], shift: bool = False
    ) -> None:
        super().__init__(function, targets, **(_LABELS if targets == "labels" else _OTHERS))
        self.finish = finish
        self._shift = shift

    def __call__(
        self, pred: Array, target: Array, *, sample_weight: Array | None = None, **options: Any
    ) -> Array:
        """Return the value on a batch.

        Parameters
        ----------
        pred : array (..., B, k)
            Raw outputs, floating point.
        target : array
            Labels (..., B) or (..., B, k), reals (..., B, k).
        sample_weight : array (..., B), optional
            Weight of each sample.
        **options
            Options of this metric.

        Returns
        -------
        value : array (...)
            The metric, in the widest real dtype.

        Raises
        ------
        TypeError
            If an argument is not an array of the library of `pred`.
        ValueError
            If shapes do not match or an option is out of range.
        """
        _check_shapes(pred, target, sample_weight, self.targets)
        if self._shift:
            pred, target = _near_zero(pred, target)
        sums = self.sums(pred, target, sample_weight, **options)
        if sample_weight is None:
            return self.finish(sums, pred.shape[-2])
        return self.finish(sums, namespace(pred).sum(wide(sample_weight), axis=-1))

    def sums(self, pred: Array, target: Array, weight: Array | None = None, **options: Any) -> Array:
        """Return the sums over a batch, which add up over several batches.

        Parameters
        ----------
        pred, target, weight, **options
            As in a call of the metric.

        Returns
        -------
        array (..., *m)
            The first argument of `finish`; the shape m depends on the metric.

        Raises
        ------
        TypeError, ValueError
            As in a call of the metric.

        Examples
        --------
        >>> import numpy as np
        >>> from anyback.metrics import accuracy
        >>> pred, target = np.asarray([[1.0], [-2.0], [3.0]]), np.asarray([[1.0], [1.0], [1.0]])
        >>> float(accuracy.sums(pred, target))
        2.0
        """
        _check_shapes(pred, target, weight, self.targets)
        return self.__wrapped__(pred, target, weight, **options)


def metric(
    *, targets: str, finish: Callable[[Array, Any], Array] | None = None, shift: bool = False
) -> Callable[[Callable[..., Any]], Metric]:
    """Return a decorator that makes a `Metric` from a function that sums over a batch.

    The function is ``f(pred, target, weight, *, option=default, ...) -> array (..., *m)`` with pred
    (..., B, k) and weight None or (..., B). Its docstring states the equation, its own options, the source
    and an example; the descriptions of pred, target and sample_weight, Returns and Raises are added.

    Parameters
    ----------
    targets : str
        Kind of the targets: "labels", "signs", "unit interval", "counts" or "reals".
    finish : callable, optional
        ``finish(sums, total) -> value`` of the sums (..., *m) and the total weight, which is a number
        or an array (...); ``sums / total`` by default. It also runs on the host, on NumPy arrays.
    shift : bool
        Whether adding one number to predictions and targets leaves the value unchanged: a call then
        shifts both close to zero first, which saves digits in libraries that have float32 only.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> import numpy as np
    >>> @metric(targets="reals")
    ... def bias(pred, target, weight):
    ...     error = pred[..., 0] - target[..., 0]
    ...     return np.sum(error if weight is None else weight * error, axis=-1)
    >>> float(bias(np.ones((4, 1)), np.zeros((4, 1))))
    1.0
    """

    def decorate(function: Callable[..., Any]) -> Metric:
        return Metric(function, targets, finish or _mean, shift)

    return decorate


def _mean(sums: Array, total: Any) -> Array:
    """Divide sums of shape (...) by the total weight."""
    return sums / total


def _check_shapes(pred: Array, target: Array, weight: Array | None, targets: str) -> None:
    """Raise ValueError unless all arguments have B samples, TypeError unless they are of one library."""
    xp = follows("pred", pred)
    follows("target", target, "pred", xp)
    if weight is not None:
        follows("sample_weight", weight, "pred", xp)
    if pred.ndim < 2:
        raise ValueError(f"pred must have shape (..., B, k), got {tuple(pred.shape)}")
    samples = tuple(pred.shape[-2:])
    same = tuple(target.shape[-2:]) == samples
    labels = targets == "labels" and samples[1] > 1
    if not same and not (labels and target.shape[-1:] == pred.shape[-2:-1]):
        expected = f"(..., {samples[0]}, {samples[1]})"
        expected = f"(..., {samples[0]}) or {expected}" if labels else expected
        raise ValueError(
            f"target must have shape {expected} for pred {tuple(pred.shape)}, got {tuple(target.shape)}"
        )
    if weight is not None and tuple(weight.shape[-1:]) != samples[:1]:
        raise ValueError(f"sample_weight must have shape (..., {samples[0]}), got {tuple(weight.shape)}")


def wide(x: Array) -> Array:
    """Return `x` in the widest real dtype of its library and device."""
    xp = namespace(x)
    dtypes = xp.__array_namespace_info__().dtypes(kind="real floating", device=device(x))
    return xp.astype(x, dtypes.get("float64", xp.float32), copy=False)


def _near_zero(pred: Array, target: Array) -> tuple[Array, Array]:
    """Subtract the mean of the targets over the batch from both."""
    pred, target = wide(pred), wide(target)
    mean = namespace(pred).sum(target, axis=-2, keepdims=True) / target.shape[-2]
    return pred - mean, target - mean


def summed(x: Array, weight: Array | None, axis: int = -1) -> Array:
    """Return the weighted sum of x, (..., B) or (..., B, k), over the batch."""
    x = wide(x)
    if weight is not None:
        weight = wide(weight)
        x = x * (weight if axis == -1 else weight[..., None])
    return namespace(x).sum(x, axis=axis)
