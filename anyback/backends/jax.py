"""JAX: every step is jitted, its state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends.base import Backend, BackendError, first_line

__all__ = ["connect"]


class JaxBackend(Backend):
    """Arrays of JAX, on one of its devices."""

    def __init__(self, jax: Any, device: Any, name: str) -> None:
        self.jax, self.namespace, self.device, self.name = jax, jax.numpy, device, name

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` on the device; a copy, since donated memory is written to."""
        return self.jax.device_put(self.namespace.array(x, dtype=dtype, copy=True), self.device)

    def indices(self, rows: np.ndarray) -> Array:
        """Leave row numbers on the host: slicing there is free, slicing JAX arrays compiles each slice."""
        return rows.astype(np.int32)

    def check(self, dtype: str) -> None:
        """Refuse float64 unless JAX was told to keep it: it would become float32 without a word."""
        if dtype == "float64" and not self.jax.config.jax_enable_x64:
            raise BackendError("dtype='float64' on backend 'jax' needs JAX_ENABLE_X64=1 in the environment")

    @property
    def wide(self) -> str:
        """float64 where JAX was told to keep it."""
        return "float64" if self.jax.config.jax_enable_x64 else "float32"

    def compile(self, step: Callable[..., Any], donate: int = 0) -> Callable[..., Any]:
        """Jit `step`, letting XLA reuse the memory of its first `donate` arguments."""
        compiled: Callable[..., Any] = self.jax.jit(step, donate_argnums=tuple(range(donate)))
        return compiled

    def synchronize(self, *arrays: Array) -> None:
        """Wait for the arrays: JAX has no wait for all that was dispatched."""
        self.jax.block_until_ready(arrays)


def connect(device: str | None) -> Backend:
    """Return the backend on JAX's default device or on ``cpu``, ``gpu``, ``gpu:1``, or say why not."""
    try:
        import jax
    except ImportError as error:
        raise BackendError(f"backend 'jax' needs JAX ({first_line(error)}): install anyback[jax]") from error
    platform, _, index = (device or "").partition(":")
    try:
        found = jax.devices(platform or None)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise BackendError(
            f"backend 'jax:{device}' cannot run with JAX {jax.__version__}: {first_line(error)}"
        ) from error
    return JaxBackend(jax, found, f"jax:{device}" if device else "jax")
