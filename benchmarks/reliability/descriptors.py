"""Open files: as many after hundreds of checkpoints as after the first."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import anyback as ab
from anyback.callbacks import Checkpoint, CSVLog, JSONLog, Lambda
from benchmarks.reliability import Settings, outcome

EPOCHS = 300
PLACES = ("/proc/self/fd", "/dev/fd")


def run(settings: Settings) -> dict[str, Any]:
    name = f"open files over {EPOCHS:,} checkpoints"
    place = next((place for place in PLACES if os.path.isdir(place)), None)
    if place is None:
        return outcome(name, 0, 0, skipped="this system does not list open files")
    x, counts = np.linspace(-1, 1, 64)[:, None], []
    callbacks = [
        Checkpoint(settings.folder / "run.safetensors", keep=3),
        CSVLog(settings.folder / "history.csv"),
        JSONLog(settings.folder / "history.jsonl"),
        Lambda(on_epoch_end=lambda trainer, logs: counts.append(len(os.listdir(place)))),
    ]
    trainer = ab.Trainer(ab.MLP([8], 1), "mean_squared_error", backend="numpy")
    trainer.fit(x, x[:, 0], epochs=EPOCHS, callbacks=callbacks, verbose=0)
    constant = len(set(counts)) == 1
    return outcome(name, constant, not constant, **{"open": f"{min(counts)} to {max(counts)}"})
