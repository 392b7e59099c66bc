"""Models, optimizers and losses as plain JSON values, and back: what a checkpoint says of a run.

A description names only what anyback lists by itself, so nothing but its own constructors can run
when a file is read.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from anyback import activations, initializers, layers, losses, metrics, optimizers, schedules

__all__ = ["describe", "restore"]

_ROOMS = {
    module.__name__.rpartition(".")[2]: module
    for module in (activations, initializers, layers, losses, metrics, optimizers, schedules)
}


def describe(thing: Any) -> Any:
    """Return `thing` as JSON values; raise TypeError if it is not of anyback.

    Examples
    --------
    >>> describe(layers.Dropout(0.5))
    {'is': 'layers.Dropout', 'rate': 0.5}
    """
    if isinstance(thing, np.generic):
        thing = thing.item()
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, list | tuple):
        return [describe(element) for element in thing]
    if isinstance(thing, partial):
        if thing.args:
            raise TypeError(f"options must be named to be stored, got positional {thing.args!r}")
        return {"is": _address(thing.func), "options": {k: describe(v) for k, v in thing.keywords.items()}}
    if is_dataclass(thing) and not hasattr(thing, "__wrapped__"):
        values = {field.name: describe(getattr(thing, field.name)) for field in fields(thing)}
        return {"is": _address(type(thing)), **values}
    return {"is": _address(type(thing) if isinstance(thing, layers.Layer) else thing)}


def restore(description: Any) -> Any:
    """Return what `describe` described; raise ValueError if it names nothing of anyback.

    Examples
    --------
    >>> restore({"is": "layers.Dropout", "rate": 0.5})
    Dropout(rate=0.5)
    """
    if isinstance(description, list):
        return tuple(restore(element) for element in description)
    if not isinstance(description, dict):
        return description
    values = dict(description)
    room, _, name = str(values.pop("is", "")).partition(".")
    if room not in _ROOMS or name not in _ROOMS[room].__all__:
        raise ValueError(f"description names {room}.{name}, which anyback does not have")
    found = getattr(_ROOMS[room], name)
    if "options" in values:
        return partial(found, **{k: restore(v) for k, v in values["options"].items()})
    return found(**{k: restore(v) for k, v in values.items()}) if isinstance(found, type) else found


def _address(thing: Any) -> str:
    name = getattr(thing, "__name__", type(thing).__name__)
    for room, module in _ROOMS.items():
        if name in module.__all__ and getattr(module, name) is thing:
            return f"{room}.{name}"
    raise TypeError(
        f"only what anyback itself offers can be stored, got {name!r}: pass it to Trainer.load again"
    )
