"""Metrics for classification: which class is predicted, and how often that is correct."""

from __future__ import annotations

from typing import Any

from anyback.arrays import Array, device, namespace
from anyback.metrics._base import metric, summed, wide

__all__ = ["accuracy", "top_k_accuracy", "precision", "recall", "f1", "confusion_matrix"]


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
    return summed(guess == truth, weight)


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
    return summed(xp.sum(xp.astype(behind, xp.int32), axis=-1, dtype=xp.int32) > n - k, weight)


def _counts(pred: Array, target: Array, weight: Array | None) -> Array:
    """Return true positives, predicted and actual samples of each class: (..., 3, k)."""
    xp = namespace(pred)
    first, last = (0, pred.shape[-1]) if pred.shape[-1] > 1 else (1, 2)
    guess, truth = (_one_hot(labels, first, last) for labels in _classes(pred, target))
    both = guess * truth
    sums = [summed(x, weight, axis=-2) for x in (both, guess, truth)]
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
