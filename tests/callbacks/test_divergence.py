"""Numbers that are not finite are located; statistics of gradients."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.callbacks import (
    Checkpoint,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    GradientStatistics,
    Lambda,
    NaNGuard,
    ReduceOnPlateau,
)
from anyback.training.hooks import Hooks
from tests.callbacks.small_fits import X, Y, fit, trainer


@dataclass(frozen=True)
class Trap(ab.layers.Layer):
    """Lets everything through but numbers above 50, of which it makes NaN on one of the ways."""

    forward: bool

    def __call__(self, params, x):
        xp = namespace(x)

        def trapped(value):
            return xp.where(xp.abs(x) > 50.0, xp.nan, value)

        return trapped(x) if self.forward else x, lambda dy, dx=True: (
            {},
            dy if self.forward else trapped(dy),
        )


def trapped(forward, row, backend="numpy", **options):
    """A trainer, and data of which one row springs the trap between two layers."""
    model = ab.Sequential([ab.Dense(4), Trap(forward), ab.Dense(1)])
    x = X.copy()
    x[row] *= 1e4
    optimizer = ab.SGD(1e-9, momentum=0.5)
    return ab.Trainer(model, "mean_squared_error", optimizer, backend=backend, dtype="float64", **options), x


PLACES = {True: "the output of layer 1 (Trap)", False: "the gradient of the inputs of layer 1 (Trap)"}


@pytest.mark.parametrize("forward", PLACES)
def test_divergence_is_named_by_batch_and_layer(backend_name, forward):
    run, x = trapped(forward, 9, backend_name)
    with pytest.raises(DivergenceError) as error:
        run.fit(x, Y, batch_size=8, shuffle=False, epochs=9, verbose=0)
    message = str(error.value)
    assert message.startswith("loss is nan after epoch 1: try a lower learning rate"), message
    assert message.endswith(
        f"not finite first in batch 2 of 3: {PLACES[forward]}; the trainer has gone back to before it"
    ), message
    assert isinstance(error.value, ArithmeticError) and "\n" not in message


@pytest.mark.parametrize("forward", PLACES)
@pytest.mark.parametrize("options, place", [
    ({}, "batch 3 of 3"), ({"accumulate": 2}, "batch 3 of 3"), ({"batch_size": None}, "batch 1 of 1"),
    ({"sample_weight": np.full(24, 0.01)}, "batch 3 of 3"),
    ({"accumulate": 3, "batch_size": 5}, "batch 5 of 5"),
])  # fmt: skip
def test_the_last_gradient_of_all_is_looked_at_too(forward, options, place):
    run, x = trapped(forward, 23)
    with pytest.raises(DivergenceError, match=f"not finite first in {place}: {re.escape(PLACES[forward])}"):
        run.fit(x, Y, **{"batch_size": 8, "shuffle": False, "epochs": 1, "verbose": 0, **options})


@pytest.mark.parametrize("model, lr, place", [
    (ab.MLP([4, 4], 1, activation="relu"), 1e200, "batch 2 of 3: the output of layer 2 (Dense)"),
    (ab.MLP([4], 1, activation="tanh"), 1e200, "batch 2 of 3: the loss, from outputs of layer 2 (Dense)"),
    (ab.MLP([], 1), 1.7e308, "batch 1 of 3: the update of 0.weight"),
    (ab.Residual(ab.Dense(3)), 1.7e308, "batch 1 of 3: the update of inner.weight"),
])  # fmt: skip
def test_what_overflows_by_itself_is_named(model, lr, place):
    y = X if isinstance(model, ab.Residual) else Y
    run = ab.Trainer(model, "mean_squared_error", ab.SGD(lr), backend="numpy", dtype="float64")
    with pytest.raises(DivergenceError, match=re.escape(place)):
        run.fit(X * 10, y * 10, batch_size=8, verbose=0)


def test_a_validation_loss_that_is_not_finite_is_named():
    run = ab.Trainer(ab.MLP([], 1), "mean_squared_error", ab.SGD(1e-9), backend="numpy", dtype="float64")
    with pytest.raises(DivergenceError, match=r"^val_loss is inf after epoch 1: .*"
        r"not finite first in validation rows from 0 on: the loss, from outputs of layer 0"):  # fmt: skip
        fit(run, validation_data=(1e160 * X, Y))


def test_divergence_keeps_the_last_good_epoch(tmp_path):
    """In memory, in checkpoints and in what stopping early remembers."""
    path, within = tmp_path / "run", tmp_path / "within"
    chain = [
        Checkpoint(path),
        Checkpoint(within, updates=1),
        EarlyStopping("loss", 99),
        CSVLog(tmp_path / "log"),
    ]
    (run, x), (reference, _) = trapped(True, 9, metrics=["r2"]), trapped(True, 9, metrics=["r2"])
    good = x.copy()
    good[9] = 0.0
    for each in run, reference:
        each.fit(
            good, Y, epochs=4, batch_size=8, callbacks=chain[:3] if each is run else chain[2:3], verbose=0
        )
    with pytest.raises(DivergenceError, match="after epoch 5"):
        run.fit(x, Y, epochs=9, batch_size=8, callbacks=chain, verbose=0)
    assert (run.epoch, run.updates, len(run.history)) == (4, 12, 4)
    assert not (tmp_path / "log").exists()
    last = ab.Trainer.load(path, model=run.model, backend="numpy")
    assert last.epoch == 4
    for state in run.state(), last.state():
        for name, value in reference.state().items():
            np.testing.assert_array_equal(state[name], value, name)
    assert np.isfinite(run.predict(good)).all() and run.train_state.showing_best
    before = ab.Trainer.load(within, model=run.model, backend="numpy")
    assert before.finite and before.epoch == 4
    for each in run, reference:  # as if nothing had happened
        each.fit(good, Y, epochs=5, batch_size=8, verbose=0)
    np.testing.assert_array_equal(run.weights, reference.weights)


def test_divergence_keeps_what_callbacks_made_of_the_epochs_before():
    """The best weights are those of the last good epoch, and the learning rate's factor stays as it fell."""

    def ended(epochs):
        run = trainer(lr=lambda t: 0.05 if t < 12 else 1e300)
        fall = ReduceOnPlateau("loss", factor=0.5, patience=0, mode="max")
        fit(run, EarlyStopping("loss", patience=9), fall, epochs=epochs)
        return run

    with pytest.raises(DivergenceError, match="after epoch 5") as error:
        ended(9)
    whole, run = ended(4), error.traceback[1].frame.f_locals["run"]
    assert run.lr_factor == whole.lr_factor == 0.125 and run.train_state.showing_best
    assert run.history.rows == whole.history.rows
    np.testing.assert_array_equal(run.weights, whole.weights)


def test_a_fit_that_a_callback_refuses_changes_nothing():
    run = trainer(standardize=True)
    fit(run, EarlyStopping("loss"), epochs=2)
    before = run.weights, run.train_state.showing_best, run.train_state.fit_config, run.train_state.scaler
    with pytest.raises(ValueError, match="needs validation_split"):
        run.fit(X + 1.0, Y, epochs=9, callbacks=[ReduceOnPlateau("val_loss")], verbose=0)
    np.testing.assert_array_equal(run.weights, before[0])
    assert (run.train_state.showing_best, run.train_state.fit_config, run.train_state.scaler) == before[1:]
    fresh = trainer(standardize=True)
    with pytest.raises(ValueError, match="needs validation_split"):
        fresh.fit(X + 1.0, Y, callbacks=[ReduceOnPlateau("val_loss")], verbose=0)
    assert fresh.train_state.scaler.mean is None and fresh.in_shape is None
    fit(fresh := trainer(), stop := EarlyStopping("loss"), epochs=2)
    states = fresh.train_state.callback_states
    assert states[-1][1]["best"] == stop.best < np.inf
    with pytest.raises(ValueError, match="needs validation_split"):
        fit(fresh, ReduceOnPlateau("val_loss"), epochs=3)
    assert fresh.train_state.callback_states == states


@pytest.mark.parametrize("again", [False, True])
def test_what_was_seen_of_other_data_stops_no_fit(again):
    run = trainer()
    fit(run, used := EarlyStopping("loss", patience=0, mode="max"), epochs=9)
    done = run.epoch
    assert done < 9
    fit(run, EarlyStopping("loss", patience=0, mode="max"), epochs=9)
    assert run.epoch == done  # the same data
    stop = used if again else EarlyStopping("loss", patience=0, mode="max")
    run.fit(X + 1.0, Y, epochs=9, callbacks=[stop], verbose=0)
    assert run.epoch > done


def test_a_checkpoint_of_whole_epochs_looks_at_no_update(tmp_path):
    """Many steps are then one call."""

    class Mine(Checkpoint):
        def on_update(self, trainer):
            seen.append(trainer.updates)
            super().on_update(trainer)

    seen = []
    assert not Checkpoint(tmp_path / "a").watches_updates and not EarlyStopping().watches_updates
    assert Checkpoint(tmp_path / "a", updates=2).watches_updates
    assert Lambda(on_update=print).watches_updates and not Lambda(on_fit_end=print).watches_updates
    for updates in (None, 2):
        fit(trainer(), Mine(tmp_path / "a", updates=updates, every=9), epochs=1)
    assert seen == [1, 2, 3] * 2 and ab.Trainer.load(tmp_path / "a", backend="numpy").updates == 2


def test_an_epoch_that_was_interrupted_is_gone_back_to():
    run, x = trapped(True, 23)
    stop = Lambda(on_update=lambda t: setattr(t, "stop", t.updates == 1))
    options = {"epochs": 1, "batch_size": 8, "shuffle": False, "verbose": 0}
    run.fit(x, Y, callbacks=[stop], **options)
    kept = run.state()["w"].copy()
    with pytest.raises(DivergenceError, match="batch 3 of 3: the output of layer 1"):
        run.fit(x, Y, **options)
    assert (run.batch, run.updates) == (1, 1)
    np.testing.assert_array_equal(run.state()["w"], kept)


def test_one_guard_is_enough():
    chain = Hooks([EarlyStopping("loss"), guard := NaNGuard()]).callbacks
    assert chain[0] is guard and len(chain) == 2
    with pytest.raises(RuntimeError, match="loop is for callbacks"):
        trainer().loop.first_nonfinite()


def test_gradient_statistics_are_norms_of_gradients():
    run = trainer()
    history = fit(run, GradientStatistics(rows=1000), epochs=1)
    parameters = run.parameters()
    h = np.tanh(X @ parameters["0.weight"].T + parameters["0.bias"])
    error = h @ parameters["2.weight"].T + parameters["2.bias"] - Y[:, None]
    dy = 2 * error / len(X)
    dh = (dy @ parameters["2.weight"]) * (1 - h**2)
    norms = {"0.weight": dh.T @ X, "0.bias": dh.sum(axis=0), "2.weight": dy.T @ h, "2.bias": dy.sum(axis=0)}
    for name, gradient in norms.items():
        assert history.last[f"grad_norm.{name}"] == pytest.approx(np.linalg.norm(gradient), rel=1e-10)
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        GradientStatistics(rows=0)
    with pytest.raises(RuntimeError, match="needs a running fit"):
        run.loop.gradient(3)


def test_looking_changes_nothing():
    runs = [ab.Trainer(ab.MLP([4], 1, norm="batch", dropout=0.5), "huber", backend="numpy") for _ in range(2)]
    fit(runs[0])
    fit(runs[1], GradientStatistics(5), EarlyStopping("loss", 99, restore_best=False), NaNGuard())
    np.testing.assert_array_equal(runs[0].weights, runs[1].weights)


@dataclass(frozen=True)
class Scaled(ab.Layer):
    """A container of one's own, which reads a field of its layer."""

    inner: ab.Layer

    def bind(self, in_shape):
        inner, shape = self.inner.bind(in_shape)
        return replace(self, inner=inner), shape

    def specs(self):
        return {"inner": self.inner.specs()}

    def __call__(self, params, x):
        y, vjp = self.inner(params["inner"], x)
        k = 1.0 / self.inner.units

        def back(dy, dx=True):
            dparams, dinner = vjp(k * dy, dx)
            return {"inner": dparams}, dinner

        return k * y, back


def test_divergence_is_named_inside_a_custom_container():
    run = ab.Trainer(
        Scaled(ab.Dense(1)), "mean_squared_error", ab.SGD(1.7e308), backend="numpy", dtype="float64"
    )
    with pytest.raises(DivergenceError, match="batch 1 of 3: the update of inner.weight"):
        run.fit(X * 10, Y * 10, batch_size=8, verbose=0)
    assert (run.epoch, run.batch, run.updates) == (0, 0, 0) and run.finite


def test_divergence_is_raised_where_no_operation_can_be_named(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no probe")

    monkeypatch.setattr("anyback.training.loop.first_nonfinite", fails)
    run = ab.Trainer(ab.MLP([], 1), "mean_squared_error", ab.SGD(1.7e308), backend="numpy", dtype="float64")
    with pytest.raises(DivergenceError, match="an operation that cannot be named"):
        run.fit(X * 10, Y * 10, batch_size=8, verbose=0)
    assert run.updates == 0 and run.finite
