"""Update rules against PyTorch and against arithmetic by hand."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest

from anyback import optimizers
from anyback.optimizers import (
    SGD,
    Adam,
    Lion,
    Momentum,
    Nesterov,
    RMSProp,
)
from tests.conftest import require
from tests.optimizers.cases import (
    ALL,
    BY_HAND,
    CASES,
    SIZE,
    TOLERANCE,
    TORCH_NAMES,
    assert_near,
    name,
    path,
    problem,
)


@pytest.fixture
def double() -> Iterator[None]:
    """PyTorch keeps NAdam's running product in its default dtype."""
    torch = require("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def torch_path(opt: Any, w: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    torch = require("torch")
    kind = type(opt).__name__
    options = {key: value for key, value in asdict(opt).items() if key != "eps_inside_sqrt"}
    p = torch.nn.Parameter(torch.tensor(w))
    peer = getattr(torch.optim, TORCH_NAMES.get(kind, kind))([p], foreach=False, **options)
    seen = []
    for g in gradients:
        p.grad = torch.tensor(g)
        peer.step()
        seen.append(p.detach().numpy().copy())
    return np.stack(seen)


def test_every_name_has_a_case() -> None:
    assert {type(opt).__name__ for opt in ALL} == set(optimizers.__all__)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("opt", CASES, ids=name)
def test_as_pytorch(opt: Any, dtype: str, double: None) -> None:
    torch = require("torch")
    w, g = problem(dtype)
    wanted = torch_path(opt, w, g)
    assert_near(path(opt, w, g), wanted, TOLERANCE[dtype])
    assert_near(path(opt, torch.tensor(w), torch.tensor(g)), wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("kind", [k for k in optimizers.__all__ if k not in ("Lion", "Momentum", "Nesterov")])
def test_defaults_are_pytorchs(kind: str) -> None:
    torch = require("torch")
    theirs = inspect.signature(getattr(torch.optim, TORCH_NAMES.get(kind, kind))).parameters
    for field in fields(getattr(optimizers, kind)):
        if field.name != "eps_inside_sqrt" and (kind, field.name) != ("SGD", "lr"):
            assert field.default == theirs[field.name].default, field.name


def lion_by_hand(opt: Any, w: Any, gradients: Any) -> list[Any]:
    """Train one parameter, a NumPy scalar: the precision is its own."""
    m, seen = 0.0, []
    for g in gradients:
        mean = opt.betas[0] * m + (1 - opt.betas[0]) * g
        w = w * (1 - opt.lr * opt.weight_decay) - opt.lr * math.copysign(1.0, mean)
        m = opt.betas[1] * m + (1 - opt.betas[1]) * g
        seen.append(w)
    return seen


def rmsprop_by_hand(opt: Any, w: Any, gradients: Any) -> list[Any]:
    v = m = b = 0.0
    seen = []
    for g in gradients:
        g = g + opt.weight_decay * w
        v = opt.alpha * v + (1 - opt.alpha) * g**2
        m = opt.alpha * m + (1 - opt.alpha) * g
        s = np.sqrt((v - m**2 if opt.centered else v) + opt.eps)
        b = opt.momentum * b + g / s
        w = w - opt.lr * b
        seen.append(w)
    return seen


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("opt", BY_HAND, ids=name)
def test_as_by_hand(opt: Any, library: str, dtype: str) -> None:
    asarray = require(library).asarray
    w, g = problem(dtype)
    by_hand = lion_by_hand if isinstance(opt, Lion) else rmsprop_by_hand
    wanted = np.stack([by_hand(opt, w[i], g[:, i]) for i in range(SIZE)], axis=1)
    assert_near(path(opt, asarray(w), asarray(g)), wanted, TOLERANCE[dtype])


FIRST = [
    (SGD(0.1), [1.0 - 0.1 * 0.5, 0.95 - 0.1 * -2.0]),
    (SGD(0.1, weight_decay=0.2), [1.0 - 0.1 * (0.5 + 0.2), 0.93 - 0.1 * (-2.0 + 0.2 * 0.93)]),
    (SGD(0.1, momentum=0.9, dampening=0.5), [0.95, 0.95 - 0.1 * (0.9 * 0.5 - 0.5 * 2.0)]),
    (Momentum(0.1), [0.95, 0.95 - 0.1 * (0.9 * 0.5 - 2.0)]),
    (Nesterov(0.1), [1.0 - 0.1 * (0.5 + 0.45), 0.905 - 0.1 * (-2.0 + 0.9 * (0.45 - 2.0))]),
    (
        RMSProp(0.1, alpha=0.9, eps=0.5),
        [
            1.0 - 0.05 / (math.sqrt(0.025) + 0.5),
            1.0 - 0.05 / (math.sqrt(0.025) + 0.5) + 0.2 / (math.sqrt(0.0225 + 0.4) + 0.5),
        ],
    ),
    (
        Adam(0.1, (0.5, 0.75), eps=0.5),
        [
            1.0 - 0.1 * 0.5 / (0.5 + 0.5),
            0.95 - 0.1 * ((0.125 - 1.0) / 0.75) / (math.sqrt((0.046875 + 1.0) / 0.4375) + 0.5),
        ],
    ),
]


@pytest.mark.parametrize(("opt", "wanted"), FIRST, ids=[name(opt) for opt, _ in FIRST])
def test_first_two_steps(opt: Any, wanted: list[float]) -> None:
    got = path(opt, np.asarray([1.0]), np.asarray([[0.5], [-2.0]]))
    np.testing.assert_allclose(got[:, 0], wanted, rtol=1e-14)
