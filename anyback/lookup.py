"""Finding formulas by name: a module's `__all__` is the only registry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from inspect import isclass, isfunction
from types import ModuleType
from typing import Any

__all__ = ["lookup", "set_module", "suggestion"]


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
        If there is no such name; the message gives the nearest one.

    Examples
    --------
    >>> from anyback import activations
    >>> lookup("activation", "relu", activations) is activations.relu
    True
    """
    return name if callable(name) else _find(kind, name, module)


def suggestion(name: str, names: Sequence[str]) -> str:
    """Return the end of an error about an unknown name: the similar names, or an empty string.

    Meant are those of the same letters or initials, else those that have the name, or eight letters in a row
    of it, in theirs, else the most alike.

    Examples
    --------
    >>> names = ["softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error", "huber"]
    >>> suggestion("MSELoss", names), suggestion("hubber", names), suggestion("nothing", names)
    (": did you mean 'mean_squared_error'?", ": did you mean 'huber'?", '')
    >>> suggestion("CrossEntropyLoss", names)
    ": did you mean 'softmax_cross_entropy' or 'binary_cross_entropy'?"
    """
    from difflib import SequenceMatcher

    plain, shared, alike = _letters(name), {}, {}
    if same := [other for other in names if _letters(other) == plain]:
        return f": did you mean {same[0]!r}?"
    plain = plain.removesuffix("loss") or plain
    for other in names:
        letters, initials = _letters(other), "".join(word[:1] for word in other.lower().split("_"))
        match = SequenceMatcher(None, plain, letters)
        if len(initials) > 2 and plain.startswith(initials):
            return f": did you mean {other!r}?"
        block = match.find_longest_match().size
        if block >= 8 or (block == len(plain) > 3) or (len(plain) > 1 and letters.startswith(plain)):
            shared[other] = block
        alike[other] = match.ratio()
    meant = [other for other, block in shared.items() if block == max(shared.values())]
    meant = meant or [other for other in names if alike[other] == max(alike.values()) > 0.55]
    return f": did you mean {' or '.join(map(repr, meant))}?" if meant else ""


def set_module(package: str, names: Sequence[str]) -> None:
    """Give public objects the module of the package that users import them from.

    Pickles, checkpoints and `repr` then name the package, in whichever of its files an object is defined.
    """
    for name in names:
        thing = getattr(sys.modules[package], name)
        thing.__module__ = package
        for method in filter(isfunction, vars(thing).values() if isclass(thing) else ()):
            if method.__module__.startswith(f"{package}."):
                method.__module__ = package  # doctest looks for the examples of a method there


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


@cache
def _find(kind: str, name: str, module: ModuleType) -> Callable[..., Any]:
    same = [listed for listed in module.__all__ if listed.lower() == str(name).lower()]
    name = same[0] if len(same) == 1 else name
    if name not in module.__all__:
        known = ", ".join(module.__all__)
        raise ValueError(
            f"{kind} must be one of {known}, got {name!r}{suggestion(str(name), module.__all__)}"
        )
    found: Callable[..., Any] = getattr(module, name)
    return found
