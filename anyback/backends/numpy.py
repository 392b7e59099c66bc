"""NumPy: a step is recorded once and replayed."""

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
        """Whether the extra ``fast`` is installed, which runs many steps in one call."""
        return "with LLVM" if find_spec("llvmlite") else "without LLVM (the extra fast)"

    def share(self, x: np.ndarray) -> Array:
        """Return `x` itself, or a copy if it is not contiguous."""
        return np.ascontiguousarray(x)

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Return `step`, which is replayed after the first call with arguments of the same shapes."""
        return Replayed(step, donate, fresh)

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Return the steps, replayed several at a time."""
        return Repeated(step, donate)

    def release(self, *compiled: Callable[..., Any]) -> None:
        """Drop the arrays that compiled steps refer to."""
        for one in compiled:
            if isinstance(one, Replayed | Repeated):
                one.release()


def connect(device: str | None) -> Backend:
    """Return the backend; NumPy's only device is the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'numpy' runs on 'cpu' only, got device {device!r}")
    return NumpyBackend()
