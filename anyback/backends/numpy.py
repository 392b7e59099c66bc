"""NumPy: updates in place, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyback.arrays import Array, numpy_namespace
from anyback.backends.base import Backend, BackendError

__all__ = ["connect"]

# Rules read and write a dozen temporaries of a block's size, which should stay in the core's own cache.
BLOCK = 16384


class NumpyBackend(Backend):
    """Arrays of NumPy, on the CPU."""

    name = "numpy"
    namespace = numpy_namespace
    device = "cpu"

    def update(
        self,
        f: Callable[..., Any],
        w: Array,
        g: Array,
        slots: Sequence[Array],
        mask: Any,
        scalars: Sequence[Any],
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the pure rule on one block after the other, writing weights and slots over the old ones."""
        size = w.shape[-1]
        if size <= BLOCK:
            return super().update(f, w, g, slots, mask, scalars)
        state = (w, *slots)
        for start in range(0, size, BLOCK):
            part = (..., slice(start, min(start + BLOCK, size)))
            old = [array[part] for array in state]
            new = f(old[0], g[part], *old[1:], mask if isinstance(mask, float) else mask[part], *scalars)
            for target, value in zip(old, new, strict=True):
                target[...] = value
        return w, tuple(slots)


def connect(device: str | None) -> Backend:
    """Return the backend; NumPy has no device but the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'numpy' runs on 'cpu' only, got device {device!r}")
    return NumpyBackend()
