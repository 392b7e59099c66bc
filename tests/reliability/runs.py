"""Runs of the command line and of a trainer, and damage to their files."""

from __future__ import annotations

import os

import numpy as np
import pytest

import anyback as ab

CHECKPOINT = "checkpoint.safetensors"
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


def begun(call, run, *options):
    assert call("--epochs", 2, "--hidden", 8, "--out", run, *options) == (0, "")
    return run / CHECKPOINT


def made():
    return ab.Trainer(ab.MLP([4], 2, dropout=0.2), "softmax_cross_entropy", "Adam", backend="numpy")


def fit(trainer, *callbacks, epochs=3):
    return trainer.fit(X, Y, epochs=epochs, batch_size=7, callbacks=callbacks, verbose=0)


def one_line(err, *parts):
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert all(str(part) in err for part in parts), err


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
