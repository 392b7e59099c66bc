"""Fault injection: what fails when runs are killed, disks break or data are bad.

Run it with ``python -m benchmarks.reliability``.

An experiment is a file here, ``NAME.py``, with a function ``run(settings: Settings) -> dict``; files whose
name begins with an underscore are shared by several of them. There is no other registration. It returns

    {"name": the experiment in a few words; a row of the table,
     "tried": number of trials, "survived": those that passed, "lost": those that failed,
     "details": measurements by name, as JSON values}

A list of such dicts makes several rows. What cannot be run on a machine is tried 0 times, and
``details["skipped"]`` says why. The first lines of a file's docstring describe it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Settings", "outcome"]


@dataclass(frozen=True)
class Settings:
    """The settings of an experiment.

    Attributes
    ----------
    kills : int
        Number of trials of random faults.
    seed : int
        Of all random choices.
    folder : Path
        An empty folder of the experiment, removed after it.
    say : callable
        Takes a line that reports progress.
    """

    kills: int
    seed: int
    folder: Path
    say: Callable[[str], None] = print


def outcome(name: str, survived: int, lost: int, **details: Any) -> dict[str, Any]:
    """Return a row: tried is the sum of survived and lost."""
    return {
        "name": name,
        "tried": survived + lost,
        "survived": survived,
        "lost": lost,
        "details": details,
    }
