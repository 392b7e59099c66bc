"""Losses against PyTorch's autograd, their weights, their populations and their errors."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyback import losses
from anyback.losses._base import Loss, loss
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


def test_every_loss_has_a_reference() -> None:
    assert set(REFERENCES) == set(losses.__all__)


def test_every_option_is_tried() -> None:
    for name in losses.__all__:
        tried = {option for case, options in OPTIONED if case == name for option in options}
        assert tried == set(getattr(losses, name).options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", ["random", "extreme"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_torch(name: str, options: dict[str, Any], spread: str, weighted: bool) -> None:
    rng = np.random.default_rng(1)
    weight = rng.integers(0, 4, size=B) + 0.5 * (np.arange(B) == 2) if weighted else None
    t = targets(getattr(losses, name).targets, rng)
    check(name, predictions(name, spread, rng), t, weight, options)


@pytest.mark.parametrize("spread", ["random", "extreme"])
@pytest.mark.parametrize(
    "options", [{}, *(options for name, options in OPTIONED if name == "softmax_cross_entropy")], ids=str
)
def test_softmax_cross_entropy_of_probabilities(options: dict[str, Any], spread: str) -> None:
    rng = np.random.default_rng(2)
    q = rng.random((B, K))
    q /= q.sum(axis=-1, keepdims=True)
    check("softmax_cross_entropy", predictions("", spread, rng), q, rng.random(B), options)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": CLASS_WEIGHT}], ids=str)
def test_labels_are_one_hot_probabilities(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(B, K)), rng.integers(0, K, size=B)
    value, vjp = losses.softmax_cross_entropy(z, y, **options)
    expected, expected_vjp = losses.softmax_cross_entropy(z, np.eye(K)[y], **options)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(vjp(), expected_vjp(), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": CLASS_WEIGHT}], ids=str)
def test_means_with_class_weights_are_those_of_torch(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    z, y = rng.normal(size=(B, K)), rng.integers(0, K, size=B)
    weight = {name: torch.tensor(value) for name, value in options.items() if name == "class_weight"}
    expected = F.cross_entropy(
        torch.tensor(z),
        torch.tensor(y),
        weight=weight["class_weight"].double() if weight else None,
        label_smoothing=options.get("label_smoothing", 0.0),
    )
    np.testing.assert_allclose(losses.softmax_cross_entropy(z, y, **options)[0], float(expected), rtol=1e-13)


@pytest.mark.parametrize("form", [np.asarray(CLASS_WEIGHT, dtype=np.float32), tuple(CLASS_WEIGHT)])
def test_class_weight_may_be_an_array_or_a_sequence(form: Any) -> None:
    rng = np.random.default_rng(5)
    z, y = rng.normal(size=(B, K)), rng.integers(0, K, size=B)
    value, _ = losses.softmax_cross_entropy(z, y, class_weight=form)
    assert value == losses.softmax_cross_entropy(z, y, class_weight=CLASS_WEIGHT)[0]
    z32 = torch.tensor(z, dtype=torch.float32)
    value, vjp = losses.softmax_cross_entropy(z32, torch.tensor(y), class_weight=form)
    assert value.dtype == vjp().dtype == torch.float32
    weight = np.asarray(CLASS_WEIGHT)
    value, vjp = losses.softmax_cross_entropy(z.astype(np.float32), y, class_weight=weight)
    assert value.dtype == vjp().dtype == np.float32


@pytest.mark.parametrize("weighted", ["no", "shared", "own"])
@pytest.mark.parametrize("shared_target", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_population_equals_loop(
    name: str, options: dict[str, Any], shared_target: bool, weighted: str
) -> None:
    rng = np.random.default_rng(6)
    f = getattr(losses, name)
    members = B  # as many as samples: an axis taken for the other one shows
    z = rng.normal(size=(members, B, K))
    t = targets(f.targets, rng, () if shared_target else (members,))
    weight: Any = {"no": None, "shared": rng.random(B), "own": rng.random((members, B))}[weighted]
    dloss = rng.normal(size=members)
    value, vjp = f(z, t, sample_weight=weight, **options)
    total_loss, total, sums_vjp = f.sums(z, t, weight, **options)
    assert value.shape == total_loss.shape == (members,)
    dpred, dsums = vjp(dloss), sums_vjp(dloss)
    for i in range(members):
        w = weight[i] if weighted == "own" else weight
        alone, alone_vjp = f(z[i], t if shared_target else t[i], sample_weight=w, **options)
        one_loss, one_total, one_vjp = f.sums(z[i], t if shared_target else t[i], w, **options)
        np.testing.assert_allclose(value[i], alone, rtol=1e-13)
        np.testing.assert_allclose(dpred[i], alone_vjp(dloss[i]), rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(total_loss[i], one_loss, rtol=1e-13)
        np.testing.assert_allclose(np.broadcast_to(total, members)[i], one_total, rtol=1e-13)
        np.testing.assert_allclose(dsums[i], one_vjp(dloss[i]), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_sums_of_parts_add_up(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    f = getattr(losses, name)
    z, t, w = rng.normal(size=(B, K)), targets(f.targets, rng), rng.random(B)
    value, vjp = f(z, t, sample_weight=w, **options)
    parts = [f.sums(z[rows], t[rows], w[rows], **options) for rows in (slice(0, 3), slice(3, B))]
    total = sum(n for _, n, _ in parts)
    np.testing.assert_allclose(sum(s for s, _, _ in parts) / total, value, rtol=1e-13)
    dpred = np.concatenate([d(1.0 / total) for _, _, d in parts])
    np.testing.assert_allclose(dpred, vjp(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", losses.__all__)
def test_without_weights_the_total_is_the_number_of_samples(name: str) -> None:
    rng = np.random.default_rng(8)
    f = getattr(losses, name)
    z, t = rng.normal(size=(B, K)), targets(f.targets, rng)
    value, total, _ = f.sums(z, t)
    assert type(total) is int
    assert total == B
    np.testing.assert_allclose(value / B, f(z, t)[0], rtol=1e-15)
    np.testing.assert_allclose(f(z, t, sample_weight=np.ones(B))[0], f(z, t)[0], rtol=1e-14)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "poisson"])
def test_finite_in_single_precision(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(9)
    f = getattr(losses, name)
    z = rng.choice(np.asarray([-1e4, 1e4, 0.0], dtype=np.float32), size=(B, K))
    t = targets(f.targets, rng)
    for target in [t, 1e4 * t] if f.targets == "reals" else [t]:
        value, vjp = f(z, target, **options)
        dpred = vjp()
        assert value.dtype == dpred.dtype == np.float32
        assert np.isfinite(value)
        assert np.isfinite(dpred).all()


def test_losses_of_certain_predictions() -> None:
    z = np.asarray([[1e4, -1e4]], dtype=np.float32)
    assert losses.softmax_cross_entropy(z, np.asarray([0]))[0] == 0.0
    assert losses.softmax_cross_entropy(z, np.asarray([1]))[0] == 2e4
    assert losses.binary_cross_entropy(z, np.asarray([[1.0, 0.0]]))[0] == 0.0
    assert losses.binary_cross_entropy(z, np.asarray([[0.0, 1.0]]))[0] == 1e4
    assert losses.kl_divergence(z, np.asarray([[1.0, 0.0]]))[0] == 0.0


def test_a_class_ruled_out_by_minus_infinity() -> None:
    value, vjp = losses.softmax_cross_entropy(np.asarray([[0.0, -np.inf, 0.0]]), np.asarray([0]))
    np.testing.assert_allclose(value, np.log(2.0))
    np.testing.assert_allclose(vjp(), [[-0.5, 0.0, 0.5]])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_nan_stays_nan(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(10)
    f = getattr(losses, name)
    z, t = rng.normal(size=(B, K)), targets(f.targets, rng)
    if f.targets == "labels":
        t[:] = 1  # a class of weight 2: a class of weight 0 has no loss to lose
    z[3, 4] = np.nan
    assert np.isnan(f(z, t, **options)[0])
    if f.targets != "labels":
        z[3, 4], t[3, 4] = 0.0, np.nan
        assert np.isnan(f(z, t, **options)[0])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_weights_all_zero(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    f = getattr(losses, name)
    z, t = rng.normal(size=(B, K)), targets(f.targets, rng)
    value, vjp = f(z, t, sample_weight=np.zeros(B), **options)
    assert value == 0.0
    np.testing.assert_array_equal(vjp(), np.zeros((B, K)))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
def test_class_weights_all_zero_in_a_batch(options: dict[str, Any]) -> None:
    z, y = np.random.default_rng(12).normal(size=(B, K)), np.full(B, 2)
    value, vjp = losses.softmax_cross_entropy(z, y, class_weight=CLASS_WEIGHT, **options)
    assert value == 0.0
    np.testing.assert_array_equal(vjp(), np.zeros((B, K)))


@pytest.mark.parametrize("name", losses.__all__)
def test_the_dtype_is_that_of_the_predictions(name: str) -> None:
    rng = np.random.default_rng(13)
    f = getattr(losses, name)
    z, t = rng.normal(size=(B, K)).astype(np.float32), targets(f.targets, rng)
    value, vjp = f(z, t, sample_weight=np.ones(B, dtype=np.int64))
    assert value.dtype == np.float32
    for dloss in (2, 2.0, np.float64(2.0), np.asarray(2.0)):
        assert vjp(dloss).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.uint64])
def test_labels_may_be_any_integers(dtype: type) -> None:
    z, y = np.zeros((300, 300)), np.arange(300) % 100
    for f in (losses.softmax_cross_entropy, losses.multiclass_hinge):
        np.testing.assert_array_equal(f(z, y.astype(dtype))[1](), f(z, y)[1]())


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.float32])
def test_other_targets_are_cast(dtype: type) -> None:
    z, t = np.random.default_rng(14).normal(size=(B, K)), np.arange(B * K).reshape(B, K) % 2
    value, _ = losses.binary_cross_entropy(z, t.astype(dtype))
    assert value == losses.binary_cross_entropy(z, t.astype(float))[0]


def test_an_empty_batch_has_no_loss() -> None:
    value, vjp = losses.mean_squared_error(np.zeros((0, 2)), np.zeros((0, 2)))
    assert value == 0.0
    assert vjp().shape == (0, 2)


Z = np.zeros((B, K))
Y = np.zeros(B, dtype=np.int64)
BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("huber", (Z, Z[:, 0]), {}, ValueError, r"target must have the shape \(7, 5\) for .* got \(7,\)"),
    ("huber", (Z[:, :1], Z[:, 0]), {}, ValueError, r"target must have the shape \(7, 1\) for .* got \(7,\)"),
    ("huber", (Z, Z[:, :1]), {}, ValueError, r"got \(7, 1\)"),
    ("huber", (Z, Z[None]), {}, ValueError, r"got \(1, 7, 5\)"),
    ("huber", (np.stack([Z] * 3), np.stack([Z] * 2)), {}, ValueError, r"got \(2, 7, 5\)"),
    ("huber", (Z[0], Z[0]), {}, ValueError, r"pred must have the shape .* got \(5,\)"),
    ("huber", (Z[:, :0], Z[:, :0]), {}, ValueError, r"pred must have the shape .* got \(7, 0\)"),
    ("huber", (Z.astype(int), Z), {}, TypeError, r"pred must hold floating-point numbers, got int64"),
    ("huber", (Z, Z.tolist()), {}, TypeError, r"target must be an array of .* numpy, got builtins.list"),
    ("huber", (Z, torch.tensor(Z)), {}, TypeError, r"target must be an array of .* numpy, got torch.Tensor"),
    ("huber", (Z, Z + 1j), {}, TypeError, r"target must hold real numbers, got complex128"),
    ("huber", (Z, Z), {"delta": 0.0}, ValueError, r"delta must be positive, got 0.0"),
    ("smooth_l1", (Z, Z), {"beta": -1.0}, ValueError, r"beta must be positive, got -1.0"),
    ("quantile", (Z, Z), {"quantile": 1.0}, ValueError, r"quantile must be in \(0, 1\), got 1.0"),
    ("quantile", (Z, Z), {"quantile": 0.0}, ValueError, r"quantile must be in \(0, 1\), got 0.0"),
    ("focal", (Z, Z), {"gamma": 0.5}, ValueError, r"gamma must be at least 1, got 0.5"),
    ("focal", (Z, Z), {"alpha": 1.5}, ValueError, r"alpha must be in \[0, 1\], got 1.5"),
    ("multiclass_hinge", (Z, Y * 1.0), {}, TypeError, r"integer labels of shape \(7,\), got float64"),
    ("multiclass_hinge", (Z, Z), {}, TypeError, r"integer labels of shape \(7,\), got float64"),
    ("multiclass_hinge", (Z, Y[:, None]), {}, ValueError, r"labels of shape \(7,\) for .* got \(7, 1\)"),
    ("multiclass_hinge", (Z, Y[:3]), {}, ValueError, r"got \(3,\)"),
    ("multiclass_hinge", (Z, Y[0]), {}, ValueError, r"got \(\)"),
    ("multiclass_hinge", (Z, Y > 0), {}, TypeError, r"integer labels of shape \(7,\), got bool"),
    ("multiclass_hinge", (Z, Y), {"class_weight": [1.0]}, ValueError, r"class_weight must .* 5 .* \(1,\)"),
    ("softmax_cross_entropy", (Z, Y * 1.0), {}, ValueError, r"must have the shape \(7, 5\) .* got \(7,\)"),
    ("softmax_cross_entropy", (Z, Z > 0), {}, TypeError, r"shape \(7,\) or probabilities .* got bool"),
    ("softmax_cross_entropy", (Z, Z.astype(int)), {}, ValueError, r"labels of shape \(7,\) .* got \(7, 5\)"),
    ("softmax_cross_entropy", (Z, Y), {"label_smoothing": 1.0}, ValueError, r"must be in \[0, 1\), got 1.0"),
    ("binary_cross_entropy", (Z, Z), {"label_smoothing": -0.1}, ValueError, r"must be in \[0, 1\), got -0.1"),
    ("binary_cross_entropy", (Z, Z), {"pos_weight": [1.0]}, ValueError, r"pos_weight must hold .* \(1,\)"),
    ("huber", (Z, Z), {"sample_weight": np.ones((B, 1))}, ValueError, r"weight .* \(7,\) .* got \(7, 1\)"),
    ("huber", (Z, Z), {"sample_weight": np.ones((2, B))}, ValueError, r"weight .* \(7,\) .* got \(2, 7\)"),
    ("huber", (Z, Z), {"sample_weight": np.ones(B) * 1j}, TypeError, r"sample_weight must hold real numbers"),
    ("huber", (Z, Z), {"sample_weight": [1.0] * B}, TypeError, r"sample_weight must be an array .*list"),
    ("huber", (Z, Z), {"reduction": "mean"}, TypeError, r"huber\(\) got an unexpected .* 'reduction'"),
]


@pytest.mark.parametrize(("name", "arguments", "options", "error", "message"), BAD)
def test_bad_input_is_named(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        getattr(losses, name)(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_gradient_of_the_wrong_shape_is_named() -> None:
    _, vjp = losses.huber(Z, Z)
    with pytest.raises(ValueError, match=r"dloss must be a number or of the shape \(\) .* got \(7,\)"):
        vjp(np.ones(B))


def test_a_loss_describes_itself() -> None:
    f = losses.softmax_cross_entropy
    assert isinstance(f, Loss)
    assert (f.targets, f.link, f.probabilities) == ("labels", "softmax", True)
    assert f.options == {"label_smoothing": 0.0, "class_weight": None}
    assert f.__name__ == "softmax_cross_entropy"
    assert f.__doc__ is not None
    assert f.__doc__.startswith("Cross entropy")
    assert repr(f) == "anyback.losses.softmax_cross_entropy"
    assert list(inspect.signature(f).parameters) == ["pred", "target", "sample_weight", *f.options]
    assert copy.deepcopy(f) is f
    assert pickle.loads(pickle.dumps(f)) is f


def test_links_name_activations() -> None:
    from anyback import activations

    assert {getattr(losses, name).link for name in losses.__all__} - {None} <= set(activations.__all__)


def test_a_new_loss_is_one_function() -> None:
    @loss(targets="reals")
    def weighted_by_target(pred: Any, target: Any) -> tuple[Any, ...]:
        d = pred - target
        w = target[..., 0]
        return w * (d * d)[..., 0], lambda dl: 2.0 * target * d * dl, w

    z, t, weight = np.asarray([[1.0], [5.0]]), np.asarray([[2.0], [3.0]]), np.asarray([1.0, 2.0])
    value, vjp = weighted_by_target(z, t, sample_weight=weight)
    assert value == (2.0 + 2.0 * 12.0) / (2.0 + 2.0 * 3.0)
    np.testing.assert_allclose(vjp(), [[-4.0 / 8.0], [24.0 / 8.0]])


@pytest.mark.parametrize(
    "returned, error, message",
    [
        (lambda pred: pred[:, 0], TypeError, r"loss mine must return \(l, vjp\), got ndarray"),
        (lambda pred: (pred, None), ValueError, r"one value for each sample, \(3,\), got shape \(3, 2\)"),
        (lambda pred: (pred.sum(), None), ValueError, r"one value for each sample, \(3,\), got shape \(\)"),
    ],
)
def test_a_new_loss_of_the_wrong_form_is_named(returned, error, message) -> None:
    @loss(targets="reals")
    def mine(pred: Any, target: Any) -> Any:
        return returned(pred)

    with pytest.raises(error, match=message):
        mine(np.ones((3, 2)), np.zeros((3, 2)))


def test_an_unknown_kind_of_target_is_named() -> None:
    with pytest.raises(ValueError, match="targets must be one of 'labels', .* got 'colours'"):
        loss(targets="colours")(lambda pred, target: None)


@pytest.mark.parametrize("dtype, d", [("float32", 1e-4), ("float64", 1e-9)])
def test_log_cosh_keeps_its_digits_near_zero(dtype, d):
    pred, target = np.asarray([[d]], dtype), np.zeros((1, 1), dtype)
    assert float(losses.log_cosh(pred, target)[0]) == pytest.approx(d * d / 2, rel=1e-3)


@pytest.mark.parametrize("dtype, z, expected", [("float32", 17.0, 4.1399e-8), ("float64", 40.0, 4.2484e-18)])
def test_cross_entropy_of_large_right_logits_keeps_its_digits(dtype, z, expected):
    pred, target = np.asarray([[z]], dtype), np.ones((1, 1), dtype)
    assert float(losses.binary_cross_entropy(pred, target)[0]) == pytest.approx(expected, rel=1e-3)
    assert float(losses.binary_cross_entropy(-pred, 1.0 - target)[0]) == pytest.approx(expected, rel=1e-3)
