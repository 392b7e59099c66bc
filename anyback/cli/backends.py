"""Which array libraries work here."""

from __future__ import annotations

import os

from anyback.backends import available_backends, backend
from anyback.cli.app import console
from anyback.cli.report import table

__all__ = ["backends"]


def backends() -> None:
    """Print each library with its version and device, or why it does not work, and what "auto" takes."""
    made = table("backend", "works", "version", "device, or why not")
    for column in made.columns:
        column.justify = "left"
    for name, told in available_backends().items():
        _, works, place = told.partition("works: ")
        version, _, device = place.partition(" on ")
        made.add_row(name, "yes" if works else "no", version, device or told)
    out = console()
    out.print(made)
    chosen = backend("auto")
    out.print(f"auto takes {chosen.name}" + ("" if chosen.name == "numpy" else f" ({chosen.reason})"))
    if default := os.environ.get("ANYBACK_BACKEND"):
        out.print(f"ANYBACK_BACKEND makes {default} the default")
