"""CUDA C of fused kernels: what a GPU is given to compile.

Sizes are known when a step is recorded, and so they are constants of the source. A kernel without reductions
has one thread for each element. One with reductions has a group of threads, `lanes`, for each sum: they go
through its elements together, put what each has found together in shared memory, and go through them once
more for what depends on it. What was computed on the way is computed again rather than stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.engine.fusion import Fused, Kernel, Sight, array_args, in_c_order, is_number
from anyback.engine.recording import Node
from anyback.engine.spelling import REDUCTIONS, TYPES, identity, literal, spelled

__all__ = ["PREAMBLE", "Launch", "emit", "feed"]

THREADS = 256

PREAMBLE = """
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)
// The upper half of a float, rounded to even.
__device__ unsigned short bfloat16(float x) {
  const unsigned int bits = __float_as_uint(x);
  return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
__device__ unsigned short float16(float x) {
  unsigned short y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
// The power of two that brings a number into [2^14, 2^15).
__device__ float scale(float largest) {
  const bool usual = largest > 0 && largest - largest == 0;
  return usual ? ldexp(1.0f, max(-60, min(60, 14 - ilogb(largest)))) : 1.0f;
}
// Rows are counted from the end where their numbers are negative.
__device__ long long row(long long i, long long rows) { return i < 0 ? i + rows : i; }
struct Sum {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Largest {
  template <class T> __device__ T operator()(T a, T b) const { return (a != a || a > b) ? a : b; }
};
struct Smallest {
  template <class T> __device__ T operator()(T a, T b) const { return (a != a || a < b) ? a : b; }
};
// What all lanes have found, put together by f; lane l of sum s is thread s * LANES + l, or l * SUMS + s.
template <int SUMS, int LANES, bool SIDE_BY_SIDE, class T, class F>
__device__ T together(T found, F f, int sum, int lane, void* shared) {
  const int step = SIDE_BY_SIDE ? SUMS : 1;
  T* mine = (T*)shared + (SIDE_BY_SIDE ? sum : sum * LANES);
  mine[lane * step] = found;
  __syncthreads();
  for (int half = LANES / 2; half > 0; half /= 2) {
    if (lane < half) mine[lane * step] = f(mine[lane * step], mine[(lane + half) * step]);
    __syncthreads();
  }
  found = mine[0];
  __syncthreads();
  return found;
}
"""


@dataclass(frozen=True)
class Launch:
    """A kernel as it is started.

    Attributes
    ----------
    name : str
        Of the function in the source.
    grid, block : tuple of int
        Blocks, and threads of a block.
    buffers : tuple of Node
        Whose memory its arguments are, in order; None is the table of numbers.
    """

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    buffers: tuple[Node | None, ...]


def emit(fused: Fused, numbers: Sequence[Node]) -> tuple[str, list[Launch | Node]]:
    """Return the source of all kernels of a step, and how they are started.

    Parameters
    ----------
    fused : Fused
        What `fuse` gives.
    numbers : sequence of Node
        The Python numbers among the inputs and what is computed of them, in the order in which a table of
        words of 8 bytes holds them.

    Returns
    -------
    source : str
        CUDA C, after `PREAMBLE`.
    launches : list of Launch and Node
        In order; nodes are products and calls.
    """
    sources, launches = list[str](), list[Launch | Node]()
    for step in fused.steps:
        if isinstance(step, Kernel):
            source, launch = _Source(f"step{len(launches)}", step, fused, numbers).whole()
            sources.append(source)
            launches.append(launch)
        else:
            launches.append(step)
    return "".join(sources), launches


def feed(arrays: Sequence[tuple[int, np.dtype]]) -> str:
    """Return the source of the kernel that takes the next row of several tables.

    Its arguments are the number of the row, which is incremented, and for each of `arrays`, given by size and
    dtype, the table and where the row goes.
    """
    types = [TYPES[dtype.str[1:]] for _, dtype in arrays]
    given = "".join(f", const {t}* from{k}, {t}* to{k}" for k, t in enumerate(types))
    loop = "for (long long j = threadIdx.x; j < {n}; j += blockDim.x) to{k}[j] = from{k}[row * {n} + j];"
    loops = "\n  ".join(loop.format(n=size, k=k) for k, (size, _) in enumerate(arrays))
    return f"""
extern "C" __global__ __launch_bounds__(1024) void feed(long long* next{given}) {{
  const long long row = *next;
  __syncthreads();
  {loops}
  if (threadIdx.x == 0) *next = row + 1;
}}
"""


class _Source:
    """The source of one kernel."""

    def __init__(self, name: str, kernel: Kernel, fused: Fused, numbers: Sequence[Node]) -> None:
        self.name, self.kernel, self.fused, self.numbers = name, kernel, fused, numbers
        self.names = {node: f"v{i}" for i, node in enumerate(kernel.roles)}
        self.buffers: dict[Node | None, str] = {}
        self.written: set[Node | None] = set()
        axes = kernel.axes
        self.sums = [axis for axis in range(len(kernel.shape)) if axis not in axes]
        # Threads side by side read elements side by side: lanes where the last axis is reduced, else sums.
        self.by_lanes = bool(axes) and (axes[-1] == len(kernel.shape) - 1 or kernel.outer == 1)
        inner = _power_of_two(kernel.inner // kernel.parts)
        if self.by_lanes:
            self.lanes = min(1024 if kernel.outer < 64 else THREADS, inner)
            self.together = min(max(1, THREADS // self.lanes), _power_of_two(kernel.outer))
        else:
            self.together = min(32, _power_of_two(kernel.outer))
            self.lanes = min(1024 // self.together, inner)
        self.index = "int" if max(self._extents()) < 1 << 30 else "long long"

    def whole(self) -> tuple[str, Launch]:
        kernel = self.kernel
        body = self._reducing() if kernel.axes else self._mapping()
        lines = "\n  ".join(body)
        given = ", ".join(self._parameter(b, name) for b, name in self.buffers.items())
        if kernel.axes:
            grid = (-(-kernel.outer // self.together), kernel.parts)
            block = (self.together * self.lanes,)
        else:
            grid, block = (-(-kernel.size // THREADS), 1), (THREADS,)
        head = f'extern "C" __global__ __launch_bounds__({block[0]}) void {self.name}({given})'
        source = f"\n{head} {{\n  {lines}\n}}\n"
        return source, Launch(self.name, grid, block, tuple(self.buffers))

    def _mapping(self) -> Iterator[str]:
        yield f"const {self.index} i = ({self.index})blockIdx.x * {THREADS} + threadIdx.x;"
        yield f"if (i >= {self.kernel.size}) return;"
        yield from self._computed(list(self.kernel.roles))
        yield from self._stores([node for node in self.kernel.roles if node in self.fused.stored], "")

    def _reducing(self) -> Iterator[str]:
        kernel, index = self.kernel, self.index
        sum_, lane = f"threadIdx.x / {self.lanes}", f"threadIdx.x % {self.lanes}"
        if not self.by_lanes:
            sum_, lane = f"threadIdx.x % {self.together}", f"threadIdx.x / {self.together}"
        yield f"__shared__ double shared[{self.together * self.lanes}];"
        yield f"const int s = {sum_}, lane = {lane};"
        yield f"const {index} at = ({index})blockIdx.x * {self.together} + s;"
        yield f"const {index} o = at < {kernel.outer} ? at : {kernel.outer - 1};"
        first, last = "lane", str(kernel.inner)
        if kernel.parts > 1:
            part = -(-kernel.inner // kernel.parts)
            yield f"const {index} begin = ({index})blockIdx.y * {part};"
            yield f"const {index} end = begin + {part} < {last} ? begin + {part} : {last};"
            first, last = "begin + lane", "end"
        loop = f"for ({index} j = {first}; j < {last}; j += {self.lanes}) {{"
        stages, roles = self._stages(), kernel.roles
        for stage in range(max(stages.values()) + 1):
            early = [n for n, role in roles.items() if role == "sums" and stages[n] == stage]
            yield from self._computed(early)
            found = [n for n, role in roles.items() if role == "reduction" and stages[n] == stage]
            every = [n for n, role in roles.items() if role == "all" and stages[n] == stage]
            stored = [n for n in every if n in self.fused.stored]
            if found or stored:
                for node in found:
                    yield f"{self._type(node)} {self.names[node]} = {identity(node)};"
                lines = list(self._each(found, stored))
                linear = [f"const {index} i = {self._linear()};"]
                used = any(re.search(r"\bi\b", line) for line in lines)
                yield from [loop, *("  " + line for line in linear * used + lines), "}"]
            side = "false" if self.by_lanes else "true"
            for node in found:
                name, f = self.names[node], REDUCTIONS[node.f]
                sizes = f"{self.together}, {self.lanes}, {side}"
                yield f"{name} = together<{sizes}>({name}, {f}(), s, lane, shared);"
        outside = [n for n, role in roles.items() if role != "all" and n in self.fused.stored]
        yield from self._stores(outside, f"lane == 0 && at < {kernel.outer}")

    def _each(self, found: Sequence[Node], stored: Sequence[Node]) -> Iterator[str]:
        """Yield what is done with each element of a sum."""
        kernel, needed = self.kernel, self._needed([*found, *stored])
        yield from self._computed([n for n, role in kernel.roles.items() if n in needed and role == "all"])
        for node in found:
            name, f = self.names[node], REDUCTIONS[node.f]
            x = self._operand(node.args[0], node.value.dtype, kernel.shape, "all")
            yield f"{name} = {f}()({name}, {x});"
        yield from self._stores(stored, f"at < {kernel.outer}")

    # --- what is computed, and when -----------------------------------------------------------------------

    def _stages(self) -> dict[Node, int]:
        """Return of each operation how many rounds of reductions come before it."""
        stages: dict[Node, int] = {}
        roles = self.kernel.roles
        for node in roles:
            before = [stages[root] + (roles[root] == "reduction") for root in self._inside(node)]
            stages[node] = max(before, default=0)
        return stages

    def _inside(self, node: Node) -> list[Node]:
        """Return the operands that this kernel makes."""
        roots = [self.fused.sights.of(arg).root for arg in array_args(node)]
        return [root for root in roots if root in self.kernel.roles]

    def _needed(self, nodes: Sequence[Node]) -> set[Node]:
        """Return operations, and those that they need, of the same element."""
        needed, rest = set(nodes), list(nodes)
        while rest:
            for root in self._inside(rest.pop()):
                if self.kernel.roles[root] == "all" and root not in needed:
                    needed.add(root)
                    rest.append(root)
        return needed

    def _computed(self, nodes: Sequence[Node]) -> Iterator[str]:
        for node in nodes:
            yield f"const {self._type(node)} {self.names[node]} = {self._expression(node)};"

    def _expression(self, node: Node) -> str:
        role, shape = self.kernel.roles[node], node.value.shape
        if node.kind == "take":
            return self._taken(node)
        if node.kind == "cast":
            return self._operand(node.args[0], node.value.dtype, shape, role)
        if node.kind in ("half", "scale"):
            real = np.dtype(np.float32)
            operands = [self._operand(arg, real, shape, role) for arg in node.args]
            return f"{node.f or node.kind}({' * '.join(operands)})"
        if node.kind == "where":
            condition = self._operand(node.args[0], np.dtype(bool), shape, role)
            x, y = (self._operand(arg, node.value.dtype, shape, role) for arg in node.args[1:])
            return f"{condition} ? {x} : {y}"
        found = spelled(node)
        assert found is not None
        text, dtypes = found
        operands = [
            self._operand(arg, dtype, shape, role) for arg, dtype in zip(node.args, dtypes, strict=False)
        ]
        return text.format(*operands, t=TYPES[dtypes[0].str[1:]])

    def _operand(self, arg: Any, dtype: np.dtype, shape: tuple[int, ...], role: str) -> str:
        """Return an operand as a value of a dtype."""
        t = TYPES[dtype.str[1:]]
        if not isinstance(arg, Node):
            return f"({t})({literal(arg)})"
        if is_number(arg):
            kind = "double" if isinstance(arg.value, float) else "long long"
            return f"({t})((const {kind}*){self._buffer(None)})[{self.numbers.index(arg)}]"
        sight = self.fused.sights.of(arg)
        if sight.root in self.kernel.roles:
            value, found = self.names[sight.root], sight.root.value.dtype
        else:
            value, found = self._element(sight.root, self._at(sight, shape, role)), sight.root.value.dtype
        return value if found == dtype else f"({t}){value}"

    def _taken(self, node: Node) -> str:
        x, rows = (self.fused.sights.of(arg) for arg in node.args)
        shape, role = node.value.shape, self.kernel.roles[node]
        padded = Sight(rows.root, rows.offset, shape, (*rows.strides, *[0] * (len(shape) - len(rows.shape))))
        row = self._element(rows.root, self._at(padded, shape, role))
        rest = Sight(x.root, x.offset, shape, (*[0] * len(rows.shape), *x.strides[1:]))
        place = f"row({row}, {x.shape[0]}) * {x.strides[0]} + {self._at(rest, shape, role)}"
        return self._element(x.root, place)

    # --- where it is --------------------------------------------------------------------------------------

    def _stores(self, nodes: Sequence[Node], condition: str) -> Iterator[str]:
        for node in nodes:
            role, shape = self.kernel.roles[node], node.value.shape
            root, offset, strides = self.fused.places.get(node, (node, 0, in_c_order(shape)))
            if role == "reduction":  # its axes may have gone
                role, shape, strides = "sums", (self.kernel.outer,), (1,)
            place = self._at(Sight(node, offset, shape, strides), shape, role)
            if "parts" in node.options:
                place = f"blockIdx.y * ({self.index}){self.kernel.outer} + {place}"
            self.written.add(root)
            text = f"{self._buffer(root)}[{place}] = {self.names[node]};"
            yield f"if ({condition}) {text}" if condition else text

    def _element(self, root: Node, place: str) -> str:
        whole, offset, strides = self.fused.places.get(root, (root, 0, ()))
        return f"{self._buffer(whole)}[{f'{offset} + ' if offset else ''}{place}]"

    def _buffer(self, root: Node | None) -> str:
        return self.buffers.setdefault(root, f"p{len(self.buffers)}")

    def _parameter(self, root: Node | None, name: str) -> str:
        if root is None:
            return f"const long long* {name}"
        const = "" if root in self.written else "const "
        return f"{const}{TYPES[root.value.dtype.str[1:]]}* {name}"

    def _type(self, node: Node) -> str:
        return TYPES[node.value.dtype.str[1:]]

    def _at(self, sight: Sight, shape: tuple[int, ...], role: str) -> str:
        """Return the place of an operand's element for the element of `shape` that is computed now."""
        strides, kernel = sight.along(shape), self.kernel
        if role == "all" and kernel.axes and shape == kernel.shape:
            parts = [
                _decoded("o", [(shape[a], strides[a]) for a in self.sums]),
                _decoded("j", [(shape[a], strides[a]) for a in kernel.axes]),
            ]
        else:
            parts = [_decoded("i" if role == "all" else "o", list(zip(shape, strides, strict=True)))]
        terms = [part for part in parts if part != "0"]
        return " + ".join([*terms, *[str(sight.offset)] * (sight.offset > 0 or not terms)])

    def _linear(self) -> str:
        """Return the number of the element for sum o and its element j."""
        shape, strides = self.kernel.shape, in_c_order(self.kernel.shape)
        o = _decoded("o", [(shape[a], strides[a]) for a in self.sums])
        return f"{o} + {_decoded('j', [(shape[a], strides[a]) for a in self.kernel.axes])}"

    def _extents(self) -> Iterator[int]:
        """Yield how many elements the arrays have that it goes through."""
        yield self.kernel.size
        for node in self.kernel.roles:
            for arg in array_args(node):
                yield self._whole(self.fused.sights.of(arg).root)
            yield self._whole(node)

    def _whole(self, node: Node) -> int:
        """Return how many elements there are in the memory that a node is a part of."""
        return int(self.fused.places.get(node, (node,))[0].value.size)


def _decoded(i: str, axes: Sequence[tuple[int, int]]) -> str:
    """Return the sum of coordinate times stride of element number `i` in C order.

    Examples
    --------
    >>> _decoded("i", [(4, 3), (3, 1)]), _decoded("i", [(4, 0), (3, 1)])
    ('i', 'i % 3')
    """
    merged: list[tuple[int, int]] = []
    for n, stride in axes:
        if n == 1:
            continue
        if merged and merged[-1][1] == n * stride:
            merged[-1] = merged[-1][0] * n, stride
        else:
            merged.append((n, stride))
    terms, below = list[str](), 1
    for k, (n, stride) in enumerate(reversed(merged)):
        if stride:
            x = f"{i} / {below}" if below > 1 else i
            x = f"{x} % {n}" if k < len(merged) - 1 else x
            terms.append(x if stride == 1 else f"({x}) * {stride}")
        below *= n
    return " + ".join(terms) or "0"


def _power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n, up to 1024."""
    return min(1024, 1 << max(0, n - 1).bit_length())
