"""Coverage: of the lines and branches of anyback, those that the tests run; survived is run, lost is not.

What counts, and what is left out and why, says `[tool.coverage]` in pyproject.toml. The processes that tests
start count too. `python -m coverage run -m pytest; python -m coverage combine; python -m coverage report -m` shows
the lines. It takes as long as the whole suite, and half as long again.
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
    """Return the row of what `coverage json` wrote."""
    counts = [_run(file["summary"]) for file in (*report["files"].values(), {"summary": report["totals"]})]
    files = {path: f"{ran} of {all}" for path, (ran, all) in zip(report["files"], counts, strict=False)}
    ran, all = counts[-1]
    least = min(counts[:-1], key=lambda count: count[0] / max(count[1], 1))
    details = {"share, %": 100.0 * ran / all, "least of a file, %": 100.0 * least[0] / least[1]}
    return outcome(name, ran, all - ran, **details, files=[f"{path}: {of}" for path, of in files.items()])


def _run(summary: dict[str, int]) -> tuple[int, int]:
    """Return how many lines and branches were run, and how many there are."""
    return (
        summary["covered_lines"] + summary["covered_branches"],
        summary["num_statements"] + summary["num_branches"],
    )
