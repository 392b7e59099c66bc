"""Training and single functions on the kernels of a GPU, compared with NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import losses
from anyback.engine.program import Program
from anyback.pytree import leaves
from tests.engine.emulated_gpu import COMPILER

emulated = pytest.mark.skipif(COMPILER is None, reason="the emulator needs a C++ compiler")
rng = np.random.default_rng(5)
X = rng.normal(size=(200, 12))
LABELS = np.arange(200) % 3
WEIGHT = np.linspace(0.5, 1.5, 200)
X[:, :3] += 2.0 * np.eye(3)[LABELS]


def agree(gpu, f, *args, donate=0, rtol=1e-12):
    """Run a program twice, as first and as later call, and compare with the plain function on NumPy."""

    def put(x):
        return gpu.asarray(x) if isinstance(x, np.ndarray) else x

    expected = leaves(f(*args))
    program = Program(f, tuple(map(put, args)), gpu.machine, donate, 0)
    for _ in range(2):
        for found, b in zip(leaves(program(tuple(map(put, args)))), expected, strict=True):
            a = gpu.to_numpy(found)
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            size = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size)
    return program


MODELS = {
    "plain": (ab.MLP([16], 3), {}),
    "batch": (
        ab.Sequential(
            [ab.Dense(16, bias=False), ab.BatchNorm(), ab.Activation("gelu"), ab.Dropout(0.2), ab.Dense(3)]
        ),
        {"metrics": ["accuracy"], "clip_norm": 0.5},
    ),
    "residual": (
        ab.Sequential(
            [
                ab.Dense(8),
                ab.Residual(ab.Sequential([ab.LayerNorm(), ab.Dense(8), ab.Activation("tanh")])),
                ab.Dense(3),
            ]
        ),
        {"optimizer": ab.AdamW(weight_decay=0.1), "l1": 1e-4, "l2": 1e-3, "clip_value": 0.05},
    ),
    "weighted": (
        ab.MLP([8], 3),
        {"loss": partial(losses.softmax_cross_entropy, class_weight=[1.0, 2.0, 0.5], label_smoothing=0.1)},
    ),
    "gathered": (ab.MLP([8], 3, dropout=0.3), {"accumulate": 3}),
}


def trained(model, backend, dtype, *, accumulate=1, weight=WEIGHT, **options):
    trainer = ab.Trainer(
        model, **({"loss": "softmax_cross_entropy", "seed": 3} | options), backend=backend, dtype=dtype
    )
    trainer.fit(
        X,
        LABELS,
        epochs=3,
        batch_size=32,
        sample_weight=weight,
        validation_split=0.2,
        accumulate=accumulate,
        verbose=0,
    )
    return trainer


def programs(trainer):
    """Return what a trainer's functions were compiled to."""
    compiled = trainer.bound.steps.one, trainer.bound.accumulate, trainer.bound.measure
    return [made for one in compiled for made in one.programs.values() if isinstance(made, Program)]
