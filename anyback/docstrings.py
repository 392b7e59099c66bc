"""Numpydoc docstrings of functions of one family: the sections that all have in common are written once."""

from __future__ import annotations

import re
from functools import lru_cache
from inspect import cleandoc

__all__ = ["complete"]

_TITLE = re.compile(r"^(\w[\w ]*)\n-+\n", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S)", re.MULTILINE)


def complete(doc: str | None, shared: str | None, **entries: str) -> str | None:
    r"""Return a docstring with the Parameters, Returns and Raises of another one added.

    Parameters
    ----------
    doc : str or None
        The function's own docstring. Its entries replace shared ones of the same name and follow the others.
    shared : str or None
        The docstring whose Parameters (except ``**options``), Returns and Raises are added.
    **entries
        Types and descriptions that replace those in `shared`, by name.

    Returns
    -------
    str or None
        The docstring without indentation; `doc` itself if either is missing, as under ``python -OO``.

    Examples
    --------
    >>> shared = "Call.\n\nParameters\n----------\nx : array\n    Input."
    >>> complete("Double: y = 2 x.", shared)
    'Double: y = 2 x.\n\nParameters\n----------\nx : array\n    Input.'
    """
    if not doc or not shared:
        return doc
    (summary, own), (_, common) = _sections(doc), _sections(shared)
    sections = {}
    for title in ("Parameters", "Returns", "Raises"):
        found = _entries(common.get(title, ""))
        found |= {name: f"{name} : {entry}\n" for name, entry in entries.items() if name in found}
        if found := {**found, **_entries(own.get(title, ""))}:
            sections[title] = "".join(found.values())
    sections |= {title: text for title, text in own.items() if title not in sections}
    return "\n\n".join([summary, *(f"{t}\n{'-' * len(t)}\n{text.strip()}" for t, text in sections.items())])


@lru_cache(maxsize=8)  # for what is shared
def _sections(doc: str) -> tuple[str, dict[str, str]]:
    """Return what precedes the first section, and the sections by title."""
    summary, *rest = _TITLE.split(cleandoc(doc))
    return summary.strip(), dict(zip(rest[::2], rest[1::2], strict=True))


def _entries(section: str) -> dict[str, str]:
    """Return the entries of a section by name: ``x : array``, or the type of an error."""
    found = {text.split("\n")[0].split(" : ")[0]: f"{text.strip()}\n" for text in _ENTRY.split(section)}
    return {name: text for name, text in found.items() if name and not name.startswith("**")}
