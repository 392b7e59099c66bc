"""JAX: every step is jitted, its state donated; on a CPU many steps are one compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from anyback.arrays import Array, prefer
from anyback.backends.base import Backend, BackendError, first_line

__all__ = ["connect"]

# Steps of one call of a compiled loop, and the numbers of their batches, which are handed over at once.
STEPS, NUMBERS = 64, 1 << 16


class _Traced:
    """JAX's namespace while compiling, with a `concat` of vectors that writes piece after piece.

    XLA fuses its own with the operations after it; on a CPU that selects the piece for each element, which
    took ten times as long as the rest of a step.
    """

    def __init__(self, jax: Any) -> None:
        self._lax, self._namespace = jax.lax, jax.numpy

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._namespace, name)
        setattr(self, name, found)
        return found

    def concat(self, arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
        plain = partial(self._namespace.concat, axis=axis)
        if any(x.ndim != 1 or x.dtype != arrays[0].dtype for x in arrays):
            return plain(arrays)
        return self._lax.platform_dependent(arrays, cpu=self._in_turn, default=plain)

    def _in_turn(self, vectors: Sequence[Array]) -> Array:
        y, start = self._namespace.zeros(sum(x.size for x in vectors), vectors[0].dtype), 0
        for x in vectors:
            y, start = self._lax.dynamic_update_slice(y, x, (start,)), start + x.size
        return y


class JaxBackend(Backend):
    """Arrays of JAX, on one of its devices."""

    def __init__(self, jax: Any, device: Any, name: str) -> None:
        self.jax, self.namespace, self.device, self.name = jax, jax.numpy, device, name

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` on the device; a copy, because donated memory is overwritten."""
        return self.jax.device_put(self.namespace.array(x, dtype=dtype, copy=True), self.device)

    def indices(self, rows: np.ndarray) -> Array:
        """Leave row numbers on the host: slicing is free there, while JAX compiles each slice."""
        return rows.astype(np.int32)

    def check(self, dtype: str) -> None:
        """Refuse float64 unless it is enabled in JAX, which would silently use float32."""
        if dtype == "float64" and not self.jax.config.jax_enable_x64:
            raise BackendError("dtype='float64' on backend 'jax' needs JAX_ENABLE_X64=1 in the environment")

    @property
    def wide(self) -> str:
        """float64 if it is enabled in JAX."""
        return "float64" if self.jax.config.jax_enable_x64 else "float32"

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Jit `step`; XLA may reuse the memory of its first `donate` arguments."""
        compiled: Callable[..., Any] = self.jax.jit(step, donate_argnums=tuple(range(donate)))
        return compiled

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Compile a loop of steps on a CPU, where a call costs as much as a small step.

        The number of steps is an argument, so that a single step runs the same code as many, to the same
        bits. On a GPU the host would wait for each iteration of such a loop; separate calls do not wait.
        """
        if self.device.platform != "cpu":
            return super().repeat(step, donate)
        tree, loop = self.jax.tree, self.jax.lax.fori_loop

        def several(state: Any, fixed: Any, batches: Any, count: Any) -> Any:
            def following(i: Any, state: Any) -> Any:
                real = state[0].dtype  # as a Python number would be taken up
                batch = tree.map(lambda x: x[i].astype(real) if x.dtype.kind == "f" else x[i], batches)
                return step(*state, *fixed, *batch)

            return loop(0, count, following, state)

        return partial(self._repeat, self.jax.jit(several, donate_argnums=0))

    def _repeat(self, several: Callable[..., Any], state: Any, fixed: Any, batches: Sequence[Any]) -> Any:
        """Call the loop `several` with as many batches at a time as fit into it."""
        tree = self.jax.tree
        length = max(1, min(STEPS, NUMBERS // sum(np.size(leaf) for leaf in tree.leaves(batches[0]))))
        for start in range(0, len(batches), length):
            some = batches[start : start + length]
            state = several(state, fixed, tree.map(partial(_padded, length), *some), len(some))
        return state

    def synchronize(self, *arrays: Array) -> None:
        """Wait for the arrays: JAX has no wait for all that was dispatched."""
        self.jax.block_until_ready(arrays)


def connect(device: str | None) -> Backend:
    """Return the backend on JAX's default device or on ``cpu``, ``gpu``, ``gpu:1``, or raise BackendError."""
    try:
        import jax
    except ImportError as error:
        raise BackendError(f"backend 'jax' needs JAX ({first_line(error)}): install anyback[jax]") from error
    platform, _, index = (device or "").partition(":")
    try:
        found = jax.devices(platform or None)[int(index or 0)]
    except Exception as error:  # JAX asserts where the platform of its environment is missing
        name = f"jax:{device}" if device else "jax"
        raise BackendError(
            f"backend {name!r} cannot run with JAX {jax.__version__}: {first_line(error)}"
        ) from error
    _prefer_traced(jax)
    return JaxBackend(jax, found, f"jax:{device}" if device else "jax")


@cache
def _prefer_traced(jax: Any) -> None:
    """Make `anyback.arrays.namespace` return it for tracers."""
    namespace = _Traced(jax)
    jax.eval_shape(lambda x: prefer(type(x), namespace), 0.0)


def _padded(length: int, *column: Any) -> np.ndarray:
    """Return numbers or arrays of one shape stacked to `length` rows, of which the last are padding."""
    table = np.zeros((length, *np.shape(column[0])), np.asarray(column[0]).dtype)
    table[: len(column)] = column
    return table
