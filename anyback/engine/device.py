"""Functions of arrays on a GPU: recorded, fused into kernels, and run with nothing else in between.

A `Program` knows where everything is: results take the place of the arguments they replace, and what passes
from one kernel to the next has its place in one block of memory, used again after its last reader. So a
step is a list of launches that is the same each time, which the device can take as one graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import RLock
from typing import Any, Protocol

import numpy as np

from anyback.arrays import Array
from anyback.engine.cuda import PREAMBLE, Launch, emit, feed, known
from anyback.engine.fusion import Kernel, Sight, fuse, in_c_order
from anyback.engine.recording import Node, NotRecordable, record, with_others
from anyback.trees import form, leaves, rebuilt

__all__ = ["Compiled", "Machine", "Program", "Stepped"]

# Calls of one kind before it is compiled, which takes a second.
PLAIN = 32
# Kinds of arguments that are remembered.
KINDS = 8
# Steps whose numbers are handed over at once.
ROOM = 64
# How far a program may be from the plain formulas, of the size of all it gives, before it is not believed.
TOLERANCE, HALF_TOLERANCE = 1e-2, 1e-1


class Machine(Protocol):
    """What runs a program.

    Attributes
    ----------
    namespace : module
        NumPy's functions on its arrays.
    device : context manager
        In which arrays are made where they belong.
    half : {None, "bfloat16", "float16"}
        To what operands of products are rounded, see `fuse`.
    """

    namespace: Any
    device: Any
    half: str | None

    def compile(self, source: str) -> Callable[[str], Callable[..., Any]]:
        """Compile CUDA C and return ``function(name)``, which is called with grid, block and arrays."""

    def product(self, x: Array, y: Array, out: Array, factor: Array | None) -> Callable[[], Any]:
        """Return what multiplies matrices, or stacks of them, and the product by a factor."""

    def graph(self, calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        """Return one call for many."""

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy on the host."""


class Compiled:
    """A pure function of a device's arrays that is compiled when it has been called a few times.

    Parameters
    ----------
    f : callable
        A pure function of nested tuples and dicts of arrays and numbers.
    machine : Machine
        What runs it.
    donate : int
        How many of the first arguments may be overwritten with the first results.
    fresh : int
        How many of the last arguments are other arrays in each call; they are copied.
    """

    def __init__(self, f: Callable[..., Any], machine: Machine, donate: int = 0, fresh: int = 0) -> None:
        self.f, self.machine, self.donate, self.fresh = f, machine, donate, fresh
        self._programs: dict[Any, Program | int] = {}
        self.lock = RLock()
        self.believed = True

    def __reduce__(self) -> tuple[Any, ...]:  # a copy begins anew
        return type(self), (self.f, self.machine, self.donate, self.fresh)

    def release(self) -> None:
        """Let go of the arrays of earlier calls."""
        for program in self._programs.values():
            if isinstance(program, Program):
                program.release()

    def __call__(self, *args: Any) -> Any:
        """Call the function; results that take the place of arguments are the same arrays each time."""
        with self.lock, self.machine.device:
            program = self.program(args) if self.believed else None
            return self.f(*args) if program is None else program(args)

    def program(self, args: tuple[Any, ...], calls: int = 1) -> Program | None:
        """Return the program for such arguments, if it is time for one and it can be had."""
        key = form(args), *map(_look, leaves(args))
        program = self._programs[key] = self._programs.pop(key, 0)  # the last one used is forgotten last
        if len(self._programs) > KINDS:
            del self._programs[next(iter(self._programs))]
        if isinstance(program, int):
            self._programs[key] = program = program + calls
            if program < PLAIN:
                return None
            try:
                made = Program(self.f, args, self.machine, self.donate, self.fresh)
                self._prove(made, args)
            except Exception as reason:  # whatever it is, the function can still be called
                self.believed = False
                name = getattr(self.f, "__name__", "function")
                warnings.warn(f"{name} runs without kernels of its own, slower: {reason}", stacklevel=4)
                return None
            self._programs[key] = program = made
        return program

    def _prove(self, program: Program, args: tuple[Any, ...]) -> None:
        """Compare a new program once with the plain function, on copies of the arguments."""
        copied = rebuilt(args[: self.donate], lambda x: x.copy())
        found = map(self.machine.to_numpy, leaves(program((*copied, *args[self.donate :]))))
        program.release()
        most = HALF_TOLERANCE if self.machine.half else TOLERANCE
        for a, b in zip(found, map(self.machine.to_numpy, leaves(self.f(*args))), strict=True):
            with np.errstate(all="ignore"):
                size, apart = (np.linalg.norm(np.nan_to_num(x).astype(float)) for x in (b, a - b))
            if a.dtype != b.dtype or not apart <= most * size + np.finfo(np.float32).tiny:
                raise ArithmeticError(f"they give a result of size {size:.3g} that is off by {apart:.3g}")


class Stepped:
    """A function that is called again and again, each time with the state it returned before."""

    def __init__(self, f: Callable[..., Any], machine: Machine, donate: int = 0) -> None:
        self.one = Compiled(f, machine, donate)

    def release(self) -> None:
        """Let go of the arrays of earlier calls."""
        self.one.release()

    def __call__(self, state: Any, fixed: Any, batches: Sequence[Any]) -> Any:
        """Return the state after ``state = f(*state, *fixed, *batch)`` for each batch."""
        one, given = self.one, (*state, *fixed, *batches[0])
        with one.lock, one.machine.device:
            one.fresh = len(batches[0])
            program = one.program(given, len(batches)) if one.believed else None
            if program is not None:
                return program.repeat(state, fixed, batches)
            for batch in batches:
                state = one.f(*state, *fixed, *batch)
            return state


class Program:
    """A function for arguments of one kind.

    Parameters
    ----------
    f, args
        The function, and arguments as it will be called with.
    machine : Machine
        What runs it.
    donate, fresh : int
        See `Compiled`.

    Raises
    ------
    NotRecordable
        If the function does what cannot be written down.
    """

    def __init__(self, f: Any, args: tuple[Any, ...], machine: Machine, donate: int, fresh: int) -> None:
        self.machine, self.xp = machine, machine.namespace
        self.recording = recording = record(f, *rebuilt(args, _outline))
        self.computed = [node for node in recording.nodes if node.kind == "scalar"]
        inputs = recording.inputs
        self.numbers = [n for n in inputs if not hasattr(n.value, "dtype")] + self.computed
        self.results, self.donated = leaves(recording.result), len(leaves(args[:donate]))
        last = len(inputs) - len(leaves(args[len(args) - fresh :]))
        self.copied = [i for i, n in enumerate(inputs) if i >= last and hasattr(n.value, "dtype")]
        for new, old in zip(self.results, inputs[: self.donated], strict=False):
            if _look(new.value) != _look(old.value):
                raise NotRecordable(f"it returns {_look(new.value)} for {_look(old.value)}")
        self.fused = fuse(recording, known, machine.half)
        source, self.launches = emit(self.fused, self.numbers)
        fed = [(inputs[i].value.size, inputs[i].value.dtype) for i in self.copied]
        fed.append((max(1, len(self.numbers)), np.dtype(np.int64)))
        self.function = machine.compile(PREAMBLE + source + feed(fed))
        self.over = dict(self._donated())
        self.starts, self.room = _arranged(*self._lives())
        self.release()

    def release(self) -> None:
        """Let go of all arrays."""
        self.given: list[Any] = []
        self.arrays: dict[Node, Array] = {}
        self.calls: list[Callable[[], Any]] = []
        self.graph: Callable[[], Any] | None = None

    def __call__(self, args: tuple[Any, ...]) -> Any:
        """Do it with these arguments, and return what the function returns."""
        given = leaves(args)
        self._take(given)
        self._put(self.slot, self._words([given]))
        for call in self.calls:
            call()
        return self._returned()

    def repeat(self, state: Any, fixed: Any, batches: Sequence[Any]) -> Any:
        """Do it for one batch after the other, each with the state before, and return the last state."""
        rest = list(batches)
        if self.graph is None:  # what is captured must have run once
            state = self((*state, *fixed, *rest.pop(0)))
        for start in range(0, len(rest), ROOM):
            some = rest[start : start + ROOM]
            columns = [leaves(batch) for batch in some]
            given = leaves((state, fixed))
            if start == 0:
                self._take(given + columns[0])
            graph = self._graph()
            self._put(self.tables[-1], self._words([given + column for column in columns]))
            for table, i in zip(self.tables, self.copied, strict=False):
                self._put(table, self._stack([column[i - len(given)] for column in columns]))
            self.step[...] = 0
            for _ in some:
                graph()
        return self._returned()

    # --- where everything is --------------------------------------------------------------------------

    def _donated(self) -> Iterator[tuple[Node, Node]]:
        """Yield (result, argument) where the kernel that makes the result can put it over the argument."""
        roots = [self.fused.sights.of(new).root for new in self.results]
        for new, old in zip(self.results, self.recording.inputs[: self.donated], strict=False):
            sight = self.fused.sights.of(new)
            root, steps = sight.root, self.fused.steps
            at = next((i for i, s in enumerate(steps) if isinstance(s, Kernel) and root in s.roles), -1)
            whole = sight == Sight(root, 0, root.value.shape, in_c_order(root.value.shape))
            if at < 0 or not whole or root in self.fused.places or roots.count(root) > 1:
                continue
            kernel = steps[at]
            assert isinstance(kernel, Kernel)
            later = any(old in self._read(step) for step in steps[at + 1 :])
            stores = any(r == "all" and node in self.fused.stored for node, r in kernel.roles.items())
            if later or (kernel.axes and stores) or old in roots:
                continue
            readers = [n for n in kernel.roles if old in self._roots(n)]
            if all(self._same_element(kernel, reader, old, root) for reader in readers):
                yield root, old

    def _same_element(self, kernel: Kernel, reader: Node, old: Node, new: Node) -> bool:
        """Whether a reader of `old` is done with each element when that of `new` is written."""
        if reader.kind in ("take", "reduce"):
            return False
        shape = reader.value.shape
        sights = [s for s in map(self.fused.sights.of, _nodes(reader)) if s.root is old]
        alike = all((s.offset, s.along(shape)) == (0, _once(shape)) for s in sights)
        return alike and kernel.roles[reader] == kernel.roles[new] and reader.value.size == new.value.size

    def _roots(self, node: Node) -> list[Node]:
        return [self.fused.sights.of(arg).root for arg in _nodes(node)]

    def _read(self, step: Kernel | Node) -> set[Node]:
        nodes = step.roles if isinstance(step, Kernel) else [step]
        return {root for node in nodes for root in self._roots(node)}

    def _lives(self) -> tuple[dict[Node, int], dict[Node, tuple[int, int]]]:
        """Return of what is stored how many bytes it has, and from which step to which it lives."""
        lives: dict[Node, tuple[int, int]] = {}
        end = len(self.fused.steps)
        for i, step in enumerate(self.fused.steps):
            made = step.roles if isinstance(step, Kernel) else [step]
            for node in made:
                if node in self.fused.stored and node not in self.over:
                    whole = self._whole(node)
                    lives[whole] = lives.get(whole, (i, i))[0], i
            for root in self._read(step):
                whole = self._whole(root)
                if whole in lives:
                    lives[whole] = lives[whole][0], i
        for node in self.results:
            whole = self._whole(self.fused.sights.of(node).root)
            if whole in lives:
                lives[whole] = lives[whole][0], end
        return {node: node.value.nbytes for node in lives}, lives

    def _whole(self, node: Node) -> Node:
        """Return the concatenation that a node is a piece of, or itself."""
        return self.fused.places.get(node, (node,))[0]

    # --- with the arrays of a call --------------------------------------------------------------------

    def _take(self, given: Sequence[Any]) -> None:
        """Take up the arrays of a call: what may be overwritten or changes is copied, or all bound anew."""
        inputs = self.recording.inputs
        kept = range(self.donated), self.copied
        arrays = [i for i, node in enumerate(inputs) if hasattr(node.value, "dtype")]
        fixed = [i for i in arrays if not any(i in some for some in kept)]
        if not self.given or any(given[i] is not self.given[i] for i in fixed):
            self._bind(given)
        for i in (*range(self.donated), *self.copied):
            if hasattr(inputs[i].value, "dtype") and given[i] is not self.bound[i]:
                self.bound[i][...] = given[i]
        self.given = [x if i in fixed else None for i, x in enumerate(given)]

    def _bind(self, given: Sequence[Any]) -> None:
        """Place everything around these arrays."""
        self.release()
        inputs, xp = self.recording.inputs, self.xp
        self.bound = list(given)
        for i, node in enumerate(inputs):
            if not hasattr(node.value, "dtype"):
                continue
            shared = i < self.donated and any(_overlap(given[i], x) for x in (*given[:i], *given[i + 1 :]))
            if i in self.copied or shared or not given[i].flags.c_contiguous:
                self.bound[i] = xp.ascontiguousarray(given[i]).copy().reshape(node.value.shape)
            self.arrays[node] = self.bound[i].reshape(-1)
        block = xp.empty(self.room, np.uint8)
        for node, start in self.starts.items():
            self.arrays[node] = block[start : start + node.value.nbytes].view(node.value.dtype)
        for node, old in self.over.items():
            self.arrays[node] = self.arrays[old]
        self.slot = xp.zeros((1, max(1, len(self.numbers))), np.int64)
        self.step = xp.zeros((), np.int64)
        self.tables = [xp.empty((ROOM, inputs[i].value.size), inputs[i].value.dtype) for i in self.copied]
        self.tables.append(xp.empty((ROOM, self.slot.size), np.int64))
        self.calls = list(map(self._call, self.launches)) + list(self._copies())

    def _call(self, step: Launch | Node) -> Callable[[], Any]:
        if isinstance(step, Launch):
            arrays = [self.slot if node is None else self._array(node) for node in step.buffers]
            return partial(self.function(step.name), step.grid, step.block, tuple(arrays))
        out = self._seen(step)
        operands = [self._seen(arg) for arg in _nodes(step)]
        if step.f is np.matmul and min(a.ndim for a in operands[:2]) > 1:
            x, y, *factor = operands
            return self.machine.product(x, y, out, factor[0] if factor else None)
        return partial(_assign, self._translated(step), operands, out)

    def _translated(self, node: Node) -> Callable[..., Any]:
        """Return the device's own function for one of NumPy's."""
        f, xp = node.f, self.xp
        if node.kind == "ufunc":
            return partial(getattr(xp, f.__name__))
        if node.kind == "call" and f.func is with_others:
            other, args, places, options = f.args
            if not any(hasattr(x, "shape") for x in leaves((args, options))):
                return partial(with_others, getattr(xp, other.__name__), args, places, options)
        elif node.kind == "call":
            return partial(getattr(xp, f.func.__name__), **f.keywords)
        raise NotRecordable(f"there is no kernel for {node.kind} {getattr(f, '__name__', f)}")

    def _copies(self) -> Iterator[Callable[[], Any]]:
        """Yield what brings results to the arguments they replace, the ones that are arguments first."""
        moved, late = [], []
        for new, old in zip(self.results, self.recording.inputs[: self.donated], strict=False):
            if new is old or new in self.over:
                continue
            source, target = self._seen(new), self._seen(old)
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
            self.arrays[root] = self.xp.asarray(value).reshape(-1)
        return self.arrays[root]

    def _seen(self, node: Node) -> Array:
        """Return a node's elements in their shape."""
        sight = self.fused.sights.of(node)
        flat = self._array(sight.root)
        strides = tuple(s * flat.itemsize for s in sight.strides)
        if not node.value.size:
            return self.xp.empty(sight.shape, flat.dtype)
        return self.xp.lib.stride_tricks.as_strided(flat[sight.offset :], sight.shape, strides)

    def _returned(self) -> Any:
        inputs = self.recording.inputs
        over = dict(zip(self.results[: self.donated], self.bound, strict=False))
        kept = set(inputs[self.donated :])

        def found(node: Node) -> Array:
            return over[node] if node in over and node not in kept else self._seen(node).copy()

        return rebuilt(self.recording.result, found)

    # --- numbers ------------------------------------------------------------------------------------------

    def _words(self, calls: Sequence[Sequence[Any]]) -> Array:
        """Return the numbers of some calls, and what is computed of them, in words of 8 bytes."""
        values: dict[Any, list[Any]] = {}
        for i, node in enumerate(self.recording.inputs):
            if node in self.numbers:
                values[node] = [given[i] for given in calls]
        for node in self.computed:
            columns = [values[arg] if isinstance(arg, Node) else [arg] * len(calls) for arg in node.args]
            values[node] = [node.f(*column) for column in zip(*columns, strict=True)]
        words = np.zeros((len(calls), self.slot.size), np.int64)
        for k, node in enumerate(self.numbers):
            column = words[:, k].view(np.float64) if isinstance(node.value, float) else words[:, k]
            column[:] = values[node]
        return self.xp.asarray(words)

    def _stack(self, rows: Sequence[Array]) -> Array:
        """Return arrays as rows of one; those that follow one another in memory need no copy."""
        first, size = rows[0], rows[0].nbytes
        begin = _address(first)
        if all(_address(x) == begin + k * size and x.flags.c_contiguous for k, x in enumerate(rows)):
            strides = size, first.itemsize
            return self.xp.lib.stride_tricks.as_strided(first.reshape(-1), (len(rows), first.size), strides)
        return self.xp.stack([x.reshape(-1) for x in rows])

    def _put(self, table: Array, rows: Array) -> None:
        table[: len(rows)] = rows

    def _graph(self) -> Callable[[], Any]:
        """Return one call for a step that begins by taking the next of the batches from the tables."""
        if self.graph is None:
            targets = [self.bound[i].reshape(-1) for i in self.copied] + [self.slot]
            pairs = [array for pair in zip(self.tables, targets, strict=True) for array in pair]
            take = partial(self.function("feed"), (1, 1), (1024,), (self.step, *pairs))
            self.graph = self.machine.graph([take, *self.calls])
        return self.graph


def _arranged(sizes: dict[Node, int], lives: dict[Node, tuple[int, int]]) -> tuple[dict[Node, int], int]:
    """Return where in a block of memory each result begins, and the size of the block.

    The largest come first, each at the lowest place that is free as long as it lives.
    """
    starts: dict[Node, int] = {}
    for node in sorted(sizes, key=lambda node: -sizes[node]):
        begin, end = lives[node]
        taken = sorted(
            (start, start + _padded(sizes[other]))
            for other, start in starts.items()
            if lives[other][0] <= end and begin <= lives[other][1]
        )
        at = 0
        for start, stop in taken:
            if at + _padded(sizes[node]) <= start:
                break
            at = max(at, stop)
        starts[node] = at
    return starts, max((start + _padded(sizes[node]) for node, start in starts.items()), default=0)


def _padded(size: int) -> int:
    return -(-size // 256) * 256


def _nodes(node: Node) -> list[Node]:
    return [arg for arg in node.args if isinstance(arg, Node) and hasattr(arg.value, "dtype")]


def _once(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s if n > 1 else 0 for n, s in zip(shape, in_c_order(shape), strict=True))


def _overlap(x: Any, y: Any) -> bool:
    """Whether two leaves are arrays in C order that share memory."""
    if not (hasattr(x, "dtype") and hasattr(y, "dtype") and x.size and y.size):
        return False
    a, b = _address(x), _address(y)
    return bool(a < b + y.nbytes and b < a + x.nbytes)


def _address(x: Array) -> int:
    return int(x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr)


def _assign(f: Callable[..., Any], operands: Sequence[Array], out: Array) -> None:
    out[...] = f(*operands).reshape(out.shape)


def _itself(x: Array) -> Array:
    return x


def _outline(leaf: Any) -> Any:
    """Return an array of NumPy without memory for an array of a device."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if hasattr(leaf, "dtype") else leaf


def _look(leaf: Any) -> Any:
    """Return what a recording depends on: shape and dtype, or the type of a number."""
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else type(leaf)
