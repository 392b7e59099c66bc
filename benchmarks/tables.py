"""Markdown tables of a document of `report`, one text for each kind of case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import EPOCHS, GROWTH, Case
from benchmarks.peers import PEERS, own

Document = dict[str, Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Title, caption, and the heading and unit of each figure."""

    title: str
    caption: str
    figures: dict[str, tuple[str, float]]


KINDS = {
    "step": Kind("One training step", "Microseconds.", {"step": ("", 1e6)}),
    "fit": Kind(
        "A complete fit",
        f"The first training of a process: digits, 64-64-10, {EPOCHS['fit']} epochs of batch 32.",
        {"fit": ("seconds", 1.0), "accuracy": ("accuracy", 1.0)},
    ),
    "cold": Kind(
        "From cold process to trained model",
        f"A whole process, imports and all: digits, 64-64-10, {EPOCHS['cold']} epochs of batch 32.",
        {"process": ("seconds", 1.0), "accuracy": ("accuracy", 1.0)},
    ),
    "predict": Kind(
        "Predictions",
        "64-64-10, from rows on the host to outputs on the host.",
        {"row": ("one row, microseconds", 1e6), "million": ("a million rows, seconds", 1.0)},
    ),
    "memory": Kind(
        "Peak memory",
        "Megabytes: after the imports, and the increase in one epoch.",
        {"import": ("after the imports", 1e-6), "training": ("increase in training", 1e-6)},
    ),
    "growth": Kind(
        "Scaling with size",
        "Microseconds per step. One property at a time is varied around a medium network.",
        {"step": ("", 1e6)},
    ),
    "gpu": Kind(
        "One training step on a GPU",
        "Microseconds; products in float32 unless stated otherwise.",
        {"step": ("", 1e6)},
    ),
}


def tables(document: Document, kind: str) -> str:
    """Title, caption and tables of a kind that was measured."""
    records = [record for record in document["results"] if record["kind"] == kind]
    about = KINDS[kind]
    parts = [f"## {about.title}", about.caption + _least_memory(records, kind)]
    if kind == "growth":
        parts += [grid(_growth_rows(records))]
    else:
        parts += [grid(_rows(records, about, _measured))]
        ratios = [r for r in records if r["ratio"] and r["figure"] != "accuracy" and r["peer"] != own(kind)]
        parts += (
            ["Relative to anyback (below 1 is less than anyback):", grid(_rows(ratios, about, _ratio))]
            if ratios
            else []
        )
    return "\n\n".join([*parts, provenance(document, records)]) + "\n"


def measured_kinds(document: Document) -> list[str]:
    present = {record["kind"] for record in document["results"]}
    return [kind for kind in KINDS if kind in present]


def provenance(document: Document, records: list[Record]) -> str:
    """Machine, date and versions in one sentence."""
    machine, versions = document["machine"], document["versions"]
    turns = max(len(record["turns"]) for record in records)
    counted = f"medians of {turns} turns" if turns > 1 else "one turn"
    if turns > 1 and records[0]["kind"] != "growth":
        counted += ", minimum to maximum in brackets"
    libraries = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"*{document['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {machine['system']}; "
        f"{counted}; {libraries}.*"
    )


def number(value: float) -> str:
    """Three significant digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def label(peer: str) -> str:
    return PEERS[peer].label if peer in PEERS else peer


def network(name: str) -> str:
    case = Case.parse(name)
    return f"{'-'.join(map(str, case.sizes))}, batch {case.batch}"


def _measured(record: Record, scale: float) -> str:
    value = {key: record[key] * scale for key in ("median", "min", "max")}
    return _spread(value, len(record["turns"]) if record["figure"] != "accuracy" else 1)


def _ratio(record: Record, scale: float) -> str:
    return _spread(record["ratio"], len(record["turns"]))


def _spread(value: dict[str, float], turns: int) -> str:
    middle = number(value["median"])
    return f"{middle} ({number(value['min'])} to {number(value['max'])})" if turns > 1 else middle


def _rows(records: list[Record], about: Kind, cell: Callable[[Record, float], str]) -> list[list[str]]:
    """A row for each peer, a column for each case and figure."""
    columns = list(dict.fromkeys((record["case"], record["figure"]) for record in records))
    heads = [about.figures[figure][0] or network(case) for case, figure in columns]
    cells = {
        (record["peer"], record["case"], record["figure"]): cell(record, about.figures[record["figure"]][1])
        for record in records
    }
    return [
        ["", *heads],
        *(
            [label(peer), *(cells.get((peer, *column), "") for column in columns)]
            for peer in in_order(records)
        ),
    ]


def _growth_rows(records: list[Record]) -> list[list[str]]:
    """A row for each point of each axis, a column for each peer."""
    peers = in_order(records)
    medians = {(record["case"], record["peer"]): number(record["median"] * 1e6) for record in records}
    points = [(f"{axis} {at}", case.name) for axis, cases in GROWTH.items() for at, case in cases.items()]
    points = [point for point in points if any((point[1], peer) in medians for peer in peers)]
    return [
        ["", *map(label, peers)],
        *([point, *(medians.get((case, peer), "") for peer in peers)] for point, case in points),
    ]


def in_order(records: list[Record]) -> list[str]:
    """In the order of `PEERS`, since each turn begins with a different one; others after them."""
    present = dict.fromkeys(record["peer"] for record in records)
    return [name for name in PEERS if name in present] + [name for name in present if name not in PEERS]


def _least_memory(records: list[Record], kind: str) -> str:
    if kind != "memory":
        return ""
    case = Case.parse(records[0]["case"])
    data, vectors = case.samples * (4 * case.sizes[0] + 8) / 1e6, 16 * case.parameters / 1e6
    return (
        f" {network(case.name)}, {case.samples:,} samples: the training data take "
        f"{number(data)}, parameters, gradient and Adam's two slots {number(vectors)}."
    )


def grid(rows: list[list[str]]) -> str:
    """Rows as a Markdown table with aligned source; the first row is its head."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def absences(document: Document) -> str:
    """A line for each peer that did not race and each run that failed."""
    lines = [f"{name} did not race: {why}" for name, why in document["absent"].items()]
    lines += [f"{what} failed: {why}" for what, why in document["failures"].items()]
    for kind in measured_kinds(document):
        if not any(record["peer"] == own(kind) for record in document["results"]):
            lines.append(f"no ratios: {own(kind)} did not race")
    return "\n".join(lines)
