"""The gradient checker: accepts true gradients of any scale, finds planted wrong ones."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from anyback import gates, layers, losses
from anyback.arrays import namespace
from anyback.gradcheck import GradientError, GradientReport, gradcheck
from anyback.parameters import Layout
from anyback.random import Key, Purpose, Stream
from tests.conftest import require


def normal(name, shape):
    return Stream(2, Purpose.CHECK, name).normal(shape)


X, Y = normal("x", (4, 3)), normal("y", (4, 3))


def squares(at=None, error=0.1, scale=1.0):
    """Sum of scale * x^2, with a gradient that is wrong at one coordinate."""

    def f(x):
        def vjp(dy):
            g = 2.0 * scale * x * dy
            if at is not None:
                g[at] *= 1.0 + error
            return g

        return np.sum(scale * x * x), vjp

    return f


# --- true gradients ------------------------------------------------------------------------------


def test_the_report():
    report = gradcheck(gates.multiply, X, Y)
    assert isinstance(report, GradientReport)
    assert 0.0 <= report.max_error < 1e-7 and report.worst.startswith("argument ")
    # the values, then two arrays in one direction and along three coordinates, two values each
    assert report.evaluations == 1 + 2 * (1 + 3) * 2 and report.unchecked == ()
    assert gradcheck(gates.multiply, X, Y, samples=0).evaluations == 5
    assert gradcheck(gates.exp, X, samples=99).evaluations == 1 + 2 * (1 + 12)
    with pytest.raises(AttributeError):
        report.max_error = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("seed", range(5))
def test_any_seed_will_do(seed):
    assert gradcheck(gates.matmul, X, Y.T, seed=seed) == gradcheck(gates.matmul, X, Y.T, seed=seed)


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e4, 1e8])
def test_true_gradients_of_any_scale(scale):
    gradcheck(gates.log, scale * (0.5 + np.abs(X)))
    gradcheck(gates.square, scale * X)
    gradcheck(lambda x: (scale * x**3, lambda dy: 3.0 * scale * x**2 * dy), X)
    gradcheck(lambda x: (scale + x**3, lambda dy: 3.0 * x**2 * dy), X)


def test_true_gradients_in_hard_places():
    gradcheck(lambda x: (np.sin(x), lambda dy: np.cos(x) * dy), 1e4 * X)
    gradcheck(gates.exp, np.zeros(4))
    gradcheck(losses.softmax_cross_entropy, 30.0 * X, np.asarray([0, 1, 2, 0]))
    gradcheck(losses.softmax_cross_entropy, 1e4 * X, np.asarray([0, 1, 2, 0]))
    gradcheck(lambda x: (0.0 * x + 5.0, lambda dy: 0.0 * dy), X)
    assert gradcheck(lambda x: (x - x, lambda dy: 0.0 * dy), X).max_error == 0.0


def test_values_of_any_shape():
    gradcheck(lambda x: (float(np.sum(x * x)), lambda dy: 2.0 * x * dy), X)
    gradcheck(squares(), np.asarray(0.3))
    gradcheck(squares(), np.float64(0.3))
    gradcheck(gates.exp, normal("deep", (2, 1, 3, 2)))


def test_options_are_bound_and_integers_passed_on():
    gradcheck(partial(losses.huber, delta=0.3), X, Y)
    gradcheck(partial(losses.softmax_cross_entropy, label_smoothing=0.2), X, np.asarray([0, 1, 2, 0]))
    weight = np.asarray([1.0, 2.0, 0.5, 3.0])
    gradcheck(partial(losses.huber, sample_weight=weight), X, Y)
    gradcheck(gates.multiply, X, 2.0)
    gradcheck(lambda keep, x: (np.where(keep, x, 0.0), lambda dy: np.where(keep, dy, 0.0)), X > 0, Y)


def test_float32_is_checked_in_float64():
    assert gradcheck(gates.exp, X.astype(np.float32)).max_error < 1e-7


def test_missing_gradients_are_reported():
    assert gradcheck(losses.huber, X, Y).unchecked == ("argument 1 ('target')",)
    report = gradcheck(lambda a, b: (a * b, lambda dz: (None, dz * a)), X, Y)
    assert report.unchecked == ("argument 0 ('a')",)
    with pytest.raises(ValueError, match=r"vjp must give a gradient, got none of argument 0 \('a'\)"):
        gradcheck(lambda a: (a, lambda dy: None), X)


def test_a_third_result_is_ignored_and_arguments_stay_as_they_are():
    x = X.copy()
    x.flags.writeable = False
    gradcheck(lambda x: (x * x, lambda dy: 2.0 * x * dy, {}), x)

    def greedy(x):
        y = x * x
        x += 1.0
        return y, lambda dy: 2.0 * (x - 1.0) * dy

    with pytest.raises(ValueError, match=r"must leave arguments as they are, argument 0 \('x'\) changed"):
        gradcheck(greedy, x)
    np.testing.assert_array_equal(x, X)


# --- layers --------------------------------------------------------------------------------------


@pytest.fixture
def network():
    """A bound network with parameters as a trainer passes them, and its statistics."""
    model = layers.Sequential(
        [layers.Dense(5), layers.BatchNorm(), layers.Activation("tanh"), layers.Dropout(0.3), layers.Dense(2)]
    )
    model, _ = model.bind((3,))
    layout = Layout(model.specs())
    return model, layout.params(*layout.initial(0))


def test_a_network(network):
    model, params = network
    report = gradcheck(model, params, X)
    assert report.unchecked == tuple(f"argument 0 ('params') '1.running_{s}'" for s in ("mean", "var"))
    gradcheck(lambda params, x: model.train(params, x, Key(7)), params, X)


def test_a_wrong_parameter_of_a_network_is_named(network):
    model, params = network

    def wrong(params, x):
        y, vjp = model(params, x)

        def back(dy):
            dparams, dx = vjp(dy)
            weight = dparams["4"]["weight"].copy()
            weight[1, 3] *= 1.01
            return {**dparams, "4": {**dparams["4"], "weight": weight}}, dx

        return y, back

    with pytest.raises(GradientError, match=r"gradient of argument 0 \('params'\) '4.weight' at \(1, 3\) is"):
        gradcheck(wrong, params, X)


# --- wrong gradients -----------------------------------------------------------------------------


def test_the_message_names_the_coordinate_and_both_values():
    x = np.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with pytest.raises(GradientError) as caught:
        gradcheck(squares((1, 2)), x)
    assert str(caught.value) == (
        "gradient of argument 0 ('x') at (1, 2) is 13.2, central difference gives 12 "
        "(relative error 9.1e-02 > 1e-06)"
    )
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("at", [(0,), (41,), (99,)])
@pytest.mark.parametrize("error", [1e-4, -0.5, -1.0, 1e6])
def test_one_wrong_coordinate_among_many(at, error):
    with pytest.raises(GradientError, match=rf"at \({at[0]},\) is"):
        gradcheck(squares(at, error), 0.5 + np.abs(normal("many", 100)))


def test_one_wrong_coordinate_in_a_large_array():
    with pytest.raises(GradientError, match=r"at \(17, 42\) is"):
        gradcheck(squares((17, 42)), normal("large", (100, 200)), samples=0)


def test_scales_do_not_hide_errors():
    scale = 10.0 ** np.linspace(0.0, -4.0, 10)
    with pytest.raises(GradientError, match=r"at \(9,\) is"):
        gradcheck(squares((9,), 0.01, scale), normal("scaled", 10), samples=0)

    def two(a, b):
        return 1e3 * a * a + b * b, lambda dy: (2e3 * a * dy, 2.02 * b * dy)

    with pytest.raises(GradientError, match=r"argument 1 \('b'\)"):
        gradcheck(two, X, Y)


def test_a_gradient_that_forgets_its_cotangent():
    with pytest.raises(GradientError):
        gradcheck(lambda x: (np.sum(x * x), lambda dy: 2.0 * x), X)


def test_a_gradient_that_is_zero_or_not_a_number():
    with pytest.raises(GradientError, match=r"at \(\d, \d\) is 0"):
        gradcheck(lambda x: (x * x, lambda dy: 0.0 * dy), X)
    spoiled = np.asarray([0.0, math.nan, 0.0])
    with pytest.raises(GradientError, match=r"at \(\d, 1\) is nan"):
        gradcheck(lambda x: (x, lambda dy: dy + spoiled), X)


def test_gradients_that_look_wrong():
    with pytest.raises(GradientError, match=r"argument 0 \('x'\) must have shape \(4, 3\), got \(4,\)"):
        gradcheck(lambda x: (np.sum(x, axis=1), lambda dy: dy), X)
    with pytest.raises(GradientError, match=r"argument 0 \('x'\) must have dtype float64, got float32"):
        gradcheck(lambda x: (x, lambda dy: dy.astype(np.float32)), X)
    with pytest.raises(GradientError, match=r"argument 0 \('x'\) must be an array, got list"):
        gradcheck(lambda x: (x, lambda dy: dy.tolist()), X)
    with pytest.raises(GradientError, match=r"vjp must give at most 1 gradients, got 2"):
        gradcheck(lambda x: (x, lambda dy: (dy, dy)), X)


# --- what cannot be checked ----------------------------------------------------------------------


def test_what_cannot_be_checked_is_named():
    identity = lambda x: (x, lambda dy: dy)  # noqa: E731
    with pytest.raises(ValueError, match="must contain an array of floating-point numbers, got none"):
        gradcheck(identity, np.arange(3))
    with pytest.raises(ValueError, match="must be real, got dtype complex128"):
        gradcheck(identity, np.ones(2, complex))
    with pytest.raises(ValueError, match="finite value at these arguments, got NaN or infinity"):
        gradcheck(identity, np.asarray([1.0, math.nan]))
    with pytest.raises(ValueError, match="value of float64 for arguments of float64, got float32"):
        gradcheck(lambda x: (x.astype(np.float32), lambda dy: dy), X)
    with pytest.raises(ValueError, match=r"f must return \(value, vjp\), got ndarray"):
        gradcheck(lambda x: x, X)
    with pytest.raises(ValueError, match=r"eps and tol must be positive, got 0.0, 1e-06"):
        gradcheck(identity, X, eps=0.0)


def test_functions_that_draw_are_named():
    numbers = iter(range(100))
    with pytest.raises(ValueError, match="f must be deterministic"):
        gradcheck(lambda x: (x * (1.0 + next(numbers)), lambda dy: dy), X)


def test_a_kink_within_the_step():
    with pytest.raises(GradientError, match=r"argument 0 \('x'\) at \(1,\)"):
        gradcheck(lambda x: (np.abs(x), lambda dy: dy * np.sign(x)), np.asarray([1.0, 1e-9, 2.0]))


# --- libraries -----------------------------------------------------------------------------------


def test_every_library(library):
    if not library.has_values:
        pytest.skip("a device without values")
    x, y = library.array(X), library.array(Y)
    if not library.has_float64:
        with pytest.raises(ValueError, match=r"argument 0 \('x'\) must be on a device with float64, got"):
            gradcheck(gates.multiply, x, y)
        return
    gradcheck(gates.multiply, x, y)
    gradcheck(losses.huber, x, y)
    gradcheck(lambda p, x: (p["a"] * x, lambda dy: ({"a": dy * x}, dy * p["a"])), {"a": x}, y)

    def wrong(x):
        xp = namespace(x)
        return x * x, lambda dy: xp.where(x == xp.max(x), 2.1 * x * dy, 2.0 * x * dy)

    at = np.unravel_index(int(X.argmax()), X.shape)
    with pytest.raises(GradientError, match=rf"argument 0 \('x'\) at \({at[0]}, {at[1]}\) is"):
        gradcheck(wrong, x)


def test_jax_without_float64_is_refused():
    jax = require("jax")
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=r"with float64 \(set jax_enable_x64\), got jax"),
    ):
        gradcheck(gates.exp, jax.numpy.ones(3))
