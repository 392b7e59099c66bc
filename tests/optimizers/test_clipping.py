"""Clipping and penalties, against PyTorch and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyback import regularizers
from anyback.optimizers import clipping
from anyback.optimizers.clipping import clip_by_norm, clip_by_value, global_norm
from anyback.regularizers import l1, l2
from tests.conftest import require


def draw(*shape: int, dtype: str = "float64") -> np.ndarray:
    array = np.random.default_rng(5).standard_normal(shape).astype(dtype)
    array.flags.writeable = False
    return array


def test_every_name_is_tested() -> None:
    assert set(clipping.__all__) == {"clip_by_norm", "clip_by_value", "global_norm"}
    assert set(regularizers.__all__) == {"l1", "l2"}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_clips_as_pytorch(scale: float) -> None:
    torch = require("torch")
    g = draw(50) * scale
    p = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    p.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_([p], 2.0)
    np.testing.assert_allclose(global_norm(g), [float(norm)], rtol=1e-14)
    # PyTorch adds 1e-6 to the norm.
    np.testing.assert_allclose(clip_by_norm(g, 2.0), p.grad.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(clip_by_norm(torch.tensor(g), 2.0)), clip_by_norm(g, 2.0))
    p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_value_([p], 0.5)
    np.testing.assert_array_equal(clip_by_value(g, 0.5), p.grad.numpy())
    np.testing.assert_array_equal(np.asarray(clip_by_value(torch.tensor(g), 0.5)), p.grad.numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("limit", [0.1, 1.0, 7.0, np.float64(3.0)])
def test_norm_is_the_limit_or_untouched(dtype: str, limit: float) -> None:
    g = draw(200, dtype=dtype)
    long, short = g * 100, g * 1e-4
    assert clip_by_norm(long, limit).dtype == clip_by_value(long, limit).dtype == g.dtype
    np.testing.assert_allclose(np.linalg.norm(clip_by_norm(long, limit)), limit, rtol=1e-6)
    np.testing.assert_array_equal(clip_by_norm(short, limit), short)
    np.testing.assert_array_equal(clip_by_value(short, limit), short)
    assert abs(clip_by_value(long, limit)).max() == np.asarray(limit, dtype=dtype)


def test_a_norm_of_exactly_the_limit_is_untouched() -> None:
    g = np.asarray([3.0, -4.0], dtype="float32")
    np.testing.assert_array_equal(clip_by_norm(g, 5.0), g)


def test_a_norm_above_the_limit_by_little_is_cut() -> None:
    np.testing.assert_allclose(clip_by_norm(np.asarray([3.0, -4.0]), 4.0), [2.4, -3.2], rtol=1e-15)


def test_the_norm_of_negative_gradients_is_positive() -> None:
    np.testing.assert_array_equal(global_norm(np.asarray([-3.0, -4.0])), [5.0])


def test_zero_gradient() -> None:
    np.testing.assert_array_equal(global_norm(np.zeros(3)), [0.0])
    np.testing.assert_array_equal(clip_by_norm(np.zeros(3), 1.0), np.zeros(3))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_beyond_single_precision(size: float) -> None:
    g = np.asarray([3.0, -4.0], dtype="float32") * np.float32(size)
    np.testing.assert_allclose(global_norm(g), [5.0 * size], rtol=1e-6)
    if size > 1:
        np.testing.assert_allclose(clip_by_norm(g, 1.0), [0.6, -0.8], rtol=1e-6)


def test_nan_stays() -> None:
    g = np.asarray([1.0, math.nan])
    assert np.isnan(global_norm(g)).all()
    assert np.isnan(clip_by_norm(g, 1.0)).all()
    assert np.isnan(clip_by_value(g, 1.0)).tolist() == [False, True]


def test_clips_a_population_one_by_one() -> None:
    g = draw(3, 20) * np.asarray([[0.01], [1.0], [100.0]])
    assert global_norm(g).shape == (3, 1)
    for clip in (clip_by_norm, clip_by_value):
        np.testing.assert_array_equal(clip(g, 1.0), np.stack([clip(member, 1.0) for member in g]))


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf, "1", None, True])
def test_bad_limits_are_named(clip: Callable[..., Any], limit: Any) -> None:
    with pytest.raises(ValueError, match=f"limit must be positive and finite, got {limit!r}"):
        clip(draw(3), limit)


MASKS = [1.0, np.asarray([1.0, 0.0, 1.0, 1.0, 0.0])]


@pytest.mark.parametrize("mask", MASKS, ids=["all", "mask"])
@pytest.mark.parametrize("penalty", [l1, l2])
def test_penalties_have_true_derivatives(penalty: Callable[..., Any], mask: Any) -> None:
    w, direction = draw(3, 5), np.random.default_rng(6).standard_normal((3, 5))
    w = w + 0.1 * np.sign(w)  # away from the kink of |w|
    value, vjp = penalty(w, mask)
    power = 1 if penalty is l1 else 2
    np.testing.assert_allclose(value, np.sum(mask * np.abs(w) ** power, axis=-1), rtol=1e-14)
    eps = 1e-5
    difference = (penalty(w + eps * direction, mask)[0] - penalty(w - eps * direction, mask)[0]) / (2 * eps)
    np.testing.assert_allclose(np.sum(vjp() * direction, axis=-1), difference, rtol=1e-6)


@pytest.mark.parametrize("penalty", [l1, l2])
def test_penalties_as_pytorch(penalty: Callable[..., Any]) -> None:
    torch = require("torch")
    w = draw(6)
    p = torch.tensor(w, requires_grad=True)
    theirs = p.abs().sum() if penalty is l1 else (p * p).sum()
    theirs.backward()
    wanted = pytest.approx(theirs.item(), rel=1e-14)
    value, vjp = penalty(w)
    assert float(value) == wanted
    np.testing.assert_allclose(vjp(), p.grad.numpy(), rtol=1e-14)
    value, vjp = penalty(torch.tensor(w))
    assert float(value) == wanted
    np.testing.assert_allclose(np.asarray(vjp(0.3)), 0.3 * p.grad.numpy(), rtol=1e-14)


@pytest.mark.parametrize("penalty", [l1, l2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_penalties_scale_by_what_comes_from_above(penalty: Callable[..., Any], dtype: str) -> None:
    w = draw(3, 5, dtype=dtype)
    value, vjp = penalty(w)
    assert value.shape == (3,)
    assert value.dtype == vjp().dtype == vjp(np.float64(2.0)).dtype == w.dtype
    dvalue = np.asarray([0.5, 2.0, -1.0], dtype=dtype)
    np.testing.assert_allclose(vjp(dvalue), vjp() * dvalue[:, None], rtol=1e-6)
    np.testing.assert_array_equal(vjp(2), vjp(np.asarray(2.0, dtype=dtype)))
    np.testing.assert_array_equal(penalty(w[0])[1](dvalue[0]), vjp(dvalue)[0])
    np.testing.assert_array_equal(penalty(np.zeros(4))[1](), np.zeros(4))
