"""Functions to minimise, and tolerances by precision."""

from __future__ import annotations

import numpy as np

import anyback as ab
from anyback.arrays import namespace

BOWL = np.array([-3.0, 4.0])


def squares(x):
    return namespace(x).sum(x**2)


def bowl(x):
    """x0^2 + 4 x1^2 of the house: its value and its vjp."""
    xp = namespace(x)
    scale = xp.asarray([1.0, 4.0], dtype=x.dtype, device=x.device)
    return xp.sum(scale * x**2), lambda dy: dy * 2.0 * scale * x


def tolerance(library, fine, coarse):
    return fine if library.has_float64 else coarse


def same_kind(a, b):
    return namespace(a) is namespace(b) and a.dtype == b.dtype and a.device == b.device


def trainer_of(backend="numpy", model=None, loss="softmax_cross_entropy", **options):
    model = ab.MLP([8], 3, activation="tanh") if model is None else model
    return ab.Trainer(model, loss, **{"backend": backend, "dtype": "float64", **options})
