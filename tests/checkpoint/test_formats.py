"""Checkpoints of every format that any version wrote still load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import EarlyStopping, ReduceOnPlateau
from anyback.checkpoint import files
from tests.conftest import require

require("safetensors")

DATA = Path(__file__).parent / "data"

PREDICTED = {
    1: [
        [-0.47240644693374634, 0.6266766786575317, 0.5605638027191162],
        [0.0823231115937233, 0.535005509853363, 0.7278788685798645],
    ]
}


@pytest.mark.parametrize("version", range(1, files.FORMAT + 1))
def test_checkpoints_of_every_format_load(version):
    path = DATA / f"format-{version}.safetensors"
    assert files.read(path)[1]["format"] == version
    trainer = ab.Trainer.load(path, backend="numpy")
    x = np.array([[0.0, 1.0], [-1.0, 0.5]])
    np.testing.assert_allclose(trainer.predict(x), PREDICTED[version], rtol=1e-5)
    assert (trainer.epoch, trainer.updates, len(trainer.history)) == (2, 2, 2)
    trainer.fit(np.eye(12, 2), np.arange(12) % 3, epochs=3, verbose=0)
    assert trainer.epoch == 3


# What the version that wrote these files trained on to: loss of epoch 5 and first weights.
AT_EPOCH_5 = {
    "half-epoch": (1.0661988605402297, [-0.5358688913739407, -0.9730267498759928, -0.6078599407579566]),
    "half-accumulation": (1.0419656174750365, [0.6132670923535195, -0.164857653256514, -1.037903858342652]),
    "best-and-callbacks": (1.0126491394687478, [-0.824984609441188, -0.8199204983364446, -0.16754141187041]),
}
RESUMED = {
    "half-epoch": (3, {"batch_size": 5}, []),
    "half-accumulation": (2, {"batch_size": 5, "accumulate": 2}, []),
    "best-and-callbacks": (
        0,
        {"batch_size": 5, "validation_split": 0.25},
        [EarlyStopping("val_loss", patience=9), ReduceOnPlateau("loss", patience=0, min_delta=0.2)],
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_runs_of_0_1_0_resume_to_the_same_weights(name):
    """Within an epoch, with an accumulated gradient, and with the states of callbacks."""
    batch, options, callbacks = RESUMED[name]
    x = np.linspace(-2, 2, 4 * 24).reshape(24, 4) ** 3 % 1.7
    trainer = ab.Trainer.load(DATA / f"{name}.safetensors", backend="numpy")
    assert trainer.batch == batch
    trainer.fit(x, np.arange(24) * 7 % 3, epochs=5, callbacks=callbacks, verbose=0, **options)
    loss, weights = AT_EPOCH_5[name]
    assert trainer.history.last["loss"] == pytest.approx(loss, rel=1e-10)
    np.testing.assert_allclose(trainer.weights[:3], weights, rtol=1e-10)
