"""gradient_descent: its path, its end, and divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest

import anyback as ab
from anyback import gates
from anyback.solvers import gradient_descent, numerical_gradient
from tests.solvers.problems import BOWL, bowl, same_kind, squares, tolerance


def test_the_figure_of_the_textbook(values):
    x = gradient_descent(squares, values.array(BOWL), lr=0.1, steps=100).x
    if values.has_float64:
        assert str(values.host(x)) == "[-6.11110793e-10  8.14814391e-10]"
    else:
        assert np.abs(values.host(x)).max() < 1e-8


def test_the_path(values):
    start = values.array(BOWL)
    run = gradient_descent(bowl, start, lr=0.125, steps=3)
    expected = [[-3.0 * 0.75**t, 4.0 * 0.0**t] for t in range(4)]
    np.testing.assert_allclose(values.host(run.path), expected, atol=1e-6)
    np.testing.assert_allclose(values.host(run.values), [a**2 + 4 * b**2 for a, b in expected], rtol=1e-6)
    np.testing.assert_allclose(values.host(run.gradient), [2 * expected[-1][0], 0.0], atol=1e-6)
    assert all(same_kind(a, start) for a in (run.x, run.path, run.values, run.gradient))
    assert not run.diverged and run.message.startswith("3 steps, value ")


def test_differences_or_vjp_or_a_gradient_of_ones_own(values):
    x, h = values.array(BOWL), tolerance(values, 1e-4, 1e-2)
    ways = [
        gradient_descent(bowl, x, steps=10).x,
        gradient_descent(lambda x: bowl(x)[0], x, steps=10, h=h).x,
        gradient_descent(lambda x: bowl(x)[0], x, steps=10, gradient=lambda x: bowl(x)[1](1.0)).x,
    ]
    for way in ways:
        np.testing.assert_allclose(values.host(way), values.host(ways[0]), atol=tolerance(values, 1e-9, 2e-2))


def test_gates_are_functions_of_the_house(values):
    def f(x):
        y, dx = gates.square(x)
        value, dy = gates.sum(y)
        return value, lambda dvalue: dx(dy(dvalue))

    x = gradient_descent(f, values.array([[1.0, 2.0]]), lr=0.25, steps=1).x
    np.testing.assert_allclose(values.host(x), [[0.5, 1.0]])


@pytest.mark.parametrize("name", ab.optimizers.__all__)
def test_any_optimizer_and_any_shape(name):
    start = np.array([[1.0, -2.0], [0.5, 3.0]])
    optimizer = getattr(ab.optimizers, name)()
    run = gradient_descent(squares, start, optimizer=optimizer, steps=5)
    w, slots = start.ravel(), optimizer.init(start.ravel())
    for t in range(1, 6):
        w, slots = optimizer.step(w, numerical_gradient(squares, w), slots, t)
    np.testing.assert_allclose(run.x, w.reshape(2, 2), rtol=0, atol=1e-12)
    assert run.values[-1] < run.values[0]


def test_a_schedule_is_a_learning_rate():
    run = gradient_descent(squares, BOWL, lr=lambda t: 0.25 / (t + 1), steps=2)
    np.testing.assert_allclose(run.x, BOWL * 0.5 * 0.75, rtol=1e-9)


def test_too_small_good_and_too_large(values):
    x = values.array(BOWL)
    small, good, large = (gradient_descent(bowl, x, lr=lr, steps=10) for lr in (1e-10, 0.1, 10.0))
    np.testing.assert_allclose(values.host(small.x), BOWL, atol=1e-6)
    assert not small.diverged and not good.diverged
    assert float(good.values[-1]) < 0.2 < float(small.values[-1])
    assert large.diverged and large.message.startswith("diverged at step 5: x grew to 1.2")
    assert large.path.shape[0] == 6 and np.isfinite(values.host(large.path)).all()


def test_plain_differences_diverge_too():
    run = gradient_descent(squares, BOWL, lr=10.0, steps=100)
    assert run.diverged and len(run.path) == 8


def test_a_value_that_is_not_finite_ends_it_before():
    def log(x):
        inside = float(x[0])
        return math.log(inside) if inside > 0 else math.nan, lambda dy: dy / x

    run = gradient_descent(log, np.array([1.0]), lr=0.6, steps=100)
    assert run.diverged and run.message == "diverged at step 2: f is nan"
    np.testing.assert_allclose(run.path[:, 0], [1.0, 0.4])


def test_a_gradient_that_is_not_finite_ends_it():
    run = gradient_descent(squares, BOWL, gradient=lambda x: x * math.nan, steps=3)
    assert run.diverged and run.message == "diverged at step 1: x is no longer finite"
    assert run.path.tolist() == [BOWL.tolist()]


def test_to_swing_to_and_fro_is_no_divergence():
    run = gradient_descent(lambda x: (squares(x), lambda dy: dy * 2 * x), BOWL, lr=1.0, steps=51)
    assert not run.diverged and run.x.tolist() == (-BOWL).tolist()


def test_the_bound_is_relative_to_the_start_and_can_be_set():
    def slope(x):
        return -np.sum(x), lambda dy: -dy * np.ones_like(x)

    assert not gradient_descent(slope, np.array([1e12]), lr=1.0, steps=10).diverged
    assert not gradient_descent(slope, np.array([0.0]), lr=1.0, steps=10, bound=10.0).diverged
    run = gradient_descent(slope, np.array([0.0]), lr=1.0, steps=20, bound=10.0)
    assert run.message == "diverged at step 11: x grew to 11, beyond the bound of 10"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be an integer of at least 1, got 0"),
        ({"lr": -1.0}, ValueError, "lr must be positive and finite or a schedule, got -1.0"),
        ({"h": 0.0}, ValueError, "h must be positive and finite, got 0.0"),
        ({"bound": -1.0}, ValueError, "bound must be positive and finite, got -1.0"),
        ({"optimizer": "Adam"}, TypeError, "optimizer must be an Optimizer such as anyback.Adam"),
        ({"optimizer": ab.Adam(), "lr": 0.1}, ValueError, "lr and optimizer exclude each other, got lr 0.1"),
        ({"gradient": 3}, TypeError, "gradient must be a function, got 3"),
        ({"gradient": lambda x: None}, TypeError, "gradient must hold real numbers, got dtype object"),
        ({"gradient": lambda x: x[:, None]}, ValueError, r"shape of x, \(2,\), got \(2, 1\)"),
        ({"gradient": lambda x: np.zeros(3)}, ValueError, r"gradient must have the shape of x, \(2,\), got"),
    ],
)
def test_bad_input_of_descent_is_named(options, error, message):
    with pytest.raises(error, match=message):
        gradient_descent(squares, BOWL, **options)


def test_a_bad_start_is_named():
    with pytest.raises(ValueError, match="x must be finite"):
        gradient_descent(squares, np.array([math.nan]))
    with pytest.raises(ValueError, match="f must be finite at the start, got inf"):
        gradient_descent(lambda x: math.inf, BOWL)
