"""Operations as a table of loops, which one compiled function goes through."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.engine.calls import calls
from anyback.engine.kernels import kernel
from anyback.engine.layout import Operation, Run
from anyback.engine.loops import TAKING, NoLoop, largest, loop, moving
from anyback.engine.machine import ROW, address, execute

__all__ = ["Table"]


class Table:
    """Operations on fixed arrays, as a program of loops.

    Parameters
    ----------
    operations : sequence of Operation and Run
        What is done, in order. What has no loop is called as NumPy's own function, between two tables.

    Attributes
    ----------
    calls : list of callable
        What is called to do it.

    Examples
    --------
    >>> x, y = np.arange(3.0), np.zeros(3)
    >>> Table([Operation("ufunc", np.add, [x, x], y)])()
    >>> y.tolist()
    [0.0, 2.0, 4.0]
    """

    def __init__(self, operations: Sequence[Operation | Run]) -> None:
        self._held: list[Any] = [operations]  # tables hold addresses only
        self.calls: list[Callable[[], Any]] = []
        self._program = 0, 0  # where the table made last begins, and how many rows it has
        self._rows: list[_Row] = []
        for operation in operations:
            try:
                self._rows += _run(operation) if isinstance(operation, Run) else _whole(operation)
            except NoLoop:
                self._close()
                self.calls += calls([operation])
        self._close()

    @property
    def whole(self) -> bool:
        """Whether everything is in one table."""
        return len(self.calls) == 1 and self._program[1] > 0

    def __call__(self) -> None:
        """Do it all."""
        for call in self.calls:
            call()

    def repeat(self, rounds: int, feeds: Sequence[tuple[Array, Array]]) -> None:
        """Do it several times, where everything is in one table.

        Parameters
        ----------
        rounds : int
            How often.
        feeds : sequence of (destination, source)
            Round i begins with ``destination[...] = source[i]`` of each.
        """
        fed = np.array([(to.ctypes.data, of.ctypes.data, to.nbytes) for to, of in feeds], np.int64)
        words = np.array([*self._program, fed.ctypes.data, len(feeds), rounds], np.int64)
        execute()(words.ctypes.data)

    def _close(self) -> None:
        """Make a table of the rows so far, and a call that goes through it once."""
        if not self._rows:
            return
        table = np.zeros((len(self._rows), ROW), np.int64)
        lengths = [[*_padded(row.dimensions, 4), *_padded(row.steps, 12)] for row in self._rows]
        extents = np.array(lengths, np.int64)
        at = extents.ctypes.data
        for i, row in enumerate(self._rows):
            f = address(row.f) if isinstance(row.f, str) else row.f
            data = row.data if isinstance(row.data, int) else row.data.ctypes.data
            operands = _padded([a.ctypes.data for a in row.arrays], 4)
            table[i] = (f, data, row.times, at, at + 4 * 8, *operands, *_padded(row.moves, 4))
            at += extents[0].nbytes
        self._held += [table, extents, self._rows]
        self._program = table.ctypes.data, len(table)
        words = np.array([*self._program, 0, 0, 1], np.int64)
        self._held.append(words)
        self.calls.append(partial(execute(), ctypes.c_void_p(words.ctypes.data)))
        self._rows = []


@dataclass(frozen=True)
class _Row:
    """`times` calls of a loop, by its address or source, the operands moving in between.

    Its data are a number, or the address of the numbers in an array.
    """

    f: int | str
    data: int | Array
    arrays: Sequence[Array]
    dimensions: Sequence[int]
    steps: Sequence[int] = ()
    times: int = 1
    moves: Sequence[int] = ()


def _run(run: Run) -> list[_Row]:
    """Return the rows of a run: one kernel, or NumPy's loops for a chunk after the other."""
    if 0 in run.shape:
        return []
    try:
        source, places = kernel(run)
    except NoLoop:
        return [row for operation in run.chunks() for row in _whole(operation)]
    *first, width = run.shape
    return [_Row(source, np.array(places, np.int64), [], [prod(first), width])]


def _whole(o: Operation) -> list[_Row]:
    """Return the rows of an operation; loops go round once at least, so there are none for nothing."""
    if not o.out.size:
        return []
    if o.kind == "reduce":
        return _reduction(o)
    if o.kind == "take":
        return [_taking(o)]
    if o.f is np.matmul:
        return [_product(o)]
    if o.kind == "call":
        return [_largest(o)]
    arrays = [*o.inputs, o.out]
    if (
        o.kind not in ("ufunc", "where", "cast", "copy")
        or len(arrays) > 4
        or (o.kind == "ufunc" and o.f.nout > 1)
    ):
        raise NoLoop
    outer, (n, steps) = _two_loops(o.out.shape, [np.broadcast_to(a, o.out.shape).strides for a in arrays])
    f: int | str
    if o.kind == "ufunc":
        f, data = loop(o.f, _signature(arrays))
    else:
        steps = steps if n > 1 else [a.itemsize for a in arrays]
        f, data = moving(o.kind, [a.dtype for a in arrays], steps[: len(arrays)]), 0
    return [_Row(f, data, arrays, [n], steps, *outer)]


def _taking(o: Operation) -> _Row:
    x, rows = o.inputs
    if not (x.flags.c_contiguous and o.out.flags.c_contiguous and rows.dtype == np.int64):
        raise NoLoop
    if rows.strides != (8,) or not len(rows) or x.dtype.hasobject:
        raise NoLoop
    return _Row(TAKING, x.itemsize * prod(x.shape[1:]), [x, rows, o.out], [len(rows)])


def _product(o: Operation) -> _Row:
    arrays = [*o.inputs, o.out]
    if any(a.ndim != 2 for a in arrays) or arrays[0].shape[1] != arrays[1].shape[0]:
        raise NoLoop
    (m, n), p = arrays[0].shape, arrays[1].shape[1]
    strides = [0, 0, 0, *(stride for a in arrays for stride in a.strides)]
    return _Row(*loop(o.f, _signature(arrays)), arrays, [1, m, n, p], strides)


def _largest(o: Operation) -> _Row:
    """Return the row of an argmax over the last axis."""
    x = o.inputs[0]
    if not (
        isinstance(o.f, partial)
        and (o.f.func, o.f.keywords) == (np.argmax, {"axis": -1})
        and x.dtype in (np.float32, np.float64)
        and x.dtype.isnative
        and x.flags.c_contiguous
        and o.out.dtype == np.int64
        and o.out.flags.c_contiguous
        and x.size
    ):
        raise NoLoop
    n = x.shape[-1]
    return _Row(largest(x.dtype), 0, [x, o.out], [n], (), x.size // n, [n * x.itemsize, 8])


def _reduction(o: Operation) -> list[_Row]:
    """Return the rows of a sum or an extremum over one of the last two axes, done as NumPy does it."""
    (x,), out, axis = o.inputs, o.out.reshape(-1), o.options["axis"]
    if isinstance(axis, tuple) and len(axis) == 1:
        (axis,) = axis
    if axis in (0, 1):
        axis -= x.ndim
    if (x.ndim == 1 and axis is None) or (x.shape[1:] == (1,) and axis == -2):  # the whole as one row
        x, axis = x.reshape(-1), -1
    if not (
        o.f in (np.add, np.maximum, np.minimum)
        and x.dtype == out.dtype
        and x.dtype.char in _ZEROS
        and axis in (-1, -2)
        and x.ndim <= 2
        and x.size
        and x.flags.c_contiguous
    ):
        raise NoLoop
    x = x.reshape(-1, x.shape[-1])
    if o.f is np.add:  # sums begin with zero, extrema with the first element
        first = _ZEROS[x.dtype.char]
    else:
        first, x = (x[:, 0], x[:, 1:]) if axis == -1 else (x[0], x[1:])
    rows = _whole(Operation("copy", None, [first], out))
    if x.size:  # along the last axis one call sums up a row, along the other it adds a row
        e = x.itemsize
        steps, move = ([0, e, 0], e) if axis == -1 else ([e, e, e], 0)
        f, data = loop(o.f, _signature([out, x, out]))
        moves = [move, x.strides[0], move]
        rows.append(_Row(f, data, [out, x, out], [x.shape[1]], steps, len(x), moves))
    return rows


_ZEROS = {char: np.zeros((), char) for char in "fdl"}


def _signature(arrays: Sequence[Array]) -> str:
    *inputs, out = (str(a.dtype.char) for a in arrays)
    return f"{''.join(inputs)}->{out}"


def _padded(values: Iterable[int], size: int) -> list[int]:
    return [*values, *[0] * size][:size]


def _two_loops(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> Any:
    """Return (times, moves) of an outer loop and (count, steps) of an inner one over these strides."""
    loops: list[tuple[int, list[int]]] = []
    for n, steps in zip(shape, zip(*strides, strict=True), strict=True):
        if loops and all(a == n * b for a, b in zip(loops[-1][1], steps, strict=False)):
            loops[-1] = loops[-1][0] * n, _padded(steps, 4)
        elif n != 1:
            loops.append((n, _padded(steps, 4)))
    if len(loops) > 2:
        raise NoLoop
    return ([(1, _padded([], 4))] * 2 + loops)[-2:]
