"""numerical_gradient: central differences on every library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anyback.arrays import namespace
from anyback.solvers import gradient_descent, minimize, numerical_gradient
from tests.conftest import require
from tests.solvers.problems import same_kind, squares, tolerance

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402


def textbook_gradient(f, x, h=1e-4):
    x, g = x.copy(), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        before = x[i]
        x[i] = before + h
        above = f(x)
        x[i] = before - h
        below = f(x)
        g[i] = (above - below) / (2 * h)
        x[i] = before
    return g


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 2)])
def test_differences_of_any_shape_and_library(values, shape):
    host = np.linspace(-1.0, 2.0, math.prod(shape)).reshape(shape)
    x = values.array(host)
    g = numerical_gradient(lambda x: namespace(x).sum(x**3), x, h=tolerance(values, 1e-4, 1e-2))
    assert same_kind(g, x) and tuple(g.shape) == shape
    np.testing.assert_allclose(values.host(g), 3 * host**2, atol=tolerance(values, 1e-7, 3e-3))
    np.testing.assert_array_equal(values.host(x), host.astype(values.host(x).dtype))


@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(-1e3, 1e3)))
def test_differences_are_those_of_the_textbook_to_the_last_bit(x):
    def f(x):
        return np.sum(x**2) + np.prod(np.cos(x))

    np.testing.assert_array_equal(numerical_gradient(f, x), textbook_gradient(f, x))


def test_the_number_of_evaluations():
    points = []
    numerical_gradient(lambda x: points.append(x) or 0.0, np.zeros((3, 2)))
    assert len(points) == 12


@pytest.mark.parametrize(
    "f",
    [
        lambda x: float(x[0]) * 2.0,
        lambda x: x[0] * 2.0,
        lambda x: (x[0] * 2.0, lambda dy: None),
        lambda x: np.float64(float(x[0])) * 2.0,
    ],
    ids=["float", "array", "pair", "NumPy scalar"],
)
def test_a_value_is_a_float_or_an_array_or_comes_with_a_vjp(values, f):
    g = numerical_gradient(f, values.array([1.0, 5.0]), h=0.25)
    np.testing.assert_allclose(values.host(g), [2.0, 0.0], atol=1e-6)


def test_integers_become_floats(values):
    x = values.array([3, 4])
    g = numerical_gradient(squares, x, h=0.25)
    assert namespace(g).isdtype(g.dtype, "real floating")
    np.testing.assert_allclose(values.host(g), [6.0, 8.0], rtol=1e-6)
    np.testing.assert_allclose(numerical_gradient(squares, [3, 4]), [6.0, 8.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("f", "x", "h", "error", "message"),
    [
        (squares, [1.0], 0.0, ValueError, "h must be positive and finite, got 0.0"),
        (squares, [1.0], math.nan, ValueError, "h must be positive and finite, got nan"),
        (squares, [math.inf], 1e-4, ValueError, "x must be finite"),
        (squares, [], 1e-4, ValueError, r"x must not be empty, got shape \(0,\)"),
        (squares, ["a"], 1e-4, TypeError, "x must hold real numbers, got dtype <U1"),
        (squares, [True], 1e-4, TypeError, "x must hold real numbers, got dtype bool"),
        (squares, [1j], 1e-4, TypeError, "x must hold real numbers, got dtype complex128"),
        (squares, [1.0, math.nan], 1e-4, ValueError, r"x must be finite, got nan at \(1,\) as float64"),
        (
            squares,
            [1e13],
            1e-4,
            ValueError,
            r"h must be large enough to change x, got 0.0001 for 1e\+13 as float",
        ),
        (squares, [1.0], True, ValueError, "h must be positive and finite, got True"),
        (3, [1.0], 1e-4, TypeError, "f must be a function, got 3"),
        (lambda x: True, [1.0], 1e-4, ValueError, "f must give one number, got bool"),
        (lambda x: "1", [1.0], 1e-4, ValueError, "f must give one number, got str"),
        (lambda x: x[0] > 0, [1.0], 1e-4, ValueError, "f must give one real number, got dtype bool"),
        (lambda x: x[0] * 1j, [1.0], 1e-4, ValueError, "f must give one real number, got dtype complex128"),
        (lambda x: x, [1.0, 2.0], 1e-4, ValueError, r"f must give one number, got shape \(2,\)"),
        (lambda x: None, [1.0], 1e-4, ValueError, "f must give one number, got NoneType"),
    ],
)
def test_bad_input_of_differences_is_named(f, x, h, error, message):
    with pytest.raises(error, match=message):
        numerical_gradient(f, np.array(x), h)


@pytest.mark.parametrize("solver", [numerical_gradient, gradient_descent, minimize])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (None, TypeError, "x must hold real numbers, got dtype object"),
        ("abc", TypeError, "x must hold real numbers, got dtype <U3"),
        ([[1.0], [1.0, 2.0]], TypeError, r"x must be an array of real numbers, got list \(.*\)"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), ValueError, "x must have no masked elements, got 1 of them"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(solver, x, error, message):
    require("scipy")
    with pytest.raises(error, match=f"^{message}$"):
        solver(squares, x)


def test_a_slope_whose_step_is_lost_is_not_zero(values):
    large = values.array([1e18])
    assert np.isnan(values.host(gradient_descent(squares, large, steps=1).gradient)).all()


def test_autograd_is_left_outside():
    torch = require("torch")
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    run = gradient_descent(squares, x, lr=0.25, steps=1)
    assert not run.x.requires_grad and x.grad is None
    np.testing.assert_allclose(run.path.numpy(), [[1.0, 1.0], [0.5, 0.5]])
