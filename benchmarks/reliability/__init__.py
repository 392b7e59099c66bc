"""Whether anything is lost when things go wrong: ``python -m benchmarks.reliability``.

An experiment is a file here, ``NAME.py``, with a function ``run(settings: Settings) -> dict``; files whose
name begins with an underscore are what several of them share. Nothing else needs to be told of it. It returns

    {"name": what was done, in a few words; a row of the table,
     "tried": how often, "survived": how often all was as promised, "lost": how often not,
     "details": figures by name, as JSON values}

A list of such dicts makes several rows. What cannot be done on a machine is tried 0 times, and
``details["skipped"]`` says why. The first lines of a file's docstring say what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Settings", "outcome"]


@dataclass(frozen=True)
class Settings:
    """What an experiment is told.

    Attributes
    ----------
    kills : int
        How often something is to be broken, where that is up to chance.
    seed : int
        Of all that is drawn.
    folder : Path
        An empty folder of the experiment's own, which is removed after it.
    say : callable
        Takes a line that tells how far it is.
    """

    kills: int
    seed: int
    folder: Path
    say: Callable[[str], None] = print


def outcome(name: str, survived: int, lost: int, **details: Any) -> dict[str, Any]:
    """Return a row: what was tried is what survived and what was lost."""
    return {
        "name": name,
        "tried": survived + lost,
        "survived": survived,
        "lost": lost,
        "details": details,
    }
