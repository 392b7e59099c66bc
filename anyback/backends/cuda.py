"""Programs on a CUDA GPU: kernels compiled by CuPy, products by cuBLAS, steps as CUDA graphs.

CuPy refuses cuBLAS while a graph is being captured (cupy/cupy#6290), so products call the library
itself, with a separate handle whose stream and workspace are set before.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from math import prod
from threading import RLock
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends.base import first_line

__all__ = ["PRECISIONS", "Blas", "CudaMachine", "lead"]

# From library_types.h and cublas_api.h: types of elements, and in what is multiplied and added up.
_ELEMENTS = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_COMPUTE, _COMPUTE_TF32, _COMPUTE_DOUBLE = 68, 77, 70
# How products of float32 are made; all else is always float32.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
# Bytes of workspace, as cuBLAS recommends for Hopper.
WORKSPACE = 32 << 20


class Blas:
    """Matrix products by cuBLAS, or a library with its interface.

    Parameters
    ----------
    library : ctypes.CDLL
        cuBLAS.
    precision : str
        One of `PRECISIONS`: "tf32" multiplies float32 with 10 bits of mantissa; "bfloat16" and "float16" say
        what words of 16 bits hold.
    """

    def __init__(self, library: Any, precision: str = "float32") -> None:
        self.library, self.precision = library, precision
        self.handle = ctypes.c_void_p()
        _checked(library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")

    def use(self, stream: int, workspace: int, size: int) -> None:
        """Set the stream and then its workspace: setting the stream resets the workspace."""
        _checked(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)), "cublasSetStream")
        given = ctypes.c_void_p(workspace), ctypes.c_size_t(size)
        _checked(self.library.cublasSetWorkspace_v2(self.handle, *given), "cublasSetWorkspace")

    def product(
        self,
        x: Array,
        y: Array,
        out: Array,
        address: Callable[[Array], int],
        scales: Sequence[Array] = (),
    ) -> Callable[[], None]:
        """Return what computes ``out = x @ y``, of matrices or stacks of them, in C order or transposed.

        cuBLAS assumes Fortran order: it sees arrays in C order as their transposes, and computes
        ``out.T = y.T @ x.T``. `address` returns the address of an array; `scales` are a factor of the product
        and one of what was in `out`, on the device.
        """
        (turned_x, ldx), (turned_y, ldy) = lead(x), lead(y)
        n, m, k = y.shape[-1], x.shape[-2], x.shape[-1]
        double = out.dtype == np.float64
        tf32 = self.precision == "tf32"
        compute = _COMPUTE_DOUBLE if double else _COMPUTE_TF32 if tf32 else _COMPUTE
        real = ctypes.c_double if double else ctypes.c_float
        given: list[Any] = [ctypes.byref(real(1.0)), ctypes.byref(real(0.0))]
        given = [ctypes.c_void_p(address(a)) for a in scales] or given
        names = [self.precision if a.dtype == np.uint16 else a.dtype.name for a in (y, x, out)]
        kinds = [_ELEMENTS[name] for name in names]
        where = [ctypes.c_void_p(address(a)) for a in (y, x, out)]
        places: list[tuple[Any, ...]]
        places = [(where[0], kinds[0], ldy), (where[1], kinds[1], ldx), (where[2], kinds[2], n)]
        f, count = self.library.cublasGemmEx, list[int]()
        stack = _stacked(x, y, out)
        if stack is not None:
            f, count = self.library.cublasGemmStridedBatchedEx, [stack[0]]
            steps = stack[2], stack[1], stack[3]
            places = [(*p, ctypes.c_longlong(step)) for p, step in zip(places, steps, strict=True)]
        head = self.handle, int(turned_y), int(turned_x), n, m, k, given[0]
        rest = *places[0], *places[1], given[1], *places[2], *count, compute, -1

        def call() -> None:
            _checked(
                self.library.cublasSetPointerMode_v2(self.handle, len(scales) // 2), "cublasSetPointerMode"
            )
            _checked(f(*head, *rest), f"{f.__name__} of {x.shape} and {y.shape}")

        return call


class CudaMachine:
    """Runs the programs of `anyback.engine.device` by CuPy, on one device."""

    def __init__(self, cupy: Any, device: Any, precision: str = "float32") -> None:
        self.cupy = self.namespace = cupy
        self.device = device
        self.precision, self.half = precision, precision if precision in ("bfloat16", "float16") else None
        self.lock = RLock()  # cuBLAS is asked by several calls, which belong together
        self._stream: int | None = None
        self._workspace: Any = None
        self._nothing: Any = None

    def compile(self, source: str) -> Callable[[str], Callable[..., Any]]:
        """Compile by NVRTC; CuPy caches the result on disk."""
        function: Callable[[str], Any] = self.cupy.RawModule(
            code=source, options=("-std=c++17",)
        ).get_function
        return function

    def product(self, x: Array, y: Array, out: Array, factor: Array | None) -> Callable[[], Any]:
        """Return the product on the current stream; operands in other layouts are copied first."""
        copies = []
        whole = _stacked(x, y, out) is not False
        operands = []
        for a in (x, y):
            if lead(a) is None or not whole:
                aside = self.cupy.empty((*(a if whole else out).shape[:-2], *a.shape[-2:]), a.dtype)
                copies.append(partial(self.cupy.copyto, aside, a))
                a = aside
            operands.append(a)
        x, y = operands
        blas = self._blas
        scales = () if factor is None else (factor, self._nothing)
        multiply = blas.product(x, y, out, lambda a: int(a.data.ptr), scales)

        def call() -> None:
            for copy in copies:
                copy()
            self._follow()
            multiply()

        return call

    def graph(self, calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        """Capture calls as one graph; if that fails, they are launched one by one, with a warning."""
        cuda = self.cupy.cuda
        stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()
        try:
            cuda.get_current_stream().synchronize()
            with stream, cuda.using_allocator(pool.malloc):
                self._follow()
                stream.begin_capture()
                try:
                    _all(calls)
                finally:
                    graph = stream.end_capture()
        except Exception as error:  # of CuPy, or of CUDA
            warnings.warn(f"a step runs without a CUDA graph: {first_line(error)}", stacklevel=2)
            return partial(_all, calls)
        finally:
            self._follow()

        def launch(held: Any = (stream, pool, calls)) -> None:  # a graph does not keep its memory
            graph.launch()

        return launch

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy on the host."""
        host: np.ndarray = self.cupy.asnumpy(x)
        return host

    @cached_property
    def _blas(self) -> Blas:
        self._workspace = self.cupy.empty(WORKSPACE, np.uint8)
        self._nothing = self.cupy.zeros((), np.float32)
        return Blas(_library(self.cupy), self.precision)

    def _follow(self) -> None:
        """Set cuBLAS to the current stream."""
        stream = self.cupy.cuda.get_current_stream().ptr
        if stream != self._stream:
            self._blas.use(stream, self._workspace.data.ptr, WORKSPACE)
            self._stream = stream


def _all(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _library(cupy: Any) -> Any:
    """Return cuBLAS, as loaded by CuPy or installed by NVIDIA's packages."""
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        return ctypes.CDLL(f"libcublas.so.{major}")
    except OSError:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)


def _checked(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} failed with status {status} of cuBLAS")


def lead(a: Array) -> Any:
    """Return whether a matrix is transposed and its leading dimension; None for other layouts.

    Examples
    --------
    >>> a = np.zeros((2, 3))
    >>> lead(a), lead(a.T), lead(a[:, ::2])
    ((False, 3), (True, 3), None)
    """
    (m, n), (s, t) = a.shape[-2:], (stride // a.itemsize for stride in a.strides[-2:])
    if (t == 1 or n == 1) and (s >= n or m == 1):
        return False, max(s if m > 1 else n, 1)
    if (s == 1 or m == 1) and (t >= m or n == 1):
        return True, max(t if n > 1 else m, 1)
    return None


def _stacked(*arrays: Array) -> Any:
    """Return the number of matrices and their stride; None for single ones, False if the stride varies."""
    shape = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    if prod(shape) == 1:
        return None
    steps = []
    for a in arrays:
        strides = [0] * (len(shape) - a.ndim + 2)
        outer = zip(a.shape[:-2], a.strides[:-2], strict=True)
        strides += [stride // a.itemsize if n > 1 else 0 for n, stride in outer]
        axes = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
        if any(s != n * t for (_, s), (n, t) in pairwise(axes)):
            return False
        steps.append(axes[-1][1])
    return prod(shape), *steps
