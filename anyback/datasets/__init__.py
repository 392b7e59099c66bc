"""Data sets that are included or downloaded once, and a reader of IDX files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyback.datasets._digits import digits
from anyback.datasets._idx import read_idx

if TYPE_CHECKING:
    from anyback.datasets._mnist import mnist

__all__ = ["digits", "mnist", "read_idx"]


def __getattr__(name: str) -> Any:
    # Its imports for downloads take a quarter of the import time of anyback.
    if name == "mnist":
        from anyback.datasets._mnist import mnist

        return mnist
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
