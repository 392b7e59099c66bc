"""Data sets that ship with the package or are fetched once, and the IDX files they come in."""

from __future__ import annotations

from anyback.datasets._digits import digits
from anyback.datasets._idx import read_idx
from anyback.datasets._mnist import mnist

__all__ = ["digits", "mnist", "read_idx"]
