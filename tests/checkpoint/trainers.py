"""A trainer with everything that has a state, and all that makes up its run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import anyback as ab
from anyback import schedules
from anyback.callbacks import EarlyStopping, ReduceOnPlateau

rng = np.random.default_rng(0)
Y = np.arange(30) % 3
X = rng.normal(size=(30, 4)) + np.eye(3, 4)[Y]
WEIGHT = rng.uniform(0.5, 1.5, 30)


def make(optimizer="Adam", backend="numpy", **options):
    """A trainer with everything that has a state."""
    if isinstance(optimizer, str):
        optimizer = getattr(ab, optimizer)()
    lr = optimizer.lr
    optimizer = replace(optimizer, lr=schedules.Warmup(schedules.Cosine(lr, period=9), steps=3))
    model = ab.MLP([5], 3, activation="tanh", norm="batch", dropout=0.3)
    settings = {"clip_norm": 1.0, "l2": 1e-3, "standardize": True, "metrics": ["accuracy"], "seed": 5}
    return ab.Trainer(model, "softmax_cross_entropy", optimizer, backend=backend, **(settings | options))


FIT = {"validation_split": 0.2, "batch_size": 5, "accumulate": 2, "sample_weight": WEIGHT, "verbose": 0}


def watchers():
    return [EarlyStopping(patience=50), ReduceOnPlateau("val_accuracy", factor=0.5, patience=0)]


def everything(trainer):
    """All that a run is: arrays, figures, position."""
    arrays = {name: trainer.backend.to_numpy(value) for name, value in trainer.state().items()}
    place = (
        trainer.epoch,
        trainer.batch,
        trainer.updates,
        trainer.train_state.micro_batches,
        trainer.lr_factor,
    )
    states = [state for name, state in trainer.train_state.callback_states if name != "Checkpoint"]
    return arrays, (
        place,
        trainer.history.rows,
        states,
        trainer.train_state.showing_best,
        trainer.train_state.fit_config,
    )


def assert_same(a, b):
    (arrays, rest), (others, other_rest) = everything(a), everything(b)
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        assert value.dtype == others[name].dtype
        np.testing.assert_array_equal(value, others[name], name)
    assert rest == other_rest
