"""Errors of losses, their descriptions, and losses that users define."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from anyback import losses
from anyback.losses._base import Loss, loss
from tests.losses.references import B, K, torch

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
