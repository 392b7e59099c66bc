"""Coverage: the lines and branches of anyback that the tests run (survived) and do not run (lost).

`[tool.coverage]` in pyproject.toml lists what is excluded and why. Processes that tests start are
included. It takes half as long again as the whole suite. To show the lines that are not run:
`python -m coverage run -m pytest; python -m coverage combine; python -m coverage report -m`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from benchmarks.reliability import Settings, outcome
from benchmarks.turns import ROOT


def run(settings: Settings) -> dict[str, Any]:
    name = "lines and branches run by the tests"
    if find_spec("coverage") is None:
        return outcome(name, 0, 0, skipped="coverage is not installed")
    data, report = settings.folder / ".coverage", settings.folder / "coverage.json"
    paths = os.pathsep.join([str(ROOT), *sys.path[1:]])
    environment = {**os.environ, "COVERAGE_FILE": str(data), "PYTHONPATH": paths}
    suite = ("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=1200")
    for arguments in (suite, ("combine", "-q"), ("json", "-q", "-o", report)):
        command = [sys.executable, "-m", "coverage", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"coverage {arguments[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return row(name, json.loads(report.read_text(encoding="utf-8")))


def row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a report of `coverage json`."""
    files = {path: _run(file["summary"]) for path, file in report["files"].items()}
    ran, there = _run(report["totals"])
    least = min(100.0 * some / of for some, of in files.values() if of)
    details = {"share, %": 100.0 * ran / there, "least of a file, %": least}
    each = [f"{path}: {some} of {of}" for path, (some, of) in files.items()]
    return outcome(name, ran, there - ran, **details, files=each)


def _run(summary: dict[str, int]) -> tuple[int, int]:
    """Return how many lines and branches were run, and how many there are."""
    return (
        summary["covered_lines"] + summary["covered_branches"],
        summary["num_statements"] + summary["num_branches"],
    )
