"""Stopping, interruption, and the best weights at every exit."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Callback, EarlyStopping, Lambda
from tests.conftest import require
from tests.training.trainers import assert_same_weights, classifier, quiet, regressor


class Stop(Exception):
    pass


def raising(error, epoch):
    def function(trainer, logs):
        if trainer.epoch == epoch:
            raise error

    callback = Lambda(on_epoch_end=function)
    callback.order = 10
    return callback


class Record(Callback):
    """Weights after each epoch."""

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, trainer, logs):
        self.weights.append(np.array(trainer.backend.to_numpy(trainer.train_state.w)))


def overfitting(line, **options):
    """A run whose validation loss rises: it learns the wrong line."""
    x, y = line
    trainer = regressor(ab.SGD(0.05), hidden=(), **options)
    return trainer, (x, -y), (x + 0.1, y + 3.0 * x[:, 0])


EXITS = {"end": None, "stopped": None, "exception": Stop, "interrupt": KeyboardInterrupt}


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("leave", EXITS)
def test_best_weights_at_every_exit_and_the_last_to_go_on_from(line, backend, leave):
    require(backend)
    options = {"backend": backend, "dtype": "float64"}
    trainer, data, held = overfitting(line, **options)
    record, error = Record(), EXITS[leave]
    patience = 2 if leave == "stopped" else 100
    callbacks = [EarlyStopping(patience=patience), record]
    if error:
        with pytest.raises(error):
            quiet(trainer, *data, validation_data=held, epochs=9, callbacks=[*callbacks, raising(error, 7)])
    else:
        quiet(trainer, *data, validation_data=held, epochs=9, callbacks=callbacks)
    losses = trainer.history["val_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 2, "this run must get worse"
    assert len(losses) == {"end": 9, "stopped": best + 4}.get(leave, 7)
    np.testing.assert_array_equal(trainer.backend.to_numpy(trainer.weights), record.weights[best])
    assert trainer.evaluate(*held)["loss"] == pytest.approx(losses[best], rel=1e-12)
    # A fit that trains nothing leaves the best in their place; one that trains goes on from the last.
    quiet(trainer, *data, validation_data=held, epochs=1)
    assert trainer.evaluate(*held)["loss"] == pytest.approx(losses[best], rel=1e-12)
    quiet(trainer, *data, validation_data=held, epochs=12)
    plain, data, held = overfitting(line, **options)
    quiet(plain, *data, validation_data=held, epochs=12)
    np.testing.assert_array_equal(
        trainer.backend.to_numpy(trainer.weights), plain.backend.to_numpy(plain.weights)
    )
    assert trainer.history.rows == plain.history.rows


def test_interrupt_within_an_epoch_goes_on_within_it(line):
    def interrupt(trainer):
        if trainer.updates == 6 and not fired:
            fired.append(True)
            raise KeyboardInterrupt

    fired = []
    trainer, plain = regressor(), regressor()
    with pytest.raises(KeyboardInterrupt):
        quiet(trainer, *line, batch_size=10, epochs=3, callbacks=[Lambda(on_update=interrupt)])
    assert (trainer.epoch, trainer.batch) == (1, 2)
    with pytest.raises(
        ValueError, match="within an epoch, fit needs what it had before; other now: batch_size"
    ):
        quiet(trainer, *line, batch_size=20, epochs=3)
    quiet(trainer, *line, batch_size=10, epochs=3)
    quiet(plain, *line, batch_size=10, epochs=3)
    assert_same_weights(trainer, plain)
    assert trainer.history.rows == plain.history.rows


def test_new_callbacks_begin_anew_and_old_best_weights_go(blobs):
    trainer = classifier()
    quiet(trainer, *blobs, epochs=3, validation_split=0.25, callbacks=[EarlyStopping()])
    quiet(trainer, *blobs, epochs=9, validation_split=0.25)
    late = trainer.evaluate(*blobs)
    quiet(trainer, *blobs, epochs=9, validation_split=0.25, callbacks=[EarlyStopping()])
    assert trainer.evaluate(*blobs) == late


def test_stop_ends_training_after_the_batch_and_can_go_on(blobs):
    def stop(trainer):
        trainer.stop = trainer.updates == 2

    whole, trainer = classifier(), classifier()
    quiet(whole, *blobs, epochs=2)
    quiet(trainer, *blobs, epochs=2, callbacks=[Lambda(on_update=stop)])
    assert (trainer.epoch, trainer.batch) == (0, 2)
    quiet(trainer, *blobs, epochs=2)
    np.testing.assert_array_equal(trainer.weights, whole.weights)
    assert trainer.history.rows == whole.history.rows


def test_an_interrupted_epoch_can_be_given_up(blobs):
    x, y = blobs
    trainer = classifier()
    quiet(trainer, x, y, epochs=1, callbacks=[Lambda(on_update=lambda t: setattr(t, "stop", True))])
    with pytest.raises(ValueError, match="restart_epoch"):
        quiet(trainer, x, y, epochs=1, batch_size=8)
    trainer.restart_epoch()
    quiet(trainer, x, y, epochs=1, batch_size=8)
    assert (trainer.epoch, trainer.batch) == (1, 0)


def test_ctrl_c_finishes_the_batch(blobs):
    def press(trainer):
        if trainer.updates == 2:
            signal.raise_signal(signal.SIGINT)

    whole, trainer = classifier(), classifier()
    quiet(whole, *blobs, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        quiet(trainer, *blobs, epochs=2, callbacks=[Lambda(on_update=press)])
    assert trainer.batch == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    quiet(trainer, *blobs, epochs=2)
    np.testing.assert_array_equal(trainer.weights, whole.weights)


def test_fit_within_fit_is_refused(blobs):
    def again(trainer):
        trainer.fit(*blobs, epochs=9, verbose=0)

    with pytest.raises(RuntimeError, match="fit is running already"):
        quiet(classifier(), *blobs, epochs=1, callbacks=[Lambda(on_update=again)])
