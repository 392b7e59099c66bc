"""EarlyStopping and ReduceOnPlateau."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import (
    EarlyStopping,
    Lambda,
    ReduceOnPlateau,
)
from tests.callbacks.small_fits import fit, trainer


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
