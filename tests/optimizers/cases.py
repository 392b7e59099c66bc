"""Optimizers with options, and a problem to compare their paths on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from anyback.optimizers import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RAdam,
    RMSProp,
)

STEPS, SIZE = 500, 12
BETAS = (0.8, 0.97)
CASES = [
    SGD(0.05),
    SGD(0.05, weight_decay=0.1),
    SGD(0.02, momentum=0.8),
    SGD(0.05, momentum=0.8, dampening=0.3),
    SGD(0.05, momentum=0.8, dampening=0.3, weight_decay=0.1),
    SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.1),
    Momentum(),
    Momentum(0.05, dampening=0.5, weight_decay=0.1),
    Nesterov(),
    Nesterov(0.05, weight_decay=0.1),
    AdaGrad(),
    AdaGrad(0.3, lr_decay=0.01),
    AdaGrad(0.3, initial_accumulator_value=0.5, eps=1e-3, weight_decay=0.1),
    AdaDelta(),
    AdaDelta(0.5, rho=0.8, eps=1e-4, weight_decay=0.1),
    Adam(),
    Adam(0.02, BETAS, eps=1e-3, weight_decay=0.1),
    Adam(0.02, BETAS, amsgrad=True),
    Adam(0.02, amsgrad=True, weight_decay=0.1),
    AdamW(),
    AdamW(0.02, BETAS, eps=1e-3, weight_decay=0.3),
    AdamW(0.02, BETAS, amsgrad=True, weight_decay=0.3),
    AdamW(0.02, weight_decay=0.0),
    NAdam(),
    NAdam(0.02, BETAS, eps=1e-3, momentum_decay=0.05, weight_decay=0.1),
    NAdam(0.02, (0.0, 0.97)),
    RAdam(),
    RAdam(0.02, BETAS, eps=1e-3, weight_decay=0.1),
    RAdam(0.02, (0.8, 0.5)),
    AdaMax(),
    AdaMax(0.02, BETAS, eps=1e-3, weight_decay=0.1),
    *(
        RMSProp(lr, alpha, eps, momentum, centered, False, weight_decay)
        for (lr, alpha, eps), momentum, centered, weight_decay in itertools.product(
            [(1e-2, 0.99, 1e-8), (0.02, 0.9, 1e-3)], [0.0, 0.8], [False, True], [0.0, 0.1]
        )
    ),
]
BY_HAND = [
    Lion(),
    Lion(0.02, BETAS, weight_decay=0.3),
    *(
        RMSProp(0.02, 0.9, 1e-3, momentum, centered, True, weight_decay)
        for momentum, centered, weight_decay in itertools.product([0.0, 0.8], [False, True], [0.0, 0.1])
    ),
]
ALL = CASES + BY_HAND
TORCH_NAMES = {
    "Momentum": "SGD",
    "Nesterov": "SGD",
    "AdaGrad": "Adagrad",
    "AdaDelta": "Adadelta",
    "AdaMax": "Adamax",
    "RMSProp": "RMSprop",
}
TOLERANCE = {"float64": 1e-12, "float32": 5e-6}


def name(opt: Any) -> str:
    return repr(opt).replace(" ", "")


def problem(dtype: str = "float64", steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Fixed gradients: on a problem of its own each rounding error would grow."""
    rng = np.random.default_rng(7)
    w = rng.standard_normal(SIZE)
    g = rng.standard_normal((steps, SIZE)) * np.logspace(-1, 1, SIZE)
    return w.astype(dtype), g.astype(dtype)


def path(opt: Any, w: Any, gradients: Any) -> np.ndarray:
    """Return the parameters after every update."""
    slots, seen = opt.init(w), []
    for t, g in enumerate(gradients, 1):
        w, slots = opt.step(w, g, slots, t)
        seen.append(np.asarray(w))
    return np.stack(seen)


def assert_near(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    assert np.max(np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted))) <= tolerance
