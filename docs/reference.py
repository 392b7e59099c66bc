"""Writes the reference pages: one for each module, one entry for each name of its `__all__`."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

MODULES = {
    "anyback": "The library",
    "activations": "Activations",
    "losses": "Losses",
    "gates": "Gates",
    "metrics": "Metrics",
    "optimizers": "Optimizers",
    "schedules": "Schedules",
    "initializers": "Initializers",
    "layers": "Layers",
    "callbacks": "Callbacks",
    "clipping": "Clipping",
    "regularizers": "Regularizers",
    "datasets": "Data sets",
    "random": "Draws",
}


def page(module: str) -> str:
    """Return the reference page of a module as reStructuredText."""
    path = "anyback" if module == "anyback" else f"anyback.{module}"
    room = import_module(path)
    title = MODULES[module]
    parts = [title, "=" * len(title), "", inspect.cleandoc(room.__doc__ or ""), ""]
    for name in room.__all__:
        thing = getattr(room, name)
        if inspect.ismodule(thing) or isinstance(thing, str):
            continue
        # Losses and metrics are callable objects, documented as the functions they are made of.
        kind = "class" if inspect.isclass(thing) else "function"
        members = ["   :members:", "   :show-inheritance:"] if kind == "class" else []
        parts += [f".. auto{kind}:: {path}.{name}", *members, ""]
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(exist_ok=True)
    for module in MODULES:
        (folder / f"{module}.rst").write_text(page(module), encoding="utf-8")
