"""A pure function of arrays, written down: every operation it does on NumPy arrays, in order.

The function is called once with stand-ins that note what is done with them. Each note, a `Node`, has the
operation, what it was applied to, and the shape and dtype of what came out, which hold for every other call
with arguments of the same shapes and dtypes. Only functions that are not known here are called, on zeros.
Python numbers among the arguments are noted too, so that the learning rate of another step can take their
place.

What cannot be written down is a choice by value: `float`, `bool` or `int` of an array that is not there yet.
It raises `NotRecordable`, and whoever asked calls the function as it stands.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from anyback.arrays import numpy_namespace, prefer
from anyback.pytree import leaves, tree_map

__all__ = [
    "Node",
    "NotRecordable",
    "Recording",
    "base",
    "is_reshape",
    "record",
    "resolved",
    "with_others",
]

# What stays a Python number, and so takes the dtype of the array it meets; NumPy's float64 is no such number.
_NUMBERS = (int, float, bool)
_ON_NUMBERS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.negative: operator.neg,
    np.power: operator.pow,
    np.bitwise_xor: operator.xor,
    np.bitwise_and: operator.and_,
}


_OF_UNKNOWN_SIZE = {
    *("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values", "union1d", "intersect1d"),
    *("nonzero", "flatnonzero", "argwhere", "bincount", "trim_zeros", "compress", "extract", "setdiff1d"),
}


_WRITING = {"copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal"}


class NotRecordable(RuntimeError):
    """A function does what cannot be written down.

    Examples
    --------
    >>> record(lambda x: float(x), np.ones(()))
    Traceback (most recent call last):
    anyback.engine.recording.NotRecordable: it looks at a value
    """


@dataclass(eq=False, repr=False)  # its operands are nodes, whose operands are nodes
class Node:
    """One operation, or one argument of the function.

    Attributes
    ----------
    kind : str
        "input", "constant" (among results), "ufunc", "reduce", "view", "cast", "take", "where", "concat",
        "scalar" (of Python numbers only), or "call" for any other function of NumPy.
    f : callable
        What is called: a ufunc, or a function of the values of `args`.
    args : tuple
        Nodes, and constants: NumPy arrays and Python numbers.
    value : array or number
        A number or a constant as it is; of an array its shape and dtype, without memory of its own.
    options : mapping
        "axis" and "keepdims" of a reduction.

    Examples
    --------
    >>> node = record(lambda x: x + 1.0, np.ones(2)).result
    >>> node.kind, node.f, node.args[1], node.value.shape
    ('ufunc', <ufunc 'add'>, 1.0, (2,))
    """

    kind: str
    f: Any
    args: tuple[Any, ...]
    value: Any
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """What `record` gives.

    Attributes
    ----------
    inputs : list of Node
        One for each leaf of the arguments, see `anyback.pytree`.
    nodes : list of Node
        The operations whose results are needed, in the order of their calls.
    result : nested tuples and dicts
        What the function returned, with nodes in the place of arrays.

    Examples
    --------
    >>> recording = record(lambda x, y: (x * y, x), np.ones(2), 3.0)
    >>> len(recording.inputs), len(recording.nodes), recording.result[1] is recording.inputs[0]
    (2, 1, True)
    """

    inputs: list[Node]
    nodes: list[Node]
    result: Any


def record(f: Callable[..., Any], *args: Any) -> Recording:
    """Call ``f`` on stand-ins for its arguments, which note what is done with them.

    Parameters
    ----------
    f : callable
        A pure function of nested tuples and dicts of NumPy arrays and Python numbers.
    *args
        Its arguments; they are not written to.

    Returns
    -------
    Recording
        What it did.

    Raises
    ------
    NotRecordable
        If it asks for a value, or calls what is not known here.

    Examples
    --------
    >>> from anyback.activations import relu
    >>> [node.f.__name__ for node in record(lambda x: relu(x * 2.0)[0], np.ones(3)).nodes]
    ['multiply', 'maximum']
    """
    tape, inputs = Tape(), list[Node]()

    def given(x: Any) -> Recorded:
        value = _outline(x.dtype, x.shape) if isinstance(x, np.ndarray | np.generic) else x
        inputs.append(Node("input", None, (), value))
        return Recorded(inputs[-1], tape)

    def returned(x: Any) -> Node:
        if isinstance(x, Recorded) and type(x.node.value) in _NUMBERS:
            raise NotRecordable("it returns a number that changes")
        return x.node if isinstance(x, Recorded) else Node("constant", None, (), np.asarray(x))

    result = tree_map(returned, f(*tree_map(given, args)))
    if any(now.tobytes() != known for now, known in tape.constants):
        raise NotRecordable("it writes to an array that it has used")
    needed, nodes = set(leaves(result)), []
    for node in reversed(tape.nodes):
        if node in needed:
            nodes.append(node)
            needed.update(arg for arg in node.args if isinstance(arg, Node))
    return Recording(inputs, nodes[::-1], result)


def base(node: Node) -> Node:
    """Return what a view, or a view of a view, is seen in.

    Examples
    --------
    >>> recording = record(lambda x: x[1:][0], np.ones(3))
    >>> base(recording.result) is recording.inputs[0]
    True
    """
    while node.kind == "view":
        node = node.args[0]
    return node


def is_reshape(node: Any) -> bool:
    """Whether a node is the same elements in the same order, in another shape.

    Examples
    --------
    >>> from anyback.arrays import namespace
    >>> is_reshape(record(lambda x: namespace(x).reshape(x, (3, 2)), np.ones(6)).result)
    True
    """
    return isinstance(node, Node) and node.kind == "view" and getattr(node.f, "func", None) is _reshaped


@dataclass
class Tape:
    """What was noted so far.

    Attributes
    ----------
    nodes : list of Node
        In order.
    constants : list of (array, bytes)
        Arrays that were met on the way, and what they held then.

    Examples
    --------
    >>> Tape().nodes
    []
    """

    nodes: list[Node] = field(default_factory=list)
    constants: list[tuple[np.ndarray, bytes]] = field(default_factory=list)


class Recorded(np.lib.mixins.NDArrayOperatorsMixin):
    """An array, or a number, that notes what is done with it.

    Examples
    --------
    >>> tape = Tape()
    >>> x = Recorded(Node("input", None, (), np.ones(2)), tape)
    >>> y = x + 1.0
    >>> y.shape, tape.nodes[0].f
    ((2,), <ufunc 'add'>)
    """

    device = "cpu"

    def __init__(self, node: Node, tape: Tape) -> None:
        self.node, self.tape = node, tape

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
        if out := options.pop("out", ()):
            return _in_place(ufunc, method, out[0], args)
        if method == "reduce":  # ufunc.reduce(x, axis, dtype, keepdims=...)
            given = dict(zip(("x", "axis", "dtype"), args, strict=False)) | options
            if given.get("dtype") is None and set(given) <= {"x", "axis", "dtype", "keepdims"}:
                return _note(
                    "reduce", ufunc, given["x"], axis=given.get("axis"), keepdims=given.get("keepdims", False)
                )
        if method != "__call__" or options:
            raise NotRecordable(f"it calls {ufunc.__name__}.{method} with {sorted(options)}")
        return _note("ufunc", ufunc, *args)

    def __array_function__(self, f: Any, types: Any, args: Any, options: Any) -> Any:
        return getattr(_Namespace, f.__name__, partial(_call, f))(*args, **options)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array; () of a number."""
        return np.shape(self.node.value)

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements."""
        return int(np.size(self.node.value))

    @property
    def dtype(self) -> Any:
        """Of the array; a number has none."""
        if type(self.node.value) in _NUMBERS:
            raise NotRecordable("it asks for the dtype of a Python number")
        return self.node.value.dtype

    @property
    def mT(self) -> Any:
        """The transposed matrices."""
        return _note("view", partial(np.swapaxes, axis1=-1, axis2=-2), self)

    @property
    def T(self) -> Any:
        """The array with its axes in reverse order."""
        return _note("view", np.transpose, self)

    def __getitem__(self, place: Any) -> Any:
        places = place if isinstance(place, tuple) else (place,)
        for p in places:
            if isinstance(p, bool) or not (p is None or p is ... or isinstance(p, int | np.integer | slice)):
                raise NotRecordable("it takes elements at places that are arrays")
        return _note("view", partial(_part, places), self)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _looked_at(self, *_: Any) -> Any:
        raise NotRecordable("it looks at a value")

    __float__ = __int__ = __bool__ = __index__ = __array__ = _looked_at

    # Methods of NumPy's arrays.

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return sums."""
        return _Namespace.sum(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the largest elements."""
        return _Namespace.max(self, axis=axis, keepdims=keepdims)

    def take(self, rows: Any, axis: Any = None) -> Any:
        """Return elements by their places."""
        return _Namespace.take(self, rows, axis=axis)

    def reshape(self, *shape: Any) -> Any:
        """Return the elements in another shape."""
        return _Namespace.reshape(self, shape[0] if len(shape) == 1 else shape)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return the elements in another dtype."""
        return _Namespace.astype(self, dtype, copy=copy)


def _in_place(ufunc: np.ufunc, method: str, out: Any, args: Sequence[Any]) -> Any:
    """Note ``x += y``: all who have x have the sum from then on."""
    if not isinstance(out, Recorded) or out is not args[0] or method != "__call__":
        raise NotRecordable(f"it calls {ufunc.__name__} with an array for the result")
    node = out.node
    new = _note("ufunc", ufunc, *args)
    if type(node.value) not in _NUMBERS:
        seen = any(other.kind == "view" and base(other) is node for other in out.tape.nodes)
        if node.kind in ("input", "view") or seen:
            raise NotRecordable("it writes to an argument, or to what is seen elsewhere too")
        if not node.value.shape:  # of NumPy a number, which is not written to but replaced
            return new
        if new.shape != node.value.shape:
            raise NotRecordable("it writes a larger array over a smaller one")
        if new.dtype != node.value.dtype:
            new = _note("cast", partial(_cast, node.value.dtype), new)
        out.node = new.node
        return out
    return new


def _note(kind: str, f: Any, *args: Any, **options: Any) -> Any:
    """Note an operation; without a recorded argument just do it."""
    tape = next((arg.tape for arg in args if isinstance(arg, Recorded)), None)
    known = tuple(arg.node if isinstance(arg, Recorded) else arg for arg in args)
    values = [arg.value if isinstance(arg, Node) else arg for arg in known]
    if kind == "ufunc" and all(type(value) in _NUMBERS for value in values):
        if f not in _ON_NUMBERS:
            raise NotRecordable(f"it calls {f.__name__} of Python numbers")
        kind, f = "scalar", _ON_NUMBERS[f]
    if kind == "ufunc" and f.nout != 1:
        raise NotRecordable(f"it calls {f.__name__}, which gives several arrays")
    if tape is None or kind == "scalar":
        value = f.reduce(*values, **options) if kind == "reduce" else f(*values, **options)
        if tape is None:
            return value
    else:
        value = _outcome(kind, f, values, options)
    for arg in known:
        if isinstance(arg, np.ndarray) and arg.flags.writeable:
            tape.constants.append((arg, arg.tobytes()))
    tape.nodes.append(Node(kind, f, known, value, options))
    return Recorded(tape.nodes[-1], tape)


def _outcome(kind: str, f: Any, values: Sequence[Any], options: Mapping[str, Any]) -> np.ndarray:
    """Return the outline of what an operation gives, without doing it where it is known here."""
    shapes = [np.shape(value) for value in values]
    if kind == "ufunc" and f.nout == 1 and (f is np.matmul or not f.signature):
        dtype = resolved(f, values)[-1]
        if f is not np.matmul:
            return _outline(dtype, np.broadcast_shapes(*shapes))
        if min(map(len, shapes)) > 1 and shapes[0][-1] == shapes[1][-2]:
            batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
            return _outline(dtype, (*batch, shapes[0][-2], shapes[1][-1]))
    if kind == "cast":
        return _outline(f.args[0], shapes[0])
    if kind == "where":
        return _outline(np.result_type(*values[1:]), np.broadcast_shapes(*shapes))
    if kind == "take":
        return _outline(values[0].dtype, shapes[1] + shapes[0][1:])
    if kind == "concat":
        axis = f.args[0] % max(map(len, shapes))
        around = {(shape[:axis], shape[axis + 1 :]) for shape in shapes}
        if len(around) == 1:
            ((before, after),) = around
            return _outline(np.result_type(*values), (*before, sum(s[axis] for s in shapes), *after))
    with np.errstate(all="ignore"):  # what is not known here, and what will raise, is tried on zeros
        try:
            value = np.asarray(f.reduce(*values, **options) if kind == "reduce" else f(*values, **options))
        except np.linalg.LinAlgError:  # of singular matrices
            value = np.asarray(f(*map(_identity, values), **options))
    return _outline(value.dtype, value.shape)


def _identity(value: Any) -> Any:
    shape = np.shape(value)
    return np.broadcast_to(np.eye(*shape[-2:], dtype=value.dtype), shape) if len(shape) > 1 else value


def resolved(ufunc: np.ufunc, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the dtypes of the loop that NumPy would choose for arrays and Python numbers.

    Examples
    --------
    >>> resolved(np.add, [np.ones(2, "f4"), 2.0])
    (dtype('float32'), dtype('float32'), dtype('float32'))
    """
    kinds = [np.dtype(bool) if type(v) is bool else getattr(v, "dtype", type(v)) for v in values]
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))


def _outline(dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array without memory of its own."""
    return np.broadcast_to(np.zeros((), dtype), shape)


class _Namespace:
    """NumPy for recorded arrays: what is known has its kind, any other function is a call."""

    __name__ = "numpy"
    as_they_are = ("clip", "isdtype", "arange", "zeros", "ones", "full", "result_type")

    def __getattr__(self, name: str) -> Any:
        f = getattr(numpy_namespace, name)
        if (
            not callable(f)
            or isinstance(f, np.ufunc | type)
            or name.startswith("__")
            or name in self.as_they_are
        ):
            return f
        return partial(_call, f)

    @staticmethod
    def asarray(x: Any, dtype: Any = None, **options: Any) -> Any:
        device = not isinstance(x, Recorded | np.ndarray) and hasattr(x, "shape")
        if device and x.dtype == dtype:  # of another library, as which it is handed on
            return x
        return (
            _call(np.asarray, x, dtype=dtype, **options)
            if isinstance(x, Recorded)
            else np.asarray(x, dtype=dtype, **options)
        )

    @staticmethod
    def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        x = x if dtype is None else _Namespace.astype(x, dtype, copy=False)
        return _note("reduce", np.add, x, axis=axis, keepdims=keepdims)

    @staticmethod
    def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _note("reduce", np.maximum, x, axis=axis, keepdims=keepdims)

    @staticmethod
    def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _note("reduce", np.minimum, x, axis=axis, keepdims=keepdims)

    @staticmethod
    def reshape(x: Any, shape: Any) -> Any:
        return _note("view", partial(_reshaped, shape), x)

    @staticmethod
    def expand_dims(x: Any, axis: int = 0) -> Any:
        return _note("view", partial(np.expand_dims, axis=axis), x)

    @staticmethod
    def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
        return tuple(_note("view", partial(np.broadcast_to, shape=shape), x) for x in arrays)

    @staticmethod
    def astype(x: Any, dtype: Any, *, copy: bool = True) -> Any:
        if not copy and type(getattr(x, "node", x)) is Node and x.ndim and x.dtype == dtype:
            return x
        return _note("cast", partial(_cast, np.dtype(dtype)), x)

    @staticmethod
    def take(x: Any, rows: Any, axis: Any = None) -> Any:
        # Rows that are an argument were checked by whoever gave them; others NumPy has to check, but a GPU
        # checks none.
        on_host = isinstance(x, Recorded | np.ndarray)
        checked = axis == 0 and isinstance(rows, Recorded) and (rows.node.kind == "input" or not on_host)
        return _note("take", _rows, x, rows) if checked else _call(np.take, x, rows, axis=axis)

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Any:
        return _note("where", np.where, condition, x, y)

    @staticmethod
    def concat(arrays: Any, axis: int = 0) -> Any:
        return _note("concat", partial(_joined, axis), *arrays)

    concatenate = concat

    @staticmethod
    def stack(arrays: Any, axis: int = 0) -> Any:
        return _Namespace.concat([_Namespace.expand_dims(x, axis=axis) for x in arrays], axis=axis)

    @staticmethod
    def zeros_like(x: Any, *, dtype: Any = None) -> Any:
        return np.zeros(x.shape, dtype or x.dtype)

    @staticmethod
    def ones_like(x: Any, *, dtype: Any = None) -> Any:
        return np.ones(x.shape, dtype or x.dtype)


def _call(f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Note any other function: of arrays, by position."""
    known = {id(x) for x in args}  # ids, for == would be noted
    if any(isinstance(x, Recorded) and id(x) not in known for x in leaves((args, options))):
        raise NotRecordable(f"it calls numpy.{f.__name__} of lists or options that are arrays")
    if f.__name__ in _OF_UNKNOWN_SIZE or any(isinstance(x, Recorded) for x in args[1:] if f is np.repeat):
        raise NotRecordable(f"the shape of what numpy.{f.__name__} gives depends on values")
    if f.__name__ in _WRITING or "out" in options:
        raise NotRecordable(f"it writes by numpy.{f.__name__}")
    if any(isinstance(x, Recorded) and type(x.node.value) in _NUMBERS for x in args):
        raise NotRecordable(f"it calls numpy.{f.__name__} of a number that changes")
    if all(isinstance(x, Recorded) for x in args):
        return _note("call", partial(f, **options), *args)
    places = [i for i, x in enumerate(args) if isinstance(x, Recorded)]
    return _note("call", partial(with_others, f, args, places, options), *(args[i] for i in places))


def with_others(
    f: Any, args: Sequence[Any], places: Sequence[int], options: Mapping[str, Any], *given: Any
) -> Any:
    """Call a function with what was given for it and arrays in some places.

    Examples
    --------
    >>> int(with_others(np.clip, [None, 0, 1], [0], {}, 3))
    1
    """
    filled = list(args)
    for i, x in zip(places, given, strict=True):
        filled[i] = x
    return f(*filled, **options)


def _part(places: tuple[Any, ...], x: Any) -> Any:
    return x[places if Ellipsis in places else (*places, ...)]  # an array even of one element


def _reshaped(shape: Any, x: Any) -> Any:
    return x.reshape(shape)


def _cast(dtype: Any, x: Any) -> Any:
    return np.asarray(x).astype(dtype)


def _rows(x: Any, rows: Any) -> Any:
    return x.take(rows, 0)


def _joined(axis: int, *arrays: Any) -> Any:
    return np.concatenate(arrays, axis)


prefer(Recorded, _Namespace())
