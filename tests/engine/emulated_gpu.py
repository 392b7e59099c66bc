"""A GPU played by the host: CUDA C compiled by the C++ compiler, threads of a block as coroutines.

A thread of a block runs until it waits for the others, `__syncthreads()`; then the next one does. What the
kernels compute, and where they read and write, is thus what it would be on a GPU; that they are CUDA is for
NVIDIA's compiler to say, and how fast they are for a GPU.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from anyback.backends.numpy import NumpyBackend
from anyback.engine.device import Compiled, Stepped

COMPILER = shutil.which("g++") or shutil.which("clang++")

HEADER = r"""
#include <cmath>
#include <cstring>
#include <ucontext.h>
#include <algorithm>
using namespace std;
#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static
struct Three { int x, y, z; };
static Three threadIdx, blockIdx, blockDim;
static inline unsigned __float_as_uint(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  return bits;
}
static inline double __longlong_as_double(long long bits) {
  double x;
  memcpy(&x, &bits, 8);
  return x;
}
static ucontext_t scheduler, fibers[1024];
static char stacks[1024][1 << 15];
static bool ended[1024];
static int running;
static void** arrays;
static void (*body)();
static inline void __syncthreads() {
  int mine = running;
  swapcontext(&fibers[mine], &scheduler);
  threadIdx.x = mine;
}
static void begin() {
  body();
  ended[running] = true;
}
static void wait_for_each_other(int threads) {
  for (int t = 0; t < threads; t++) {
    getcontext(&fibers[t]);
    fibers[t].uc_stack.ss_sp = stacks[t];
    fibers[t].uc_stack.ss_size = sizeof stacks[t];
    fibers[t].uc_link = &scheduler;
    makecontext(&fibers[t], begin, 0);
    ended[t] = false;
  }
  for (int left = threads; left > 0;) {
    left = 0;
    for (int t = 0; t < threads; t++) {
      if (ended[t]) continue;
      running = threadIdx.x = t;
      swapcontext(&scheduler, &fibers[t]);
      left += !ended[t];
    }
  }
}
static void blocks(const int* grid, int threads, bool waits) {
  blockDim = {threads, 1, 1};
  for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++)
      if (waits)
        wait_for_each_other(threads);
      else
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) body();
}
"""


class Emulated(NumpyBackend):
    """NumPy's arrays as those of a GPU."""

    def __init__(self, half: str | None = None) -> None:
        self.machine = EmulatedGPU(half)

    def share(self, x: np.ndarray) -> np.ndarray:
        """Copy it, as to the memory of a GPU."""
        return np.array(x)

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Compiled:
        return Compiled(step, self.machine, donate, fresh)

    def repeat(self, step: Callable[..., Any], donate: int) -> Stepped:
        return Stepped(step, self.machine, donate)

    def release(self, *compiled: Any) -> None:
        for one in compiled:
            one.release()


class EmulatedGPU:
    """A machine for `anyback.engine.device` whose arrays are NumPy's."""

    namespace = np
    device = nullcontext()

    def __init__(self, half: str | None = None) -> None:
        self.half, self.lock = half, RLock()
        self.sources: list[str] = []
        self.launched: list[str] = []
        self.graphs = 0

    def compile(self, source: str) -> Callable[[str], Callable[..., Any]]:
        """Compile for the host."""
        self.sources.append(source)
        bodies = dict(re.findall(r"__launch_bounds__\(\d+\) void (\w+)\((.*?)\) \{", source))
        runs = []
        for name, parameters in bodies.items():
            types = [parameter.rsplit(" ", 1)[0] for parameter in parameters.split(", ")]
            given = ", ".join(f"({t})arrays[{k}]" for k, t in enumerate(types))
            text = source[source.index(f"void {name}(") :].split("\n}\n")[0]
            waits = str("together<" in text or "__syncthreads" in text).lower()
            runs.append(
                f"static void body_{name}() {{ {name}({given}); }}\n"
                f'extern "C" void run_{name}(const int* grid, int threads, void** given) {{ '
                f"arrays = given; body = body_{name}; blocks(grid, threads, {waits}); }}"
            )
        folder = tempfile.mkdtemp()
        path = Path(folder) / "kernels.cpp"
        source = re.sub(r'asm\("cvt.rn.f16.f32.*\);', "_Float16 half = x; memcpy(&y, &half, 2);", source)
        path.write_text(HEADER + source + "\n".join(runs))
        library = path.with_suffix(".so")
        command = [str(COMPILER), "-std=c++17", "-O0", "-w", "-shared", "-fPIC", "-fno-strict-aliasing"]
        subprocess.run([*command, "-ffp-contract=off", "-o", str(library), str(path)], check=True)
        loaded = ctypes.CDLL(str(library))
        shutil.rmtree(folder)
        return lambda name: partial(self._launch, name, loaded[f"run_{name}"])

    def _launch(
        self, name: str, f: Any, grid: tuple[int, int], block: tuple[int], arrays: Sequence[Any]
    ) -> None:
        self.launched.append(name)
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        f((ctypes.c_int * 2)(*grid), block[0], pointers)

    def product(self, x: np.ndarray, y: np.ndarray, out: np.ndarray, factor: Any) -> Callable[[], Any]:
        """Multiply by NumPy; words of 16 bits are halves of floats, or what the name says."""
        if self.half and x.dtype == np.uint16:
            wide = _of_float16 if self.half == "float16" else _of_bfloat16
            return lambda: np.multiply(wide(x) @ wide(y), 1.0 if factor is None else factor, out=out)
        return partial(np.matmul, x, y, out=out)

    def graph(self, calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        """Return one call for many."""
        self.graphs += 1
        return lambda: [call() for call in calls] and None

    def to_numpy(self, x: np.ndarray) -> np.ndarray:
        """Return a copy."""
        return np.array(x)


def _of_bfloat16(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32)


def _of_float16(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.float16).astype(np.float32)
