"""A recorded function on the arrays of a GPU: a list of launches that is the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import RLock
from typing import Any, Protocol

import numpy as np

from anyback.arrays import Array
from anyback.engine.cuda import PREAMBLE, Launch, emit, feed
from anyback.engine.fusion import fuse, is_number
from anyback.engine.placing import place
from anyback.engine.recording import Node, NotRecordable, record, with_others
from anyback.engine.spelling import known
from anyback.pytree import leaves, tree_map

__all__ = ["Machine", "Program", "look"]

# Steps whose numbers are handed over at once.
ROWS_PER_CALL = 64
# Bytes of an array that is copied when another comes in its place; around a larger one all is bound anew.
SMALL = 1 << 26


class Machine(Protocol):
    """What runs a program.

    Attributes
    ----------
    namespace : module
        NumPy's functions on its arrays.
    device : context manager
        In which arrays are made where they belong.
    lock : RLock
        Held while anything runs.
    half : {None, "bfloat16", "float16"}
        To what operands of products are rounded, see `fuse`.
    """

    namespace: Any
    device: Any
    lock: RLock
    half: str | None

    def compile(self, source: str) -> Callable[[str], Callable[..., Any]]:
        """Compile CUDA C and return ``function(name)``, which is called with grid, block and arrays."""

    def product(self, x: Array, y: Array, out: Array, factor: Array | None) -> Callable[[], Any]:
        """Return what multiplies matrices, or stacks of them, and the product by a factor."""

    def graph(self, calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        """Return one call for many, which have run before."""

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy on the host."""


class Program:
    """A function for arguments of one kind.

    It is bound to the arrays of a call: results take the place of the arguments they replace, and what
    passes from one kernel to the next has its place in one block of memory.

    Parameters
    ----------
    f, args
        The function, and arguments as it will be called with.
    machine : Machine
        What runs it.
    donate, fresh : int
        See `anyback.engine.device.Compiled`.

    Raises
    ------
    NotRecordable
        If the function does what cannot be written down.
    """

    def __init__(self, f: Any, args: tuple[Any, ...], machine: Machine, donate: int, fresh: int) -> None:
        self.machine, self.xp = machine, machine.namespace
        recording = record(f, *tree_map(_outline, args))
        self.inputs, self.result, self.results = recording.inputs, recording.result, leaves(recording.result)
        self.computed = [node for node in recording.nodes if node.kind == "scalar"]
        self.numbers = [node for node in self.inputs if is_number(node)] + self.computed
        arrays = [i for i, node in enumerate(self.inputs) if not is_number(node)]
        self.donated = len(leaves(args[:donate]))
        last = len(self.inputs) - len(leaves(args[len(args) - fresh :]))
        self.fresh = [i for i in arrays if i >= last]
        self.over = [i for i in arrays if i < self.donated]
        self.fixed = [i for i in arrays if self.donated <= i < last]
        self.moving: set[int] = set()  # of the fixed ones, those that were others in a later call
        given = self.inputs[: self.donated]
        for new, old in zip(self.results, given, strict=False):
            if look(new.value) != look(old.value):
                raise NotRecordable(f"it returns {look(new.value)} for {look(old.value)}")
        self.fused = fuse(recording, known, machine.half)
        if any(self.fused.sights.of(node).root in given for node in self.results[self.donated :]):
            raise NotRecordable("it returns what it was given to overwrite")
        source, self.launches = emit(self.fused, self.numbers)
        fed = [self.inputs[i].value for i in self.fresh]
        rows = [(self.words, np.dtype(np.int64)), *((x.size, x.dtype) for x in fed)]
        self.function = machine.compile(PREAMBLE + source + feed(rows))
        self.places = place(self.fused, self.results, given)
        self.release()

    @property
    def words(self) -> int:
        """Words of 8 bytes for the numbers of a call."""
        return max(1, len(self.numbers))

    def release(self) -> None:
        """Let go of all arrays."""
        self.bound: list[Any] = []
        self.seen: list[Any] = []
        self.arrays: dict[Node, Array] = {}
        self.tables: list[Array] = []
        self.calls: list[Callable[[], Any]] = []
        self.has_run = False
        self.whole: Callable[[], Any] | None = None
        self.next: Callable[[], Any] | None = None

    def __call__(self, args: tuple[Any, ...]) -> Any:
        """Do it with these arguments, and return what the function returns.

        Raises
        ------
        NotRecordable
            If a number is of another kind than it was: nothing is done then.
        """
        given = leaves(args)
        self._run(given, self._words([given]))
        return self._returned()

    def repeat(self, given: Sequence[Any], batches: Sequence[Sequence[Any]]) -> Any:
        """Do it for one batch after the other, each with the state before, and return the last state.

        Parameters
        ----------
        given : sequence
            State and fixed arguments, the leaves of them.
        batches : sequence of sequence
            The other arguments of each call, likewise.

        Raises
        ------
        NotRecordable
            If a number is of another kind than it was: nothing is done then.
        """
        words, done = self._words([[*given, *batch] for batch in batches]), 0
        self._take([*given, *batches[0]])
        if not self.has_run or len(batches) == 1:
            self._run([*given, *batches[0]], words[:1])
            done = 1
        for start in range(done, len(batches), ROWS_PER_CALL):
            some = batches[start : start + ROWS_PER_CALL]
            graph = self._next()
            numbers, *tables = self.tables
            numbers[: len(some)] = words[start : start + len(some)]
            for table, i in zip(tables, self.fresh, strict=True):
                table[: len(some)] = self._stack([batch[i - len(given)] for batch in some])
            self.step[...] = 0
            for _ in some:
                graph()
        return self._returned()

    def _run(self, given: Sequence[Any], words: Array) -> None:
        """Do it once, from the second time on as a graph."""
        self._take(given)
        self.slot[...] = words
        if self.has_run and self.whole is None:
            self.whole = self.machine.graph(self.calls)
        for call in self.calls if self.whole is None else [self.whole]:
            call()
        self.has_run = True

    # --- with the arrays of a call --------------------------------------------------------------------

    def _take(self, given: Sequence[Any]) -> None:
        """Take up the arrays of a call: copy what may be overwritten or changes, or bind all anew."""
        changed = [
            i for i in self.fixed if i not in self.moving and not (self.bound and given[i] is self.seen[i])
        ]
        if changed or not self.bound:
            if self.bound:
                self.moving.update(i for i in changed if given[i].nbytes <= SMALL)
            self._bind(given)
        taken = {
            i: given[i] for i in (*self.over, *self.fresh, *self.moving) if given[i] is not self.bound[i]
        }
        for i, x in taken.items():  # what another is about to be copied over is copied first
            if any(_overlap(x, self.bound[j]) for j in taken if j != i):
                taken[i] = x.copy()
        for i, x in taken.items():
            self.bound[i][...] = x
        self.seen = list(given)

    def _bind(self, given: Sequence[Any]) -> None:
        """Place everything around these arrays."""
        self.release()
        self.bound = list(given)
        for i in (*self.over, *self.fresh, *self.fixed):
            others = (*given[:i], *given[i + 1 :])
            shared = i < self.donated and any(_overlap(given[i], other) for other in others)
            mine = i in self.fresh or i in self.moving or shared or isinstance(given[i], np.generic)
            if mine or not (given[i].flags.c_contiguous and getattr(given[i].flags, "writeable", True)):
                self.bound[i] = self.xp.array(given[i], order="C")
            self.arrays[self.inputs[i]] = self.bound[i].reshape(-1)
        block = self.xp.empty(self.places.nbytes, np.uint8)
        for node, start in self.places.starts.items():
            self.arrays[node] = block[start : start + node.value.nbytes].view(node.value.dtype)
        for node, old in self.places.over.items():
            self.arrays[node] = self.arrays[old]
        self.slot = self.xp.zeros((1, self.words), np.int64)
        self.calls = [*map(self._call, self.launches), *self._copies()]

    def _call(self, step: Launch | Node) -> Callable[[], Any]:
        if isinstance(step, Launch):
            arrays = [self.slot if node is None else self._array(node) for node in step.buffers]
            return partial(self.function(step.name), step.grid, step.block, tuple(arrays))
        out = self._view(step)
        places = [i for i, arg in enumerate(step.args) if isinstance(arg, Node)]
        if any(is_number(step.args[i]) for i in places):
            raise NotRecordable(f"it calls {_name(step)} of a number that changes")
        operands = [self._view(step.args[i]) for i in places]
        if step.f is np.matmul and min(x.ndim for x in operands[:2]) > 1:
            x, y, *factor = operands
            return self.machine.product(x, y, out, factor[0] if factor else None)
        f = partial(with_others, self._translated(step), step.args, places, {})
        return partial(_assign, f, operands, out)

    def _translated(self, node: Node) -> Callable[..., Any]:
        """Return the device's own function for one of NumPy's."""
        f, xp = node.f, self.xp
        own = getattr(xp, _name(node), None)
        known = getattr(np, _name(node), None) in (f, getattr(f, "func", None), *getattr(f, "args", ())[:1])
        if own is None or not known or node.kind == "reduce":
            raise NotRecordable(f"there is no kernel for {node.kind} {_name(node)}")
        if node.kind == "ufunc":
            return own  # type: ignore[no-any-return]
        if f.func is not with_others:
            return partial(own, **f.keywords)
        _, args, places, options = f.args
        others = [None if i in places else x for i, x in enumerate(args)]
        others = [xp.asarray(x) if hasattr(x, "shape") else x for x in others]
        return partial(with_others, own, others, places, options)

    def _copies(self) -> Iterator[Callable[[], Any]]:
        """Yield what brings results to the arguments they replace, the ones that are arguments first."""
        moved, late = [], []
        for new, old in zip(self.results, self.inputs[: self.donated], strict=False):
            if new is old or new in self.places.over:
                continue
            source, target = self._view(new), self._view(old)
            if self.fused.sights.of(new).root.kind == "input":
                aside = self.xp.empty(source.shape, source.dtype)
                moved.append(partial(_assign, _itself, [source], aside))
                source = aside
            late.append(partial(_assign, _itself, [source], target))
        yield from moved
        yield from late

    def _array(self, root: Node) -> Array:
        """Return all elements of an argument, a constant or a result."""
        if root in self.fused.places:
            whole, offset, _ = self.fused.places[root]
            return self._array(whole)[offset : offset + root.value.size]
        if root not in self.arrays:  # a constant, or what has no elements
            value = root.value if root.kind == "constant" else np.empty(root.value.shape, root.value.dtype)
            self.arrays[root] = self.xp.ascontiguousarray(self.xp.asarray(value)).reshape(-1)
        return self.arrays[root]

    def _view(self, node: Node) -> Array:
        """Return a node's elements in their shape."""
        sight = self.fused.sights.of(node)
        flat = self._array(sight.root)
        strides = tuple(s * flat.itemsize for s in sight.strides)
        if not node.value.size:
            return self.xp.empty(sight.shape, flat.dtype)
        return self.xp.lib.stride_tricks.as_strided(flat[sight.offset :], sight.shape, strides)

    def _returned(self) -> Any:
        over = self.bound[: min(self.donated, len(self.results))]
        found = iter([*over, *(self._view(node).copy() for node in self.results[len(over) :])])
        return tree_map(lambda node: next(found), self.result)

    # --- many steps ---------------------------------------------------------------------------------------

    def _words(self, calls: Sequence[Sequence[Any]]) -> Array:
        """Return the numbers of some calls, and what is computed of them, in words of 8 bytes."""
        values: dict[Any, list[Any]] = {
            node: [given[i] for given in calls] for i, node in enumerate(self.inputs) if is_number(node)
        }
        for node in self.computed:
            columns = [values[arg] if isinstance(arg, Node) else [arg] * len(calls) for arg in node.args]
            values[node] = [node.f(*column) for column in zip(*columns, strict=True)]
        words = np.zeros((len(calls), self.words), np.int64)
        for k, node in enumerate(self.numbers):
            column = words[:, k].view(np.float64) if isinstance(node.value, float) else words[:, k]
            if {*map(type, values[node])} != {type(node.value)}:
                raise NotRecordable("a number is of another kind than it was")
            try:
                column[:] = values[node]
            except OverflowError as error:
                raise NotRecordable("a number has more than 64 bits") from error
        return self.xp.asarray(words)

    def _stack(self, rows: Sequence[Array]) -> Array:
        """Return arrays as rows of one; those that follow one another in memory need no copy."""
        first, size = rows[0], rows[0].nbytes
        begin = _address(first)
        if all(_address(x) == begin + k * size and x.flags.c_contiguous for k, x in enumerate(rows)):
            strides = size, first.itemsize
            return self.xp.lib.stride_tricks.as_strided(first.reshape(-1), (len(rows), first.size), strides)
        return self.xp.stack([x.reshape(-1) for x in rows])

    def _next(self) -> Callable[[], Any]:
        """Return one call for a step that begins by taking the next of the batches from the tables."""
        if self.next is None:
            targets = [self.slot, *(self.bound[i].reshape(-1) for i in self.fresh)]
            self.tables = [self.xp.empty((ROWS_PER_CALL, x.size), x.dtype) for x in targets]
            self.step = self.xp.zeros((), np.int64)
            pairs = [array for pair in zip(self.tables, targets, strict=True) for array in pair]
            take = partial(self.function("feed"), (1, 1), (1024,), (self.step, *pairs))
            take()  # what is captured must have run; it is taken again
            self.next = self.machine.graph([take, *self.calls])
        return self.next


def look(leaf: Any) -> Any:
    """Return what a recording depends on: shape and dtype, or the type of a number."""
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else type(leaf)


def _outline(leaf: Any) -> Any:
    """Return an array of NumPy without memory for an array of a device."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if hasattr(leaf, "dtype") else leaf


def _overlap(x: Any, y: Any) -> bool:
    """Whether two leaves are arrays that share memory, taken to be in C order."""
    if not all(hasattr(z, "dtype") and not isinstance(z, np.generic) and z.size for z in (x, y)):
        return False
    a, b = _address(x), _address(y)
    return bool(a < b + y.nbytes and b < a + x.nbytes)


def _address(x: Array) -> int:
    return int(x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr)


def _assign(f: Callable[..., Any], operands: Sequence[Array], out: Array) -> None:
    out[...] = f(*operands).reshape(out.shape)


def _itself(x: Array) -> Array:
    return x


def _name(node: Node) -> str:
    f = node.f
    f = f.args[0] if getattr(f, "func", None) is with_others else getattr(f, "func", f)
    return getattr(f, "__name__", str(f))
