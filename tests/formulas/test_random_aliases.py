"""Names of earlier versions in anyback.random still work."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback import random
from anyback.random import Key, Stream, step_seed, step_seeds


def test_old_names_are_the_new_functions():
    assert random.Draw is Stream
    assert random.micro_batch_word is step_seed and random.micro_batch_words is step_seeds
    assert Key.keep is Key.bernoulli and Key(7, "0").word == Key(7, "0").step_seed == 7


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_a_layer_that_draws_by_the_old_names_trains_as_dropout(backend):
    pytest.importorskip(backend)

    class Own(ab.Dropout):
        def train(self, params, x, key):
            shape = tuple(x.shape[-2:] if getattr(key.word, "ndim", 0) else x.shape)
            xp = ab.arrays.namespace(x)
            scale = xp.astype(key.keep(1.0 - self.rate, shape, xp, ab.arrays.device(x)), x.dtype)
            scale *= 1.0 / (1.0 - self.rate)
            return x * scale, lambda dy, dx=True: ({}, dy * scale if dx else None), {}

    x = np.linspace(-1.0, 1.0, 40).reshape(20, 2)
    weights = []
    for layer in (ab.Dropout(0.5), Own(0.5)):
        model = ab.Sequential([ab.Dense(8), layer, ab.Dense(1)])
        trainer = ab.Trainer(model, "huber", backend=backend, dtype="float32", seed=3)
        trainer.fit(x, x[:, :1], epochs=3, batch_size=5, verbose=0)
        weights.append(trainer.backend.to_numpy(trainer.weights))
    np.testing.assert_array_equal(*weights)
