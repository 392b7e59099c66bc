"""Full disks, missing rights, and folders that vanish."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from anyback.callbacks import EarlyStopping
from tests.conftest import require
from tests.reliability.runs import CHECKPOINT, begun, one_line, posix

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import (  # noqa: E402
    Settings,
    descriptors,
    disk,
)

pytestmark = pytest.mark.usefixtures("on_one_backend")


@contextmanager
def largest(size):
    """No file may become longer than `size`."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
def test_a_full_disk_ends_a_run_with_one_line_and_leaves_its_checkpoint(call, tmp_path):
    run = tmp_path / "run"
    checkpoint = begun(call, run)
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.suffix == ".safetensors"}
    with largest(len(before[CHECKPOINT]) // 2):
        code, err = call("--resume", run, "--epochs", 4)
    assert code == 2
    one_line(err, checkpoint, "cannot be written: File too large")
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.name in before} == before
    assert not [file.name for file in run.iterdir() if file.name.startswith(".")]
    assert call("--resume", run, "--epochs", 4) == (0, "")


@posix
@posix
def test_a_resume_without_the_newest_that_fails_loses_nothing(call, tmp_path):
    """What was kept before it is still a run: its run.json and history stay."""
    checkpoint = begun(call, tmp_path / "run")
    names = {file.name for file in checkpoint.parent.iterdir()}
    checkpoint.unlink()
    with largest(200):
        code, err = call("--epochs", 4, "--resume", checkpoint.parent)
    assert code == 2 and "cannot be written" in err
    assert {file.name for file in checkpoint.parent.iterdir()} == names - {CHECKPOINT}
    code, err = call("--epochs", 4, "--resume", checkpoint.parent)
    assert code == 0 and "checkpoint.1.safetensors" in err
    assert len((checkpoint.parent / "history.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize("way", [disk.full, disk.read_only, disk.forbidden], ids=lambda way: way.__name__)
def test_a_disk_without_room_or_leave_ends_a_run(tmp_path, way, monkeypatch):
    monkeypatch.setattr(disk.Run, "unlike", lambda run, whole: None)  # which costs another run
    try:
        assert way(tmp_path, disk.Run(tmp_path)) is None
    except disk.Absent as why:
        pytest.skip(str(why))


def test_a_folder_that_vanishes_ends_a_run_with_one_line(call, tmp_path, monkeypatch):
    run = tmp_path / "run"
    begun(call, run)
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", lambda self, trainer, logs: shutil.rmtree(run))
    code, err = call("--resume", run, "--epochs", 4)
    assert code == 2
    one_line(err, "needs the folder", run)


@pytest.mark.parametrize("place", descriptors.PLACES[:1])
def test_open_files_are_as_many_after_many_checkpoints(tmp_path, monkeypatch, place):
    if not os.path.isdir(place):
        pytest.skip(f"no {place} here")
    monkeypatch.setattr(descriptors, "EPOCHS", 20)
    assert descriptors.run(Settings(1, 0, tmp_path))["survived"] == 1
