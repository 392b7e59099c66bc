"""Writes the reference pages: one for each module, one entry for each name of its `__all__`."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

MODULES = {
    "anyback": "The library",
    "activations": "Activations",
    "history": "History",
    "losses": "Losses",
    "losses._base": "What a loss is",
    "gates": "Gates",
    "metrics": "Metrics",
    "metrics._base": "What a metric is",
    "optimizers": "Optimizers",
    "optimizer": "What an optimizer is",
    "schedules": "Schedules",
    "initializers": "Initializers",
    "layers": "Layers",
    "parameters": "Parameters in flat vectors",
    "arrays": "Arrays of any library",
    "callbacks": "Callbacks",
    "clipping": "Clipping",
    "regularizers": "Regularizers",
    "datasets": "Data sets",
    "random": "Draws",
    "gradcheck": "Checking gradients",
    "parity": "Comparing backends",
    "graph": "Computational graphs",
    "solvers": "Solvers",
    "checkpoint": "Checkpoints",
    "interrupt": "Ctrl-C and SIGTERM",
    "plots": "Pictures",
}


def names(module: str) -> list[str]:
    """Return what the reference page of a module tells of."""
    listed: list[str] = import_module(f"anyback.{module}").__all__
    return listed


def page(module: str) -> str:
    """Return the reference page of a module as reStructuredText."""
    path = "anyback" if module == "anyback" else f"anyback.{module}"
    room = import_module(path)
    title = MODULES[module]
    homes = {name for other in MODULES if other != "anyback" for name in names(other)}
    parts = [title, "=" * len(title), "", inspect.cleandoc(room.__doc__ or ""), ""]
    for name in room.__all__:
        thing = getattr(room, name)
        if inspect.ismodule(thing) or isinstance(thing, str):
            continue
        # Losses and metrics are callable objects, documented as the functions they are made of.
        kind = "class" if inspect.isclass(thing) else "function"
        # What only gives a type a shorter name: Any is a class since Python 3.11.
        if thing is Any or get_origin(thing) is not None:
            kind = "data"
        members = ["   :members:", "   :show-inheritance:"] if kind == "class" else []
        # What has its entry on the page of its own module is linked to there.
        elsewhere = ["   :no-index:"] if module == "anyback" and name in homes else []
        # Users import it from the package of a private module, and it documents what it inherits.
        public = path.removesuffix("._base")
        members += ["   :inherited-members:"] if kind == "class" and public != path else []
        parts += [f".. auto{kind}:: {public}.{name}", *members, *elsewhere, ""]
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(exist_ok=True)
    for module in MODULES:
        (folder / f"{module}.rst").write_text(page(module), encoding="utf-8")
