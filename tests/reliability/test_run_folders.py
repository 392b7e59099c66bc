"""One run a folder: locks, and what is no run."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Checkpoint, DivergenceError, EarlyStopping, Lambda
from anyback.checkpoint.locks import lock
from anyback.interrupt import Interrupted, terminable
from tests.conftest import require
from tests.reliability.runs import CHECKPOINT, begun, fit, made, one_line, posix

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from anyback.cli import run_dir  # noqa: E402
from anyback.cli.app import note  # noqa: E402

pytestmark = pytest.mark.usefixtures("on_one_backend")


def test_two_runs_in_one_folder_are_refused(call, tmp_path):
    run = tmp_path / "run"
    checkpoint = begun(call, run)
    before = checkpoint.read_bytes()
    with run_dir.locked(run):
        for options in (("--resume", run), ("--resume", checkpoint), ("--out", run)):
            code, err = call(*options)
            assert code == 2 and checkpoint.read_bytes() == before
            one_line(err, f"{run} is in use by process {os.getpid()} on ")
    assert call("--resume", run, "--epochs", 3) == (0, "")
    assert not (run / ".lock").exists()


def test_what_is_no_run_is_left_as_it_is(call, tmp_path):
    left = tmp_path / f".mine.{'0a' * 6}.tmp"
    left.write_bytes(b"")
    (empty := tmp_path / "empty").mkdir()
    for place in (tmp_path, empty):
        one_line(call("--resume", place)[1], "is not a run folder: it holds no checkpoint.safetensors")
    assert left.exists() and empty.is_dir()
    one_line(call("--out", empty, "--lr", "-1")[1], "lr")
    one_line(call("--out", empty, "--epochs", 0)[1], "epochs")
    assert empty.is_dir() and not list(empty.iterdir())


def test_what_a_resumed_run_was_asked_for_is_kept_when_it_is_killed(call, tmp_path, monkeypatch):
    run = tmp_path / "run"
    begun(call, run)

    def killed(self, *args, **options):
        raise MemoryError("as good as a kill")

    with monkeypatch.context() as patched:
        patched.setattr(ab.Trainer, "fit", killed)
        assert call("--resume", run, "--epochs", 5, "--patience", 7)[0] == 2
    assert call("--resume", run) == (0, "")
    assert ab.Trainer.load(run / CHECKPOINT).epoch == 5
    assert json.loads((run / "run.json").read_text())["options"]["patience"] == 7


@posix
def test_a_run_that_is_interrupted_twice_says_so(call, tmp_path, monkeypatch):
    """The second time while it saves: the file of before stays."""
    checkpoint = begun(call, tmp_path / "run")
    save = ab.Trainer.save

    def interrupted(trainer, *args, **options):
        if isinstance(sys.exc_info()[1], Interrupted):
            raise KeyboardInterrupt
        save(trainer, *args, **options)

    monkeypatch.setattr(ab.Trainer, "save", interrupted)
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", lambda *args: os.kill(os.getpid(), signal.SIGINT))
    code, err = call("--resume", checkpoint.parent, "--epochs", 9)
    assert code == 130 and err.startswith(
        "interrupted before the end of the batch, or while saving: resume with"
    )
    assert err.count("\n") == 1 and ab.Trainer.load(checkpoint).epoch == 3


@posix
def test_numbers_that_are_lost_take_no_good_files_place(tmp_path):
    """Asked to stop within an epoch that has diverged, a run goes back first, and says so."""
    path = tmp_path / "run"

    def spoil(trainer):
        if trainer.updates == 8:
            trainer.set_state({**trainer.state(), "w": trainer.weights * np.inf})
            os.kill(os.getpid(), signal.SIGTERM)

    with terminable(), pytest.raises(DivergenceError, match="the state is not finite within epoch 2: try"):
        fit(trainer := made(), Checkpoint(path), Lambda(on_update=spoil))
    assert trainer.finite and (trainer.epoch, trainer.batch) == (1, 0)
    np.testing.assert_array_equal(trainer.weights, ab.Trainer.load(path).weights)


def test_a_message_that_nobody_reads_ends_no_run(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    note("epoch 1 of many")


@posix
def test_a_killed_run_leaves_no_lock(tmp_path):
    code = (
        "import sys, time, pathlib; from anyback.cli import run_dir\n"
        "with run_dir.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"in use by process {process.pid} on"), run_dir.locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / ".lock").exists()
    with run_dir.locked(tmp_path):
        (tmp_path / "mine").touch()
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_without_locks_a_run_is_not_refused(call, tmp_path, monkeypatch):
    def none(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_dir, "lock", none)
    code, err = call("--epochs", 1, "--hidden", 8, "--out", tmp_path / "run")
    assert code == 0 and "file system without locks" in err


@posix
def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch):
    def none(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="not supported"):
        lock(file.fileno())
