"""Writes the API reference: an index, and a page for each module with the names of its `__all__`."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

# Page titles, in the order of the index.
MODULES = {
    "training": "Trainer and history",
    "layers": "Layers",
    "activations": "Activation functions",
    "losses": "Loss functions",
    "metrics": "Metrics",
    "optimizers": "Optimizers and gradient clipping",
    "schedules": "Learning-rate schedules",
    "regularizers": "Regularizers",
    "initializers": "Weight initializers",
    "callbacks": "Callbacks",
    "checkpoint": "Checkpoints",
    "interrupt": "Interrupts (Ctrl-C and SIGTERM)",
    "backends": "Backends",
    "datasets": "Datasets",
    "plots": "Plots",
    "gradcheck": "Gradient checking",
    "parity": "Backend comparison",
    "solvers": "Solvers",
    "graph": "Computational graphs",
    "gates": "Gates (array arithmetic with gradients)",
    "parameters": "Parameters and layouts",
    "random": "Random numbers",
    "arrays": "Array helpers",
}

# Public names beside those of `__all__`, which lists losses, metrics and optimizers by name only.
SECTIONS = {
    "losses": {"Base class and decorator": ["Loss", "loss"]},
    "metrics": {"Base class and decorator": ["Metric", "metric"]},
    "optimizers": {
        "Base class": ["Optimizer"],
        "Gradient clipping": ["clip_by_norm", "clip_by_value", "global_norm"],
    },
}

# Members that other modules of the package use, and users do not.
INTERNAL = {"Trainer": ("bound", "prepare", "train_state", "busy")}


def names(module: str) -> list[str]:
    """Return the names with an entry on the page of a module."""
    listed: list[str] = import_module(f"anyback.{module}").__all__
    return listed + [name for section in SECTIONS.get(module, {}).values() for name in section]


def page(module: str) -> str:
    """Return the page of a module as reStructuredText."""
    path = f"anyback.{module}"
    source = import_module(path)
    parts = [*heading(MODULES[module], "="), inspect.cleandoc(source.__doc__ or ""), ""]
    for name in source.__all__:
        parts += entry(source, name)
    for title, section in SECTIONS.get(module, {}).items():
        parts += heading(title, "-")
        for name in section:
            parts += entry(source, name)
    return "\n".join(parts)


def heading(title: str, line: str) -> list[str]:
    return [title, line * len(title), ""]


def entry(source: ModuleType, name: str) -> list[str]:
    """Return the directive that documents a name of a module; nothing for modules and strings."""
    thing = getattr(source, name)
    if inspect.ismodule(thing) or isinstance(thing, str):
        return []
    kind = role(thing)
    options = ["   :members:", "   :show-inheritance:"] if kind == "class" else []
    described = attributes(inspect.getdoc(thing) or "") if kind == "class" else []
    if hidden := [*described, *INTERNAL.get(name, ())]:
        options.append(f"   :exclude-members: {', '.join(hidden)}")
    if kind == "class" and name not in source.__all__:  # a base class documents what it inherits, too
        options.append("   :inherited-members:")
    return [f".. auto{kind}:: {source.__name__}.{name}", *options, ""]


def attributes(doc: str) -> list[str]:
    """Return the names in the section Attributes of a docstring, which are not to be documented twice."""
    section = re.search(r"^Attributes\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^\w[\w, ]*", section[1], re.MULTILINE) if section else []
    return [name.strip() for head in heads for name in head.split(",")]


def role(thing: Any) -> str:
    """Return "class", "function", or "data" for an alias of a type."""
    # Any is a class since Python 3.11.
    if thing is Any or get_origin(thing) is not None:
        return "data"
    # Losses and metrics are callable objects, documented as the functions that they wrap.
    return "class" if inspect.isclass(thing) else "function"


def index() -> str:
    """Return the index: the names of ``import anyback as ab`` with links, and the pages."""
    library = import_module("anyback")
    parts = [
        *heading("API reference", "="),
        "``import anyback as ab`` gives these names, and the modules below as ``ab.losses`` and so on.",
        "",
        ".. list-table::",
        "   :widths: 30 70",
        "",
    ]
    for module in MODULES:
        for name in (name for name in names(module) if name in library.__all__):
            thing = getattr(library, name)
            link = {"class": "class", "function": "func"}[role(thing)]
            summary = inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
            parts += [f"   * - :{link}:`ab.{name} <anyback.{module}.{name}>`", f"     - {summary}"]
    parts += ["", ".. toctree::", "   :maxdepth: 1", "   :caption: Modules", ""]
    return "\n".join([*parts, *(f"   {module}" for module in MODULES), ""])


def write(folder: Path) -> None:
    """Write all pages into `folder`, and remove those of modules that no longer exist."""
    folder.mkdir(exist_ok=True)
    pages = {"index": index()} | {module: page(module) for module in MODULES}
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
