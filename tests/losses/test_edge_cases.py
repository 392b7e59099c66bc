"""Losses at extreme and undefined values, in single precision, and of every dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyback import losses
from tests.losses.references import CASES, CLASS_WEIGHT, B, K, targets


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


@pytest.mark.parametrize("dtype, d", [("float32", 1e-4), ("float64", 1e-9)])
def test_log_cosh_keeps_its_digits_near_zero(dtype, d):
    pred, target = np.asarray([[d]], dtype), np.zeros((1, 1), dtype)
    assert float(losses.log_cosh(pred, target)[0]) == pytest.approx(d * d / 2, rel=1e-3)


@pytest.mark.parametrize("dtype, z, expected", [("float32", 17.0, 4.1399e-8), ("float64", 40.0, 4.2484e-18)])
def test_cross_entropy_of_large_right_logits_keeps_its_digits(dtype, z, expected):
    pred, target = np.asarray([[z]], dtype), np.ones((1, 1), dtype)
    assert float(losses.binary_cross_entropy(pred, target)[0]) == pytest.approx(expected, rel=1e-3)
    assert float(losses.binary_cross_entropy(-pred, 1.0 - target)[0]) == pytest.approx(expected, rel=1e-3)
