"""Finding formulas by name: a module's `__all__` is the only registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["closest", "lookup"]


def lookup(kind: str, name: str | Callable[..., Any], module: ModuleType) -> Callable[..., Any]:
    """Return what `module` lists in its `__all__` as `name`; a callable is returned as it is.

    Parameters
    ----------
    kind : str
        What to call it in the error: "loss", "optimizer".
    name : str or callable
        A name, upper or lower case, or the thing itself.
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


def closest(name: str, names: Sequence[str]) -> str:
    """Return which of `names` was meant: one of the same initials or letters, else the most alike.

    Examples
    --------
    >>> closest("mse", ["multiclass_hinge", "mean_squared_error"]), closest("rleu", ["relu", "elu"])
    ('mean_squared_error', 'relu')
    """
    import difflib

    plain = name.lower().replace("_", "").replace("-", "")

    def likeness(other: str) -> float:
        letters = other.lower().replace("_", "")
        initials = "".join(word[0] for word in other.lower().split("_"))
        ratio = difflib.SequenceMatcher(None, plain, letters).ratio()
        return ratio + (plain == initials) + 0.5 * (len(plain) > 3 and plain in letters)

    return max(names, key=likeness)


@cache
def _find(kind: str, name: str, module: ModuleType) -> Callable[..., Any]:
    same = [listed for listed in module.__all__ if listed.lower() == str(name).lower()]
    name = same[0] if len(same) == 1 else name
    if name not in module.__all__:
        part = [
            listed for listed in module.__all__ if len(str(name)) > 3 and str(name).lower() in listed.lower()
        ]
        meant = part if len(part) > 1 else [closest(str(name), module.__all__)]
        raise ValueError(
            f"{kind} must be one of {', '.join(module.__all__)}, got {name!r}: "
            f"did you mean {' or '.join(map(repr, meant))}?"
        )
    found: Callable[..., Any] = getattr(module, name)
    return found
