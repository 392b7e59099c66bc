"""Losses for classification: targets are labels, probabilities or signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyback.activations import log_softmax, sigmoid, softplus
from anyback.arrays import Array, Vjp, device, namespace
from anyback.losses._base import dtype_kind, loss

__all__ = [
    "binary_cross_entropy",
    "focal",
    "hinge",
    "multiclass_hinge",
    "softmax_cross_entropy",
    "kl_divergence",
]


@loss(targets="unit interval", link="sigmoid")
def binary_cross_entropy(
    pred: Array,
    target: Array,
    *,
    label_smoothing: float = 0.0,
    pos_weight: float | Array | Sequence[float] | None = None,
) -> tuple[Array, Vjp]:
    """Binary cross entropy of logits: -t log(s(z)) - (1 - t) log(1 - s(z)), s the sigmoid, mean over k.

    It is accurate for logits of any size.

    Parameters
    ----------
    label_smoothing : float
        e in [0, 1): t becomes (1 - e) t + e / 2 (Szegedy et al., "Rethinking the inception
        architecture", 2016).
    pos_weight : float, or array or sequence (k,), optional
        Factor of the term t log(s(z)). As in PyTorch, the mean does not divide by it.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = binary_cross_entropy(np.asarray([[0.0], [1e4]]), np.ones((2, 1)))
    >>> print(value.round(6))
    0.346574
    >>> vjp()
    array([[-0.25],
           [ 0.  ]])
    """
    _check_smoothing(label_smoothing)
    xp = namespace(pred)
    k = pred.shape[-1]
    t = (1.0 - label_smoothing) * target + 0.5 * label_smoothing if label_smoothing else target
    if pos_weight is None:
        ce, p = _cross_entropy_of_logits(pred, t, xp)
        return xp.sum(ce, axis=-1) / k, lambda dl: (p - t) * (dl * (1.0 / k))
    s, s_vjp = softplus(pred)  # -log(1 - s(z)), and softplus(-z) is -log(s(z))
    w = pos_weight if isinstance(pos_weight, int | float) else _per_output("pos_weight", pos_weight, pred, xp)
    wt = w * t
    c = wt + (1.0 - t)
    n, _ = softplus(-pred)
    return xp.sum(wt * n + (1.0 - t) * s, axis=-1) / k, lambda dl: (s_vjp(c) - wt) * (dl * (1.0 / k))


def _cross_entropy_of_logits(z: Array, t: Array, xp: Any) -> tuple[Array, Array]:
    """Return softplus(z) - t z without cancellation for large z, and the sigmoid of z."""
    e = xp.exp(-xp.abs(z))
    positive = z >= 0.0
    ce = xp.log1p(e) + xp.where(positive, 1.0 - t, -t) * z
    return ce, xp.where(positive, 1.0, e) / (1.0 + e)


@loss(targets="unit interval", link="sigmoid")
def focal(pred: Array, target: Array, *, gamma: float = 2.0, alpha: float | None = None) -> tuple[Array, Vjp]:
    """Focal loss of logits: binary cross entropy times (1 - p_t)^gamma, mean over k.

    p_t = t p + (1 - t) (1 - p) with p = s(z) is the predicted probability of the target: outputs that are
    already correct count less (Lin et al., "Focal loss for dense object detection", 2017).

    Parameters
    ----------
    gamma : float
        Exponent, at least 1 (0 would be `binary_cross_entropy`).
    alpha : float, optional
        In [0, 1]: additional factor t alpha + (1 - t) (1 - alpha); the paper uses 0.25.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = focal(np.asarray([[0.0], [1e4]]), np.ones((2, 1)))
    >>> print(value.round(6))
    0.086643
    >>> vjp().round(6)
    array([[-0.149143],
           [ 0.      ]])
    """
    if not gamma >= 1.0:
        raise ValueError(f"gamma must be at least 1, got {gamma}")
    if alpha is not None and not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    xp = namespace(pred)
    k = pred.shape[-1]
    ce, p = _cross_entropy_of_logits(pred, target, xp)
    n, _ = sigmoid(-pred)  # 1 - p, exact for large logits
    miss = p + target * (n - p)  # 1 - p_t, whose derivative is (1 - 2 t) p (1 - p)
    a = miss ** (gamma - 1.0)
    if alpha is not None:
        a = a * ((1.0 - alpha) + (2.0 * alpha - 1.0) * target)

    def vjp(dl: float | Array) -> Array:
        steepness = gamma * (1.0 - 2.0 * target) * (p * n)
        return a * (miss * (p - target) + steepness * ce) * (dl * (1.0 / k))

    return xp.sum(a * miss * ce, axis=-1) / k, vjp


@loss(targets="signs")
def hinge(pred: Array, target: Array, *, squared: bool = False) -> tuple[Array, Vjp]:
    """Hinge loss of a support vector machine, l = sum_j max(0, 1 - t_j z_j) / k, or its terms squared.

    Cortes and Vapnik, "Support-vector networks" (1995). The derivative at the kink is 0.

    Parameters
    ----------
    squared : bool
        Square each term.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = hinge(np.asarray([[-1.0], [3.0]]), np.ones((2, 1)))
    >>> print(value)
    1.0
    >>> vjp()
    array([[-0.5],
           [ 0. ]])
    """
    xp = namespace(pred)
    k = pred.shape[-1]
    m = xp.clip(1.0 - target * pred, min=0.0)
    if squared:
        return xp.sum(m * m, axis=-1) / k, lambda dl: target * m * (dl * (-2.0 / k))
    return xp.sum(m, axis=-1) / k, lambda dl: xp.where(m <= 0.0, 0.0, target * (dl * (-1.0 / k)))


@loss(targets="labels")
def multiclass_hinge(
    pred: Array,
    target: Array,
    *,
    squared: bool = False,
    margin: float = 1.0,
    class_weight: Array | Sequence[float] | None = None,
) -> tuple[Array, ...]:
    """Multiclass hinge loss, l = sum_{j != y} max(0, z_j - z_y + margin), or its terms squared.

    Weston and Watkins, "Support vector machines for multi-class pattern recognition" (1999). The sum is
    not divided by the number of classes, in contrast to PyTorch's ``multi_margin_loss``.

    Parameters
    ----------
    squared : bool
        Square each term.
    margin : float
        Smallest lead of the score of the correct class without a loss.
    class_weight : array or sequence (k,), optional
        Weight of the samples of each class, multiplied by `sample_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = multiclass_hinge(np.asarray([[2.0, 1.5, -3.0]]), np.asarray([0]))
    >>> print(value)
    0.5
    >>> vjp()
    array([[-1.,  1.,  0.]])
    """
    xp = namespace(pred)
    one_hot = _one_hot(target, pred, xp)
    z_y = xp.sum(xp.where(one_hot, pred, 0.0), axis=-1, keepdims=True)
    m = xp.where(one_hot, 0.0, xp.clip(pred - z_y + margin, min=0.0))
    l = xp.sum(m * m if squared else m, axis=-1)

    def vjp(dl: float | Array) -> Array:
        g = 2.0 * m if squared else xp.astype(m > 0.0, pred.dtype)
        return xp.where(one_hot, -xp.sum(g, axis=-1, keepdims=True), g) * dl

    if class_weight is None:
        return l, vjp
    weights = _per_output("class_weight", class_weight, pred, xp)
    weight = xp.sum(xp.where(one_hot, weights, 0.0), axis=-1)
    return weight * l, lambda dl: vjp(dl * weight[..., None]), weight


@loss(targets="labels", link="softmax", probabilities=True)
def softmax_cross_entropy(
    pred: Array,
    target: Array,
    *,
    label_smoothing: float = 0.0,
    class_weight: Array | Sequence[float] | None = None,
) -> tuple[Array, ...]:
    """Cross entropy of the softmax of logits, l = -sum_c q_c log(p_c), p = softmax(z).

    q is 1 at the label, or the given probabilities. The derivative is p - q.

    Parameters
    ----------
    target : array of integers (B,) or (..., B), or of floats (B, k) or (..., B, k)
        Labels in [0, k), or the probabilities q of the classes.
    label_smoothing : float
        e in [0, 1): q becomes (1 - e) q + e / k (Szegedy et al., "Rethinking the inception
        architecture", 2016).
    class_weight : array or sequence (k,), optional
        w in l = -sum_c w_c q_c log(p_c). The mean divides by the sum over samples of sum_c w_c q_c, with q
        before smoothing; for labels this is what PyTorch does.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = softmax_cross_entropy(np.zeros((1, 4)), np.asarray([2]))
    >>> print(value.round(6))
    1.386294
    >>> vjp()
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    _check_smoothing(label_smoothing)
    xp = namespace(pred)
    labels = dtype_kind(target) == "signed integer"
    if labels:
        one_hot = _one_hot(target, pred, xp)
        if class_weight is None and not label_smoothing:
            return _softmax_cross_entropy_of_labels(pred, one_hot, xp)
        q = xp.astype(one_hot, pred.dtype)
    else:
        q = target
    weights = None if class_weight is None else _per_output("class_weight", class_weight, pred, xp)
    weight = () if weights is None else (xp.sum(weights * q, axis=-1),)
    if label_smoothing:
        q = (1.0 - label_smoothing) * q + label_smoothing / pred.shape[-1]
    if weights is not None:
        q = weights * q
    log_p, log_p_vjp = log_softmax(pred)
    return -xp.sum(q * log_p, axis=-1), lambda dl: log_p_vjp(-q * dl), *weight


def _one_hot(labels: Array, pred: Array, xp: Any) -> Array:
    """Return booleans (..., B, k) that are true at the labels (..., B)."""
    return labels[..., None] == xp.arange(pred.shape[-1], device=device(pred))


def _softmax_cross_entropy_of_labels(z: Array, one_hot: Array, xp: Any) -> tuple[Array, Vjp]:
    """Return the loss without options, used by most training steps, in as few operations as possible."""
    z = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(z)
    s = xp.sum(e, axis=-1, keepdims=True)
    l = xp.log(s[..., 0]) - xp.sum(xp.where(one_hot, z, 0.0), axis=-1)

    def vjp(dl: float | Array) -> Array:
        p = e / s
        p -= xp.astype(one_hot, p.dtype)
        p *= dl
        return p

    return l, vjp


@loss(targets="unit interval", link="softmax")
def kl_divergence(pred: Array, target: Array) -> tuple[Array, Vjp]:
    """Kullback-Leibler divergence from the softmax of logits, l = sum_c t_c (log(t_c) - log(p_c)).

    p = softmax(z) and 0 log(0) = 0; the sum is not divided by k. Log-probabilities are logits too: their
    softmax is the probabilities. Kullback and Leibler, "On information and sufficiency" (1951).

    Parameters
    ----------
    target : array (B, k) or (..., B, k)
        Probabilities t of the classes.

    Examples
    --------
    >>> import numpy as np
    >>> value, vjp = kl_divergence(np.zeros((1, 2)), np.asarray([[1.0, 0.0]]))
    >>> print(value.round(6))
    0.693147
    >>> vjp()
    array([[-0.5,  0.5]])
    """
    xp = namespace(pred)
    log_p, log_p_vjp = log_softmax(pred)
    log_t = xp.log(xp.where(target == 0.0, 1.0, target))
    return xp.sum(target * (log_t - log_p), axis=-1), lambda dl: log_p_vjp(-target * dl)


def _per_output(name: str, values: Array, pred: Array, xp: Any) -> Array:
    """Return one value for each of the k outputs as an array (k,) like `pred`, from an array or sequence."""
    if isinstance(values, list | tuple) or namespace(values) is not xp:
        values = xp.asarray(values, dtype=pred.dtype, device=device(pred))
    elif values.dtype != pred.dtype:
        values = xp.astype(values, pred.dtype)
    k, got = pred.shape[-1], tuple(values.shape)
    if got != (k,):
        raise ValueError(f"{name} must hold one number for each of {k} outputs, got the shape {got}")
    return values


def _check_smoothing(label_smoothing: float) -> None:
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
