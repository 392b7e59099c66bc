"""The command: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.cases import CASES, chosen_cases
from benchmarks.peers import PEERS, chosen_peers
from benchmarks.pictures import draw
from benchmarks.report import document
from benchmarks.tables import absences, measured_kinds, tables
from benchmarks.turns import ROOT, TURNS, Processes, race

# Above this load average other programs are running.
BUSY = 0.5


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        names, cases = chosen_peers(options.peers), chosen_cases(options.cases)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print(*(case.name for case in cases), sep="\n")
        for name in names:
            print(f"{name:<20} {PEERS[name].label}: {', '.join(PEERS[name].kinds)}")
    elif options.results:
        _publish(json.loads(options.results.read_text(encoding="utf-8")), options)
    else:
        _publish(_measured(names, cases, options), options)


def _measured(names: list[str], cases: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        _say(f"the machine is busy (load average {load:.1f}): these measurements are unreliable")
    names = [name for name in names if any(case.kind in PEERS[name].kinds for case in cases)]
    absent = {name: why for name in names if (why := PEERS[name].absence())}
    for name, why in absent.items():
        _say(f"{name} does not race: {why}")
    turns = {kind: options.turns or number for kind, number in TURNS.items()}
    run = Processes(options.warm, options.seconds, options.pause, options.timeout)
    found = race([name for name in names if name not in absent], cases, turns, run, _say)
    return document(found, absent, {"turns": turns, **vars(run), "load_before": load})


def _publish(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the tables, and write them with the JSON document and the plots into the output folder."""
    text = "\n".join(tables(results, kind) for kind in measured_kinds(results))
    options.output.mkdir(parents=True, exist_ok=True)
    written = [options.output / "results.json", options.output / "tables.md"]
    written[0].write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    written[1].write_text(text, encoding="utf-8")
    print(text, absences(results), sep="\n")
    if find_spec("matplotlib"):
        written += draw(results, options.output).values()
        written += page.write(results, ROOT / "docs") if options.write_docs else []
    else:
        _say("no plots, and nothing for docs: matplotlib not installed")
    _say("wrote " + ", ".join(map(str, written)))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Race anyback against other libraries, each in processes of its own, in turn. "
        "Run nothing else at the same time. The step cases take about 12 minutes, all of them half an hour.",
    )
    add = parser.add_argument
    cases = f"kinds ({', '.join(CASES)}) or patterns such as 'step/784*'; all by default"
    add("--cases", nargs="+", default=list(CASES), metavar="CASE", help=cases)
    peers = "names (see --list) or patterns such as 'torch-*'; all by default"
    add("--peers", nargs="+", default=["*"], metavar="PEER", help=peers)
    turns = ", ".join(f"{kind} {number}" for kind, number in TURNS.items())
    add("--turns", type=_count, metavar="N", help=f"turns of every case; by default {turns}")
    for name, about in (
        ("warm", "seconds of warm-up before measuring"),
        ("seconds", "minimum seconds of measuring"),
        ("pause", "seconds between two processes"),
        ("timeout", "seconds after which a process is killed"),
    ):
        default = getattr(Processes, name)
        add(f"--{name}", type=float, default=default, metavar="S", help=f"{about} ({default:g})")
    output = "folder for results.json, tables.md and plots (%(default)s)"
    add("--output", type=Path, default=Path("build", "benchmarks"), metavar="DIR", help=output)
    add(
        "--write-docs",
        action="store_true",
        help="put tables and plots into docs/ too",
    )
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing: report these results")
    add("--list", action="store_true", help="name the chosen cases and peers and measure nothing")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    main()
