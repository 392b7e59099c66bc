"""Metrics for classification: how often the predicted class is correct."""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, device, namespace
from anyback.metrics._base import metric, summed, wide

__all__ = ["accuracy", "top_k_accuracy", "precision", "recall", "f1", "confusion_matrix"]


def _classes(pred: Array, target: Array) -> tuple[Array, Array]:
    """Return the predicted and the true class of each sample, integers (..., B)."""
    xp = namespace(pred)
    if pred.shape[-1] == 1:
        actual = target if xp.isdtype(target.dtype, "bool") else target > 0
        return xp.astype(pred[..., 0] > 0, xp.int32), xp.astype(actual[..., 0], xp.int32)
    predicted = xp.argmax(pred, axis=-1)
    if xp.isdtype(target.dtype, "real floating"):
        return predicted, xp.argmax(target, axis=-1)
    return predicted, xp.astype(target, predicted.dtype, copy=False)


def _one_hot(labels: Array, first: int, last: int) -> Array:
    """Return 1 at the label and 0 at other classes in [first, last), in the widest real dtype."""
    xp = namespace(labels)
    classes = xp.arange(first, last, dtype=labels.dtype, device=device(labels))
    return wide(labels[..., None] == classes)


@metric(targets="labels")
def accuracy(pred: Array, target: Array, weight: Array | None) -> Array:
    """Fraction of samples whose class is predicted correctly.

    The predicted class is that of the largest output, of equal ones the first.

    Examples
    --------
    >>> import numpy as np
    >>> float(accuracy(np.asarray([[1.0, 2.0], [3.0, 0.0]]), np.asarray([1, 1])))
    0.5
    """
    predicted, actual = _classes(pred, target)
    return summed(predicted == actual, weight)


@metric(targets="labels")
def top_k_accuracy(pred: Array, target: Array, weight: Array | None, *, k: int = 5) -> Array:
    """Fraction of samples whose class is among the k largest outputs.

    Of equal outputs the first counts as the largest, so that k = 1 is `accuracy` and constant outputs have
    no advantage; NaN is never among the largest.

    Parameters
    ----------
    k : int
        Number of largest outputs that count, an integer of at least 1.

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
    _, actual = _classes(pred, target)
    if pred.shape[-1] == 1:
        pred = xp.concat([xp.zeros_like(pred), pred], axis=-1)
    n = pred.shape[-1]
    classes = xp.arange(n, dtype=actual.dtype, device=device(actual))
    actual = actual[..., None]
    score = xp.sum(xp.where(actual == classes, pred, 0.0), axis=-1, keepdims=True)
    # Counting the outputs that are not ahead makes every comparison with NaN a miss.
    behind = (pred < score) | ((pred == score) & (classes >= actual))
    return summed(xp.sum(xp.astype(behind, xp.int32), axis=-1, dtype=xp.int32) > n - k, weight)


def _counts(pred: Array, target: Array, weight: Array | None) -> Array:
    """Return the true positives, the predicted and the actual samples of each class: (..., 3, k)."""
    xp = namespace(pred)
    first, last = (0, pred.shape[-1]) if pred.shape[-1] > 1 else (1, 2)
    predicted, actual = (_one_hot(labels, first, last) for labels in _classes(pred, target))
    both = predicted * actual
    sums = [summed(x, weight, axis=-2) for x in (both, predicted, actual)]
    return xp.stack(xp.broadcast_arrays(*sums), axis=-2)


def _averaged(part: Array, whole: Array, present: Array) -> Array:
    """Return the mean of part / whole over the classes that are present, with 0 / 0 = 0."""
    xp = namespace(part)
    part = part / (whole + xp.astype(whole == 0.0, whole.dtype))
    n = xp.sum(xp.astype(present != 0.0, part.dtype), axis=-1)
    return xp.sum(part, axis=-1) / (n + xp.astype(n == 0.0, n.dtype))


def _precision(sums: Array, total: Any) -> Array:
    hits, predicted, actual = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return _averaged(hits, predicted, predicted + actual)


def _recall(sums: Array, total: Any) -> Array:
    hits, predicted, actual = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return _averaged(hits, actual, predicted + actual)


def _f1(sums: Array, total: Any) -> Array:
    hits, both = sums[..., 0, :], sums[..., 1, :] + sums[..., 2, :]
    return _averaged(2.0 * hits, both, both)


@metric(targets="labels", finish=_precision)
def precision(pred: Array, target: Array, weight: Array | None) -> Array:
    """Fraction of a class's predictions that are correct: TP / (TP + FP).

    With k > 1 outputs it is the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class. A class that is never predicted counts as 0.

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
    """Fraction of a class's samples that are predicted as this class: TP / (TP + FN).

    With k > 1 outputs it is the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class. A class without samples counts as 0.

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

    With k > 1 outputs it is the mean over the classes that occur, with any weight, in predictions or
    targets; with one output that of the positive class.

    Examples
    --------
    >>> import numpy as np
    >>> pred, target = np.asarray([[1.0], [2.0], [-1.0]]), np.asarray([[1.0], [0.0], [1.0]])
    >>> float(f1(pred, target))
    0.5
    """
    return _counts(pred, target, weight)


def _sums(sums: Array, total: Any) -> Array:
    return sums


@metric(targets="labels", finish=_sums)
def confusion_matrix(pred: Array, target: Array, weight: Array | None) -> Array:
    """Total weight of the samples of each true class (rows) predicted as each class (columns).

    Returns
    -------
    value : array (..., k, k), or (..., 2, 2) with one output
        Sums of weights.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.asarray([[1.0], [2.0], [-1.0]]), np.asarray([[1.0], [0.0], [1.0]])).tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    k = max(pred.shape[-1], 2)
    predicted, actual = (_one_hot(labels, 0, k) for labels in _classes(pred, target))
    if weight is not None:
        actual = actual * wide(weight)[..., None]
    return namespace(pred).matrix_transpose(actual) @ predicted
