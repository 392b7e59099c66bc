"""A race as one JSON document: measurements of every turn, medians, ranges, ratios; machine and versions."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import anyback
from benchmarks.peers import own
from benchmarks.turns import Race

PACKAGES = ("numpy", "llvmlite", "jax", "torch", "scikit-learn", "keras", "mygrad", "thinc", "cupy-cuda12x")
# Recorded figures of each kind; the time of the process matters only for cold starts.
FIGURES = {
    "step": ("step",),
    "growth": ("step",),
    "gpu": ("step",),
    "fit": ("fit", "accuracy"),
    "cold": ("process", "accuracy"),
    "predict": ("row", "million"),
    "memory": ("import", "training"),
}

Turns = Sequence[float | None]


def document(race: Race, absent: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that tables and plots need, as JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "absent": absent,
        "failures": race.failures,
        "results": records(race),
    }


def records(race: Race) -> list[dict[str, Any]]:
    """One record for each case, peer and figure, in seconds, bytes or fractions; ratios are to anyback."""
    found = []
    for (case, peer), turns in race.turns.items():
        if not any(turns):
            continue
        for figure in FIGURES[case.kind]:
            values, ours = _values(turns, figure), _values(race.turns.get((case, own(case.kind)), []), figure)
            about = {"kind": case.kind, "case": case.name, "peer": peer, "figure": figure}
            found.append({**about, "turns": values, **spread(values), "ratio": ratio(values, ours)})
    return found


def _values(turns: Iterable[dict[str, float] | None], figure: str) -> list[float | None]:
    return [turn and turn[figure] for turn in turns]


def spread(turns: Turns) -> dict[str, float]:
    """Median, minimum and maximum over the turns that did not fail."""
    values = [value for value in turns if value is not None]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(theirs: Turns, ours: Turns) -> dict[str, float] | None:
    """The ratio of theirs to ours: of the medians, and its range over the turns that both completed."""
    pairs = [(a, b) for a, b in zip(theirs, ours, strict=False) if a is not None and b]
    if not pairs:
        return None
    each = [a / b for a, b in pairs]
    return {
        "median": spread(theirs)["median"] / spread(ours)["median"],
        "min": min(each),
        "max": max(each),
    }


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, system, and limits on threads."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": {name: os.environ[name] for name in os.environ if name.endswith("_NUM_THREADS")},
    }


def versions() -> dict[str, str]:
    """Versions of Python, anyback, NumPy's BLAS and every installed library that races."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found = {
        "python": platform.python_version(),
        "anyback": anyback.__version__,
        "blas": f"{blas['name']} {blas['version']}",
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
