"""All checks and measurements that need a GPU: ``python -m benchmarks.gpu --help``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from anyback.backends import BackendError, backend
from benchmarks import __main__ as races
from benchmarks.tables import grid
from benchmarks.turns import ROOT

BACKENDS = ("cupy", "torch:cuda", "jax:gpu")
# What is in the names of their tests; those of training take the default backend.
NAMED = {"cupy": "cupy", "torch:cuda": "torch-cuda or torch:cuda", "jax:gpu": "jax"}
TRAINING = ("training", "callbacks", "checkpoint", "cli")
# Excluded from the first: they take minutes and add little.
LONG = ("docs/test_examples.py", "docs/test_benchmarks.py")


@dataclass(frozen=True)
class Check:
    """The test results of one backend."""

    backend: str
    tests: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    options, others = _parser().parse_known_args(arguments)
    present, absent = _tried(options.backends)
    for name, why in absent.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    if not present:
        sys.exit("no GPU was found")
    options.output.mkdir(parents=True, exist_ok=True)
    checks = [check for name in present for check in _checked(name, options.output)] if options.check else []
    races.main(["--cases", "gpu", "--output", str(options.output), *others])
    if checks:
        (options.output / "checks.json").write_text(json.dumps([asdict(c) for c in checks], indent=1) + "\n")
        print(table(checks))
        sys.exit(any(check.failed for check in checks))


def check(name: str, tests: str, arguments: Iterable[str | Path], log: Path, default: str = "") -> Check:
    """Run tests in a separate process, with its output in `log`, and count the results.

    The pytest options of pyproject.toml are ignored, since plugins may be missing; `default` is the default
    backend of trainers.
    """
    report = log.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-c", os.devnull, "--rootdir", ROOT]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    # Otherwise JAX allocates most of a GPU's memory, which the others need in turn.
    environment = {**os.environ, "PYTHONPATH": _path(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment |= {"ANYBACK_BACKEND": default} if default else {}
    with log.open("w") as output:
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    if ended.returncode not in (0, 1):
        return Check(name, tests, 0, 1, 0, 0.0, (f"pytest ended with status {ended.returncode}: see {log}",))
    return _counted(name, tests, ElementTree.parse(report).getroot())


def table(checks: Sequence[Check]) -> str:
    """The checks as a table, and a line for each failed test."""
    head = ["backend", "tests", "passed", "failed", "skipped", "seconds"]
    rows = [
        [c.backend, c.tests, *map(str, (c.passed, c.failed, c.skipped)), f"{c.seconds:.0f}"] for c in checks
    ]
    return "\n".join([grid([head, *rows]), *(f"failed: {name}" for c in checks for name in c.failures)])


def _checked(name: str, folder: Path) -> list[Check]:
    log = folder / f"check-{name.replace(':', '-')}"
    left_out = [f"--ignore={ROOT / 'tests' / file}" for file in LONG]
    named = NAMED.get(name, name)
    return [
        check(name, "of every library", ["tests", *left_out, "-k", named], log.with_suffix(".txt")),
        check(
            name,
            "of training",
            [f"tests/{folder}" for folder in TRAINING],
            log.with_name(f"{log.name}-training.txt"),
            default=name,
        ),
    ]


def _counted(name: str, tests: str, report: ElementTree.Element) -> Check:
    cases = list(report.iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    names = tuple(f"{c.get('classname')}::{c.get('name')}" for c in failed)
    seconds = sum(float(c.get("time", 0)) for c in cases)
    passed = len(cases) - len(failed) - len(skipped)
    return Check(name, tests, passed, len(failed), len(skipped), seconds, names)


def _tried(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The backends that work here, and why the others do not."""
    present, absent = [], {}
    for name in names:
        try:
            backend(name)
        except BackendError as error:
            absent[name] = str(error)
        else:
            present.append(name)
    return present, absent


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu",
        description="Race anyback on a GPU against other libraries there; with --check, run the tests on it "
        "first. A checkout with array-api-compat on the path is enough; what needs more is skipped. Other "
        "options are those of python -m benchmarks.",
    )
    add = parser.add_argument
    add("--check", action="store_true", help="run the tests on each backend first, and count them last")
    names = f"backends whose tests are run (by default those of {', '.join(BACKENDS)} that work)"
    add("--backends", nargs="+", default=BACKENDS, metavar="NAME", help=names)
    output = "folder for results.json, checks.json, tables.md and the output of the tests (%(default)s)"
    add("--output", type=Path, default=Path("build", "gpu"), metavar="DIR", help=output)
    return parser


if __name__ == "__main__":
    main()
