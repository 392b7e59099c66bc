"""examples/gpu_training.py: a job that was stopped, in whatever way, resumes as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from tests.conftest import require

require("safetensors")
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "gpu_training.py"


def job(run, *arguments, backend):
    command = [sys.executable, SCRIPT, "--run", run, "--backend", backend, "--hidden", "16", *arguments]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def parameters(run):
    return ab.Trainer.load(run / "checkpoint.safetensors", backend="numpy").parameters()


def test_another_job_goes_on(backend_name, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    ended(job(whole, "--epochs", "3", backend=backend_name))
    ended(job(halves, "--epochs", "1", backend=backend_name))
    out, _ = ended(job(halves, "--epochs", "3", backend=backend_name))
    assert out.startswith("resumes after epoch 1\n") and "accuracy" in out.splitlines()[-1]
    on_gpu = backend_name in ("cupy", "torch:cuda")  # sums there may come in another order each time
    for name, w in parameters(whole).items():
        np.testing.assert_allclose(parameters(halves)[name], w, rtol=0, atol=1e-4 if on_gpu else 0)
    assert (halves / "history.csv").read_text().count("\n") == 4
    assert len({(run / "history.csv").read_text() for run in (whole, halves)}) == 1 or on_gpu


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_whose_time_is_up_saves_and_goes_on(number, tmp_path):
    process, history = job(tmp_path, "--epochs", "1000000", backend="numpy"), tmp_path / "history.csv"
    until = time.monotonic() + 60
    while not history.exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = ended(process, code=128 + number)
    assert "the same command resumes" in err and "Traceback" not in err
    stopped = ab.Trainer.load(tmp_path / "checkpoint.safetensors", backend="numpy")
    out, _ = ended(job(tmp_path, "--epochs", str(stopped.epoch + 1), backend="numpy"))
    assert out.startswith(f"resumes after epoch {stopped.epoch}\n")
    after = ab.Trainer.load(tmp_path / "checkpoint.safetensors", backend="numpy")
    assert after.epoch == stopped.epoch + 1 and len(after.history) == after.epoch
    reference = tmp_path / "reference"
    ended(job(reference, "--epochs", str(after.epoch), backend="numpy"))
    for name, w in parameters(reference).items():
        np.testing.assert_array_equal(parameters(tmp_path)[name], w)
