"""Checkpoints of every format that any version wrote still load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.checkpoint import files
from tests.conftest import require

require("safetensors")


PREDICTED = {
    1: [
        [-0.47240644693374634, 0.6266766786575317, 0.5605638027191162],
        [0.0823231115937233, 0.535005509853363, 0.7278788685798645],
    ]
}


@pytest.mark.parametrize("version", range(1, files.FORMAT + 1))
def test_checkpoints_of_every_format_load(version):
    path = Path(__file__).parent / "data" / f"format-{version}.safetensors"
    assert files.read(path)[1]["format"] == version
    trainer = ab.Trainer.load(path, backend="numpy")
    x = np.array([[0.0, 1.0], [-1.0, 0.5]])
    np.testing.assert_allclose(trainer.predict(x), PREDICTED[version], rtol=1e-5)
    assert (trainer.epoch, trainer.updates, len(trainer.history)) == (2, 2, 2)
    trainer.fit(np.eye(12, 2), np.arange(12) % 3, epochs=3, verbose=0)
    assert trainer.epoch == 3
