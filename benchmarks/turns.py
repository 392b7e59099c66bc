"""Processes in turn, so that the idle threads of one library do not slow down another."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[1]
# Turns of each kind: one is enough for memory, which hardly varies, and for plots with many points.
TURNS = {"step": 3, "fit": 3, "cold": 3, "predict": 3, "memory": 1, "growth": 1, "gpu": 3}

Figures = dict[str, float]
Runner = Callable[[str, Case], Figures]


class RunError(Exception):
    """A library could not do a case; the message is one line."""


@dataclass(frozen=True)
class Processes:
    """Runs a library on a case in a separate process: warm-up for some seconds, then measurement."""

    warm: float = 1.5
    seconds: float = 0.4
    pause: float = 0.3
    timeout: float = 300.0

    def __call__(self, peer: str, case: Case) -> Figures:
        time.sleep(self.pause)
        command = [sys.executable, "-m", "benchmarks.run", peer, case.name, str(self.warm), str(self.seconds)]
        began = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout, cwd=ROOT)
        except subprocess.TimeoutExpired:
            raise RunError(f"took longer than {self.timeout:g} s") from None
        took = time.perf_counter() - began
        if done.returncode:
            raise RunError((done.stderr.strip() or f"ended with status {done.returncode}").splitlines()[-1])
        return {**json.loads(done.stdout.splitlines()[-1]), "process": took}


@dataclass
class Race:
    """Results: the measurements of each turn (None for a failed one), and why some failed."""

    turns: dict[tuple[Case, str], list[Figures | None]]
    failures: dict[str, str]


def race(
    peers: list[str],
    cases: list[Case],
    turns: Mapping[str, int],
    run: Runner,
    say: Callable[[str], None] = lambda line: None,
) -> Race:
    """Run every peer on every case that it enters, turn by turn; Ctrl-C ends it and keeps the results so far.

    Each turn begins with a different peer. One that fails in a case skips its later turns.
    """
    found = Race(defaultdict(list), {})
    try:
        for turn in range(max(turns[case.kind] for case in cases)):
            for case in (case for case in cases if turn < turns[case.kind]):
                entered = [name for name in peers if case.kind in PEERS[name].kinds]
                first = turn % max(len(entered), 1)
                for name in entered[first:] + entered[:first]:
                    start = f"turn {turn + 1} of {turns[case.kind]}, {case.name}, {name}: "
                    say(start + _run(found, run, name, case))
    except KeyboardInterrupt:
        say("interrupted: the measurements so far follow")
    return found


def _run(found: Race, run: Runner, name: str, case: Case) -> str:
    """One run, and the message about it."""
    what = f"{name}, {case.name}"
    if what not in found.failures:
        try:
            figures = run(name, case)
        except RunError as error:
            found.failures[what] = str(error)
        else:
            found.turns[case, name].append(figures)
            return ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
    found.turns[case, name].append(None)
    return f"failed: {found.failures[what]}"
