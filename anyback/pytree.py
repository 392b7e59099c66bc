"""Pytrees: nested tuples, lists and dicts of arrays and numbers, as functions of arrays take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["leaves", "structure", "tree_map"]


def leaves(tree: Any) -> list[Any]:
    """Return the arrays and numbers of nested tuples, lists and dicts, in order; None is no leaf.

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


def tree_map(f: Callable[[Any], Any], tree: Any) -> Any:
    """Return the same nesting with ``f(x)`` in the place of each leaf x; lists become tuples.

    Examples
    --------
    >>> tree_map(lambda x: 10 * x, (1, {"a": 2, "b": None}))
    (10, {'a': 20, 'b': None})
    """
    if isinstance(tree, dict):
        return {name: tree_map(f, part) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(tree_map(f, part) for part in tree)
    return None if tree is None else f(tree)


def structure(tree: Any) -> Any:
    """Return how a tree is nested, as a hashable value: True for None, False for a leaf.

    Examples
    --------
    >>> structure((1, {"a": None})) == structure((2, {"a": None})), structure((1, None)) == structure((1, 2))
    (True, False)
    """
    if isinstance(tree, dict):
        return tuple((name, structure(part)) for name, part in tree.items())
    if isinstance(tree, tuple | list):
        return tuple(map(structure, tree))
    return tree is None
