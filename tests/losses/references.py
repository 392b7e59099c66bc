"""PyTorch's losses, one for each of anyback's, and predictions and targets to compare them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyback import losses
from tests.conftest import require

torch = require("torch")
F = torch.nn.functional

B, K = 7, 5
CLASS_WEIGHT = [0.5, 2.0, 0.0, 1.0, 3.0]


# Each reference gives the loss of every sample and what the sample counts in the mean.
def columns(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda z, t, **options: (f(z, t, **options).mean(-1), torch.ones(z.shape[0], dtype=z.dtype))


def smoothed(t: Any, label_smoothing: float) -> Any:
    return t * (1.0 - label_smoothing) + 0.5 * label_smoothing


def bce(z: Any, t: Any, label_smoothing: float = 0.0, pos_weight: Any = None) -> Any:
    weight = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=z.dtype)
    t = smoothed(t, label_smoothing)
    return F.binary_cross_entropy_with_logits(z, t, pos_weight=weight, reduction="none")


def focal(z: Any, t: Any, gamma: float = 2.0, alpha: float | None = None) -> Any:
    ce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
    p = torch.sigmoid(z)
    value = ce * (1.0 - (p * t + (1.0 - p) * (1.0 - t))) ** gamma
    return value if alpha is None else value * (alpha * t + (1.0 - alpha) * (1.0 - t))


def pinball(z: Any, t: Any, quantile: float = 0.5) -> Any:
    return torch.maximum(quantile * (t - z), (1.0 - quantile) * (z - t))


def cross_entropy(z: Any, t: Any, label_smoothing: float = 0.0, class_weight: Any = None) -> Any:
    weight = None if class_weight is None else torch.as_tensor(class_weight, dtype=z.dtype)
    value = F.cross_entropy(z, t, weight=weight, label_smoothing=label_smoothing, reduction="none")
    if weight is None:
        return value, torch.ones_like(value)
    return value, (t @ weight if t.ndim == 2 else weight[t])


def multiclass_hinge(
    z: Any, t: Any, squared: bool = False, margin: float = 1.0, class_weight: Any = None
) -> Any:
    weight = torch.as_tensor([1.0] * K if class_weight is None else class_weight, dtype=z.dtype)
    value = F.multi_margin_loss(z, t, p=2 if squared else 1, margin=margin, weight=weight, reduction="none")
    return value * z.shape[-1], weight[t]


def kl_divergence(z: Any, t: Any) -> Any:
    value = F.kl_div(F.log_softmax(z, dim=-1), t, reduction="none").sum(-1)
    return value, torch.ones_like(value)


REFERENCES: dict[str, Callable[..., Any]] = {
    "binary_cross_entropy": columns(bce),
    "focal": columns(focal),
    "hinge": columns(lambda z, t, squared=False: torch.relu(1.0 - t * z) ** (2 if squared else 1)),
    "huber": columns(lambda z, t, delta=1.0: F.huber_loss(z, t, delta=delta, reduction="none")),
    "kl_divergence": kl_divergence,
    "log_cosh": columns(lambda z, t: torch.logaddexp(z - t, t - z) - np.log(2.0)),
    "mean_absolute_error": columns(lambda z, t: (z - t).abs()),
    "mean_squared_error": columns(lambda z, t: (z - t) ** 2),
    "multiclass_hinge": multiclass_hinge,
    "poisson": columns(lambda z, t: F.poisson_nll_loss(z, t, reduction="none")),
    "quantile": columns(pinball),
    "smooth_l1": columns(lambda z, t, beta=1.0: F.smooth_l1_loss(z, t, beta=beta, reduction="none")),
    "softmax_cross_entropy": cross_entropy,
}

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in losses.__all__),
    ("binary_cross_entropy", {"label_smoothing": 0.2}),
    ("binary_cross_entropy", {"pos_weight": 3.0}),
    ("binary_cross_entropy", {"pos_weight": CLASS_WEIGHT, "label_smoothing": 0.1}),
    ("focal", {"gamma": 1.0, "alpha": 0.25}),
    ("focal", {"gamma": 1.5}),
    ("focal", {"gamma": 3.0, "alpha": 0.0}),
    ("focal", {"gamma": 2.0, "alpha": 1.0}),
    ("hinge", {"squared": True}),
    ("huber", {"delta": 0.3}),
    ("multiclass_hinge", {"squared": True, "margin": 0.5}),
    ("multiclass_hinge", {"class_weight": CLASS_WEIGHT}),
    ("multiclass_hinge", {"squared": True, "class_weight": CLASS_WEIGHT}),
    ("quantile", {"quantile": 0.9}),
    ("smooth_l1", {"beta": 0.3}),
    ("softmax_cross_entropy", {"label_smoothing": 0.2}),
    ("softmax_cross_entropy", {"class_weight": CLASS_WEIGHT}),
    ("softmax_cross_entropy", {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.2}),
]
OPTIONED = [(name, options) for name, options in CASES if options]


def targets(kind: str, rng: np.random.Generator, lead: tuple[int, ...] = ()) -> np.ndarray:
    shape = (*lead, B, K)
    if kind == "labels":
        return rng.integers(0, K, size=shape[:-1])
    if kind == "signs":
        return np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    if kind == "unit interval":
        t = rng.random(shape)
        return np.where(t < 0.2, 0.0, np.where(t > 0.8, 1.0, t))
    return rng.poisson(3.0, size=shape).astype(float) if kind == "counts" else rng.normal(size=shape)


def predictions(name: str, spread: str, rng: np.random.Generator) -> np.ndarray:
    z = rng.normal(size=(B, K))
    if spread == "random" or name == "poisson":
        return z
    sizes = np.asarray([1e4, 300.0, 40.0, 21.0, 5.0])
    extreme: np.ndarray = rng.permuted(np.broadcast_to(sizes, z.shape), axis=-1)
    return np.where(z < 0.0, -extreme, extreme)


def reference(
    name: str, z: np.ndarray, t: np.ndarray, weight: np.ndarray | None, options: dict[str, Any]
) -> tuple[float, np.ndarray]:
    pred = torch.tensor(z, requires_grad=True)
    each, own = REFERENCES[name](pred, torch.tensor(t), **options)
    w = torch.ones(B, dtype=torch.float64) if weight is None else torch.tensor(weight)
    value = (w * each).sum() / (w * own).sum()
    value.backward()
    gradient: np.ndarray = pred.grad.numpy()
    return value.item(), gradient


def check(
    name: str, z: np.ndarray, t: np.ndarray, weight: np.ndarray | None, options: dict[str, Any]
) -> None:
    value, vjp = getattr(losses, name)(z, t, sample_weight=weight, **options)
    expected, gradient = reference(name, z, t, weight, options)
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(vjp(), gradient, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(vjp(-2.5), -2.5 * gradient, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(vjp(), vjp())
