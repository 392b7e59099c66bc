"""Tests counted case by case: parity of backends and planted errors, reads from a device, the laws.

Each case of these test files counts; survived is passed. Cases of missing libraries and devices are not
tried, and counted separately.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

from benchmarks.reliability import Settings, outcome
from benchmarks.turns import ROOT

FILES = {
    "steps compared between backends, errors planted": "backends/test_parity.py",
    "reads from a device, epochs and steps": "laws/test_synchronisation.py",
    "laws, of every formula and backend": "laws/test_laws.py",
}


def run(settings: Settings) -> list[dict[str, Any]]:
    if find_spec("pytest") is None:
        return [outcome(name, 0, 0, skipped="pytest is not installed") for name in FILES]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    rows = []
    for name, file in FILES.items():
        report = settings.folder / f"{file.replace('/', '-')}.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        subprocess.run([*command, f"tests/{file}"], cwd=ROOT, env=environment, capture_output=True)
        rows.append(row(name, report.read_text(encoding="utf-8")))
        settings.say(f"{name}: {rows[-1]['survived']} of {rows[-1]['tried']}")
    return rows


def row(name: str, report: str) -> dict[str, Any]:
    """Return the row of a report of pytest in JUnit's XML."""
    suite = next(ElementTree.fromstring(report).iter("testsuite"))
    cases, wrong, skipped = (
        sum(int(suite.attrib[kind]) for kind in kinds)
        for kinds in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return outcome(name, cases - wrong - skipped, wrong, **({"not tried": skipped} if skipped else {}))
