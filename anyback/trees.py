"""Nested tuples, lists and dicts of arrays and numbers: what functions of arrays take and return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["form", "leaves", "rebuilt"]


def leaves(tree: Any) -> list[Any]:
    """Return the arrays and numbers of nested tuples, lists and dicts, in order; None is nothing.

    Examples
    --------
    >>> leaves((1, {"a": 2, "b": (3, None)}))
    [1, 2, 3]
    """
    found: list[Any] = []
    if not isinstance(tree, tuple | list):
        tree = tree.values() if isinstance(tree, dict) else (tree,)
    for part in tree:
        if isinstance(part, tuple | list | dict):
            found += leaves(part)
        elif part is not None:
            found.append(part)
    return found


def rebuilt(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return the same nesting with ``change(x)`` in the place of each leaf x.

    Examples
    --------
    >>> rebuilt((1, {"a": 2, "b": None}), lambda x: 10 * x)
    (10, {'a': 20, 'b': None})
    """
    if isinstance(tree, dict):
        return {name: rebuilt(part, change) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(rebuilt(part, change) for part in tree)
    return None if tree is None else change(tree)


def form(tree: Any) -> Any:
    """Return how a tree is nested, with True where there is nothing.

    Examples
    --------
    >>> form((1, {"a": None})) == form((2, {"a": None})), form((1, None)) == form((1, 2))
    (True, False)
    """
    if isinstance(tree, dict):
        return tuple((name, form(part)) for name, part in tree.items())
    if isinstance(tree, tuple | list):
        return tuple(map(form, tree))
    return tree is None
