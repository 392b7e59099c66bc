"""Runs that are interrupted, resumed or started twice in one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anyback.training.trainer import Trainer
from tests.cli.command_line import BACKEND, FAST, ROOT, rows_of, weights, write
from tests.conftest import require

require("typer")
from anyback.cli import run_dir  # noqa: E402

# How much longer things may take where many tests run at once.
PATIENCE = 4


def started(run, *args, code="from anyback.__main__ import main; main()", until="checkpoint.safetensors"):
    """Start a run that would never end, and return its process once it has written a file."""
    args = ("--epochs", "100000", "--patience", "100000", "--hidden", "16", "-q", "--out", run, *args)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", "digits", *map(str, args)],
        cwd=ROOT,
        env=os.environ | {"ANYBACK_BACKEND": BACKEND},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (run / until).exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    return process


def left_behind(run):
    """Hidden files: temporaries and locks."""
    return [file.name for file in run.iterdir() if file.name.startswith(".")]


def test_a_resumed_run_equals_an_uninterrupted_one(call, folder, tmp_path, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    monkeypatch.chdir(folder)
    data, options = "species.csv", ("--hidden", "16", "--lr", "0.01")
    assert call("train", data, *options, "--epochs", "9", "-q", "--out", whole)[0] == 0
    assert call("train", data, *options, "--epochs", "4", "-q", "--out", halves)[0] == 0
    monkeypatch.chdir(tmp_path)  # and the data are found again
    code, out, _ = call("train", "--resume", halves, "--epochs", "9")
    assert code == 0 and "9 of 9" in out
    first, second = weights(whole), weights(halves)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    histories = [rows_of((run / "history.csv").read_text()) for run in (whole, halves)]
    assert histories[0] == histories[1] and len(histories[0]) == 9
    figures = [json.loads((run / "run.json").read_text())["figures"] for run in (whole, halves)]
    assert figures[0] == figures[1]
    code, out, err = call("train", folder / data, "--resume", halves, "--epochs", "5")
    assert code == 0 and "nothing left to train: 9 epochs done, 5 requested" in err and "9 of 9" in out


def test_a_run_that_stopped_early_says_how_to_go_on(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run, data = tmp_path / "run", folder / "price.csv"
    options = ("--hidden", "8", "--lr", "0.3", "--epochs", "300", "--patience", "2")
    assert "stopped early" in call("train", data, *options, "--out", run)[1]
    done = json.loads((run / "run.json").read_text())["training"]["epochs"]
    code, out, err = call("train", data, "--resume", run)
    assert code == 0 and f"{done} of 300" in out
    assert (
        "has not improved for 3 epochs, and --patience is 2; to train longer, use --patience 3 or more" in err
    )
    code, out, err = call("train", data, "--resume", run, "--patience", "3", "--epochs", str(done + 1))
    assert (code, err) == (0, "") and f"{done + 1} of {done + 1}" in out


def test_resume_refuses_other_options_and_other_data(refused, folder, species_run, tmp_path):
    data = folder / "species.csv"
    err = refused("train", data, "--resume", species_run, "--lr", "0.5")
    assert "--lr was 0.01" in err and "0.5" in err and "--epochs, --patience, --keep and --backend" in err
    assert "--hidden was 128,64" in refused("train", data, "--resume", species_run, "--hidden", "4")
    other = tmp_path / "other.csv"
    other.write_text("\n".join([*data.read_text().splitlines()[:-1], "0,0,0,ant"]) + "\n")
    assert "is not the training data of" in refused("train", other, "--resume", species_run)
    assert "exclude each other" in refused("train", data, "--resume", species_run, "--out", tmp_path / "x")
    assert "no such run" in refused("train", data, "--resume", tmp_path / "nothing")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "checkpoint.safetensors").write_bytes((species_run / "checkpoint.safetensors").read_bytes())
    assert "needs a run folder with a run.json" in refused("train", data, "--resume", bare)


def test_an_existing_run_is_never_overwritten(refused, folder, species_run):
    before = (species_run / "checkpoint.safetensors").read_bytes()
    assert "--resume" in refused("train", folder / "species.csv", "--out", species_run)
    assert (species_run / "checkpoint.safetensors").read_bytes() == before
    file = folder / "price.csv"
    assert f"--out {file} is a file" in refused("train", folder / "species.csv", "--out", file)


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for name in ("digits-now", "digits-now-2", "digits-now-3"):
        found = run_dir.new_run_dir("digits")
        assert found == Path("runs", name)
        found.mkdir(parents=True)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_stopped_finishes_its_batch_and_saves(tmp_path, number):
    run = tmp_path / "run"
    process = started(run)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert time.monotonic() - began < 2 * PATIENCE
    assert out == "" and err.startswith("interrupted within epoch ") and err.endswith(f"--resume {run}\n")
    trainer = Trainer.load(run / "checkpoint.safetensors", backend="numpy")
    assert trainer.epoch == len(trainer.history) >= 1 and trainer.train_state.showing_best
    assert json.loads((run / "run.json").read_text())["training"]["ended"] == "interrupted"
    assert left_behind(run) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_second_ctrl_c_does_not_wait(tmp_path):
    run = tmp_path / "run"
    # A batch that lasts: the second signal comes while the first waits for it.
    slow = (
        "import time; from anyback.training.step import TrainStep; step = TrainStep.step\n"
        "TrainStep.step = lambda *args: (time.sleep(30), step(*args))[1]\n"
        "from anyback.__main__ import main; main()"
    )
    process = started(run, code=slow, until="run.json")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=5 * PATIENCE)
    assert process.returncode == 130 and "nothing was saved" in err and "Traceback" not in err
    assert not run.exists()


def test_ctrl_c_in_the_middle_of_the_first_batch_leaves_nothing(call, folder, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    code, out, err = call("train", folder / "species.csv", "--out", tmp_path / "run")
    assert (code, out) == (130, "") and "nothing was saved" in err
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_stays_on_its_backend(call, folder, tmp_path, monkeypatch):
    require("array_api_strict")
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run, data = tmp_path / "run", folder / "species.csv"
    assert call("train", data, *FAST, "--backend", "array_api_strict", "--out", run)[0] == 0
    for options, name in (
        (("--epochs", "4"), "array_api_strict"),
        (("--epochs", "5", "--backend", "numpy"), "numpy"),
    ):
        assert call("train", "--resume", run, *options)[0] == 0
        assert json.loads((run / "run.json").read_text())["backend"]["name"] == name


def test_a_resumed_run_finds_its_data(call, folder, tmp_path, monkeypatch):
    """Those that ship, whatever lies beside the user; and, moved with the run, those of the same path."""
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert call("train", "digits", *FAST, "--out", "shipped")[0] == 0
    assert call("train", "--resume", "shipped", "--epochs", "4")[0] == 0
    (old := tmp_path / "old").mkdir()
    (old / "data.csv").write_bytes((folder / "species.csv").read_bytes())
    monkeypatch.chdir(old)
    assert call("train", "data.csv", *FAST, "--out", "run")[0] == 0
    monkeypatch.chdir(tmp_path)
    os.rename(old, tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    assert call("train", "--resume", "run", "--epochs", "4")[0] == 0


def test_a_folder_that_a_killed_run_left_can_be_used(call, tmp_path):
    write(tmp_path / "data.csv", "a,kind", [[i % 2 + 0.1 * i, "uv"[i % 2]] for i in range(20)])
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_text("{}")
    code, _, err = call("train", tmp_path / "data.csv", *FAST, "--out", out)
    assert code == 0, err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_lose_a_run(tmp_path, closed):
    command = f"{sys.executable} -m anyback train digits --epochs 1 --hidden 8 --out run {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "curves.png").exists()
