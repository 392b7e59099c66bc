"""Losses against PyTorch's autograd, their weights, and their populations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyback import losses
from tests.losses.references import (
    CASES,
    CLASS_WEIGHT,
    OPTIONED,
    REFERENCES,
    B,
    F,
    K,
    check,
    predictions,
    targets,
    torch,
)


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
