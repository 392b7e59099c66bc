"""Small trainers, and how their weights are compared."""

from __future__ import annotations

import numpy as np

import anyback as ab


def classifier(loss="softmax_cross_entropy", optimizer="Adam", model=None, **options):
    options = {"backend": "numpy", "dtype": "float64", **options}
    return ab.Trainer(model or ab.MLP([6], 3, activation="tanh"), loss, optimizer, **options)


def regressor(optimizer="Adam", hidden=(6,), loss="mean_squared_error", **options):
    return classifier(loss, optimizer, ab.MLP(hidden, 1, activation="tanh"), **options)


def quiet(trainer, *data, **options):
    return trainer.fit(*data, **{"verbose": 0, **options})


def assert_same_weights(a, b, **tolerance):
    for name, w in a.parameters().items():
        np.testing.assert_allclose(w, b.parameters()[name], **({"rtol": 0, "atol": 0} | tolerance))
