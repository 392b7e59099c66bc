"""Earlier checkpoints that are kept, temporary files, and logs."""

from __future__ import annotations

import csv
import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Checkpoint, CSVLog, JSONLog, Lambda
from anyback.checkpoint import CheckpointError, files, newest
from tests.conftest import require
from tests.reliability.runs import CHECKPOINT, begun, damage, fit, made, one_line

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")

pytestmark = pytest.mark.usefixtures("on_one_backend")


@pytest.mark.parametrize("links", [True, False])
def test_the_last_checkpoints_are_kept(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*args):
            raise PermissionError(1, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "run.safetensors"
    fit(made(), Checkpoint(path, keep=3), epochs=5)
    files = ["run.1.safetensors", "run.2.safetensors", "run.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == files
    assert [ab.Trainer.load(tmp_path / file).epoch for file in files] == [4, 3, 5]
    for file in ("run.safetensors", "run.1.safetensors"):
        assert newest(path) == str(tmp_path / file)
        damage(tmp_path / file)
    assert newest(path) == str(tmp_path / "run.2.safetensors")
    damage(tmp_path / "run.2.safetensors")
    each = r"run\.safetensors was altered.*; .*run\.1\.safetensors was altered.*; .*run\.2\.safetensors was"
    with pytest.raises(CheckpointError, match=each):
        newest(path)
    with pytest.raises(CheckpointError, match="nothing is not there"):
        newest(tmp_path / "nothing")


def test_fewer_are_kept_from_now_on(tmp_path):
    path, own = tmp_path / "run.safetensors", tmp_path / "run.9.safetensors"
    fit(trainer := made(), Checkpoint(path, keep=4), epochs=5)
    own.write_bytes(b"of somebody else")  # behind a gap
    fit(trainer, Checkpoint(path, keep=2), epochs=6)
    files = [path, tmp_path / "run.1.safetensors"]
    assert sorted(tmp_path.iterdir()) == sorted([*files, own])
    assert [ab.Trainer.load(file).epoch for file in files] == [6, 5]
    trainer.save(path)  # keep=1 touches no other file
    assert sorted(tmp_path.iterdir()) == sorted([*files, own])


def test_files_that_are_one_file_are_kept_too(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(trainer := made(), Checkpoint(path), epochs=1)
    os.link(path, tmp_path / "run.1.safetensors")
    fit(trainer, Checkpoint(path, keep=2), epochs=3)
    assert {file.name for file in tmp_path.iterdir()} == {"run.safetensors", "run.1.safetensors"}
    assert ab.Trainer.load(tmp_path / "run.1.safetensors").epoch == 2


def test_a_run_keeps_epochs_that_differ(call, tmp_path):
    """The last save of a run, and a resume with nothing left, repeat no epoch."""
    checkpoint = begun(call, tmp_path / "run", "--epochs", 3)
    assert call("--resume", tmp_path / "run", "--epochs", 3)[0] == 0
    older = checkpoint.with_name("checkpoint.1.safetensors")
    assert [ab.Trainer.load(file).epoch for file in (checkpoint, older)] == [3, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": 0}, "keep must be at least 1, got 0"), ({"path": "e{epoch}", "keep": 2}, "without {epoch}")],
)
def test_what_cannot_be_kept_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(**{"path": "run", **options})


def test_the_newest_intact_checkpoint_is_resumed(call, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    begun(call, whole)
    begun(call, run, "--keep", 3, "--epochs", 3)
    assert {file.name for file in run.glob("checkpoint*")} == {
        CHECKPOINT,
        "checkpoint.1.safetensors",
        "checkpoint.2.safetensors",
    }
    assert call("--resume", whole, "--epochs", 4) == (0, "")
    damage(run / CHECKPOINT)
    damage(run / "checkpoint.1.safetensors")
    code, err = call("--resume", run, "--epochs", 4)
    assert code == 0 and "using checkpoint.2.safetensors, which is older" in err
    assert (run / f"{CHECKPOINT}.damaged").exists()  # and pushes no good one out
    first, second = (ab.Trainer.load(newest(path / CHECKPOINT)) for path in (whole, run))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.history.rows == second.history.rows
    one_line(call("--resume", run, "--keep", 0)[1], "--keep must be at least 1, got 0")


def test_what_killed_saves_left_is_swept_and_what_lives_is_not(tmp_path):
    dead, other = tmp_path / f".run.{'0a' * 6}.tmp", tmp_path / ".mine.tmp"
    for path in (dead, other):
        path.write_bytes(b"half")
    with files._created(str(tmp_path / ".run")) as file:
        living = Path(file.name)
        fit(made(), Checkpoint(tmp_path / "run"), epochs=1)
        assert {file.name for file in tmp_path.iterdir()} == {living.name, other.name, "run"}
    files.remove_stale(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {other.name, "run"}


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    swept = []

    def late(descriptor):
        if not swept:
            swept.extend(tmp_path.iterdir())
            files.remove_stale(tmp_path)
        return lock(descriptor)

    lock = files.lock
    monkeypatch.setattr(files, "lock", late)
    files.replace(tmp_path / "run", b"new")
    assert len(swept) == 1 and [file.name for file in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run").read_bytes() == b"new"
    answers = [False, True]  # a sweeper has the first
    monkeypatch.setattr(files, "lock", lambda descriptor: answers.pop(0))
    files.replace(tmp_path / "run", b"newer")
    assert answers == [] and (tmp_path / "run").read_bytes() == b"newer"


def test_two_writers_of_one_checkpoint_do_not_trip(tmp_path):
    def write(number):
        for _ in range(200):
            files.replace(tmp_path / "run.txt", str(number).encode() * 100, keep=2, durable=False)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(write, (1, 2)))
    names = {file.name for file in tmp_path.iterdir()}
    assert names <= {"run.txt", "run.1.txt", ".run.txt.older"} and "run.1.txt" in names


def test_a_checkpoint_that_was_asked_for_sets_no_newer_one_aside(call, tmp_path):
    checkpoint = begun(call, tmp_path / "run", "--epochs", 3)
    older = checkpoint.with_name("checkpoint.1.safetensors")
    assert call("--resume", older, "--epochs", 4) == (0, "")
    assert sorted(file.name for file in checkpoint.parent.glob("checkpoint*")) == [older.name, CHECKPOINT]
    assert ab.Trainer.load(checkpoint).epoch == 4


def test_a_folder_that_cannot_be_waited_for_is_no_reason_to_fail(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace(tmp_path / "run", b"new")
    assert (tmp_path / "run").read_bytes() == b"new"


def test_logs_are_replaced_as_a_whole_and_written_to_where_they_are_no_files(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "log.csv")
    fit(made(), CSVLog(tmp_path / "link.csv"), JSONLog(os.devnull), epochs=2)
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "log.csv").read_text().count("\n") == 3
    assert not os.path.isfile(os.devnull)


def test_logs_grow_by_a_row_and_are_written_anew_for_a_new_column(tmp_path, monkeypatch):
    anew, log = [], tmp_path / "log.csv"
    rewrite = files.rewrite
    monkeypatch.setattr(
        "anyback.callbacks.rewrite", lambda path, data: (anew.append(path), rewrite(path, data))
    )
    trainer = made()
    fit(trainer, CSVLog(log), epochs=4)
    assert anew == [log] and log.read_text().count("\n") == 5
    add = Lambda(on_epoch_end=lambda trainer, logs: trainer.epoch > 6 and logs.update(more=1.0))
    fit(trainer, add, CSVLog(log), epochs=9)
    assert anew == [log] * 3  # the fit's first epoch, and the seventh
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [row["more"] for row in rows] == [""] * 6 + ["1.0"] * 3
    assert [float(row["loss"]) for row in rows] == trainer.history["loss"]
    monkeypatch.setattr("anyback.checkpoint.files.open", refused, raising=False)
    with pytest.raises(OSError, match="log.csv cannot be written: no room"):
        files.append(log, b"more")


def refused(*args, **options):
    raise OSError(errno.ENOSPC, "no room")


def test_figures_of_any_kind_of_number_are_logged(tmp_path):
    add = Lambda(on_epoch_end=lambda trainer, logs: logs.update(a=np.float32(0.5), b=3, c=np.int64(7)))
    fit(made(), add, CSVLog(tmp_path / "log.csv"), JSONLog(tmp_path / "log.jsonl"), epochs=1)
    assert (tmp_path / "log.csv").read_text().splitlines()[1].endswith(",0.5,3.0,7.0")
    assert (tmp_path / "log.jsonl").read_text().endswith('"a": 0.5, "b": 3.0, "c": 7.0}\n')
