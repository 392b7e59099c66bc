"""Operations as a table of NumPy's loops, which one compiled call goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.engine.calls import calls
from anyback.engine.layout import Operation, Run
from anyback.engine.loops import CAST, DTYPES, MOVE, MOVED, RUN, TAKE, WHERE, WIDTH, NoLoop, execute, loop

__all__ = ["Table"]


class Table:
    """Operations on fixed arrays, as a program of loops.

    Parameters
    ----------
    operations : sequence of Operation and Run
        What is done, in order. What has no loop is called as NumPy's own function, between two tables.

    Examples
    --------
    >>> x, y = np.arange(3.0), np.zeros(3)
    >>> Table([Operation("ufunc", np.add, [x, x], y)])()
    >>> y.tolist()
    [0.0, 2.0, 4.0]
    """

    def __init__(self, operations: Sequence[Operation | Run]) -> None:
        self._held = operations  # tables hold addresses only
        self._segments: list[Callable[[], Any]] = []
        self._rows: list[list[int]] = []
        self._geometry: list[int] = []
        for operation in operations:
            mark = len(self._rows), len(self._geometry)
            try:
                if isinstance(operation, Run):
                    inside = [self._in_run(o, operation) for o in operation.operations]
                    self._rows += [[RUN, len(inside), operation.rows, operation.chunk], *inside]
                else:
                    self._rows += self._whole(operation)
            except NoLoop:
                del self._rows[mark[0] :], self._geometry[mark[1] :]
                self._close()
                self._segments += calls([operation])
        self._close()

    def __call__(self) -> None:
        """Do it all."""
        for segment in self._segments:
            segment()

    def _close(self) -> None:
        """Make a segment of the rows so far."""
        if not self._rows:
            return
        table = np.zeros((len(self._rows), WIDTH), np.int64)
        for row, values in zip(table, self._rows, strict=True):
            row[: len(values)] = values
        geometry, work = np.array(self._geometry, np.int64), np.zeros(16, np.int64)
        self._segments.append(lambda: execute(table, geometry, work))
        self._rows, self._geometry = [], []

    def _row(
        self,
        code: tuple[int, int],
        arrays: Sequence[Array],
        dimensions: Sequence[int],
        steps: Sequence[int],
        times: int = 1,
        moves: Sequence[int] = (),
        flat: bool = False,
        advance: Sequence[int] = (),
    ) -> list[int]:
        """Return a row: `times` calls of a loop, over `dimensions` in `steps`, operands moving in between."""
        place = len(self._geometry)
        self._geometry += [*_four(dimensions), *steps, *[0] * (9 - len(steps))]
        addresses = _four([a.ctypes.data for a in arrays])
        return [*code, times, dimensions[0], place, int(flat), *addresses, *_four(moves), *_four(advance)]

    def _whole(self, o: Operation) -> list[list[int]]:
        """Return the rows of an operation on whole arrays."""
        if o.kind == "reduce":
            return self._reduction(o)
        if o.kind == "take":
            return [self._taking(o)]
        if o.f is np.matmul:
            return [self._product(o)]
        code, arrays = _elementwise(o)
        outer, inner = _two_loops(o.out.shape, [np.broadcast_to(a, o.out.shape).strides for a in arrays])
        return [self._row(code, arrays, [inner[0]], inner[1], outer[0], outer[1])]

    def _in_run(self, o: Operation, run: Run) -> list[int]:
        """Return the row of an operation of a run: for a chunk at once, or for each of its rows."""
        code, arrays = _elementwise(o)
        flat, steps, moves, advance = True, [], [], []
        for a in arrays:
            local = any(a is b for b in run.local)
            along = local or (a.ndim == o.out.ndim and a.shape[0] == run.rows)  # the first axis
            whole = along and a.shape[1:] == o.out.shape[1:] and a.flags.c_contiguous
            flat = flat and (whole or a.size == 1)
            within = a.strides[-1] if a.ndim and a.shape[-1] > 1 and o.out.ndim > 1 else 0
            steps.append(a.itemsize if whole else within)
            moves.append(a.strides[0] if along else 0)
            advance.append(0 if local else moves[-1])
        return self._row(code, arrays, [o.out[0].size], steps, 0, moves, flat, advance)

    def _taking(self, o: Operation) -> list[int]:
        x, rows = o.inputs
        index, width = _place(rows.dtype), x.strides[0] // x.itemsize
        if not (
            x.flags.c_contiguous and o.out.flags.c_contiguous and index in (1, 2) and x.itemsize in MOVED
        ):
            raise NoLoop
        code = TAKE, MOVED[x.itemsize] + 8 * index
        return self._row(
            code, [x, rows, o.out], [len(rows), width], [x.strides[0], rows.strides[0], o.out.strides[0]]
        )

    def _product(self, o: Operation) -> list[int]:
        arrays = [*o.inputs, o.out]
        if any(a.ndim != 2 for a in arrays):
            raise NoLoop
        (m, n), p = arrays[0].shape, arrays[1].shape[1]
        strides = [0, 0, 0, *(stride for a in arrays for stride in a.strides)]
        return self._row(loop(o.f, _signature(arrays)), arrays, [1, m, n, p], strides)

    def _reduction(self, o: Operation) -> list[list[int]]:
        """Return the rows of a sum or an extremum over one of the last two axes, done as NumPy does it."""
        (x,), out, axis = o.inputs, o.out.reshape(-1), o.options["axis"]
        if x.ndim == 1 and axis in (None, 0):
            axis = -1
        elif axis in (0, 1):
            axis -= x.ndim
        if not (
            o.f in (np.add, np.maximum, np.minimum)
            and x.dtype == out.dtype
            and x.dtype.char in _ZEROS
            and (axis == -1 or (axis == -2 and x.shape[-1] > 1))
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
        rows = self._whole(Operation("copy", None, [first], out))
        if x.size:  # along the last axis one call sums up a row, along the other it adds a row
            e = x.itemsize
            steps, move = ([0, e, 0], e) if axis == -1 else ([e, e, e], 0)
            code = loop(o.f, _signature([out, x, out]))
            moves = [move, x.strides[0], move]
            rows.append(self._row(code, [out, x, out], [x.shape[1]], steps, len(x), moves))
        return rows


_ZEROS = {char: np.zeros((), char) for char in "fdl"}


def _elementwise(o: Operation) -> tuple[tuple[int, int], list[Array]]:
    """Return what does an elementwise operation, and its operands with the result last."""
    arrays = [*o.inputs, o.out]
    if o.kind == "ufunc" and o.f.nout == 1 and len(arrays) <= 4:
        return loop(o.f, _signature(arrays)), arrays
    if o.kind == "where" and o.out.itemsize in MOVED:
        return (WHERE, MOVED[o.out.itemsize]), arrays
    if o.kind in ("cast", "copy"):
        a, b = o.inputs[0].dtype, o.out.dtype
        if a == b and a.itemsize in MOVED:
            return (MOVE, MOVED[a.itemsize]), arrays
        # By way of a double, which holds all numbers of the other dtypes but long integers.
        if _place(a) >= 0 and _place(b) > 0 and (np.can_cast(a, b) or {a.char, b.char} == {"f", "d"}):
            return (CAST, 8 * _place(a) + _place(b)), arrays
    raise NoLoop


def _place(dtype: Any) -> int:
    """Return where a dtype is among those of the loops of our own, or -1."""
    return DTYPES.index(dtype.str[1:]) if dtype.str[1:] in DTYPES else -1


def _signature(arrays: Sequence[Array]) -> str:
    *inputs, out = (str(a.dtype.char) for a in arrays)
    return f"{''.join(inputs)}->{out}"


def _four(values: Iterable[int]) -> list[int]:
    return [*values, 0, 0, 0, 0][:4]


def _two_loops(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> Any:
    """Return (count, steps) of an outer and of an inner loop over operands of these strides."""
    loops: list[tuple[int, list[int]]] = []
    for n, steps in zip(shape, zip(*strides, strict=True), strict=True):
        if loops and all(a == n * b for a, b in zip(loops[-1][1], steps, strict=False)):
            loops[-1] = loops[-1][0] * n, _four(steps)
        elif n != 1:
            loops.append((n, _four(steps)))
    if len(loops) > 2:
        raise NoLoop
    return ([(1, _four([]))] * 2 + loops)[-2:]
