"""A small regression problem, and a trainer for it."""

from __future__ import annotations

import numpy as np

import anyback as ab

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
