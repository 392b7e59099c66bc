"""SIGKILL at random moments: every resumed run ends bit-identical to an uninterrupted one.

A third of the kills comes at any moment of the process, a third during training, and a third while a
checkpoint is written, which is detected by its temporary file. After each, every checkpoint must be intact,
the newest as new as the history, and the run is resumed to its end; in every fourth trial the resumed process
is killed too.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from typing import Any

from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._runs import CHECKPOINT, Run, ended, left_alone, wait_for

MOMENTS = ("any moment", "while training", "while writing")


def run(settings: Settings) -> list[dict[str, Any]]:
    draw = random.Random(settings.seed)
    began = time.perf_counter()
    whole = left_alone(Run(settings.folder / "whole"))
    took = time.perf_counter() - began
    kills: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    before: Counter[str] = Counter()
    why = []
    while kills.total() < settings.kills:
        trial = Run(settings.folder / "trial")
        moments, problem = [], None
        for _ in range(1 if draw.random() < 0.75 else 2):
            left = set(trial.temporaries(CHECKPOINT))
            process = trial.start()
            moment = MOMENTS[(kills.total() + len(moments)) % len(MOMENTS)]
            if killed(process, trial, moment, took, draw):
                moments.append(moment)
                cut[moment] += bool(set(trial.temporaries(CHECKPOINT)) - left)
                before[moment] += not trial.checkpoint.exists()
                problem = problem or trial.lost()
        problem = problem or (trial.unlike(whole) if moments else None)
        kills.update(moments)
        survived.update(() if problem else moments)
        if problem:
            why.append(f"killed {', '.join(moments)}: {problem}")
            settings.say(why[-1])
        shutil.rmtree(trial.folder, ignore_errors=True)
        if moments:
            settings.say(f"{kills.total()} of {settings.kills} kills, {survived.total()} survived")
    problems = {"problems": why} if why else {}
    return [
        outcome(
            f"SIGKILL, {moment}",
            survived[moment],
            kills[moment] - survived[moment],
            **{"before the first checkpoint": before[moment], "left a temporary file": cut[moment]},
            **problems,
        )
        for moment in MOMENTS
    ]


def killed(process: subprocess.Popen[str], trial: Run, moment: str, took: float, draw: random.Random) -> bool:
    """Kill a process at such a moment, and return whether it was still running."""
    if moment == "any moment":
        time.sleep(draw.uniform(0, took))
    else:
        epoch = draw.randrange(min(trial.epoch(), trial.epochs - 3), trial.epochs - 2)
        wait_for(lambda: trial.epoch() >= epoch + 1, process)
        if moment == "while training":
            time.sleep(draw.uniform(0, 0.03))
        else:
            wait_for(lambda: trial.temporaries(CHECKPOINT), process)
            # Between the creation of the file and, some milliseconds later, its renaming.
            time.sleep(draw.choice((0.0, draw.uniform(0, 0.004))))
    alive = process.poll() is None
    process.kill()
    ended(process)
    return alive
