"""NumPy: a step is written down once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from anyback.arrays import Array, numpy_namespace
from anyback.backends.base import Backend, BackendError
from anyback.engine import Repeated, Replayed

__all__ = ["connect"]


class NumpyBackend(Backend):
    """Arrays of NumPy, on the CPU."""

    name = "numpy"
    namespace = numpy_namespace
    device = "cpu"

    @property
    def note(self) -> str:
        """Whether the extra ``fast`` is there, by which many steps are one call."""
        return "with LLVM" if find_spec("llvmlite") else "without LLVM (the extra fast)"

    def share(self, x: np.ndarray) -> Array:
        """Return `x` itself, or a copy if its elements are not one after the other."""
        return np.ascontiguousarray(x)

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Return `step` as it is replayed once it has been called with arguments of the same shapes."""
        return Replayed(step, donate, fresh)

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Return the steps as they are replayed, several at a time."""
        return Repeated(step, donate)

    def release(self, *compiled: Callable[..., Any]) -> None:
        """Let go of the arrays that compiled steps were laid out on."""
        for one in compiled:
            if isinstance(one, Replayed | Repeated):
                one.release()


def connect(device: str | None) -> Backend:
    """Return the backend; NumPy has no device but the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'numpy' runs on 'cpu' only, got device {device!r}")
    return NumpyBackend()
