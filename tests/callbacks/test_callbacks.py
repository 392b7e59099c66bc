"""What happens between epochs."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    GradientStatistics,
    JSONLog,
    Lambda,
    NaNGuard,
    ReduceOnPlateau,
)
from anyback.training.hooks import Hooks

rng = np.random.default_rng(0)
X = rng.normal(size=(24, 3))
Y = X @ [1.0, 2.0, 3.0]


def trainer(lr=0.05, **options):
    model = ab.MLP([4], 1, activation="tanh")
    return ab.Trainer(model, "mean_squared_error", ab.SGD(lr), backend="numpy", dtype="float64", **options)


def fit(trainer, *callbacks, **options):
    return trainer.fit(
        X, Y, **{"callbacks": callbacks, "verbose": 0, "batch_size": 8, "epochs": 3, **options}
    )


class Log(Callback):
    """Write down every call."""

    def __init__(self, calls, name="", order=0):
        self.calls, self.name, self.order = calls, name, order

    def on_fit_start(self, trainer):
        self.calls.append(f"{self.name}start")

    def on_update(self, trainer):
        self.calls.append(f"{self.name}update {trainer.updates}")

    def on_epoch_end(self, trainer, logs):
        self.calls.append(f"{self.name}epoch {trainer.epoch}")

    def on_fit_end(self, trainer):
        self.calls.append(f"{self.name}end")


def test_calls_come_in_order():
    fit(trainer(), Log(calls := []), epochs=2)
    first, second = ([f"update {t}" for t in numbers] for numbers in ((1, 2, 3), (4, 5, 6)))
    assert calls == ["start", *first, "epoch 1", *second, "epoch 2", "end"]
    fit(trainer(), Log(calls := []), epochs=1, accumulate=2)
    assert calls == ["start", "update 1", "update 2", "epoch 1", "end"]


def test_order_decides_who_comes_first():
    calls = []
    fit(trainer(), Log(calls, "late ", 7), Log(calls, "b "), Log(calls, "c "), Log(calls, "a ", -1), epochs=1)
    assert [call[0] for call in calls if call.endswith("start")] == ["a", "b", "c", "l"]


def test_lambda_calls_functions():
    calls = []
    fit(
        trainer(),
        Lambda(
            on_fit_start=lambda t: calls.append("start"),
            on_update=lambda t: calls.append(t.updates),
            on_epoch_end=lambda t, logs: calls.append(logs["epoch"]),
            on_fit_end=lambda t: calls.append("end"),
        ),
        epochs=1,
    )
    assert calls == ["start", 1, 2, 3, 1.0, "end"]


def test_a_callback_can_stop_training():
    history = fit(trainer(), Lambda(on_epoch_end=lambda t, logs: setattr(t, "stop", t.epoch == 2)), epochs=9)
    assert len(history) == 2


# --- stopping and slowing down -------------------------------------------------------------------


def figures(values):
    """A callback that makes up the figure "made"."""
    callback = Lambda(on_epoch_end=lambda t, logs: logs.update(made=values[t.epoch - 1]))
    callback.order = -1
    return callback


@pytest.mark.parametrize("mode, sign", [("min", 1.0), ("max", -1.0)])
def test_early_stopping_waits_for_patience_epochs(mode, sign):
    values = [sign * v for v in (5.0, 3.0, 4.0, 2.0, 2.5, 2.0, 9.0, 9.0, 9.0)]
    for patience, epochs in (0, 3), (1, 6), (2, 7), (9, 9):
        run = trainer()
        stopping = EarlyStopping("made", patience=patience, mode=mode)
        assert len(fit(run, figures(values), stopping, epochs=9)) == epochs
        best = 4 if patience else 2
        reference = trainer()
        fit(reference, epochs=best)
        np.testing.assert_array_equal(run.weights, reference.weights)


def test_min_delta_and_not_a_number_are_no_improvement():
    for values in ([1.0, 0.95, 0.93, 0.91, 0.0], [1.0, np.nan, np.nan, np.nan, 0.0]):
        assert len(fit(trainer(), figures(values), EarlyStopping("made", 2, 0.1, "min"), epochs=5)) == 4


LOWER = ["val_loss", "loss", "val_root_mean_squared_error", "penalty"]


@pytest.mark.parametrize("monitor, sign", [*((name, 1) for name in LOWER), ("accuracy", -1), ("val_r2", -1)])
def test_mode_auto(monitor, sign):
    assert EarlyStopping(monitor).sign == sign


def test_without_restoring_the_last_weights_stay():
    run, reference = trainer(), trainer()
    fit(run, figures([1.0, 2.0, 3.0]), EarlyStopping("made", 9, mode="min", restore_best=False))
    fit(reference)
    np.testing.assert_array_equal(run.weights, reference.weights)


def test_two_that_stop_do_not_undo_each_other():
    run = trainer()
    values = [1.0, 2.0, 2.0, 2.0, 2.0]
    chain = (
        figures(values),
        EarlyStopping("made", 1, mode="min"),
        EarlyStopping("loss", 9, restore_best=False),
    )
    assert len(fit(run, *chain, epochs=5)) == 3
    assert len(fit(run, *chain, epochs=5)) == 3, "stopped is stopped"
    new = figures(values), EarlyStopping("made", 2, mode="min")
    assert len(fit(run, *new, epochs=5)) == 4, "another one goes on from what the last one had seen"


def test_another_early_stopping_keeps_the_best_of_all_fits(tmp_path):
    """As after a load: stopped is stopped, and no worse weights take the place of the best."""
    values = [3.0, 1.0, 2.0, 2.0, 2.0, 1.5, 2.0]
    run, reference = trainer(), trainer()
    fit(reference, epochs=2)
    assert len(fit(run, figures(values), EarlyStopping("made", 0, mode="min"), epochs=7)) == 3
    run.save(tmp_path / "run")
    for again in run, ab.Trainer.load(tmp_path / "run"):
        assert len(fit(again, figures(values), EarlyStopping("made", 0, mode="min"), epochs=7)) == 3
        assert len(fit(again, figures(values), EarlyStopping("made", 9, mode="min"), epochs=7)) == 7
        np.testing.assert_array_equal(again.weights, reference.weights)


def test_only_one_may_keep_the_best():
    with pytest.raises(ValueError, match="only one may have restore_best=True"):
        fit(trainer(), EarlyStopping("loss"), EarlyStopping("loss"), epochs=1)


def test_that_nothing_is_left_to_train_is_said(capsys):
    run = trainer()
    chain = figures([1.0] * 9), EarlyStopping("made", 0, mode="min")
    fit(run, *chain, epochs=5)
    fit(run, *chain, epochs=5, verbose=1)
    assert capsys.readouterr() == ("", "a callback ended this run after epoch 2\n")


def test_callbacks_used_for_another_run_begin_anew():
    stopping, plateau = EarlyStopping("loss", patience=1), ReduceOnPlateau("loss", patience=0)
    fit(trainer(), stopping, plateau, epochs=9)
    assert stopping.best < 5.0
    slow = trainer(lr=1e-5)
    fit(slow, stopping, plateau, epochs=4)
    assert len(slow.history) == 4
    assert slow.lr_factor == 1.0
    assert stopping.best == slow.history["loss"][-1]


def test_an_unknown_figure_is_named():
    with pytest.raises(ValueError, match="monitor must be one of loss, got 'accuracy'"):
        fit(trainer(), EarlyStopping("accuracy"))
    with pytest.raises(ValueError, match="must be one of loss, r2, got 'Loss': did you mean 'loss'"):
        fit(trainer(metrics=["r2"]), EarlyStopping("Loss"))
    with pytest.raises(ValueError, match="must be one of loss, _x, got 'x': "):
        fit(trainer(), Lambda(on_epoch_end=lambda t, logs: logs.update(_x=1.0)), EarlyStopping("x"))
    with pytest.raises(ValueError, match="monitor 'val_loss' needs validation_split or validation_data"):
        fit(trainer(), ReduceOnPlateau())


def test_plateau_falls_to_the_floor_and_the_optimizer_follows():
    run = trainer(lr=0.4)
    plateau = ReduceOnPlateau("made", factor=0.5, patience=0, mode="min", floor=0.2)
    steps = []
    watch = Lambda(on_epoch_end=lambda t, logs: steps.append(np.array(t.weights)))
    watch.order = -2
    fit(run, figures([1.0] * 5), plateau, watch, epochs=5, batch_size=None)
    assert run.history["lr"] == pytest.approx([0.4, 0.4, 0.2, 0.1, 0.08])
    # A step of half the rate from the same weights is half as long.
    again = trainer(lr=0.2)
    again.build(3)
    again.set_state({**again.state(), "w": steps[1].copy()})
    fit(again, epochs=1, batch_size=None)
    np.testing.assert_allclose(again.weights, steps[2], rtol=1e-12)


# --- guarding and looking ------------------------------------------------------------------------


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


# --- writing -------------------------------------------------------------------------------------


def test_csv_and_json_logs_hold_the_history(tmp_path):
    run = trainer(metrics=["r2"])
    chain = CSVLog(tmp_path / "log.csv"), JSONLog(str(tmp_path / "log.jsonl")), GradientStatistics()
    fit(run, *chain, epochs=2, validation_split=0.25)
    fit(run, *chain, epochs=3, validation_split=0.25)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == run.history.rows
    assert len(rows) == 3
    assert "grad_norm.0.weight" in rows[0], "what another callback added is there"
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == run.history.rows


def test_csv_log_takes_figures_that_come_later(tmp_path):
    later = Lambda(on_epoch_end=lambda t, logs: logs.update(late=1.0) if t.epoch == 2 else None)
    fit(trainer(), CSVLog(tmp_path / "log.csv"), later, epochs=2)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        assert [row["late"] for row in csv.DictReader(file)] == ["", "1.0"]


def test_checkpoints_are_named_by_epoch_and_update(tmp_path):
    fit(trainer(), Checkpoint(tmp_path / "e{epoch:02d}-u{update}", every=2, updates=4), epochs=4)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["e01-u4", "e02-u6", "e02-u8", "e03-u12", "e04-u12"]
    assert ab.Trainer.load(tmp_path / "e02-u6", backend="numpy").epoch == 2


def test_a_checkpoint_holds_what_the_other_callbacks_did_in_its_epoch(tmp_path):
    stopping = EarlyStopping("loss", patience=9)
    fit(trainer(), Checkpoint(tmp_path / "run"), stopping, GradientStatistics(), epochs=2)
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy")
    assert dict(loaded.train_state.callback_states)["EarlyStopping"] == stopping.state()
    assert "grad_norm.0.bias" in loaded.history.last
    assert "best.w" in loaded.state()


def test_every_exit_ends_every_callback():
    def fail(trainer, logs):
        raise KeyError("mine")

    calls = []
    with pytest.raises(KeyError, match="mine"):
        fit(trainer(), Log(calls, "a "), Lambda(on_epoch_end=fail), Log(calls, "b "))
    assert calls[-2:] == ["a end", "b end"]
    assert "b epoch 1" not in calls


def test_a_method_that_nothing_calls_is_told_of():
    with pytest.warns(UserWarning, match="Mine.on_train_begin is not called by fit, which calls on_fit_"):
        type("Mine", (Callback,), {"on_train_begin": lambda self, trainer: None, "on_disk": True})


def test_a_fit_of_other_data_that_trains_nothing_says_so():
    run = trainer()
    fit(run, epochs=2)
    fit(run, epochs=2)
    with pytest.warns(UserWarning, match="epochs=2 is the total, and 2 are done, with other data: nothing"):
        run.fit(X + 1.0, Y, epochs=2, verbose=0)
