"""A recorded function laid out on buffers: what a step costs when only the arithmetic is left.

`lay_out` goes through the nodes of a recording once and decides where each result lives:

- a buffer is free again after the last use of what it holds, and an elementwise operation writes over an
  operand that nobody needs any more;
- views are made once, and the pieces of a concatenation are computed where they belong in it;
- what takes the place of an argument that may be overwritten (weights, slots) is computed over it, where the
  argument has no later reader;
- elementwise operations that follow one another on large arrays become a `Run`, done chunk by chunk, so that
  what passes between them stays in the core's own cache.

What is left is a list of operations on fixed arrays. They are the same operations on the same numbers in the
same order: not one bit is other than in the plain call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.engine.recording import Node, NotRecordable, Recording, base, is_reshape, resolved
from anyback.pytree import leaves

__all__ = ["Operation", "Run", "lay_out"]


@dataclass(eq=False)
class Operation:
    """An operation on arrays that stay where they are.

    Attributes
    ----------
    kind : str
        "ufunc", "reduce", "cast", "take", "where" or "call" as in `anyback.engine.recording.Node`, or "copy".
    f : callable
        What is called.
    inputs : list of array
        Its operands; inside a `Run`, chunk-sized where they live only there.
    out : array
        Where the result goes.
    options : mapping
        "axis" and "keepdims" of a reduction.
    """

    kind: str
    f: Any
    inputs: list[Array]
    out: Array
    options: Any = field(default_factory=dict)


@dataclass(eq=False)
class Run:
    """Elementwise operations, done for `chunk` rows of the first axis after the other.

    Attributes
    ----------
    shape : tuple of int
        Of what comes out.
    chunk : int
        Rows at a time.
    operations : list of Operation
        In order.
    local : list of array
        Operands that live only inside: they have `chunk` rows, used again for every chunk.
    """

    shape: tuple[int, ...]
    chunk: int
    operations: list[Operation] = field(default_factory=list)
    local: list[Array] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many in all."""
        return self.shape[0]

    def chunks(self) -> Iterator[Operation]:
        """Yield the operations of one chunk after the other."""
        for start in range(0, self.rows, self.chunk):
            stop = min(start + self.chunk, self.rows)
            for o in self.operations:
                *inputs, out = (self._part(a, start, stop) for a in (*o.inputs, o.out))
                yield Operation(o.kind, o.f, inputs, out, o.options)

    def along(self, a: Array) -> bool:
        """Whether an operand has a row for each row, or lives only inside."""
        return a.ndim == len(self.shape) and (a.shape[0] == self.rows or any(a is b for b in self.local))

    def _part(self, a: Array, start: int, stop: int) -> Array:
        if any(a is b for b in self.local):
            return a[: stop - start]
        return a[start:stop] if self.along(a) else a


def lay_out(
    recording: Recording, bound: Sequence[Any], donated: int, chunk: int
) -> tuple[list[Operation | Run], dict[Node, Array], dict[tuple[Node, Any], Array]]:
    """Place every result of a recording.

    Parameters
    ----------
    recording : Recording
        What is to be done.
    bound : sequence
        For each input the array itself, which is read where it is, or a number.
    donated : int
        How many of the first inputs are overwritten with the first results.
    chunk : int
        Elements of an array that a `Run` goes through at a time.

    Returns
    -------
    operations : list of Operation and Run
        What to do, in order.
    places : dict of Node to array
        Where the results are afterwards.
    numbers : dict of (Node, dtype) to array
        Where the numbers among the inputs and what is computed of them are expected, in arrays without axes.
    """
    layout = _Layout(recording, bound, donated, chunk)
    return layout.operations, layout.places, layout.numbers


class _Layout:
    def __init__(self, recording: Recording, bound: Sequence[Any], donated: int, chunk: int) -> None:
        self.chunk = chunk
        self.nodes, self.results = recording.nodes, leaves(recording.result)
        self.operations: list[Operation | Run] = []
        self.places: dict[Node, Array] = {
            node: value
            for node, value in zip(recording.inputs, bound, strict=True)
            if isinstance(value, np.ndarray)
        }
        self.places |= {node: node.value for node in self.results if node.kind == "constant"}
        self.numbers: dict[tuple[Node, Any], Array] = {}
        self._constants: dict[Any, Array] = {}
        donations = list(zip(self.results[:donated], recording.inputs, strict=False))
        self._find_pieces()
        self._find_roots_and_last_uses(recording)
        self._find_runs()
        self._over = dict(self._donated(donations))
        self._find_local()
        self._owned: dict[Node, Array] = {}
        self._free: list[Array] = []
        self._place_all()
        rest = [(new, old) for new, old in donations if new is not old and new not in self._over]
        sources = {new: self._saved(new) for new, _ in rest}
        for new, old in rest:
            self.operations.append(Operation("copy", None, [sources[new]], self.places[old]))

    def _saved(self, new: Node) -> Array:
        """Return a result that goes over an argument, out of the way if it is an argument itself."""
        if self._root[new].kind != "input":
            return self.places[new]
        out = np.empty(new.value.shape, new.value.dtype)
        self.operations.append(Operation("copy", None, [self.places[new]], out))
        return out

    # --- what is known before anything has its place -------------------------------------------------

    def _find_pieces(self) -> None:
        """Find what can be computed where it belongs in a concatenation: node to (joined, start, stop)."""
        self._pieces: dict[Node, tuple[Node, int, int]] = {}
        for joined in self.nodes:
            start = 0
            for piece in joined.args if joined.kind == "concat" and joined.value.ndim == 1 else ():
                size = getattr(piece, "value", piece).size
                source = piece
                while is_reshape(source):
                    source = source.args[0]
                fresh = isinstance(source, Node) and source.kind not in (
                    "input",
                    "constant",
                    "view",
                    "concat",
                    "scalar",
                )
                if fresh and source not in self._pieces and source.value.dtype == joined.value.dtype:
                    self._pieces[source] = joined, start, start + size
                start += size

    def _find_roots_and_last_uses(self, recording: Recording) -> None:
        """Find of each node whose buffer it is in, and when each buffer is read for the last time."""
        self._root = {node: node for node in (*recording.inputs, *self.results)}
        self._last: dict[Node, int] = {}
        for i, node in enumerate(self.nodes):
            self._root[node] = (
                self._root[node.args[0]] if node.kind == "view" else self._pieces.get(node, (node,))[0]
            )
            if node.kind != "view":
                self._last |= {self._root[arg]: i for arg in _nodes(node.args)}
        self._last |= {self._root[node]: len(self.nodes) for node in self.results}

    def _donated(self, donations: Iterable[tuple[Node, Node]]) -> Iterator[tuple[Node, Node]]:
        """Yield what can be computed over the argument whose place it takes."""
        order = {node: i for i, node in enumerate(self.nodes)}
        begin: dict[int, int] = {}  # of each run, and of what is in none, where it begins
        for node, i in order.items():
            begin.setdefault(id(self._run.get(node, node)), i)
        for new, old in donations:
            alike = (new.value.shape, new.value.dtype) == (old.value.shape, old.value.dtype)
            fresh = (
                _elementwise(new) and new not in self._pieces and [n for n, _ in donations].count(new) == 1
            )
            if alike and fresh and self._last.get(old, -1) <= order[new]:
                beside = self.nodes[begin[id(self._run.get(new, new))] : order[new] + 1]
                if not any(self._root[arg] is old for node in beside for arg in _across(node)):
                    yield new, old

    def _find_runs(self) -> None:
        """Group what follows one another, is elementwise, large and of one shape."""
        self._run: dict[Node, Run] = {}
        group: list[Node] = []

        def close() -> None:
            if len(group) > 1:
                rows, *rest = group[0].value.shape
                run = Run((rows, *rest), min(rows, max(1, self.chunk // prod(rest))))
                self._run.update(dict.fromkeys(group, run))
            group.clear()

        for node in self.nodes:
            large = _elementwise(node) and node.value.size > self.chunk and node.value.ndim in (1, 2)
            if large:
                if group and group[0].value.shape != node.value.shape:
                    close()
                group.append(node)
            elif node.kind != "scalar" and (
                node.kind != "view" or any(arg in group for arg in _nodes(node.args))
            ):
                close()
        close()

    def _find_local(self) -> None:
        """Find what lives only inside of a run, and what must outlive all its chunks."""
        readers: dict[Node, set[int]] = defaultdict(set)
        for node in self.nodes:
            for arg in _nodes(node.args):
                readers[arg].add(id(self._run.get(node)))
        for node in self._run:
            self._last |= {self._root[arg]: len(self.nodes) for arg in _across(node)}  # never free again
        elsewhere = {*self.results, *self._pieces, *self._over}
        self._local = {n for n, run in self._run.items() if n not in elsewhere and readers[n] == {id(run)}}

    # --- placing --------------------------------------------------------------------------------------

    def _place_all(self) -> None:
        run: Run | None = None
        for i, node in enumerate(self.nodes):
            if node.kind == "view":
                self._place_view(node)
            elif node.kind == "concat":
                self._place_joined(node)
            elif node.kind != "scalar":
                inside = self._run.get(node)
                if inside is not None and inside is not run:
                    self.operations.append(inside)
                run = inside or run
                self._place(i, node, inside)
            for arg in _nodes(node.args) if node.kind != "view" else ():
                self._release(i, self._root[arg])

    def _place_view(self, node: Node) -> None:
        source = self.places[node.args[0]]
        assert node.f is not None
        seen = node.f(source)
        if seen.size and not np.may_share_memory(seen, source):  # a reshape that has to copy
            self._root[node] = node
            seen = np.empty(node.value.shape, node.value.dtype)
            last = self.operations[-1] if self.operations else None
            # A run may go on after this copy: it comes before the run, unless it copies what that made.
            before = isinstance(last, Run) and self._run.get(base(node)) is not last
            self.operations.insert(len(self.operations) - before, Operation("call", node.f, [source], seen))
        self.places[node] = seen

    def _place_joined(self, node: Node) -> None:
        out, start = self._joined(node), 0
        assert isinstance(node.f, partial)
        if prod(node.value.shape[: node.f.args[0]]) != 1:  # the pieces do not lie one after the other
            self.operations.append(Operation("call", node.f, [self._operand(arg) for arg in node.args], out))
            return
        for piece in node.args:
            array = self._operand(piece)
            part = out.reshape(-1)[start : start + array.size].reshape(array.shape)
            if array.size and not np.may_share_memory(array, part):
                self.operations.append(Operation("copy", None, [array], part))
            start += array.size

    def _joined(self, node: Node) -> Array:
        if node not in self.places:
            self.places[node] = self._new(node)
        return self.places[node]

    def _place(self, i: int, node: Node, run: Run | None) -> None:
        where = self.operations if run is None else run.operations
        dtypes: Sequence[Any]
        if node.kind == "ufunc":  # the dtypes of the loop that NumPy would choose
            assert isinstance(node.f, np.ufunc)
            dtypes = resolved(node.f, map(_value, node.args))
        elif node.kind == "where":
            dtypes = (np.dtype(bool), node.value.dtype, node.value.dtype)
        else:  # what is cast may be a number
            dtypes = [None if hasattr(_value(arg), "dtype") else node.value.dtype for arg in node.args]
        inputs = []
        for arg, dtype in zip(node.args, dtypes, strict=False):
            array = self._operand(arg, dtype)
            if dtype is not None and array.dtype != dtype:
                if run is not None and run.along(array):
                    converted = self._chunk(run, array.shape, dtype)
                else:
                    converted = np.empty(array.shape, dtype)
                where.append(Operation("cast", None, [array], converted))
                array = converted
            inputs.append(array)
        shape = node.value.shape
        local = () if run is None else run.local
        full = [np.empty(shape, a.dtype) if any(a is b for b in local) else a for a in inputs]
        if _elementwise(node) and not _in_c_order(full, shape):
            raise NotRecordable("what it computes has another order in memory than its axes")
        if node in self._pieces:
            joined, start, stop = self._pieces[node]
            out = self._joined(joined)[start:stop].reshape(node.value.shape)
        elif node in self._over:
            out = self.places[self._over[node]]
        else:
            if _elementwise(node):  # it may write over an operand that nobody needs any more
                for root in {self._root[arg] for arg in _nodes(node.args)}:
                    if all(self._aligned(arg, node) for arg in _nodes(node.args) if self._root[arg] is root):
                        self._release(i, root)
            out = self._new(node, run if node in self._local else None)
        self.places[node] = out
        where.append(Operation(node.kind, node.f, inputs, out, node.options))

    def _operand(self, arg: Any, dtype: Any = None) -> Array:
        """Return where an argument is; a number is in an array without axes."""
        if isinstance(arg, Node):
            if arg in self.places:
                return self.places[arg]
            return self.numbers.setdefault((arg, dtype), np.asarray(arg.value, dtype))
        if isinstance(arg, np.ndarray | np.generic):
            return np.asarray(arg)
        return self._constants.setdefault((repr(arg), dtype), np.asarray(arg, dtype))  # -0.0 is not 0.0

    def _aligned(self, arg: Node, node: Node) -> bool:
        """Whether element i of the operand is read when element i of the result is written, and not later."""
        a, b = self.places.get(arg), node.value
        return a is None or (a.itemsize == b.itemsize and arg.value.shape == b.shape and a.flags.c_contiguous)

    def _new(self, node: Node, run: Run | None = None) -> Array:
        """Return memory for a result: of the free buffers of its size, the one used last."""
        if run is not None:
            self._owned[node] = self._chunk(run, node.value.shape, node.value.dtype)
            return self._owned[node]
        size = -(-max(node.value.nbytes, 1) // 64) * 64
        fits = [
            j for j, buffer in enumerate(self._free) if buffer.nbytes == size and buffer.dtype == np.uint8
        ]
        self._owned[node] = buffer = self._free.pop(fits[-1]) if fits else _aligned_buffer(size)
        return buffer[: node.value.nbytes].view(node.value.dtype).reshape(node.value.shape)

    def _chunk(self, run: Run, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return memory for a value that lives only inside a run."""
        shape = (run.chunk, *shape[1:])
        mine = {id(array) for array in run.local}
        fits = [j for j, b in enumerate(self._free) if id(b) in mine and (b.shape, b.dtype) == (shape, dtype)]
        if fits:
            return self._free.pop(fits[-1])
        run.local.append(_aligned_buffer(prod(shape) * np.dtype(dtype).itemsize).view(dtype).reshape(shape))
        return run.local[-1]

    def _release(self, i: int, root: Node) -> None:
        """Free a buffer after its last use."""
        if self._last.get(root) == i and root in self._owned:
            self._free.append(self._owned.pop(root))


def _nodes(args: Iterable[Any]) -> Iterator[Node]:
    return (arg for arg in args if isinstance(arg, Node))


def _across(node: Node) -> Iterator[Node]:
    """Yield the operands whose elements may be read elsewhere than where the result is written."""
    if _elementwise(node):
        for arg in _nodes(node.args):
            if arg.kind == "view" or np.shape(arg.value) != node.value.shape:
                yield arg


def _value(arg: Any) -> Any:
    return arg.value if isinstance(arg, Node) else arg


def _in_c_order(inputs: Sequence[Array], shape: tuple[int, ...]) -> bool:
    """Whether NumPy would give an elementwise result C order: sums of it depend on that in the last bits."""
    if all(a.flags.c_contiguous or a.shape != shape for a in inputs):
        return True
    roles: Any = [*[["readonly"]] * len(inputs), ["allocate", "writeonly"]]
    return np.nditer([*inputs, None], op_flags=roles, flags=["zerosize_ok"]).operands[-1].flags.c_contiguous


def _elementwise(node: Node) -> bool:
    return node.kind in ("where", "cast") or (
        isinstance(node.f, np.ufunc) and node.kind == "ufunc" and not node.f.signature
    )


def _aligned_buffer(size: int) -> Array:
    """Return bytes that begin where a cache line does."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]
