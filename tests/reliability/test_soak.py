"""Long runs hold no more than short ones; threads and processes do not change a bit."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

require("safetensors")
sys.path.append(
    str(Path(__file__).resolve().parents[2])
)  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import soak  # noqa: E402


def test_memory_and_open_files_stay(tmp_path):
    row = soak.soaked("numpy", 2000, tmp_path)
    assert row["survived"] == 1, row


@pytest.mark.parametrize("held", ["memory", "files"])
def test_what_is_held_on_to_is_seen(tmp_path, monkeypatch, held):
    kept = []

    class Holding(soak.Watch):
        def on_epoch_end(self, trainer, logs):
            kept.append(np.zeros(1000) if held == "memory" else (tmp_path / f"{len(kept)}").open("w"))
            super().on_epoch_end(trainer, logs)

    monkeypatch.setattr(soak, "Watch", Holding)
    row = soak.soaked("numpy", 200, tmp_path)
    for thing in kept if held == "files" else ():
        thing.close()
    assert row["lost"] == 1 or row["details"]["open"].startswith("not listed"), row


@pytest.mark.parametrize("work", [soak.trained, soak.predicted])
def test_threads_give_what_one_after_the_other_does(work):
    row = soak.together("threads", [work("numpy")] * 2)
    assert row["survived"] == row["tried"] == 16, row


def test_threads_that_disturb_each_other_are_seen():
    numbers = count()
    assert soak.together("threads", [lambda k: str(next(numbers)).encode()])["lost"] == 8


def test_hashes_of_other_seeds_write_the_same_bytes(tmp_path):
    require("typer")
    row = soak.hashed(tmp_path, 2)
    assert row["survived"] == row["tried"] == 1, row


def test_a_checkpoint_saved_again_has_the_same_bytes(tmp_path):
    """The table in which safetensors keeps metadata has another order each time."""
    trainer = soak.trainer_of("numpy", 0).build(3)
    seen = set()
    for _ in range(20):
        trainer.save(tmp_path / "run")
        seen.add((tmp_path / "run").read_bytes())
    assert len(seen) == 1
