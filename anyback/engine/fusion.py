"""Which operations of a recording are done together, in one kernel of a GPU.

Every operation that is a kernel of its own reads and writes the memory of the GPU, and has to be started. A
`Kernel` goes over the elements of one shape and does all that can be done while it is there: elementwise
operations, and reductions along some axes, whose results the same kernel may use again, as softmax does. What
passes between its operations stays in registers. Matrix products and functions that are not known here stand
alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from anyback.engine.recording import Node, Recording, base, is_reshape
from anyback.pytree import leaves

__all__ = ["Fused", "Kernel", "Sight", "fuse"]

# Sums are made of sums of parts where there is too much for one block of threads each: of more elements than
# LONG, of which there are fewer than FEW; and down columns of more than TALL elements, or of WIDE arrays.
LONG, FEW, TALL, WIDE = 1 << 14, 1 << 8, 1 << 12, 1 << 22
# Elements of a part, along rows and down columns, and the most parts.
ALONG, DOWN, PARTS = 1 << 12, 1 << 9, 1 << 15


@dataclass(frozen=True)
class Sight:
    """Where an operand is: elements of what `root` gives, from `offset` on, by `strides`, in elements."""

    root: Node
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def along(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides when it is broadcast to `shape`, 0 along axes of one element."""
        missing = [0] * (len(shape) - len(self.shape))
        return (*missing, *ones_out(self.shape, self.strides))


@dataclass(eq=False)
class Kernel:
    """What is done in one pass over the elements of one shape.

    Attributes
    ----------
    shape : tuple of int
        Of the elements it goes over.
    axes : tuple of int
        What its reductions go along, () where it has none.
    roles : dict of Node to str
        Its operations, and whether there is a result for each element ("all"), one for each of the sums
        ("sums"), or whether it is such a reduction itself ("reduction").
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    roles: dict[Node, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Elements it goes over."""
        return prod(self.shape)

    @property
    def inner(self) -> int:
        """Elements of a sum."""
        return prod(self.shape[axis] for axis in self.axes)

    @property
    def outer(self) -> int:
        """Sums, or elements where there are none."""
        return self.size // self.inner

    @property
    def parts(self) -> int:
        """Parts of which each sum is made."""
        return next((node.options["parts"] for node in self.roles if "parts" in node.options), 1)


@dataclass(frozen=True)
class Fused:
    """A recording as what is done on a GPU, one after the other.

    Attributes
    ----------
    steps : list of Kernel and Node
        In order; a node is a matrix product, or a call of another function.
    places : dict of Node to (Node, int, tuple of int)
        Pieces of concatenations: into which, from which element on, and by which strides.
    stored : set of Node
        What other steps read or the function returns; all else stays inside of its kernel.
    sights : Sights
        Where operands are.
    """

    steps: list[Kernel | Node]
    places: dict[Node, tuple[Node, int, tuple[int, ...]]]
    stored: set[Node]
    sights: Sights


class Sights:
    """Where operands are, views followed to what they are views of."""

    def __init__(self) -> None:
        self._seen: dict[Node, tuple[Node, np.ndarray]] = {}

    def of(self, node: Node) -> Sight:
        """Return where a node's elements are."""
        root, x = self._array(node)
        size = x.itemsize
        return Sight(root, (x.ctypes.data - _NOWHERE) // size, x.shape, tuple(s // size for s in x.strides))

    def contiguous(self, node: Node) -> bool:
        """Whether elements in C order lie one after the other."""
        return self._array(node)[1].flags.c_contiguous

    def _array(self, node: Node) -> tuple[Node, np.ndarray]:
        """Return the root of a node, and an array that is never read, with its strides and offset."""
        if node not in self._seen:
            if node.kind == "view":
                root, x = self._array(node.args[0])
                self._seen[node] = root, node.f(x)
            else:
                self._seen[node] = node, _outline(node.value.shape, node.value.dtype)
        return self._seen[node]


_BYTES = np.zeros(64, np.uint8)
_NOWHERE = _BYTES.ctypes.data


def _outline(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array in C order that has only an address: to be sliced and turned, never to be read."""
    strides = tuple(s * np.dtype(dtype).itemsize for s in in_c_order(shape))
    return np.lib.stride_tricks.as_strided(_BYTES[: np.dtype(dtype).itemsize].view(dtype), shape, strides)


def in_c_order(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of an array in C order."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def elementwise(node: Node) -> bool:
    """Whether element i of the result is made of element i of each operand, or of a row that is taken."""
    return node.kind in ("where", "cast", "half", "scale", "take") or (
        node.kind == "ufunc" and node.f is not np.matmul and not node.f.signature
    )


def fuse(recording: Recording, known: Callable[[Node], bool], half: str | None = None) -> Fused:
    """Gather the operations of a recording into kernels.

    Parameters
    ----------
    recording : Recording
        It is taken apart: its nodes are changed.
    known : callable
        ``known(node)``: whether an elementwise operation or a reduction can be part of a kernel.
    half : {None, "bfloat16", "float16"}
        What products take in the place of float32, in words of 16 bits. Since float16 ends at 65504 and
        loses digits below 6e-5, what is rounded to it is scaled, by the power of two that brings its largest
        element near the end, and a product has a third operand: the factor by which it is scaled back.
    """
    return _Fusion(recording, known, half).fused()


class _Fusion:
    def __init__(self, recording: Recording, known: Callable[[Node], bool], half: str | None) -> None:
        self.results, self.known, self.half = leaves(recording.result), known, half
        self.halves: dict[Node, Node] = {}
        self.scales: dict[Node, tuple[Node, Node]] = {}
        self.sights, self.places = Sights(), dict[Node, tuple[Node, int, tuple[int, ...]]]()
        self.nodes = list(self._prepared(recording.nodes))
        self.order = {node: i for i, node in enumerate(self.nodes)}
        self.at: dict[Node, int] = {}  # of which step a node is
        self.steps: list[Kernel | Node] = []
        self.readers: dict[Node, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for sight in self._operands(node) if node.value.size else ():
                self.readers[sight.root].append(node)

    def fused(self) -> Fused:
        for node in self.nodes:
            if not node.value.size:
                continue
            if node.kind == "concat":
                self.at[node] = max(self.at[p] for p, (whole, *_) in self.places.items() if whole is node)
            else:
                self._place(node)
        for node in reversed(self.nodes):
            self._sink(node)
        steps = [step for step in self.steps if not isinstance(step, Kernel) or step.roles]
        for step in steps:
            if isinstance(step, Kernel):
                step.roles = dict(sorted(step.roles.items(), key=lambda item: self.order[item[0]]))
        stored = {node for node in self.nodes if self._stored(node)}
        return Fused(steps, self.places, stored, self.sights)

    # --- what the steps have to know is said in nodes -------------------------------------------------

    def _prepared(self, nodes: Sequence[Node]) -> Iterator[Node]:
        """Yield what is computed: views that need a copy, pieces to be joined and long sums made explicit."""
        constants: dict[int, Node] = {}
        for node in nodes:
            for arg in node.args:
                if hasattr(arg, "shape"):
                    constants.setdefault(id(arg), Node("constant", None, (), arg))
            node.args = tuple(constants.get(id(arg), arg) for arg in node.args)
            if is_reshape(node) and not self.sights.contiguous(node.args[0]):
                yield self._copy_of(node)
            elif node.kind == "concat":
                yield from self._pieces(node)
                yield node
            elif node.kind == "reduce":
                yield from self._reduction(node)
            elif node.kind not in ("view", "scalar"):
                if self.half and node.f is np.matmul and node.value.dtype == np.float32:
                    yield from self._rounded(node)
                yield node

    def _copy_of(self, node: Node) -> Node:
        """Give a reshaped view a copy of its own to be a view of."""
        source = node.args[0]
        copy = Node("cast", None, (source,), source.value)
        node.args = (copy,)
        return copy

    def _rounded(self, product: Node) -> Iterator[Node]:
        """Let a product take its operands rounded, and yield what rounds them; one of a vector is left."""
        if min(arg.value.ndim for arg in product.args) < 2:
            return
        roots = [base(arg) for arg in product.args]
        for root in roots:
            if root not in self.halves:
                scale: tuple[Node, ...] = ()
                if self.half == "float16":
                    yield from self._scaled(root)
                    scale = (self.scales[root][0],)
                value = np.broadcast_to(np.zeros((), np.uint16), root.value.shape)
                self.halves[root] = Node("half", self.half, (root, *scale), value)
                yield self.halves[root]
        product.args = tuple(self._of_half(arg) for arg in product.args)
        if self.half == "float16":
            factors = [self.scales[root][1] for root in roots]
            back = Node("ufunc", np.multiply, (*factors,), factors[0].value)
            product.args = (*product.args, back)
            yield back

    def _scaled(self, root: Node) -> Iterator[Node]:
        """Yield what finds the scale of an array, and its reciprocal."""
        size = Node("ufunc", np.absolute, (root,), root.value)
        number = np.zeros((), np.float32)
        largest = Node("reduce", np.maximum, (size,), number, {"axis": None, "keepdims": False})
        scale = Node("scale", None, (largest,), number)
        self.scales[root] = scale, Node("ufunc", np.reciprocal, (scale,), number)
        yield size
        yield from self._reduction(largest)
        yield from self.scales[root]

    def _of_half(self, node: Node) -> Node:
        """Return what is seen of a rounded array where a node is seen."""
        if node.kind != "view":
            return self.halves[node]
        source = self._of_half(node.args[0])
        value = np.broadcast_to(np.zeros((), np.uint16), node.value.shape)
        return Node("view", node.f, (source,), value)

    def _pieces(self, joined: Node) -> Iterator[Node]:
        """Let pieces be computed where they belong, and yield copies of those that are elsewhere."""
        axis = joined.f.args[0] % joined.value.ndim
        strides, start = in_c_order(joined.value.shape), 0
        for piece in joined.args:
            shape = np.shape(getattr(piece, "value", piece))
            place = joined, start * strides[axis], strides
            start += shape[axis]
            if not prod(shape):
                continue
            if prod(joined.value.shape[:axis]) == 1 and self._can_be_made_in(joined, piece):
                root = self.sights.of(piece).root
                self.places[root] = joined, place[1], in_c_order(root.value.shape)
            else:
                value = np.broadcast_to(np.zeros((), joined.value.dtype), shape)
                copy = Node("cast", None, (piece,), value)
                self.places[copy] = place
                yield copy

    def _can_be_made_in(self, joined: Node, piece: Node) -> bool:
        """Whether a piece is all that an operation gives, in order, which has no other place yet."""
        sight = self.sights.of(piece)
        root = sight.root
        computed = root.kind not in ("input", "constant", "concat", "call") and root not in self.places
        whole = prod(sight.shape) == root.value.size and not sight.offset
        in_order = sight.along(sight.shape) == ones_out(sight.shape, in_c_order(sight.shape))
        return computed and whole and in_order and root.value.dtype == joined.value.dtype

    def _reduction(self, node: Node) -> Iterator[Node]:
        """Yield a reduction; a long one as that of its parts, and theirs."""
        x, axis = node.args[0], node.options["axis"]
        shape = np.shape(x.value)
        axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        node.options = {"axes": tuple(sorted(a % len(shape) for a in axes))}
        if not node.options["axes"]:
            node.kind = "cast"
        inner = prod(shape[a] for a in node.options["axes"])
        if not inner:  # a sum of nothing: of the others NumPy has refused it
            node.kind, node.args = "cast", (0,)
            yield node
            return
        outer, last = prod(shape) // inner, len(shape) - 1
        if last in node.options["axes"] or outer == 1:
            parts = -(-inner // ALONG) if inner > LONG and outer < FEW else 1
        else:
            parts = -(-inner // DOWN) if inner > TALL or prod(shape) > WIDE else 1
        if parts > 1 and self.known(node):
            parts = min(parts, PARTS)
            value = np.broadcast_to(np.zeros((), node.value.dtype), (parts, outer))
            some = Node("reduce", node.f, (x,), value, node.options | {"parts": parts})
            node.args, node.options = (some,), {"axes": (0,)}
            yield some
        yield node

    def _operands(self, node: Node) -> list[Sight]:
        if node.kind == "concat":
            return []
        return [self.sights.of(arg) for arg in array_args(node)]

    # --- where each is done -----------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        """Put a node into the first kernel that it fits in after what it needs, or a step of its own."""
        ready = max((self.at.get(s.root, -1) for s in self._operands(node)), default=-1)
        if (elementwise(node) or node.kind == "reduce") and self.known(node):
            for i in range(max(ready, 0), len(self.steps)):
                if self._joins(i, node):
                    return
            shape = np.shape(node.args[0].value) if node.kind == "reduce" else node.value.shape
            self.steps.append(Kernel(shape))
            joined = self._joins(len(self.steps) - 1, node)
            assert joined
        else:
            self.steps.append(node)
            self.at[node] = len(self.steps) - 1

    def _joins(self, i: int, node: Node) -> bool:
        """Put a node into step i if it fits in there."""
        kernel = self.steps[i]
        role = self._role(i, kernel, node) if isinstance(kernel, Kernel) else None
        if role is None or not isinstance(kernel, Kernel):
            return False
        if role == "reduction":
            kernel.shape, kernel.axes = np.shape(node.args[0].value), node.options["axes"]
        kernel.roles[node] = role
        self.at[node] = i
        return True

    def _role(self, i: int, kernel: Kernel, node: Node) -> str | None:
        """Return what a node would be in a kernel, or None if it cannot be there."""
        if node.kind == "reduce":
            x = np.shape(node.args[0].value)
            alike = (x, node.options["axes"]) == (kernel.shape, kernel.axes)
            first = not kernel.axes and prod(x) == kernel.size
            if not (alike or first):
                return None
            domain = Kernel(x, node.options["axes"], kernel.roles)
            return "reduction" if self._reads(i, domain, node, "all", x) else None
        for role, size in (("all", kernel.size), ("sums", kernel.outer)):
            fits = node.value.size == size and (role == "all" or kernel.axes)
            if fits and self._reads(i, kernel, node, role, node.value.shape):
                return role
        return None

    def _reads(self, i: int, kernel: Kernel, node: Node, role: str, shape: tuple[int, ...]) -> bool:
        """Whether a node can read its operands in step i: from memory, or from where they were made."""
        for sight in self._operands(node):
            at = self.at.get(sight.root, -1)
            if at > i or (at == i and (node.kind == "take" or not self._inside(kernel, sight, role, shape))):
                return False
        return True

    def _inside(self, kernel: Kernel, sight: Sight, role: str, shape: tuple[int, ...]) -> bool:
        """Whether what a kernel made is what it holds for the very element that is computed now."""
        held = kernel.roles.get(sight.root)
        if held is None or sight.offset or "parts" in sight.root.options:
            return False
        strides = sight.along(shape)
        held = "sums" if held == "reduction" else held
        if held == role:
            return prod(sight.shape) == prod(shape) and strides == ones_out(shape, in_c_order(shape))
        if held == "all" or shape != kernel.shape:
            return False
        kept = [1 if axis in kernel.axes else n for axis, n in enumerate(shape)]
        expected = [0 if axis in kernel.axes else s for axis, s in enumerate(in_c_order(kept))]
        return strides == ones_out(kept, expected)

    def _sink(self, node: Node) -> None:
        """Compute what only one later kernel needs there, where it need not be stored."""
        at = self.at.get(node)
        readers = self.readers[node]
        if at is None or not elementwise(node) or not isinstance(self.steps[at], Kernel):
            return
        if not readers or self._returned(node) or node in self.places:
            return
        targets = {self.at[reader] for reader in readers if reader in self.at}
        i = next(iter(targets)) if len(targets) == 1 else at
        kernel, own = self.steps[i], self.steps[at]
        if i == at or not isinstance(kernel, Kernel) or not isinstance(own, Kernel):
            return
        for role, size in (("all", kernel.size), ("sums", kernel.outer)):
            if node.value.size != size or (role == "sums" and not kernel.axes):
                continue
            if not self._reads(i, kernel, node, role, node.value.shape):
                continue
            kernel.roles[node] = role
            self.at[node] = i
            if all(self._rereads(i, kernel, reader) for reader in readers):
                del own.roles[node]
                return
            del kernel.roles[node]
            self.at[node] = at

    def _rereads(self, i: int, kernel: Kernel, reader: Node) -> bool:
        role = kernel.roles[reader]
        shape = kernel.shape if role == "reduction" else reader.value.shape
        return self._reads(i, kernel, reader, "all" if role == "reduction" else role, shape)

    def _returned(self, node: Node) -> bool:
        return any(not is_number(r) and self.sights.of(r).root is node for r in self.results)

    def _stored(self, node: Node) -> bool:
        """Whether a node's result is needed outside of its kernel."""
        step = self.steps[self.at[node]] if node in self.at else None
        if not isinstance(step, Kernel) or node not in step.roles or node in self.places:
            return True
        return self._returned(node) or any(self.at[reader] != self.at[node] for reader in self.readers[node])


def ones_out(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return strides with 0 along axes of one element."""
    return tuple(s if n > 1 else 0 for n, s in zip(shape, strides, strict=True))


def array_args(node: Node) -> list[Node]:
    """Return the operands that are arrays, without the numbers."""
    return [arg for arg in node.args if isinstance(arg, Node) and not is_number(arg)]


def is_number(arg: Any) -> bool:
    """Whether an operand is a Python number that is given anew for each call."""
    return isinstance(arg, Node) and not hasattr(arg.value, "dtype")
