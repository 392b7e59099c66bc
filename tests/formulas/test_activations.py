"""Activations against PyTorch's autograd, and at the ends of their range."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyback import activations
from tests.conftest import require

torch = require("torch")
F = torch.nn.functional

REFERENCES: dict[str, Callable[..., Any]] = {
    "celu": F.celu,
    "elu": F.elu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "hard_sigmoid": lambda x: F.relu6(x + 3.0) / 6.0,  # F.hardsigmoid has a slope rounded to single precision
    "identity": lambda x: x * 1.0,
    "leaky_relu": F.leaky_relu,
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "maxout": lambda x, pieces=2: torch.amax(x.reshape(*x.shape[:-1], -1, pieces), dim=-1),
    "mish": lambda x: x * torch.tanh(F.softplus(x, threshold=1000.0)),
    "relu": F.relu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "softplus": lambda x: F.softplus(x, threshold=1000.0),
    "softsign": F.softsign,
    "tanh": torch.tanh,
}

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in activations.__all__),
    ("celu", {"alpha": 0.5}),
    ("elu", {"alpha": 1.7}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("leaky_relu", {"negative_slope": -0.5}),
    ("maxout", {"pieces": 3}),
]

OVER_AXIS = {"softmax", "log_softmax", "maxout"}


def inputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    x = rng.normal(size=(2, 5, 12))
    ends = np.asarray([1e4, -1e4, 300.0, -300.0, 40.0, -40.0, 21.0, -21.0, 5.0, -5.0, 1e-8, -1e-8])
    return {"random": 2.0 * x, "wide": 30.0 * x, "extreme": np.stack([ends, ends[::-1]])}


def test_every_activation_has_a_reference() -> None:
    assert set(REFERENCES) == set(activations.__all__)


@pytest.mark.parametrize("which", ["random", "wide", "extreme"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_torch(name: str, options: dict[str, Any], which: str) -> None:
    rng = np.random.default_rng(0)
    x = inputs(rng)[which]
    y, vjp = getattr(activations, name)(x, **options)
    dy = rng.normal(size=y.shape)
    z = torch.tensor(x, requires_grad=True)
    expected = REFERENCES[name](z, **options)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(vjp(dy), z.grad.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(vjp(dy), vjp(dy))


@pytest.mark.parametrize("name", activations.__all__)
def test_finite_in_single_precision(name: str) -> None:
    x = np.asarray([[1e4, -1e4, 0.0, 1.0], [-1e4, -1e4, -90.0, 90.0]], dtype=np.float32)
    y, vjp = getattr(activations, name)(x)
    dx = vjp(np.ones_like(y))
    assert y.dtype == dx.dtype == np.float32
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", activations.__all__)
def test_nan_stays_nan(name: str) -> None:
    x = np.asarray([[1.0, np.nan, -1.0, 0.5]])
    y, _ = getattr(activations, name)(x)
    if name == "maxout":
        expected = [True, False]
    else:
        expected = [True] * 4 if name in OVER_AXIS else [False, True, False, False]
    np.testing.assert_array_equal(np.isnan(y)[0], expected)


def test_tails_of_sigmoid_and_softplus_keep_their_digits() -> None:
    x = np.asarray([-700.0, -100.0, -40.0])
    for f in (activations.sigmoid, activations.softplus):
        y, vjp = f(x)
        np.testing.assert_allclose(y, np.exp(x), rtol=1e-14)
        np.testing.assert_allclose(vjp(np.ones(3)), np.exp(x), rtol=1e-14)


def test_kinks() -> None:
    x = np.asarray([0.0, -0.0])
    for f, slope in ((activations.relu, 0.0), (activations.leaky_relu, 0.01)):
        y, vjp = f(x)
        np.testing.assert_array_equal(y, 0.0)
        np.testing.assert_array_equal(vjp(np.ones(2)), slope)


def test_slopes_at_the_ends_of_pieces() -> None:
    _, vjp = activations.hard_sigmoid(np.asarray([-3.0, 3.0]))
    np.testing.assert_array_equal(vjp(np.ones(2)), 0.0)
    _, vjp = activations.elu(np.zeros(1), alpha=1.7)  # 0 belongs to the negative side
    assert vjp(np.ones(1)).tolist() == [1.7]


def test_maxout_of_one_piece_is_the_identity() -> None:
    y, vjp = activations.maxout(np.asarray([3.0, -1.0]), pieces=1)
    assert y.tolist() == [3.0, -1.0] and vjp(np.asarray([5.0, 6.0])).tolist() == [5.0, 6.0]


def test_maxout_gives_the_gradient_to_the_first_of_equals() -> None:
    y, vjp = activations.maxout(np.asarray([[3.0, 3.0, 1.0, 2.0, 2.0, 2.0]]), pieces=3)
    np.testing.assert_array_equal(y, [[3.0, 2.0]])
    np.testing.assert_array_equal(vjp(np.asarray([[5.0, 7.0]])), [[5.0, 0.0, 0.0, 7.0, 0.0, 0.0]])


@pytest.mark.parametrize(("shape", "pieces"), [((4, 5), 2), ((4, 6), 0), ((), 2)])
def test_maxout_names_a_width_that_does_not_divide(shape: tuple[int, ...], pieces: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of pieces={pieces}, got shape {re.escape(str(shape))}"):
        activations.maxout(np.ones(shape), pieces=pieces)


def test_softmax_sums_to_one() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5)) * 100.0
    y, _ = activations.softmax(x)
    np.testing.assert_allclose(y.sum(axis=-1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.log(y), activations.log_softmax(x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("x", [-40.0, -20.0, 20.0, 36.0])
def test_the_derivative_of_the_sigmoid_keeps_its_digits(x):
    _, vjp = activations.sigmoid(np.asarray([x]))
    assert vjp(np.ones(1))[0] == pytest.approx(np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2, rel=1e-12)
