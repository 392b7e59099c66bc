"""Data sets that ship with the package or are fetched once, and the IDX files they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyback.datasets._digits import digits
from anyback.datasets._idx import read_idx

if TYPE_CHECKING:
    from anyback.datasets._mnist import mnist

__all__ = ["digits", "mnist", "read_idx"]


def __getattr__(name: str) -> Any:
    # What it needs for a download takes a quarter of the time that importing anyback takes in all.
    if name == "mnist":
        from anyback.datasets._mnist import mnist

        return mnist
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
