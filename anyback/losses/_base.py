"""What a loss is: a function of single samples, to which `Loss` adds checks, weights, sums and means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback.arrays import Array, Vjp, device, follows, namespace
from anyback.criterion import Criterion

__all__ = ["Loss", "loss"]

_PREDICTIONS: dict[str | None, str] = {
    None: "array (..., B, k)\n    Predictions z.",
    "sigmoid": "array (..., B, k)\n    Logits z of k independent binary outputs.",
    "softmax": "array (..., B, k)\n    Logits z of one choice among k classes.",
}
_TARGETS = {
    "labels": "array of integers (B,) or (..., B)\n    Labels y in [0, k).",
    "signs": "array (B, k) or (..., B, k)\n    Signs t, -1 or 1.",
    "unit interval": "array (B, k) or (..., B, k)\n    Probabilities t in [0, 1].",
    "counts": "array (B, k) or (..., B, k)\n    Counts t, at least 0.",
    "reals": "array (B, k) or (..., B, k)\n    Real targets t.",
}
_dtype_kinds: dict[tuple[type, Any], str] = {}


def dtype_kind(x: Array) -> str:
    """Return the kind of the dtype of `x`, cached by dtype."""
    key = type(x), x.dtype  # dtypes of different libraries do not compare
    kind = _dtype_kinds.get(key)
    if kind is None:
        names = ("real floating", "signed integer", "unsigned integer", "bool")
        kind = next((n for n in names if namespace(x).isdtype(x.dtype, n)), "other")
        _dtype_kinds[key] = kind
    return kind


class Loss(Criterion):
    """A loss, made from a function of single samples by the decorator `loss`.

    Parameters
    ----------
    function : callable
        ``function(pred, target, **options) -> (l, vjp)`` or ``(l, vjp, weight)``; see `loss`.
    targets : str
        Kind of the targets: "labels", "signs", "unit interval", "counts" or "reals".
    link : str, optional
        Name of the activation that turns predictions into probabilities.
    probabilities : bool
        Whether a loss of labels also takes floating-point probabilities (..., B, k).

    Attributes
    ----------
    targets, link, probabilities
        As given.
    options : dict
        Names and default values of the options.
    base : Loss
        The loss without bound options.
    bound : dict
        The options that `bind` has bound.

    Examples
    --------
    >>> from anyback.losses import huber
    >>> huber.targets, huber.link, huber.options
    ('reals', None, {'delta': 1.0})
    """

    def __init__(
        self, function: Callable[..., Any], targets: str, link: str | None = None, probabilities: bool = False
    ) -> None:
        super().__init__(function, targets, pred=_PREDICTIONS.get(link, ""), target=_TARGETS.get(targets, ""))
        self.link = link
        self.probabilities = probabilities

    def __call__(
        self, pred: Array, target: Array, *, sample_weight: Array | None = None, **options: Any
    ) -> tuple[Array, Vjp]:
        """Return the mean loss of the batch and its vector-Jacobian product.

        Parameters
        ----------
        pred : array (..., B, k)
            Predictions z, floating point.
        target : array
            Labels (B,) or (..., B); targets of every other kind are (B, k) or (..., B, k).
        sample_weight : array (B,) or (..., B), optional
            Weight of each sample; the mean divides by the sum of the weights. If that is 0, the value
            and the gradient are 0.
        **options
            Options of this loss.

        Returns
        -------
        value : array (...)
            Mean loss of the batch: sum(weight * l) / sum(weight).
        vjp : callable
            ``vjp(dloss=1.0) -> dpred``, dloss a float or an array (...), dpred (..., B, k).

        Raises
        ------
        TypeError
            If an argument is not an array of the library of `pred`, or its dtype is of the wrong kind.
        ValueError
            If shapes do not match or an option is out of range.
        """
        value, total, sums_vjp = self.sums(pred, target, sample_weight, **options)
        if isinstance(total, int):
            scale: Array = max(total, 1)
        else:
            # Division by infinity makes value and gradient 0 where nothing has any weight.
            scale = namespace(pred).where(total == 0.0, float("inf"), total)

        def vjp(dloss: float | Array = 1.0) -> Array:
            return sums_vjp(dloss / scale)

        return value / scale, vjp

    @staticmethod
    def finish(value: Array, total: Any) -> Any:
        """Return the mean loss, from the sum of the losses and the total weight of all batches."""
        return value / total

    def sums(
        self, pred: Array, target: Array, sample_weight: Array | None = None, **options: Any
    ) -> tuple[Array, Any, Vjp]:
        """Return the weighted sum of the losses, the total weight and the derivative of that sum.

        Training steps use it: the sums of several batches add up to an exact mean.

        Parameters
        ----------
        pred, target, sample_weight, **options
            As in a call of the loss.

        Returns
        -------
        value : array (...)
            sum(weight * l) over the batch.
        total : int or array
            Sum of the weights, () or (...); the int B without weights.
        vjp : callable
            ``vjp(dl=1.0) -> dpred``, dl a float or an array (...), dpred (..., B, k).

        Raises
        ------
        TypeError, ValueError
            As in a call of the loss.

        Examples
        --------
        >>> import numpy as np
        >>> from anyback.losses import mean_squared_error
        >>> pred = np.asarray([[1.0], [2.0]])
        >>> value, total, vjp = mean_squared_error.sums(pred, np.zeros((2, 1)), np.asarray([1.0, 3.0]))
        >>> print(value, total)
        13.0 4.0
        >>> vjp()
        array([[ 2.],
               [12.]])
        """
        xp = follows("pred", pred)
        target = self._checked(pred, target, xp)
        result = self.__wrapped__(pred, target, **options)
        if not (isinstance(result, tuple) and len(result) in (2, 3)):
            raise TypeError(f"loss {self.__name__} must return (l, vjp), got {type(result).__name__}")
        l, sample_vjp, *class_weight = result
        if tuple(l.shape) != tuple(pred.shape[:-1]):
            raise ValueError(
                f"loss {self.__name__} must return one value for each sample, {tuple(pred.shape[:-1])}, "
                f"got shape {tuple(l.shape)}"
            )
        total: Any = l.shape[-1]
        weight = None
        if sample_weight is not None:
            weight = _checked_weight(sample_weight, l, xp)
            total = xp.sum(weight, axis=-1)
            l = weight * l
        if class_weight:
            total = xp.sum(class_weight[0] if weight is None else weight * class_weight[0], axis=-1)

        def vjp(dl: float | Array = 1.0) -> Array:
            if isinstance(dl, int | float):
                dl = float(dl)  # a NumPy float64 is a float too, and would promote float32
            else:
                if dl.dtype != pred.dtype:
                    dl = xp.astype(dl, pred.dtype)
                shape, got = tuple(pred.shape[:-2]), tuple(dl.shape)
                if got not in ((), shape):
                    raise ValueError(f"dloss must be a number or of the shape {shape} of the loss, got {got}")
                if got:
                    dl = dl[..., None, None]
            if weight is not None:
                dl = dl * weight[..., None]
            return sample_vjp(dl)

        return xp.sum(l, axis=-1), total, vjp

    def _checked(self, pred: Array, target: Array, xp: Any) -> Array:
        """Return `target` in a dtype that can be combined with `pred`; raise if the two do not match."""
        if dtype_kind(pred) != "real floating":
            raise TypeError(f"pred must hold floating-point numbers, got {pred.dtype}")
        shape = tuple(pred.shape)
        if len(shape) < 2 or not shape[-1]:
            raise ValueError(f"pred must have the shape (..., B, k) of B samples and k outputs, got {shape}")
        follows("target", target, "pred", xp)
        got, kind = tuple(target.shape), dtype_kind(target)
        if self.targets == "labels" and not (self.probabilities and kind == "real floating"):
            if kind not in ("signed integer", "unsigned integer"):
                expected = f"integer labels of shape {shape[-2:-1]}"
                if self.probabilities:
                    expected += f" or probabilities of shape {shape[-2:]}"
                raise TypeError(f"target must be {expected}, got {target.dtype}")
            if not got or got != shape[:-1][-len(got) :]:
                raise ValueError(f"target must be labels of shape {shape[-2:-1]} for pred {shape}, got {got}")
            # Not every library compares unsigned integers with signed ones.
            if kind == "unsigned integer":
                target = xp.astype(target, xp.arange(1, device=device(pred)).dtype)
            return target
        if len(got) < 2 or got != shape[-len(got) :]:
            raise ValueError(f"target must have the shape {shape[-2:]} for pred {shape}, got {got}")
        if kind == "other":
            raise TypeError(f"target must hold real numbers, got {target.dtype}")
        return target if target.dtype == pred.dtype else xp.astype(target, pred.dtype)


def _checked_weight(weight: Array, l: Array, xp: Any) -> Array:
    """Return `weight` in the dtype of the losses `l`; raise unless its shape is (..., B) or (B,)."""
    follows("sample_weight", weight, "pred", xp)
    shape, got = tuple(l.shape), tuple(weight.shape)
    if not got or got != shape[-len(got) :]:
        raise ValueError(f"sample_weight must have the shape {shape[-1:]} of the batch, got {got}")
    if dtype_kind(weight) == "other":
        raise TypeError(f"sample_weight must hold real numbers, got {weight.dtype}")
    return weight if weight.dtype == l.dtype else xp.astype(weight, l.dtype)


def loss(
    *, targets: str, link: str | None = None, probabilities: bool = False
) -> Callable[[Callable[..., Any]], Loss]:
    """Return a decorator that makes a `Loss` from a function of single samples.

    The function is ``f(pred, target, *, option=default, ...) -> (l, vjp)`` with pred (..., B, k), l (..., B)
    the loss of each sample and ``vjp(dl) -> dpred``, where dl is a Python float or broadcasts to
    (..., B, 1). The target is checked before the call, and has the dtype of pred unless it holds labels.
    The function may return a third value (..., B): the weight of each sample in the mean, if that is not 1.
    l is then multiplied by this weight already.

    Its docstring states the equation, its own options, the source and an example; the descriptions of
    pred, target and sample_weight, Returns and Raises are added.

    Parameters
    ----------
    targets : str
        Kind of the targets: "labels" (integers in [0, k)), "signs" (-1 and 1), "unit interval", "counts" (at
        least 0) or "reals".
    link : str, optional
        Name of the activation that turns predictions into probabilities: "sigmoid" or "softmax".
    probabilities : bool
        Whether a loss of labels also takes floating-point probabilities (..., B, k).

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback.arrays import namespace
    >>> @loss(targets="reals")
    ... def largest_error(pred, target):
    ...     xp = namespace(pred)
    ...     l = xp.max(xp.abs(pred - target), axis=-1)
    ...     def vjp(dl):
    ...         largest = xp.abs(pred - target) == l[..., None]
    ...         return dl * xp.where(largest, xp.sign(pred - target), 0.0)
    ...     return l, vjp
    >>> value, vjp = largest_error(np.asarray([[1.0, -3.0]]), np.zeros((1, 2)))
    >>> print(value)
    3.0
    >>> vjp()
    array([[ 0., -1.]])
    """

    def decorate(function: Callable[..., Any]) -> Loss:
        return Loss(function, targets, link, probabilities)

    return decorate
