"""minimize of a function, by every method of SciPy."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from anyback.arrays import namespace
from anyback.solvers import minimize
from tests.conftest import require
from tests.solvers.problems import BOWL, bowl, same_kind, squares, tolerance, trainer_of


def valley(x):
    """Of Rosenbrock (1960); its minimum is at (1, 1)."""
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


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
