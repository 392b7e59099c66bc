from __future__ import annotations

import math
import signal
import sys
import warnings

import numpy as np
import pytest

import anyback as ab
from anyback import gates
from anyback.arrays import namespace
from anyback.solvers import gradient_descent, least_squares, minimize, numerical_gradient
from anyback.training.full_batch import full_batch
from tests.conftest import require

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

BOWL = np.array([-3.0, 4.0])


def squares(x):
    return namespace(x).sum(x**2)


def bowl(x):
    """x0^2 + 4 x1^2 of the house: its value and its vjp."""
    xp = namespace(x)
    scale = xp.asarray([1.0, 4.0], dtype=x.dtype, device=x.device)
    return xp.sum(scale * x**2), lambda dy: dy * 2.0 * scale * x


def valley(x):
    """Of Rosenbrock (1960); its minimum is at (1, 1)."""
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


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


@pytest.fixture
def values(library):
    if not library.has_values:
        pytest.skip("these tools read numbers back")
    return library


def tolerance(library, fine, coarse):
    return fine if library.has_float64 else coarse


def same_kind(a, b):
    return namespace(a) is namespace(b) and a.dtype == b.dtype and a.device == b.device


# --- numerical_gradient -------------------------------------------------------------------------------


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


# --- gradient_descent ---------------------------------------------------------------------------------


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


# --- least_squares ------------------------------------------------------------------------------------


def problem(n=40, d=5, k=None, condition=1.0, seed=0):
    draw = np.random.default_rng(seed)
    u, _ = np.linalg.qr(draw.normal(size=(n, d)))
    v, _ = np.linalg.qr(draw.normal(size=(d, d)))
    x = u * np.geomspace(1.0, 1.0 / condition, d) @ v.T
    w = draw.normal(size=(d,) if k is None else (d, k))
    return x, x @ w + 0.01 * draw.normal(size=(n,) if k is None else (n, k))


@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_all_libraries_find_the_same(values, k, intercept):
    x, y = problem(k=k)
    fit = least_squares(values.array(x), values.array(y), intercept=intercept)
    reference = least_squares(x, y, intercept=intercept)
    assert fit.rank == 5 and same_kind(fit.weight, values.array(x))
    assert tuple(fit.weight.shape) == ((5,) if k is None else (k, 5))
    assert tuple(fit.bias.shape) == (() if k is None else (k,))
    for name in ("weight", "bias", "singular"):
        found = values.host(getattr(fit, name))
        np.testing.assert_allclose(found, getattr(reference, name), atol=tolerance(values, 1e-12, 1e-4))
    predicted = values.host(fit.predict(values.array(x)))
    np.testing.assert_allclose(predicted, reference.predict(x), atol=tolerance(values, 1e-12, 1e-4))
    if not intercept:
        assert not values.host(fit.bias).any()


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("k", [None, 2])
def test_equal_to_lstsq(condition, k):
    x, y = problem(k=k, condition=condition)
    expected, _, rank, singular = np.linalg.lstsq(x, y)
    fit = least_squares(x, y, intercept=False)
    np.testing.assert_allclose(fit.weight, expected.T, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_allclose(fit.singular, singular, rtol=1e-10, atol=1e-14)
    assert fit.rank == rank


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_to_linear_regression(condition, weighted):
    model = require("sklearn.linear_model").LinearRegression()
    x, y = problem(k=2, condition=condition, seed=1)
    weight = np.random.default_rng(2).uniform(0.0, 3.0, len(x)) if weighted else None
    model.fit(x, y, sample_weight=weight)
    fit = least_squares(x, y, sample_weight=weight)
    size = np.abs(model.coef_).max()
    np.testing.assert_allclose(fit.weight, model.coef_, rtol=1e-10, atol=1e-10 * size)
    np.testing.assert_allclose(fit.bias, model.intercept_, rtol=1e-9, atol=1e-10 * size)


def test_the_normal_equation_would_lose_what_this_keeps():
    x = np.vander(np.linspace(0.0, 1.0, 30), 12, increasing=True)[:, 1:]
    w = np.ones(11)
    formed = np.linalg.solve(x.T @ x, x.T @ (x @ w))
    kept = least_squares(x, x @ w + 7.0)
    assert np.abs(formed - w).max() > 1e-4 > 1e-7 > np.abs(kept.weight - w).max()


def test_offsets_cost_no_digits():
    year = 1e9 + np.arange(20.0)[:, None]
    fit = least_squares(year, 0.5 * (year[:, 0] - 1e9))
    assert abs(float(fit.weight[0]) - 0.5) < 1e-14


def test_zero_weights_leave_samples_out():
    x, y = problem()
    weight = np.array([0.0, 1.0] * 20)
    np.testing.assert_allclose(
        least_squares(x, y, sample_weight=weight).weight, least_squares(x[1::2], y[1::2]).weight, rtol=1e-10
    )
    whole = least_squares(x, y, sample_weight=np.full(40, 3.0))
    np.testing.assert_allclose(whole.weight, least_squares(x, y).weight, rtol=1e-10)


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1e308])
def test_only_ratios_of_weights_count(scale):
    x, y = problem()
    fit = least_squares(x, y, sample_weight=np.full(40, scale))
    np.testing.assert_allclose(fit.weight, least_squares(x, y).weight, rtol=1e-10)
    np.testing.assert_allclose(fit.bias, least_squares(x, y).bias, rtol=1e-9)


def test_targets_and_weights_of_another_library_and_dtype(values):
    torch = require("torch")
    x, y = problem()
    weight = np.linspace(1.0, 2.0, 40)
    weight.flags.writeable = False
    fit = least_squares(values.array(x), torch.tensor(y), sample_weight=weight)
    expected = least_squares(x, y, sample_weight=weight)
    assert same_kind(fit.weight, values.array(x))
    np.testing.assert_allclose(values.host(fit.weight), expected.weight, atol=tolerance(values, 1e-12, 1e-4))
    np.testing.assert_allclose(
        values.host(fit.predict(x.tolist())), expected.predict(x), atol=tolerance(values, 1e-12, 1e-4)
    )
    with pytest.raises(ValueError, match=r"x must have shape \(n, 5\), got \(40, 4\)"):
        fit.predict(x[:, :4])


def test_rank_deficient_input_is_reported(values):
    x, y = problem(d=2)
    twice = values.array(np.concatenate([x, x[:, :1]], axis=1))
    with pytest.warns(
        UserWarning, match="^x has rank 2 of 3 beside the intercept: of infinitely many"
    ) as seen:
        fit = least_squares(twice, values.array(y))
    assert len(seen) == 1 and seen[0].filename == __file__
    assert fit.rank == 2
    single = least_squares(x, y)
    expected = [single.weight[0] / 2, single.weight[1], single.weight[0] / 2]
    np.testing.assert_allclose(values.host(fit.weight), expected, atol=tolerance(values, 1e-12, 1e-4))


def test_of_infinitely_many_solutions_the_smallest():
    x, y = (a.T[:4] for a in problem(n=9, d=5, k=4))
    y = y[:, 0]
    with pytest.warns(UserWarning, match="rank 4 of 9: of infinitely"):
        fit = least_squares(x, y, intercept=False)
    np.testing.assert_allclose(fit.weight, np.linalg.pinv(x) @ y, atol=1e-12)
    np.testing.assert_allclose(fit.predict(x), y, atol=1e-12)


@pytest.mark.parametrize("constant", [0.1, 1e9 / 3, 0.0])
def test_a_constant_column_has_no_weight_beside_an_intercept(constant):
    with pytest.warns(UserWarning, match="rank 0 of 1"):
        fit = least_squares(np.full((7, 1), constant), np.arange(7.0))
    assert fit.rank == 0 and fit.weight.tolist() == [0.0] and float(fit.bias) == 3.0


def test_the_result_tells_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = least_squares(np.ones((3, 2)), np.ones(3), warn=False, intercept=False)
    assert fit.rank == 1 and fit.message.startswith("x has rank 1 of 2: of infinitely many")
    assert least_squares(np.eye(3)[:, :2], np.ones(3)).message == "x has rank 2 of 2 beside the intercept"


def test_rcond_says_what_is_rounding():
    x = np.diag([1.0, 1e-6])
    assert least_squares(x, np.ones(2), intercept=False).rank == 2
    fit = least_squares(x, np.ones(2), intercept=False, rcond=1e-5, warn=False)
    assert fit.rank == 1 and fit.weight.tolist() == [1.0, 0.0]


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=st.integers(-3, 3)),
    st.integers(0, 1000),
)
def test_nothing_fits_better(x, seed):
    y = np.random.default_rng(seed).normal(size=len(x))
    fit = least_squares(x, y, warn=False)
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    best = y - ones @ np.linalg.lstsq(ones, y)[0]
    assert np.sum((y - fit.predict(x)) ** 2) <= np.sum(best**2) + 1e-12


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], {}, ValueError, r"x must have shape \(samples, features\), got \(2,\): one"),
        ([[1.0]], [1.0, 2.0], {}, ValueError, r"y must have shape \(1,\) or \(1, k\) for x of 1 rows, got"),
        ([[math.nan]], [1.0], {}, ValueError, "x must be finite"),
        ([[1.0]], [math.inf], {}, ValueError, "y must be finite"),
        ([[1j]], [1.0], {}, TypeError, "x must hold real numbers, got dtype complex128"),
        ([[1.0]], [1.0], {"sample_weight": [-1.0]}, ValueError, "sample_weight must not be negative"),
        ([[1.0]], [1.0], {"sample_weight": [0.0]}, ValueError, "sample_weight must not be .* above 0"),
        ([[1.0]], [1.0], {"sample_weight": [1.0, 1.0]}, ValueError, r"sample_weight must have shape \(1,\)"),
        (
            [[1.0]],
            [1.0],
            {"sample_weight": [True]},
            TypeError,
            "sample_weight must hold real numbers, got dtype",
        ),
        ([[1.0]], ["a"], {}, TypeError, "y must hold real numbers, got dtype <U1"),
        ([[1.0]], 1.0, {}, ValueError, r"y must have shape \(1,\) or \(1, k\) for x of 1 rows, got \(\)"),
        (np.float32([[1.0]]), [1e300], {}, ValueError, r"y must be finite, got inf at \(0,\) as float32"),
        ([[1.0]], [1.0], {"rcond": -1.0}, ValueError, "rcond must be positive and finite, got -1.0"),
    ],
)
def test_bad_input_of_least_squares_is_named(x, y, options, error, message):
    with pytest.raises(error, match=message):
        least_squares(np.array(x), np.array(y), **options)


# --- minimize: a function -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "trust-constr", "Nelder-Mead", "Powell", "COBYLA"]
)
def test_every_method_finds_the_bottom(method):
    require("scipy")
    start, heard = BOWL.copy(), []
    minimum = minimize(
        bowl, start, method=method, callback=lambda x, value: heard.append((x, value)), max_iter=500
    )
    assert minimum.converged and minimum.message
    np.testing.assert_allclose(minimum.x, [0.0, 0.0], atol=1e-3)
    assert abs(minimum.value - bowl(minimum.x)[0]) < 1e-12
    assert 0 < len(heard) <= minimum.iterations <= len(heard) + 1 and minimum.evaluations >= 2
    assert all(abs(bowl(x)[0] - value) < 1e-12 for x, value in heard)
    assert start.tolist() == BOWL.tolist()


def test_a_function_on_any_library(values):
    require("scipy")
    start = values.array([[-1.2], [1.0]])
    minimum = minimize(
        lambda x: valley(namespace(x).reshape(x, (-1,))), start, h=tolerance(values, 1e-5, 1e-3)
    )
    assert same_kind(minimum.x, start) and tuple(minimum.x.shape) == (2, 1)
    np.testing.assert_allclose(values.host(minimum.x), 1.0, atol=tolerance(values, 1e-4, 0.2))


def test_a_vjp_is_used_and_saves_evaluations():
    require("scipy")
    points = []

    def counted(x):
        points.append(x)
        return bowl(x)

    minimum = minimize(counted, BOWL)
    assert len(points) == minimum.evaluations < 20


def test_an_iteration_limit_is_no_minimum_yet():
    require("scipy")
    minimum = minimize(valley, np.array([-1.2, 1.0]), max_iter=3)
    assert not minimum.converged and minimum.iterations == 3 and "LIMIT" in minimum.message
    assert minimize(valley, np.array([-1.2, 1.0]), max_iter=3, options={"maxiter": 2}).iterations == 2
    assert minimize(valley, np.array([-1.2, 1.0]), max_iter=None).converged


METHODS = ["L-BFGS-B", "BFGS", "CG", "Newton-CG", "TNC", "SLSQP", "trust-constr"]
METHODS += ["Nelder-Mead", "Powell", "COBYLA"]


@pytest.mark.parametrize("method", METHODS)
def test_a_callback_can_end_it(method):
    require("scipy")
    heard = []

    def enough(x, value):
        heard.append((x, value))
        if len(heard) == 2:
            raise StopIteration

    minimum = minimize(bowl, np.array([-1.2, 1.0]), method=method, callback=enough)
    assert minimum.iterations == len(heard) <= 2 and minimum.value == heard[-1][1]
    np.testing.assert_array_equal(minimum.x, heard[-1][0])
    if len(heard) == 2:
        assert not minimum.converged and minimum.message == "`callback` raised `StopIteration`."


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_what_callback_or_function_raise_comes_through(method, error):
    require("scipy")

    def fail(*_):
        raise error("mine")

    points = []

    def midway(x):
        points.append(x)
        return bowl(x) if len(points) < 4 else fail()

    for f, callback in ((bowl, fail), (midway, None)):
        with pytest.raises(error, match="mine"):
            minimize(f, BOWL, method=method, callback=callback)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outside", [math.nan, math.inf, -math.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # SciPy's, of differences of infinities
def test_it_ends_where_all_is_finite(method, outside):
    """The slope leads out of the domain x < 1."""
    require("scipy")

    def f(x):
        inside = bool(x[0] < 1.0)
        return (float(-x[0]), lambda dy: np.array([-dy])) if inside else (outside, lambda dy: x * math.nan)

    heard = []
    minimum = minimize(
        f, np.zeros(1), method=method, callback=lambda x, value: heard.append(value), max_iter=20
    )
    assert np.isfinite(heard).all() and minimum.x[0] < 1.0 and minimum.value == -minimum.x[0]


def test_a_function_that_is_lost_is_no_minimum():
    require("scipy")
    minimum = minimize(lambda x: -math.inf if x[0] > 0.5 else -float(x[0]), np.zeros(1))
    assert not minimum.converged and minimum.message.startswith("the function became ")
    assert minimum.x.tolist() == [0.0] and minimum.iterations == 0


def test_tol_reaches_the_method():
    require("scipy")
    evaluations = [minimize(valley, np.array([-1.2, 1.0]), tol=tol).evaluations for tol in (1.0, 1e-10)]
    assert evaluations[0] < evaluations[1]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((BOWL, BOWL), {}, TypeError, "y and sample_weight must go with a Trainer, got them with a function"),
        ((BOWL,), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1, got 0"),
        ((BOWL,), {"method": 3}, TypeError, "method must be a name such as 'L-BFGS-B', got 3"),
        (
            (BOWL,),
            {"method": "downhill"},
            ValueError,
            "method must be one of L-BFGS-B, .*, got 'downhill': did",
        ),
        ((BOWL,), {"method": "dogleg"}, ValueError, "method must be one of L-BFGS-B, .*, got 'dogleg'"),
        ((BOWL,), {"tol": -1.0}, ValueError, "tol must be positive and finite, got -1.0"),
        ((BOWL,), {"tol": "a"}, ValueError, "tol must be positive and finite, got 'a'"),
        ((BOWL,), {"options": "maxcor"}, TypeError, "options must be a mapping such as .* got 'maxcor'"),
        ((BOWL,), {"callback": 3}, TypeError, "callback must be a function, got 3"),
        ((BOWL * math.nan,), {}, ValueError, "x must be finite"),
        ((BOWL,), {"h": 0.0}, ValueError, "h must be positive and finite, got 0.0"),
    ],
)
def test_bad_input_of_minimize_is_named(arguments, options, error, message):
    require("scipy")
    with pytest.raises(error, match=message):
        minimize(squares, *arguments, **options)


def test_a_bad_target_is_named():
    require("scipy")
    with pytest.raises(TypeError, match="target must be a function, got 3"):
        minimize(3, BOWL)
    with pytest.raises(ValueError, match="target must be finite at the start, got nan"):
        minimize(lambda x: math.nan, BOWL)


def test_methods_may_be_written_in_small_letters_and_tol_may_be_zero():
    require("scipy")
    assert minimize(bowl, BOWL, method="l-bfgs-b", tol=0).value < 1e-20


def test_without_scipy_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"^minimize needs SciPy: pip install 'anyback\[scipy\]'$"):
        minimize(squares, BOWL)
    trainer = trainer_of()
    with pytest.raises(ImportError, match="minimize needs SciPy"):
        minimize(trainer, np.ones((4, 2)), np.arange(4) % 3)
    assert "not built" in repr(trainer)


# --- minimize: a trainer ------------------------------------------------------------------------------


def trainer_of(backend="numpy", model=None, loss="softmax_cross_entropy", **options):
    model = ab.MLP([8], 3, activation="tanh") if model is None else model
    return ab.Trainer(model, loss, **{"backend": backend, "dtype": "float64", **options})


def test_the_same_on_every_backend(backend_name, blobs):
    require("scipy")
    x, y = blobs
    ends = []
    for name in (backend_name, "numpy"):
        trainer = trainer_of(name, l2=1e-3, metrics=["accuracy"], standardize=True)
        minimum = minimize(trainer, x, y, sample_weight=np.arange(1.0, 97.0), max_iter=15)
        weights = trainer.backend.to_numpy(trainer.weights)
        assert type(minimum.x) is type(trainer.weights)
        np.testing.assert_array_equal(trainer.backend.to_numpy(minimum.x), weights)
        ends.append((weights, minimum, trainer.history))
    (w, found, history), (w_numpy, reference, history_numpy) = ends
    np.testing.assert_allclose(w, w_numpy, atol=1e-8)
    assert (found.iterations, found.evaluations) == (reference.iterations, reference.evaluations)
    np.testing.assert_allclose(history["loss"], history_numpy["loss"], atol=1e-10)


def test_what_is_minimised_is_the_loss_with_its_penalties(blobs):
    require("scipy")
    x, y = blobs
    weight = np.linspace(0.5, 2.0, len(x))
    trainer = trainer_of(l1=1e-4, l2=1e-3, metrics=["accuracy"])
    minimum = minimize(trainer, x, y, sample_weight=weight, max_iter=10)
    last = trainer.history.last
    measured = trainer.evaluate(x, y, sample_weight=weight)
    assert abs(last["loss"] - measured["loss"]) < 1e-12 and last["accuracy"] == measured["accuracy"]
    assert abs(minimum.value - (last["loss"] + last["penalty"])) < 1e-12
    assert len(trainer.history) == trainer.epoch == minimum.iterations == 10
    assert trainer.history["epoch"] == list(range(1, 11)) and trainer.updates == 0
    totals = [row["loss"] + row["penalty"] for row in trainer.history]
    assert totals == sorted(totals, reverse=True)


def test_the_gradient_is_that_of_the_value(blobs):
    x, y = blobs
    trainer = trainer_of(l2=1e-2, standardize=True)

    with full_batch(trainer, x, y, np.linspace(1.0, 2.0, 96)) as (loss, w, _):
        value, g = loss(w)
        np.testing.assert_allclose(g, numerical_gradient(lambda w: loss(w)[0], w, h=1e-5), atol=1e-9)
    assert isinstance(value, float) and trainer.epoch == 0 and not len(trainer.history)


def test_least_squares_by_other_means(blobs):
    require("scipy")
    x, y = blobs[0], blobs[0] @ np.arange(8.0).reshape(4, 2) + 1.0
    trainer = trainer_of(model=ab.Dense(2), loss="mean_squared_error")
    assert minimize(trainer, x, y, options={"ftol": 0.0, "gtol": 1e-12}).value < 1e-20
    fit = least_squares(x, y)
    parameters = trainer.parameters()
    np.testing.assert_allclose(parameters["weight"], fit.weight, atol=1e-8)
    np.testing.assert_allclose(parameters["bias"], fit.bias, atol=1e-8)


def test_on_digits_it_beats_adam_in_few_iterations():
    require("scipy")
    (x, y), (x_test, y_test) = ab.datasets.digits()
    quasi_newton, adam = (trainer_of(model=ab.MLP([32], 10, activation="tanh")) for _ in range(2))
    minimum = minimize(quasi_newton, x, y, max_iter=30)
    adam.fit(x, y, epochs=40, batch_size=None, verbose=0)
    assert minimum.evaluations <= 40
    assert minimum.value < 0.02 and minimum.value < 0.05 * adam.evaluate(x, y)["loss"]
    assert np.mean(quasi_newton.predict(x_test).argmax(axis=1) == y_test) > 0.95


def test_standardising_and_targets_are_those_of_fit(blobs):
    require("scipy")
    x, y = blobs[0] * 1e3 + 1e6, blobs[1]
    trainer = trainer_of(standardize=True)
    minimize(trainer, x, y, max_iter=20)
    np.testing.assert_allclose(trainer.train_state.scaler.mean, x.mean(axis=0))
    assert trainer.evaluate(x, y)["loss"] < 0.01
    with pytest.raises(ValueError, match=r"labels must be integers in \[0, 3\), got 7 at row 2"):
        minimize(trainer_of(), x, np.where(np.arange(96) == 2, 7, y))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "downhill"}, ValueError, "method must be one of"),
        ({"callback": 3}, TypeError, "callback must be a function, got 3"),
        ({"y": None}, TypeError, "y must be given with a Trainer, got None"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1, got 0"),
    ],
)
def test_refused_options_settle_nothing(blobs, options, error, message):
    require("scipy")
    trainer = trainer_of()
    x, y = blobs
    with pytest.raises(error, match=message):
        minimize(trainer, x, **{"y": y, **options})
    assert "not built" in repr(trainer)


def usable(trainer, blobs):
    """Whether weights, epochs and history agree, and training goes on."""
    loss, epoch = trainer.evaluate(*blobs)["loss"], trainer.epoch
    assert trainer.history["epoch"] == list(range(1, epoch + 1))
    assert abs(trainer.history.last["loss"] - loss) < 1e-12
    minimize(trainer, *blobs, max_iter=2)
    trainer.fit(*blobs, epochs=epoch + 3, verbose=0)
    return trainer.epoch == epoch + 3 and trainer.history.last["loss"] <= loss


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_after_a_callback_that_raises_the_trainer_goes_on(blobs, error):
    require("scipy")
    trainer = trainer_of()

    def fail(seen):
        if seen.epoch == 3:
            raise error("mine")

    with pytest.raises(error, match="mine"):
        minimize(trainer, *blobs, callback=fail)
    assert trainer.epoch == 3 and usable(trainer, blobs)


def test_after_a_loss_that_raises_the_trainer_goes_on(blobs):
    require("scipy")
    calls = []

    @ab.losses.loss(targets="labels", link="softmax")
    def fails(pred, target):
        calls.append(None)
        if len(calls) == 9:
            raise ArithmeticError("mine")
        return ab.losses.softmax_cross_entropy.__wrapped__(pred, target)

    require("array_api_strict")  # it calls the loss each time: nothing is compiled or recorded
    trainer = trainer_of("array_api_strict", loss=fails)
    with pytest.raises(ArithmeticError, match="mine"):
        minimize(trainer, *blobs)
    assert trainer.epoch and usable(trainer, blobs)


def test_ctrl_c_waits_until_an_epoch_is_whole(blobs):
    require("scipy")
    trainer = trainer_of()

    def press(seen):
        if seen.epoch == 3:
            signal.raise_signal(signal.SIGINT)
            assert seen.history.last["epoch"] == 3

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        minimize(trainer, *blobs, callback=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert trainer.epoch == 3 and usable(trainer, blobs)


def test_a_loss_that_is_not_finite_moves_no_weights(blobs):
    require("scipy")

    @ab.losses.loss(targets="labels", link="softmax")
    def lost(pred, target):
        l, vjp = ab.losses.softmax_cross_entropy.__wrapped__(pred, target)
        xp = namespace(pred)
        return xp.where(xp.mean(l) < 0.5, math.nan, l), vjp

    trainer = trainer_of(loss=lost)
    minimum = minimize(trainer, *blobs, max_iter=20)
    assert not minimum.converged and np.isfinite(minimum.value) and np.isfinite(trainer.weights).all()
    assert trainer.epoch == minimum.iterations and np.isfinite(trainer.history["loss"]).all()
    np.testing.assert_array_equal(minimum.x, trainer.weights)


def test_the_handle_is_what_scipy_takes(blobs):
    optimize = require("scipy.optimize")
    trainer = trainer_of()
    with full_batch(trainer, *blobs) as (loss, w, accept):
        accept(optimize.minimize(loss, w, jac=True, method="L-BFGS-B", options={"maxiter": 5}).x)
    assert trainer.epoch == 1 and trainer.evaluate(*blobs)["loss"] < loss(w)[0]
    again = pytest.raises(RuntimeError, match="fit is running already: a callback cannot minimize")
    with full_batch(trainer, *blobs), again, full_batch(trainer, *blobs):
        pass
    assert trainer.fit(*blobs, epochs=2, verbose=0).last["epoch"] == 2


@pytest.mark.parametrize("options", [{}, {"l1": 1e-3, "l2": 1e-2}], ids=["plain", "penalties"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objective_equals_the_metric_sums(backend_name, blobs, options, weighted):
    """One pass gives what loss, penalties and the gradient of a training step give one by one."""
    x, y = blobs
    trainer = trainer_of(backend_name, **options)
    weight = np.linspace(0.0, 2.0, len(x)) if weighted else None
    with full_batch(trainer, x, y, weight) as (loss, w, _):
        value, g = loss(w)
    figures = trainer.evaluate(x, y, sample_weight=weight) | trainer.bound.penalties(trainer.weights)
    assert abs(value - figures["loss"] - figures.get("penalty", 0.0)) < 1e-12
    plain = trainer_of("numpy", **options)
    plain.optimizer = ab.SGD(1.0)
    before = plain.build(x.shape[1:]).weights
    plain.fit(x, y, sample_weight=weight, batch_size=None, shuffle=False, verbose=0)
    np.testing.assert_allclose(g, before - plain.weights, atol=1e-12)


def test_each_evaluation_is_one_forward_pass(blobs):
    require("scipy")
    passes = []

    class Counted(ab.Layer):
        def __call__(self, params, x):
            passes.append(x.shape[0])
            return super().__call__(params, x)

    require("array_api_strict")  # it calls the layer each time: nothing is compiled or recorded
    trainer = trainer_of("array_api_strict", model=ab.Sequential([Counted(), ab.Dense(3)]))
    minimum = minimize(trainer, *blobs, max_iter=10)
    assert passes == [96] * (minimum.evaluations + minimum.iterations)


def test_refused_data_settles_nothing(blobs):
    require("scipy")
    trainer = trainer_of()
    with pytest.raises(ValueError, match="x and y must have the same number of rows, got 96"):
        minimize(trainer, blobs[0], blobs[1][:3])
    assert "not built" in repr(trainer)


def test_fit_goes_on_from_there_and_back(blobs, tmp_path):
    require("scipy")
    x, y = blobs
    trainer = trainer_of()
    trainer.fit(x, y, epochs=2, verbose=0)
    before = trainer.evaluate(x, y)["loss"]
    minimize(trainer, x, y, max_iter=3)
    assert trainer.history["epoch"] == [1, 2, 3, 4, 5] and trainer.history.last["loss"] < before
    trainer.save(tmp_path / "model.safetensors")
    loaded = ab.Trainer.load(tmp_path / "model.safetensors", backend="numpy")
    trainer.fit(x, y, epochs=7, verbose=0)
    loaded.fit(x, y, epochs=7, verbose=0)
    assert trainer.updates == 4 * 3 and len(trainer.history) == 7
    np.testing.assert_array_equal(loaded.weights, trainer.weights)
    with pytest.warns(UserWarning, match=r"validation_split was 0.0 and is 0.25"):
        trainer.fit(x, y, epochs=8, validation_split=0.25, verbose=0)


def test_a_callback_sees_the_trainer_and_can_end_it(blobs):
    require("scipy")
    trainer, losses = trainer_of(), []

    def watch(seen):
        assert seen is trainer
        losses.append(seen.evaluate(*blobs)["loss"])
        with pytest.raises(RuntimeError, match="fit is running already"):
            seen.fit(*blobs)
        if len(losses) == 4:
            raise StopIteration

    minimize(trainer, *blobs, callback=watch)
    np.testing.assert_allclose(losses, trainer.history["loss"], rtol=1e-12)
    assert len(losses) == 4
    trainer.fit(*blobs, epochs=5, verbose=0)


def test_float32_comes_as_far_as_its_rounding(blobs):
    require("scipy")
    trainer = trainer_of(dtype="float32", l2=1e-2)
    minimum = minimize(trainer, *blobs)
    exact = minimize(trainer_of(l2=1e-2), *blobs)
    assert trainer.weights.dtype == np.float32
    assert abs(minimum.value - exact.value) < 1e-4


@pytest.mark.parametrize("method", ["Nelder-Mead", "BFGS"])
def test_other_methods_move_a_trainer_too(blobs, method):
    require("scipy")
    trainer = trainer_of(model=ab.Dense(3))
    minimum = minimize(trainer, *blobs, method=method, max_iter=20)
    assert len(trainer.history) == minimum.iterations
    assert abs(trainer.evaluate(*blobs)["loss"] - minimum.value) < 1e-12


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (ab.MLP([8], 3, dropout=0.5), {}, "layers that train as they predict, got Dropout: its loss is not"),
        (ab.MLP([8], 3, norm="batch"), {}, "layers that train as they predict, got BatchNorm"),
        (
            ab.Sequential([ab.Residual([ab.Dense(4), ab.Dropout(0.1)]), ab.Dense(3)]),
            {},
            "layers that train as they predict, got Dropout",
        ),
        (ab.MLP([8], 3), {"clip_norm": 1.0}, "true gradients, got a trainer with clip_norm=1.0"),
        (ab.MLP([8], 3), {"clip_value": 0.5}, "true gradients, got a trainer with clip_value=0.5"),
    ],
)
def test_what_has_no_loss_of_its_weights_alone_is_refused(model, options, message, blobs):
    require("scipy")
    trainer = trainer_of(model=model, **options)
    with pytest.raises(ValueError, match=message):
        minimize(trainer, *blobs)
    assert "not built" in repr(trainer)


def test_dropout_of_nothing_and_layer_norm_are_let_in(blobs):
    require("scipy")
    model = ab.Sequential([ab.Dense(4), ab.LayerNorm(), ab.Dropout(0.0), ab.Dense(3)])
    assert minimize(trainer_of(model=model), *blobs, max_iter=5).iterations == 5


def test_within_a_fit_or_an_epoch_it_is_refused(blobs):
    require("scipy")
    trainer = trainer_of()

    class Within(ab.callbacks.Callback):
        def on_update(self, trainer):
            with pytest.raises(RuntimeError, match="fit is running already"):
                minimize(trainer, *blobs)
            trainer.stop = True

    trainer.fit(*blobs, callbacks=[Within()], verbose=0)
    with pytest.raises(RuntimeError, match="an epoch is half done"):
        minimize(trainer, *blobs)
    trainer.restart_epoch()
    assert minimize(trainer, *blobs, max_iter=2).iterations == 2
