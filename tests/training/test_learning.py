"""Problems that must be learned, on every backend."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from tests.conftest import require
from tests.training.trainers import assert_same_weights, classifier, quiet, regressor


def test_learns_regression(line):
    trainer = regressor(ab.SGD(0.1), hidden=(), metrics=["r2"])
    quiet(trainer, *line, epochs=40, batch_size=8)
    x = np.c_[line[0], np.ones(40)]
    best = np.linalg.lstsq(x, line[1], rcond=None)[0]
    np.testing.assert_allclose(trainer.parameters()["0.weight"][0], best[:3], atol=0.05)
    assert trainer.evaluate(*line)["r2"] > 0.99


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "multiclass_hinge", partial(ab.losses.multiclass_hinge, squared=True)]
)
def test_learns_classes(blobs, loss):
    trainer = classifier(loss, ab.Adam(0.03), metrics=["accuracy"])
    quiet(trainer, *blobs, epochs=15)
    assert trainer.evaluate(*blobs)["accuracy"] > 0.95
    assert trainer.history["loss"][-1] < 0.5 * trainer.history["loss"][0]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge", "focal"])
def test_learns_two_classes(blobs, loss):
    x, y = blobs
    target = np.where(y == 0, 1.0, -1.0 if loss == "hinge" else 0.0)
    trainer = regressor(ab.Adam(0.03), loss=loss, metrics=["accuracy"])
    quiet(trainer, x, target, epochs=15)
    assert trainer.evaluate(x, target)["accuracy"] > 0.95


def test_learns_several_labels_at_once(blobs):
    x, y = blobs
    target = np.stack([y == 0, y == 1, y != 2], axis=1)
    trainer = classifier("binary_cross_entropy", ab.Adam(0.03))
    quiet(trainer, x, target, epochs=20)
    assert np.mean((trainer.predict_proba(x) > 0.5) == target) > 0.95


def test_learns_probabilities_as_targets(blobs):
    x, y = blobs
    soft = 0.9 * np.eye(3)[y] + 0.1 / 3
    trainer = classifier("softmax_cross_entropy", ab.Adam(0.03), metrics=["accuracy"])
    quiet(trainer, x, soft, epochs=15)
    assert trainer.evaluate(x, soft)["accuracy"] > 0.95


def test_samples_of_several_axes(blobs):
    x, y = blobs[0].reshape(96, 2, 2), blobs[1]
    model = ab.Sequential([ab.Flatten(), ab.Dense(6), ab.Activation("tanh"), ab.Dense(3)])
    trainer = classifier(optimizer=ab.Adam(0.03), model=model, metrics=["accuracy"])
    quiet(trainer, x, y, epochs=15)
    assert trainer.predict(x).shape == (96, 3)
    assert trainer.evaluate(x, y)["accuracy"] > 0.95


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
def test_a_backend_trains_as_numpy_does(blobs, name):
    require(name)
    runs = [
        classifier(
            backend=backend, model=ab.MLP([6], 3, activation="tanh", norm="layer", dropout=0.2), clip_norm=1.0
        )
        for backend in ("numpy", name)
    ]
    for run in runs:
        quiet(
            run,
            *blobs,
            epochs=2,
            validation_split=0.2,
            accumulate=2,
            batch_size=10,
            sample_weight=np.ones(96),
        )
    assert_same_weights(*runs, atol=1e-10)
    for a, b in zip(runs[0].history, runs[1].history, strict=True):
        assert a == pytest.approx(b, abs=1e-10)
