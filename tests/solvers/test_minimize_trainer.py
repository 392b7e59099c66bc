"""minimize of the loss of a trainer."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.solvers import least_squares, minimize, numerical_gradient
from anyback.training.full_batch import full_batch
from tests.conftest import require
from tests.solvers.problems import trainer_of


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
