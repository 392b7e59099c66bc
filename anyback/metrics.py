"""Metrics: what is reported beside the loss, in the units people talk in.

``accuracy(pred, target)`` is a value of shape (...) for raw outputs (..., B, k). A metric is made of a
function that sums over a batch and one that finishes the sums, so that training adds up batch after
batch on the device and reads the result once; nothing here reads a value back to the host.

Metrics of classes take labels (..., B) of integers or probabilities (..., B, k), of which the largest
counts. With k = 1 the class is ``pred > 0`` and targets are (..., B, 1), {0, 1} or {-1, +1}.
Metrics of reals take targets of the same (B, k) as the predictions. Sums are kept in the widest real
dtype that the library and device have.
"""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, device, namespace
from anyback.metric import metric, wide

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "r2",
    "recall",
    "root_mean_squared_error",
    "top_k_accuracy",
]


def _mean_of_outputs(sums: Array, total: Any) -> Array:
    """Divide sums of shape (..., k) by the total weight and average over the outputs."""
    return namespace(sums).sum(sums / _column(total), axis=-1) / sums.shape[-1]


def _column(total: Any) -> Any:
    """Give a total of shape (...) an axis for the outputs."""
    return total[..., None] if hasattr(total, "shape") else total


def _classes(pred: Array, target: Array) -> tuple[Array, Array]:
    """Return the predicted and the true class of each sample, integers (..., B)."""
    xp = namespace(pred)
    if pred.shape[-1] == 1:
        truth = target if xp.isdtype(target.dtype, "bool") else target > 0
        return xp.astype(pred[..., 0] > 0, xp.int32), xp.astype(truth[..., 0], xp.int32)
    guess = xp.argmax(pred, axis=-1)
    if xp.isdtype(target.dtype, "real floating"):
        return guess, xp.argmax(target, axis=-1)
    return guess, xp.astype(target, guess.dtype, copy=False)


def _one_hot(labels: Array, first: int, last: int) -> Array:
    """Return in the widest real dtype which of the classes [first, last) each of (..., B) is."""
    xp = namespace(labels)
    classes = xp.arange(first, last, dtype=labels.dtype, device=device(labels))
    return wide(labels[..., None] == classes)


def _summed(x: Array, weight: Array | None, axis: int = -1) -> Array:
    """Return the weighted sum of x, (..., B) or (..., B, k), over the batch."""
    x = wide(x)
    if weight is not None:
        weight = wide(weight)
        x = x * (weight if axis == -1 else weight[..., None])
    return namespace(x).sum(x, axis=axis)


@metric(targets="labels")
def accuracy(pred: Array, target: Array, weight: Array | None) -> Array:
    """Fraction of samples whose class is predicted.

    The predicted class is the largest output, of equal ones the first.

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> float(accuracy(np.asarray([[1.0, 2.0], [3.0, 0.0]]), np.asarray([1, 1])))
    0.5
    """
    guess, truth = _classes(pred, target)
    return _summed(guess == truth, weight)


@metric(targets="labels")
def top_k_accuracy(pred: Array, target: Array, weight: Array | None, *, k: int = 5) -> Array:
    """Fraction of samples whose class is among the k largest outputs.

    Of equal outputs the first counts as the largest, so that k = 1 is `accuracy` and a network of
    constant outputs gains nothing; an output that is not a number is never among the largest.

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.
    k : int
        How many of the largest outputs count, at least 1.

    Returns
    -------
    array (...)
        In [0, 1].

    Raises
    ------
    ValueError
        If `k` is no integer of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.asarray([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> float(top_k_accuracy(pred, np.asarray([1, 2]), k=2))
    0.5
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")
    xp = namespace(pred)
    _, truth = _classes(pred, target)
    if pred.shape[-1] == 1:
        pred = xp.concat([xp.zeros_like(pred), pred], axis=-1)
    n = pred.shape[-1]
    classes = xp.arange(n, dtype=truth.dtype, device=device(truth))
    truth = truth[..., None]
    score = xp.sum(xp.where(truth == classes, pred, 0.0), axis=-1, keepdims=True)
    # Counting who is not ahead, rather than who is, makes every comparison with NaN a miss.
    behind = (pred < score) | ((pred == score) & (classes >= truth))
    return _summed(xp.sum(xp.astype(behind, xp.int32), axis=-1, dtype=xp.int32) > n - k, weight)


def _counts(pred: Array, target: Array, weight: Array | None) -> Array:
    """Return true positives, predicted and actual samples of each class: (..., 3, k)."""
    xp = namespace(pred)
    first, last = (0, pred.shape[-1]) if pred.shape[-1] > 1 else (1, 2)
    guess, truth = (_one_hot(labels, first, last) for labels in _classes(pred, target))
    both = guess * truth
    sums = [_summed(x, weight, axis=-2) for x in (both, guess, truth)]
    return xp.stack(xp.broadcast_arrays(*sums), axis=-2)


def _averaged(part: Array, whole: Array, present: Array) -> Array:
    """Return the mean of part / whole over the classes that are present, 0 / 0 being 0."""
    xp = namespace(part)
    part = part / (whole + xp.astype(whole == 0.0, whole.dtype))
    n = xp.sum(xp.astype(present != 0.0, part.dtype), axis=-1)
    return xp.sum(part, axis=-1) / (n + xp.astype(n == 0.0, n.dtype))


def _precision(sums: Array, total: Any) -> Array:
    hits, guessed, actual = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return _averaged(hits, guessed, guessed + actual)


def _recall(sums: Array, total: Any) -> Array:
    hits, guessed, actual = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return _averaged(hits, actual, guessed + actual)


def _f1(sums: Array, total: Any) -> Array:
    hits, both = sums[..., 0, :], sums[..., 1, :] + sums[..., 2, :]
    return _averaged(2.0 * hits, both, both)


@metric(targets="labels", finish=_precision)
def precision(pred: Array, target: Array, weight: Array | None) -> Array:
    """Fraction of a class's predictions that are right: TP / (TP + FP).

    With k > 1 outputs the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class. A class never predicted counts 0.

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> pred, target = np.asarray([[1.0], [2.0], [-1.0]]), np.asarray([[1.0], [0.0], [1.0]])
    >>> float(precision(pred, target))
    0.5
    """
    return _counts(pred, target, weight)


@metric(targets="labels", finish=_recall)
def recall(pred: Array, target: Array, weight: Array | None) -> Array:
    """Fraction of a class's samples that are found: TP / (TP + FN).

    With k > 1 outputs the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class. A class without samples counts 0.

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> pred, target = np.asarray([[1.0], [2.0], [-1.0], [3.0]]), np.asarray([[1.0], [0.0], [1.0], [0.0]])
    >>> float(recall(pred, target))
    0.5
    """
    return _counts(pred, target, weight)


@metric(targets="labels", finish=_f1)
def f1(pred: Array, target: Array, weight: Array | None) -> Array:
    """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN).

    With k > 1 outputs the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class.

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> pred, target = np.asarray([[1.0], [2.0], [-1.0]]), np.asarray([[1.0], [0.0], [1.0]])
    >>> float(f1(pred, target))
    0.5
    """
    return _counts(pred, target, weight)


def _as_is(sums: Array, total: Any) -> Array:
    return sums


@metric(targets="labels", finish=_as_is)
def confusion_matrix(pred: Array, target: Array, weight: Array | None) -> Array:
    """Total weight of the samples of each true class (rows) predicted as each class (columns).

    Parameters
    ----------
    pred : array (..., B, k)
        Raw outputs; with one output the positive class is ``pred > 0``.
    target : array (..., B) or (..., B, k)
        Labels, integers in [0, k), or probabilities; with one output (..., B, 1).
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (..., k, k), or (..., 2, 2)
        Sums of weights.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.asarray([[1.0], [2.0], [-1.0]]), np.asarray([[1.0], [0.0], [1.0]])).tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    k = max(pred.shape[-1], 2)
    guess, truth = (_one_hot(labels, 0, k) for labels in _classes(pred, target))
    if weight is not None:
        truth = truth * wide(weight)[..., None]
    return namespace(pred).matrix_transpose(truth) @ guess


def _error(pred: Array, target: Array) -> Array:
    return wide(pred) - wide(target)


@metric(targets="reals", finish=_mean_of_outputs)
def mean_absolute_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Mean of abs(pred - target) over samples and outputs.

    Parameters
    ----------
    pred : array (..., B, k)
        Predictions.
    target : array (..., B, k)
        What they should be.
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In the units of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> float(mean_absolute_error(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [4.0]])))
    1.5
    """
    return _summed(namespace(pred).abs(_error(pred, target)), weight, axis=-2)


@metric(targets="reals", finish=_mean_of_outputs)
def mean_squared_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Mean of (pred - target)^2 over samples and outputs.

    Parameters
    ----------
    pred : array (..., B, k)
        Predictions.
    target : array (..., B, k)
        What they should be.
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In the square of the targets' units.

    Examples
    --------
    >>> import numpy as np
    >>> float(mean_squared_error(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [4.0]])))
    2.5
    """
    e = _error(pred, target)
    return _summed(e * e, weight, axis=-2)


def _root(sums: Array, total: Any) -> Array:
    xp = namespace(sums)
    return xp.sum(xp.sqrt(sums / _column(total)), axis=-1) / sums.shape[-1]


@metric(targets="reals", finish=_root)
def root_mean_squared_error(pred: Array, target: Array, weight: Array | None) -> Array:
    """Square root of the mean of (pred - target)^2 over samples, averaged over outputs.

    Parameters
    ----------
    pred : array (..., B, k)
        Predictions.
    target : array (..., B, k)
        What they should be.
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        In the units of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> float(root_mean_squared_error(np.asarray([[3.0], [4.0]]), np.asarray([[0.0], [8.0]]))) == 12.5**0.5
    True
    """
    e = _error(pred, target)
    return _summed(e * e, weight, axis=-2)


def _r2(sums: Array, total: Any) -> Array:
    xp = namespace(sums)
    residual, first, second = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    spread = second - first * first / _column(total)
    # What cancellation leaves of a constant, summed over many batches, is no spread.
    known = spread > 1e4 * xp.finfo(sums.dtype).eps * second
    value = 1.0 - residual / xp.where(known, spread, 1.0)
    return xp.sum(xp.where(known, value, float("nan")), axis=-1) / sums.shape[-1]


@metric(targets="reals", finish=_r2, shift=True)
def r2(pred: Array, target: Array, weight: Array | None) -> Array:
    """Coefficient of determination: 1 - sum (target - pred)^2 / sum (target - mean)^2, averaged over outputs.

    1 is perfect, 0 as good as the mean of the targets, negative is worse. NaN where the targets are
    constant, or where their spread is lost: sums of squares of targets 1e4 +- 1 need float64, and
    a library that has only float32 can give the value of one call but not add up batches of them.

    Parameters
    ----------
    pred : array (..., B, k)
        Predictions.
    target : array (..., B, k)
        What they should be.
    sample_weight : array (..., B), optional
        Weight of each sample.

    Returns
    -------
    array (...)
        At most 1.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.asarray([[1.0], [2.0], [3.0], [4.0]])
    >>> round(float(r2(target + 0.5, target)), 12)
    0.8
    """
    xp = namespace(pred)
    e, t = xp.broadcast_arrays(_error(pred, target), wide(target))
    return xp.stack([_summed(x, weight, axis=-2) for x in (e * e, t, t * t)], axis=-2)
