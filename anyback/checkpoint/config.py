"""Models, optimizers and losses as plain JSON values, and back.

A configuration names only public objects of anyback, so that reading a file can run nothing but their
constructors.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from anyback import activations, initializers, layers, losses, metrics, optimizers, schedules
from anyback.criterion import Criterion

__all__ = ["from_config", "to_config"]

_MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (activations, initializers, layers, losses, metrics, optimizers, schedules)
}


def to_config(thing: Any) -> Any:
    """Return `thing` as JSON values; raise TypeError if it is not part of anyback.

    Examples
    --------
    >>> to_config(layers.Dropout(0.5))
    {'is': 'layers.Dropout', 'rate': 0.5}
    """
    if isinstance(thing, np.generic):
        thing = thing.item()
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, list | tuple):
        return [to_config(element) for element in thing]
    if isinstance(thing, partial) and thing.args:
        raise TypeError(f"options must be named to be stored, got positional {thing.args!r}")
    if isinstance(thing, partial) and isinstance(thing.func, Criterion):
        thing = thing.func.bind(**thing.keywords) if thing.func.bound else thing
    if isinstance(thing, Criterion) and thing.bound:
        thing = partial(thing.base, **thing.bound)
    if isinstance(thing, partial):
        return {"is": _address(thing.func), "options": {k: to_config(v) for k, v in thing.keywords.items()}}
    if is_dataclass(thing) and not hasattr(thing, "__wrapped__"):
        values = {field.name: to_config(getattr(thing, field.name)) for field in fields(thing)}
        return {"is": _address(type(thing)), **values}
    return {"is": _address(type(thing) if isinstance(thing, layers.Layer) else thing)}


def from_config(description: Any) -> Any:
    """Return the object that `to_config` described; raise ValueError for unknown names.

    Examples
    --------
    >>> from_config({"is": "layers.Dropout", "rate": 0.5})
    Dropout(rate=0.5)
    """
    if isinstance(description, list):
        return tuple(from_config(element) for element in description)
    if not isinstance(description, dict):
        return description
    values = dict(description)
    package, _, name = str(values.pop("is", "")).partition(".")
    if package not in _MODULES or name not in _MODULES[package].__all__:
        raise ValueError(f"description names {package}.{name}, which anyback does not have")
    found = getattr(_MODULES[package], name)
    if "options" in values:
        options = {k: from_config(v) for k, v in values["options"].items()}
        return found.bind(**options) if isinstance(found, Criterion) else partial(found, **options)
    return found(**{k: from_config(v) for k, v in values.items()}) if isinstance(found, type) else found


def _address(thing: Any) -> str:
    name = getattr(thing, "__name__", type(thing).__name__)
    for package, module in _MODULES.items():
        if name in module.__all__ and getattr(module, name) is thing:
            return f"{package}.{name}"
    raise TypeError(
        f"only what anyback itself offers can be stored, got {name!r}: pass it to Trainer.load again"
    )
