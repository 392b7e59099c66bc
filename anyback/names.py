"""Finding formulas by name: a module's `__all__` is the only registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["lookup"]


def lookup(kind: str, name: str | Callable[..., Any], module: ModuleType) -> Callable[..., Any]:
    """Return what `module` lists in its `__all__` as `name`; a callable is returned as it is.

    Parameters
    ----------
    kind : str
        What to call it in the error: "loss", "optimizer".
    name : str or callable
        A name, or the thing itself.
    module : module
        Where to look.

    Raises
    ------
    ValueError
        If nothing is called so; the message gives the nearest name.

    Examples
    --------
    >>> from anyback import activations
    >>> lookup("activation", "relu", activations) is activations.relu
    True
    """
    return name if callable(name) else _find(kind, name, module)


@cache
def _find(kind: str, name: str, module: ModuleType) -> Callable[..., Any]:
    if name not in module.__all__:
        import difflib

        nearest = difflib.get_close_matches(str(name), module.__all__, 1, 0.0)[0]
        raise ValueError(
            f"{kind} must be one of {', '.join(module.__all__)}, got {name!r}: did you mean {nearest!r}?"
        )
    found: Callable[..., Any] = getattr(module, name)
    return found
