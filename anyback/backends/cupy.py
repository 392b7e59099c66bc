"""CuPy: CUDA GPUs by index; steps run in generated kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from anyback.arrays import Array, prefer
from anyback.backends.base import Backend, BackendError, first_line
from anyback.backends.cuda import PRECISIONS, CudaMachine
from anyback.engine.device import Compiled, Stepped

__all__ = ["connect"]

INSTALL = "install anyback[cuda12] or anyback[cuda13] to match the driver, or use 'numpy'"
MACHINE = "run on a machine with a GPU and NVIDIA's driver, start a container with its GPUs, or use 'numpy'"


class _Namespace:
    """CuPy's standard namespace, with a `clip` in one kernel.

    The compatibility layer's own assigns through a mask, whose size it must read back from the GPU.
    """

    def __init__(self, cupy: Any, compatible: Any) -> None:
        self._cupy, self._compatible = cupy, compatible

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._compatible, name)
        setattr(self, name, found)
        return found

    def clip(self, x: Array, min: Any = None, max: Any = None) -> Array:
        y = x if min is None else self._cupy.maximum(x, min)
        return y if max is None else self._cupy.minimum(y, max)


class CupyBackend(Backend):
    """Arrays of CuPy, on one CUDA device; `precision` is that of float32 products."""

    def __init__(self, cupy: Any, namespace: Any, index: int, precision: str = "float32") -> None:
        self.cupy, self.namespace, self.device = cupy, namespace, cupy.cuda.Device(index)
        parts = ["cupy"] + [str(index)] * (index > 0) + [precision] * (precision != "float32")
        self.name = ":".join(parts)
        self.machine = CudaMachine(cupy, self.device, precision)

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` in the memory of the GPU."""
        with self.device:
            return self.cupy.asarray(np.array(x, dtype=dtype, order="C"))

    def fits(self, size: int) -> bool:
        """Whether half of the free memory is enough."""
        with self.device:
            free = self.device.mem_info[0] + self.cupy.get_default_memory_pool().free_bytes()
        return bool(2 * size <= free)

    def feed(self, arrays: Sequence[Any], batches: Iterable[np.ndarray]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of each batch, copied to the GPU while it computes on the previous one."""
        with self.device:
            copying, slots = self.cupy.cuda.Stream(non_blocking=True), list[_Slot]()
        try:
            for k, rows in enumerate(batches):
                with self.device:
                    if k < 2:
                        slots.append(_Slot(self.cupy, arrays, len(rows)))
                    slot, computing = slots[k % 2], self.cupy.cuda.get_current_stream()
                    on_device = slot.load(arrays, rows, copying)
                    computing.wait_event(slot.copied)
                yield on_device
                with self.device:
                    slot.used.record(computing)
        finally:
            copying.synchronize()  # before another takes this memory

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy of `x` on the host."""
        host: np.ndarray = self.cupy.asnumpy(x)
        return host

    def call(self, f: Callable[..., Any], *arguments: Any) -> Any:
        """Call `f` with this device as CuPy's current one."""
        with self.device:
            return f(*arguments)

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Return `step`, which runs in generated kernels after a few calls."""
        return Compiled(step, self.machine, donate, fresh)

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Return the steps as a sequence of CUDA graphs."""
        return Stepped(step, self.machine, donate)

    def release(self, *compiled: Callable[..., Any]) -> None:
        """Drop the arrays that compiled steps refer to."""
        for one in compiled:
            if isinstance(one, Compiled | Stepped):
                one.release()

    @property
    def wide(self) -> str:
        """Every CUDA device has float64."""
        return "float64"

    def synchronize(self, *arrays: Array) -> None:
        """Wait for the GPU."""
        self.device.synchronize()


class _Slot:
    """Buffers for a batch: in pinned memory of the host, and on the GPU."""

    def __init__(self, cupy: Any, arrays: Sequence[Any], rows: int) -> None:
        shapes = [None if x is None else ((rows, *x.shape[1:]), x.dtype) for x in arrays]
        self.host = [None if s is None else _pinned(cupy, *s) for s in shapes]
        self.device = [None if s is None else cupy.empty(*s) for s in shapes]
        self.copied, self.used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self.used.record(cupy.cuda.get_current_stream())  # who had this memory before may still use it

    def load(self, arrays: Sequence[Any], rows: np.ndarray, stream: Any) -> tuple[Any, ...]:
        """Copy rows of arrays to the GPU, once the previous batch is no longer in use."""
        self.copied.synchronize()
        stream.wait_event(self.used)
        for x, host, device in zip(arrays, self.host, self.device, strict=True):
            if x is not None and host is not None and device is not None:
                part = x.take(rows, 0, host[: len(rows)], "clip")
                device.data.copy_from_host_async(part.ctypes.data, part.nbytes, stream)
        self.copied.record(stream)
        return tuple(None if device is None else device[: len(rows)] for device in self.device)


def _pinned(cupy: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a host array in pinned memory."""
    size = prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(max(1, size * dtype.itemsize))
    return np.frombuffer(memory, dtype, size).reshape(shape)


def connect(device: str | None) -> Backend:
    """Return the backend of GPU number `device`, or raise BackendError with the reason.

    It may end in, or be, the precision of float32 products, as in ``1:tf32``: ``tf32``,
    ``bfloat16`` or ``float16``.
    """
    index, precision = _parts(device)
    if not index.isdecimal() or precision not in PRECISIONS:
        raise BackendError(
            f"backend 'cupy:INDEX:PRECISION' takes the number of a GPU and one of {', '.join(PRECISIONS)}, "
            f"got {device!r}"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # CuPy warns of every optional library it lacks
            import cupy
            from array_api_compat import cupy as namespace
    except ImportError as error:
        raise BackendError(
            f"backend 'cupy' needs CuPy, which cannot be imported ({first_line(error)}): {INSTALL}"
        ) from error
    driver = _driver(cupy)
    nothing = f"backend 'cupy': CuPy {cupy.__version__} found no CUDA GPU ({driver or 'no driver'}"
    advice = INSTALL if driver else MACHINE
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own CUDA errors, and loader errors where there is no driver
        raise BackendError(f"{nothing}; {first_line(error)}): {advice}") from error
    if not count:
        raise BackendError(f"{nothing}): {advice}")
    if int(index) >= count:
        raise BackendError(f"backend 'cupy:INDEX' takes the number of a GPU in [0, {count}), got {device!r}")
    return CupyBackend(cupy, _preferred(cupy, namespace), int(index), precision)


def _parts(device: str | None) -> tuple[str, str]:
    """Return the index of a GPU and the precision from the part after the library's name.

    Examples
    --------
    >>> _parts(None), _parts("1"), _parts("tf32"), _parts("1:bfloat16")
    (('0', 'float32'), ('1', 'float32'), ('0', 'tf32'), ('1', 'bfloat16'))
    """
    first, colon, last = (device or "0").partition(":")
    if colon:
        return first, last
    return (first, "float32") if first.isdecimal() else ("0", first)


def _driver(cupy: Any) -> str:
    """Return a remark on the driver, or nothing."""
    try:
        version = cupy.cuda.runtime.driverGetVersion()
    except Exception:  # no library of CUDA can be loaded at all
        version = 0
    return f"the driver is for CUDA {version // 1000}.{version % 1000 // 10}" if version else ""


@cache
def _preferred(cupy: Any, compatible: Any) -> _Namespace:
    """Return the namespace, and make `anyback.arrays.namespace` return it."""
    namespace = _Namespace(cupy, compatible)
    prefer(cupy.ndarray, namespace)
    return namespace
