"""One seed trains the same weights on every library (law 11)."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback import optimizers
from tests.conftest import require_backend

rng = np.random.default_rng(3)
Y = np.arange(24) % 3
X = rng.normal(size=(24, 4)) + 2.0 * np.eye(3, 4)[Y]
WEIGHT = rng.uniform(0.5, 1.5, 24)

OTHERS = ["array_api_strict", "array_api_strict:device1", "torch", "jax", "cupy", "torch:cuda"]
# Lion takes the sign of a sum, and one rounding more or less of next to nothing is a whole step.
SMOOTH = [name for name in optimizers.__all__ if name != "Lion"]


def trained(backend, optimizer="Adam", dtype="float64", **options):
    require_backend(backend)
    arguments = {"norm": "layer", "dropout": 0.25, "activation": "tanh"} | options
    trainer = ab.Trainer(
        ab.MLP([6], 3, **arguments),
        "softmax_cross_entropy",
        optimizer,
        backend=backend,
        dtype=dtype,
        seed=11,
        metrics=["accuracy"],
    )
    trainer.fit(X, Y, sample_weight=WEIGHT, epochs=3, batch_size=7, validation_split=0.2, verbose=0)
    return trainer


@pytest.fixture(scope="module")
def reference():
    """Runs on NumPy, each made once."""
    runs = {}

    def run(*arguments, **options):
        key = repr((arguments, options))
        if key not in runs:
            runs[key] = trained("numpy", *arguments, **options)
        return runs[key]

    return run


def compare(a, b, tolerance):
    for name, w in a.parameters().items():
        np.testing.assert_allclose(b.parameters()[name], w, rtol=0, atol=tolerance, err_msg=name)
    for name, value in a.statistics().items():
        np.testing.assert_allclose(b.statistics()[name], value, rtol=0, atol=tolerance, err_msg=name)
    for row, other in zip(a.history, b.history, strict=True):
        assert other == pytest.approx(row, abs=10 * tolerance)


@pytest.mark.parametrize("optimizer", SMOOTH)
@pytest.mark.parametrize("backend", ["array_api_strict", "torch", "cupy"])
def test_every_optimizer_ends_with_the_same_weights(reference, backend, optimizer):
    compare(reference(optimizer), trained(backend, optimizer), 1e-10)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSProp", "NAdam"])
def test_jitted_jax_ends_with_the_same_weights(reference, optimizer):
    compare(reference(optimizer), trained("jax", optimizer), 1e-10)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("norm", [None, "batch"])
def test_other_networks_end_with_the_same_weights(reference, backend, norm):
    compare(reference(norm=norm, activation="gelu"), trained(backend, norm=norm, activation="gelu"), 1e-10)


@pytest.mark.parametrize("backend", OTHERS)
def test_single_precision_stays_close(reference, backend):
    compare(reference(dtype="float32"), trained(backend, dtype="float32"), 2e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "orthogonal"])
@pytest.mark.parametrize("backend", OTHERS)
def test_initial_weights_are_the_same_bits(backend, initializer, dtype):
    require_backend(backend)
    model = ab.MLP([6, 5], 3, norm="batch", initializer=initializer)
    runs = [
        ab.Trainer(model, "softmax_cross_entropy", backend=name, dtype=dtype, seed=2**64 - 1).build(4)
        for name in ("numpy", backend)
    ]
    for name, w in runs[0].parameters().items():
        np.testing.assert_array_equal(runs[1].parameters()[name], w)


@pytest.mark.parametrize("backend", OTHERS)
def test_dropout_drops_the_same_elements(backend):
    """With one linear layer after it, what was dropped shows in the first gradient."""
    require_backend(backend)
    model = ab.Sequential([ab.Dropout(0.5), ab.Dense(1, bias=False, initializer="zeros")])
    seen = []
    for name in ("numpy", backend):
        trainer = ab.Trainer(model, "mean_squared_error", ab.SGD(1.0), backend=name, dtype="float64", seed=4)
        trainer.fit(np.eye(40), np.ones(40), batch_size=None, verbose=0)
        seen.append(trainer.parameters()["1.weight"][0] > 0)
    np.testing.assert_array_equal(*seen)
    assert 8 < seen[0].sum() < 32
