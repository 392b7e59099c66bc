"""``anyback backends``."""

from __future__ import annotations

import os

from anyback.backends import available_backends, backend
from anyback.cli.app import command, console
from anyback.cli.report import new_table

__all__ = ["backends"]


@command()
def backends() -> None:
    """List the array libraries and whether they work on this machine.

    Each with its version and device, or the reason why it does not work.
    """
    table = new_table("backend", "works", "version", "device, or why not")
    for column in table.columns:
        column.justify = "left"
    for name, description in available_backends().items():
        _, works, where = description.partition("works: ")
        version, _, device = where.partition(" on ")
        table.add_row(name, "yes" if works else "no", version, device or description)
    out = console()
    out.print(table)
    selected = backend("auto")
    out.print(f"auto selects {selected.name}" + ("" if selected.name == "numpy" else f" ({selected.reason})"))
    if default := os.environ.get("ANYBACK_BACKEND"):
        out.print(f"ANYBACK_BACKEND makes {default} the default")
