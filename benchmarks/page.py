"""Puts tables and plots into pages of docs, between the marks of their kind; the prose stays as it is."""

from __future__ import annotations

from pathlib import Path

from benchmarks.pictures import draw
from benchmarks.tables import Document, measured_kinds, tables

PAGES = {"gpu": "gpu.md"}


def write(document: Document, docs: Path) -> list[Path]:
    """Replace the text between the marks of each measured kind, and save its plots beside the page."""
    pictures, written = draw(document, docs), []
    for kind in measured_kinds(document):
        page, block = docs / PAGES.get(kind, "speed.md"), tables(document, kind)
        if kind in pictures:
            block += f"\n![{ALT[kind]}]({pictures[kind].name})\n"
        page.write_text(filled(page.read_text(encoding="utf-8"), kind, block), encoding="utf-8")
        written.append(page)
    return [*dict.fromkeys(written), *pictures.values()]


ALT = {
    "step": "Microseconds of a training step of each library, one panel for each of four networks",
    "growth": "Microseconds of a training step against width, depth, batch and samples",
}


def filled(text: str, kind: str, block: str) -> str:
    begin, end = f"<!-- measured: {kind} -->\n", f"<!-- end: {kind} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page must hold the marks {begin.strip()} and {end.strip()} once each")
    before, _, rest = text.partition(begin)
    return before + begin + block + end + rest.partition(end)[2]
