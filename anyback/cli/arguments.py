"""Arguments and options that several commands share, and the panels of their help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from anyback.backends import LIBRARIES

__all__ = ["BackendName", "Data", "DataOfRun", "Drop", "RunPath", "Target", "named", "option"]

DATA = "Data and target"
NETWORK = "Network"
LEARNING = "Learning"
MACHINE = "Where and how it computes"
RUN = "The run"
OUT = "Output"


def named(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a shell's completion for one of these names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def option(*names: str, panel: str, help: str, **more: Any) -> Any:
    """Return an option that stands in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


_DATA: Any = typer.Argument(
    metavar="DATA",
    help="[bold]digits[/] (ships with anyback), [bold]mnist[/] (downloaded once, 11 MB), a .csv, .tsv, "
    ".npz or .npy file, or a folder of IDX files.",
    show_default=False,
)
Data = Annotated[str, _DATA]
DataOfRun = Annotated[str | None, _DATA]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint in one.", show_default=False)
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help=f"{', '.join(LIBRARIES)}, with a device as in cupy:1 or torch:cuda; or auto: a GPU that works, "
        "else NumPy.",
        show_default="$ANYBACK_BACKEND, else auto",
        autocompletion=named([*LIBRARIES, "auto"]),
        rich_help_panel=MACHINE,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME|INDEX",
        help="Column or array that holds the target; columns count from 0, -1 is the last. Texts are "
        "classes. Whole numbers are classes if at most 20 differ, or if they are exactly 0 ... k-1, and "
        "fewer differ than there are rows. Other numbers are predicted as numbers. A --loss that is named "
        "decides instead.",
        show_default="the last column, or the array y",
        rich_help_panel=DATA,
    ),
]
Drop = Annotated[
    str | None,
    typer.Option(
        "--drop",
        metavar="NAME,...",
        help="Columns that are no inputs, by name or by number from 0: a text, an identifier.",
        show_default="none, or those the run was trained with",
        rich_help_panel=DATA,
    ),
]
