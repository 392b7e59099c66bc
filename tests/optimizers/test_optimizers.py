"""Optimizers: masks, populations, compilation, schedules, and errors."""

from __future__ import annotations

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from anyback import optimizers
from anyback.optimizers import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Nesterov,
    RAdam,
    RMSProp,
    adam,
)
from anyback.schedules import Cosine, Step
from tests.conftest import require
from tests.optimizers.cases import ALL, SIZE, assert_near, name, path, problem


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_flat(opt: Any) -> None:
    """Updating parts is updating the whole, bit for bit."""
    w, g = problem("float32", 20)
    parts = np.concatenate([path(opt, w[:5], g[:, :5]), path(opt, w[5:], g[:, 5:])], axis=1)
    np.testing.assert_array_equal(path(opt, w, g), parts)


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_pure(opt: Any) -> None:
    w, g = problem("float32", 3)
    slots = opt.init(w)
    assert len(slots) == len(opt.slots)
    for t in range(1, 4):
        held = [w, g, *slots]
        for array in held:
            array.flags.writeable = False
        before = [array.copy() for array in held]
        (w1, slots1), (w2, slots2) = (opt.step(w, g[t - 1], slots, t) for _ in range(2))
        for one, two in zip([w1, *slots1, *held], [w2, *slots2, *before], strict=True):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, two)
        w, slots = w1, slots1


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_mask_spares(opt: Any) -> None:
    mask = np.asarray([1.0, 0.0] * (SIZE // 2))
    w, (g,) = problem(steps=1)
    slots = opt.init(w)
    masked = opt.step(w, g, slots, 1, mask=mask)[0]
    np.testing.assert_array_equal(masked[mask == 1], opt.step(w, g, slots, 1)[0][mask == 1])
    spared = replace(opt, weight_decay=0.0).step(w, g, slots, 1)[0]
    np.testing.assert_array_equal(masked[mask == 0], spared[mask == 0])
    assert np.array_equal(masked, spared) == (opt.weight_decay == 0)


@pytest.mark.parametrize("kind", optimizers.__all__)
def test_weight_decay_of_one_is_added_to_the_gradient_or_shrinks_the_weights(kind: str) -> None:
    opt = getattr(optimizers, kind)(lr=0.1, weight_decay=1.0)
    w, (g,) = problem(steps=1)
    decoupled = kind in ("AdamW", "Lion")
    before, gradient = (0.9 * w, g) if decoupled else (w, g + w)
    got, _ = opt.step(w, g, opt.init(w), 1)
    plain = replace(opt, weight_decay=0.0)
    np.testing.assert_allclose(got, plain.step(before, gradient, plain.init(w), 1)[0], rtol=1e-14)


@pytest.mark.parametrize("kind", optimizers.__all__)
def test_without_weight_decay_no_mask_is_read(kind: str) -> None:
    opt = getattr(optimizers, kind)(weight_decay=0.0)
    w, (g,) = problem(steps=1)
    got, _ = opt.step(w, g, opt.init(w), 1, mask=None)
    np.testing.assert_array_equal(got, opt.step(w, g, opt.init(w), 1)[0])


def test_the_sizes_of_radams_two_kinds_of_step_have_the_shape_of_the_rates() -> None:
    rates = np.asarray([[0.1], [0.2]])
    for t, zero in ((1, 2), (10, 1)):
        scalars = RAdam().scalars(t, rates)
        assert scalars[1].shape == scalars[2].shape == (2, 1)
        np.testing.assert_array_equal(scalars[zero], 0.0)


def test_centered_rmsprop_remembers_the_mean_gradient() -> None:
    opt = RMSProp(alpha=0.75, centered=True)
    w, g = problem(steps=2)
    slots = opt.step(w, g[0], opt.init(w), 1)[1]
    np.testing.assert_allclose(slots[1], 0.25 * g[0], rtol=1e-15)
    slots = opt.step(w, g[1], slots, 2)[1]
    np.testing.assert_allclose(slots[1], 0.1875 * g[0] + 0.25 * g[1], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_population(opt: Any) -> None:
    """K networks at once, each with a learning rate of its own, as one after the other."""
    w, g = (a.reshape(*a.shape[:-1], 3, 4) for a in problem(steps=8))
    rates, mask = np.asarray([[0.01], [0.1], [0.3]]), np.asarray([1.0, 0.0, 1.0, 1.0])
    alone = [list(w), [opt.init(member) for member in w]]
    slots = opt.init(w)
    for t in range(1, 9):
        w, slots = opt.step(w, g[t - 1], slots, t, lr=rates, mask=mask)
        for k in range(3):
            lr = float(rates[k, 0])
            alone[0][k], alone[1][k] = opt.step(alone[0][k], g[t - 1, k], alone[1][k], t, lr=lr, mask=mask)
        assert_near(w, np.stack(alone[0]), 1e-12)


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_scalars_are_python_floats(opt: Any) -> None:
    """NumPy's would turn a float32 network into a float64 one, and infinities would ruin a long run."""
    for t in (1, 2, 10, np.int64(999), 10**6):
        for lr in (None, np.float64(0.1), 0):
            scalars = opt.scalars(t, lr)
            assert all(type(scalar) is float and math.isfinite(scalar) for scalar in scalars)
    w, (g,) = problem("float32", 1)
    assert np.isfinite(opt.step(w, g, opt.init(w), 10**6)[0]).all()


def test_options_become_python_floats() -> None:
    options: dict[str, Any] = {"betas": [np.float32(0.5), 0.75], "eps": 1}
    opt = Adam(lr=np.float64(0.1), **options)
    assert opt == Adam(0.1, (0.5, 0.75), 1.0)
    assert type(opt.lr) is type(opt.eps) is type(opt.betas[0]) is float


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_options_survive_json(opt: Any) -> None:
    again = type(opt)(**json.loads(json.dumps(asdict(opt))))
    assert again == opt
    assert hash(again) == hash(opt)


@pytest.mark.parametrize("kind", optimizers.__all__)
def test_rules_compile(kind: str) -> None:
    """Nothing in a rule that a compiled loop or a fused kernel would not take."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(optimizers, kind)._update)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func).replace("namespace(w).", "xp.")
            assert call in {"namespace", "_means", "xp.sqrt", "xp.abs", "xp.sign", "xp.maximum"}
        assert not isinstance(node, ast.Pow)


@pytest.mark.parametrize(
    "opt", [Adam(lr=Step(0.1, every=7, factor=0.5)), SGD(lr=Cosine(0.1, 20, floor=0.01))]
)
def test_schedule_as_learning_rate(opt: Any) -> None:
    torch = require("torch")
    w, g = problem(steps=50)
    p = torch.nn.Parameter(torch.tensor(w))
    if isinstance(opt, Adam):
        peer = torch.optim.Adam([p], lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(peer, 7, 0.5)
    else:
        peer = torch.optim.SGD([p], lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(peer, 20, eta_min=0.01)
    wanted = []
    for gradient in g:
        p.grad = torch.tensor(gradient)
        peer.step()
        schedule.step()
        wanted.append(p.detach().numpy().copy())
    assert_near(path(opt, w, g), np.stack(wanted), 1e-12)
    assert opt.scalars(8) == opt.scalars(8, opt.lr(7))


def test_any_function_is_a_schedule() -> None:
    assert SGD(lr=lambda t: 1.0 / (t + 1)).scalars(4) == (0.0, 0.25)


def test_nadams_product_is_right_and_fast_to_resume() -> None:
    opt = NAdam(betas=(0.99, 0.999))
    adam._products.cache_clear()
    opt.scalars(10**6)
    assert sum(len(adam._products(0.99, 4e-3, 1 << n)) for n in range(1, 14)) < 2**14
    for t in (1, 2, 3, 7, 8, 100, 1000, 5000):
        product = math.prod(adam._mu(0.99, 4e-3, i) for i in range(1, t + 1))
        assert 1.0 - adam._product(0.99, 4e-3, t) == pytest.approx(1.0 - product, rel=1e-15)


def test_adagrad_starts_from_its_initial_value() -> None:
    (v,) = AdaGrad(initial_accumulator_value=0.25).init(np.zeros(3, dtype="float32"))
    assert v.dtype == np.float32
    assert v.tolist() == [0.25] * 3


def test_centered_rmsprop_stands_rounding() -> None:
    """A constant gradient has variance 0, and in single precision sometimes less."""
    w = np.ones(100, dtype="float32")
    g = np.linspace(0.1, 3.0, 100, dtype="float32")
    assert np.isfinite(path(RMSProp(centered=True), w, [g] * 2000)).all()


@pytest.mark.parametrize("opt", ALL, ids=name)
def test_a_gradient_of_zero_is_no_step(opt: Any) -> None:
    w = np.ones(3, dtype="float32")
    got = path(replace(opt, weight_decay=0.0), w, np.zeros((10, 3), dtype="float32"))
    np.testing.assert_array_equal(got, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=0.0), "lr must be positive and finite or a schedule, got 0.0"),
        (lambda: Adam(lr=math.nan), "lr must be positive and finite or a schedule, got nan"),
        (lambda: Adam(lr="fast"), "lr must be positive and finite or a schedule, got 'fast'"),  # type: ignore[arg-type]
        (lambda: Adam(betas=(0.9, 1.0)), r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
        (lambda: Lion(betas=(0.9,)), r"betas must be two numbers in \[0, 1\), got \(0.9,\)"),  # type: ignore[arg-type]
        (lambda: Lion(betas=0.9), r"betas must be two numbers in \[0, 1\), got 0.9"),  # type: ignore[arg-type]
        (lambda: SGD(momentum=1.5), r"momentum must be in \[0, 1\), got 1.5"),
        (lambda: SGD(momentum=True), r"momentum must be in \[0, 1\), got True"),
        (lambda: SGD(nesterov=True), "nesterov must go with momentum > 0 and dampening 0, got momentum 0.0"),
        (lambda: Nesterov(dampening=0.5), "got momentum 0.9 and dampening 0.5"),
        (lambda: AdaDelta(rho=-0.1), r"rho must be in \[0, 1\), got -0.1"),
        (lambda: RMSProp(eps=0.0), "eps must be positive and finite, got 0.0"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay must be finite and not negative, got -1.0"),
        (lambda: Adam(amsgrad=1), "amsgrad must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: Adam().scalars(0), "t must be an integer from 1, got 0"),
        (lambda: Adam().scalars(1.5), "t must be an integer from 1, got 1.5"),  # type: ignore[arg-type]
    ],
)
def test_bad_options_are_named(make: Callable[[], Any], message: str) -> None:
    error = TypeError if "True or False" in message else ValueError
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
