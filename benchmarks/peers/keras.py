"""Keras on JAX if that is installed, else on PyTorch, unless KERAS_BACKEND is set."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax" if find_spec("jax") else "torch")

import keras

from benchmarks.peers import CHUNK

FOREVER = 10**9


class Lap(keras.callbacks.Callback):
    """Ends training when `laps` has enough."""

    def __init__(self, laps: Any) -> None:
        super().__init__()
        self.laps = laps

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = self.laps.lap()


def train(case: Any, x: Any, y: Any, laps: Any) -> Any:
    hidden = [keras.layers.Dense(size, activation="relu") for size in case.sizes[1:-1]]
    model = keras.Sequential([keras.Input((case.sizes[0],)), *hidden, keras.layers.Dense(case.sizes[-1])])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=case.batch, epochs=laps.epochs or FOREVER, callbacks=[Lap(laps)], verbose=0)

    def predict(x: Any) -> Any:
        """The fastest of its three ways for few rows and for many."""
        return model.predict_on_batch(x) if len(x) <= CHUNK else model.predict(x, batch_size=CHUNK, verbose=0)

    return predict
