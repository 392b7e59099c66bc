"""The command: ``python -m benchmarks.reliability --help``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.page import filled
from benchmarks.reliability import Settings
from benchmarks.report import machine, versions
from benchmarks.tables import grid
from benchmarks.turns import ROOT

EXPERIMENTS = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))
PAGE = ROOT / "docs" / "reliability.md"
SHOWN = ("python", "anyback", "blas", "numpy")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported, whichever experiment is first
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "reliability.json"
    # Results of experiments that are not run now stay in the document.
    results = json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else {}
    for name in options.only:
        results[name] = tried(name, options.kills, options.seed)
        document = {"machine": machine(), "versions": versions(), "results": dict(sorted(results.items()))}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(document))
    if options.write_docs:
        text = filled(PAGE.read_text(encoding="utf-8"), "reliability", table(document))
        PAGE.write_text(text, encoding="utf-8")
    _say(f"wrote {file}" + (f", {PAGE}" if options.write_docs else ""))
    sys.exit(any(row["lost"] for name in options.only for row in results[name]["rows"]))


def tried(name: str, kills: int, seed: int) -> dict[str, Any]:
    """Run one experiment in its own folder, and return its rows with date and seconds."""
    folder, began = Path(tempfile.mkdtemp(prefix=f"anyback-{name}-")), time.perf_counter()
    try:
        settings = Settings(kills, seed, folder, lambda line: _say(f"{name}: {line}"))
        rows = import_module(f"benchmarks.reliability.{name}").run(settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began, 1),
        "seed": seed,
        "rows": [rows] if isinstance(rows, dict) else rows,
    }


def table(document: dict[str, Any]) -> str:
    """Return all rows as a table, and under it the machine, dates and versions."""
    head = ["", "tried", "passed", "failed", "details"]
    results = document["results"].values()
    rows = [
        [row["name"], *(f"{row[name]:,}" for name in ("tried", "survived", "lost")), _seen(row["details"])]
        for result in results
        for row in result["rows"]
    ]
    about, dates = document["machine"], sorted({result["date"][:10] for result in results})
    libraries = ", ".join(f"{name} {document['versions'][name]}" for name in SHOWN)
    return (
        f"{grid([head, *rows])}\n\n*{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}, "
        f"{about['processor']}, {about['cores']} cores, {about['system']}; {libraries}.*\n"
    )


def _seen(details: dict[str, Any]) -> str:
    parts = [f"{name} {_short(value)}" for name, value in details.items()]
    return "; ".join(parts).replace("|", "/")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} (see the JSON)"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reliability",
        description="Break runs of anyback in many ways and count failures; exits with 1 if there are any.",
    )
    add = parser.add_argument
    only = f"experiments ({', '.join(EXPERIMENTS)}); all by default"
    add("--only", nargs="+", default=EXPERIMENTS, choices=EXPERIMENTS, metavar="NAME", help=only)
    kills = "number of trials of random faults (%(default)s)"
    add("--kills", type=int, default=200, metavar="N", help=kills)
    add("--seed", type=int, default=0, metavar="N", help="of all random choices (%(default)s)")
    output = "folder for reliability.json, to which results are added (%(default)s)"
    add("--output", type=Path, default=Path("build", "reliability"), metavar="DIR", help=output)
    add("--write-docs", action="store_true", help="put the table into docs/reliability.md too")
    return parser


if __name__ == "__main__":
    main()
