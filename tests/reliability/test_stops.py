"""Runs that are killed or stopped by a signal go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Lambda
from anyback.interrupt import Interrupted, terminable, terminate
from tests.conftest import require
from tests.reliability.runs import fit, made, posix

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import (  # noqa: E402
    Settings,
    crash,
)

pytestmark = pytest.mark.usefixtures("on_one_backend")


@posix
def test_killed_runs_end_in_the_bits_of_one_that_was_left_alone(tmp_path):
    rows = crash.run(Settings(kills=3, seed=0, folder=tmp_path))
    assert sum(row["tried"] for row in rows) >= 3 and not sum(row["lost"] for row in rows), rows


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_that_is_stopped_ends_after_a_batch(tmp_path, number):
    whole, stopped = made(), made()
    fit(whole)
    ask = Lambda(on_update=lambda trainer: trainer.updates == 8 and os.kill(os.getpid(), number))
    with terminable(), pytest.raises(Interrupted) as error:
        fit(stopped, ask)
    assert error.value.number == number and stopped.updates == 8 and stopped.batch == 2
    stopped.save(tmp_path / "run")
    resumed = ab.Trainer.load(tmp_path / "run", backend="numpy")
    fit(resumed)
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    assert resumed.history.rows == whole.history.rows


@posix
@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([signal.SIGTERM, signal.SIGTERM], Interrupted),
        ([signal.SIGTERM, signal.SIGINT], KeyboardInterrupt),
        ([signal.SIGINT, signal.SIGINT], KeyboardInterrupt),
    ],
)
def test_a_second_ctrl_c_acts_at_once_and_a_second_sigterm_waits_too(numbers, kind):
    def ask(trainer):
        for number in numbers:
            os.kill(os.getpid(), number)

    with terminable(), pytest.raises(KeyboardInterrupt) as error:
        fit(made(), Lambda(on_update=ask))
    assert error.type is kind


@posix
def test_sigterm_outside_of_training_exits_in_order():
    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is terminate
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

    def elsewhere():
        with terminable():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [before]
