"""least_squares against numpy.linalg.lstsq and scikit-learn."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from anyback.solvers import least_squares
from tests.conftest import require
from tests.solvers.problems import same_kind, tolerance

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402


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
