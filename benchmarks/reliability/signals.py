"""SIGTERM and Ctrl-C: the batch is finished, the run saved, the status 143 or 130, all within two seconds.

A second Ctrl-C, in the middle of a batch of some hundredths of a second, ends the run at once and saves
nothing. In each case the resumed run ends bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from functools import partial
from typing import Any

from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._runs import Run, ended, left_alone, wait_for

LIMIT = 2.0
SLOW = ("--hidden", "512,512", "--batch-size", "full", "--patience", "1000", "--backend", "numpy")
SAVED = re.compile(r"interrupted (within|after) epoch (\d+): resume with .*\n$")
WAYS = {
    "SIGTERM": [signal.SIGTERM],
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
}


def run(settings: Settings) -> list[dict[str, Any]]:
    # A background job of a shell ignores Ctrl-C, and so would the processes that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    draw = random.Random(settings.seed)
    rows = []
    for way, signals in WAYS.items():
        kind = partial(Run, epochs=20, options=SLOW) if len(signals) > 1 else Run
        whole = left_alone(kind(settings.folder / "whole"))
        seconds, problems = [], []
        while len(seconds) < max(1, settings.kills // 10):
            trial = kind(settings.folder / "trial")
            took, problem = _stopped(trial, signals, draw)
            if took is not None:
                problem = problem or trial.unlike(whole)
                seconds.append(took)
                problems += [problem] if problem else []
                settings.say(f"{way}: {problem or f'{took:.2f} s'}")
            shutil.rmtree(trial.folder, ignore_errors=True)
        shutil.rmtree(whole.folder)
        lost = len(problems)
        details = {"problems": problems} if problems else {}
        rows.append(outcome(way, len(seconds) - lost, lost, **{"slowest exit, s": max(seconds)}, **details))
    return rows


def _stopped(
    trial: Run, signals: list[signal.Signals], draw: random.Random
) -> tuple[float | None, str | None]:
    """Send signals; return how long the exit took (None if it came before them), and what is wrong."""
    process = trial.start()
    epoch = draw.randrange(trial.epochs - 10)
    wait_for(lambda: trial.epoch() > epoch, process)
    time.sleep(draw.uniform(0, 0.02))
    if process.poll() is not None:
        ended(process)
        return None, None
    began = time.perf_counter()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.002 if len(signals) == 1 else draw.uniform(0.002, 0.02))
    code, err = ended(process)
    took = time.perf_counter() - began
    if len(signals) > 1 and SAVED.match(err):
        return None, None  # the run ended before the second signal
    problem = wrong(trial, signals[0], code, err)
    return took, problem or (f"took {took:.1f} s" if took > LIMIT else None)


def wrong(trial: Run, number: int, code: int, err: str) -> str | None:
    """Return what is wrong with the status, message and checkpoint of an interrupted run."""
    saved = SAVED.match(err)
    if code != 128 + number:
        return f"exits with {code}: {err.strip()}"
    if err.count("\n") != 1 or not (saved or err.startswith("interrupted before the end of the batch")):
        return f"says otherwise: {err.strip()}"
    if problem := trial.lost():
        return problem
    epoch, batch = trial.position()
    if saved:
        within, told = saved[1] == "within", int(saved[2])
        if (epoch + within, batch > 0) != (told, within):
            return f"says {err.strip()}, and has saved batch {batch} after epoch {epoch}"
    return None if saved or not batch else "has saved what it says that it has not"
