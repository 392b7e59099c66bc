"""A checkpoint that was altered or made to harm is refused."""

from __future__ import annotations

import os
import pickle
import random
import sys
from pathlib import Path

import pytest

import anyback as ab
from tests.conftest import require

require("safetensors")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")

from benchmarks.reliability import Settings  # noqa: E402
from benchmarks.reliability.corruption import (  # noqa: E402
    flips,
    hostile,
    judge,
    mutations,
    run,
    sealed,
    small,
    truncations,
)


@pytest.fixture(scope="module")
def data():
    return small()


def test_flipped_bits_are_refused(data, tmp_path):
    """An eighth of them here; benchmarks/reliability flips all."""
    each = random.Random(0)
    some = (c for c in flips(data) if each.random() < 1 / 8)
    assert judge(data, some, tmp_path).keys() == {"refused"}


def test_every_truncation_is_refused(data, tmp_path):
    assert judge(data, truncations(data), tmp_path) == {"refused": len(data)}


def test_what_is_altered_is_refused_or_the_same(data, tmp_path):
    found = judge(data, mutations(data, 1000, random.Random(0)), tmp_path)
    assert found.keys() == {"refused", "identical"}, found
    assert found["refused"] > 700
    found = judge(data, sealed(data, 500, random.Random(0)), tmp_path, valid=True)
    assert found.keys() <= {"refused", "identical", "a trainer"}, found


def test_the_judge_sees_another_trainer(data, tmp_path):
    other = ab.Trainer(ab.MLP([2], 3), "softmax_cross_entropy", backend="numpy").build(2)
    other.save(tmp_path / "other")
    found = judge(data, [data, (tmp_path / "other").read_bytes()], tmp_path)
    assert found == {"identical": 1, "silent: another trainer": 1}


def test_hostile_files_are_refused_and_nothing_in_them_runs(data, tmp_path):
    files = hostile(data, tmp_path / "canary")
    found = {name: judge(data, [content], tmp_path) for name, content in files.items()}
    assert found == {name: {"refused": 1} for name in files}
    assert not (tmp_path / "canary").exists()
    pickle.loads(files["pickle of protocol 4"]).close()
    assert (tmp_path / "canary").exists(), "the canary sings when it is let out"


def test_a_file_of_pytorch_is_refused(data, tmp_path):
    torch = require("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(ab.CheckpointError, match="pickle or an archive, which could run code"):
        ab.Trainer.load(tmp_path / "w.pt")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="devices of POSIX")
def test_a_file_without_end_is_not_read():
    with pytest.raises(ab.CheckpointError, match="does not begin with a header"):
        ab.Trainer.load("/dev/zero")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_a_path_that_cannot_be_is_no_checkpoint(path):
    with pytest.raises(ab.CheckpointError, match="cannot be read"):
        ab.Trainer.load(path)


@pytest.mark.filterwarnings("ignore")
def test_the_experiment_counts_all_and_takes_little_memory(tmp_path):
    *rows, memory = run(Settings(kills=2, seed=1, folder=tmp_path))
    assert not any(row["lost"] for row in rows), rows
    assert sum(row["tried"] for row in rows) == sum(row["survived"] for row in rows) > 300
    assert 0 <= memory["details"]["MB more"] < 50
