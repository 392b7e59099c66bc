"""NumPy's own inner loops, called one after the other with no Python in between.

Behind every ufunc of NumPy stand loops in C, one for each combination of dtypes, all of one signature

    void loop(char **args, intptr_t *dimensions, intptr_t *steps, void *data)

whose addresses the ufunc holds ("UFunc API" in the reference of NumPy's C API). `matmul` has such loops
too, which call BLAS. Operations on fixed arrays are thus a table of addresses, and a whole training step is
one compiled call that goes through it. It is NumPy's code on the same numbers in the same order, so the bits
are the same; what is gone is the interpreter between two loops, most of a small step's time.

Copying with a cast, choosing by a mask and taking rows have no ufunc: their loops are here.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["NoLoop", "execute", "loop"]

# Operations of our own, where the address of a loop would stand; no address is that small.
RUN, TAKE, WHERE, MOVE, CAST = 0, 1, 2, 3, 4
# The dtypes our own operations know, by their place here; what is only moved is moved as an integer.
DTYPES = ("b1", "i4", "i8", "f4", "f8")
MOVED = {1: 0, 4: 1, 8: 2}
# Columns of the table: where the loop is and what it is told; how often it is called, over how many
# elements; where its dimensions and steps lie; whether a chunk is one call; the addresses of up to four
# operands, how far each moves from one call to the next, and how far from one chunk of a run to the next.
F, DATA, OUTER, INNER, SHAPE, FLAT, ARGS, STEPS, ADVANCE, WIDTH = 0, 1, 2, 3, 4, 5, 6, 10, 14, 18


class _UFunc(ctypes.Structure):
    """The beginning of PyUFuncObject, as numpy/ufuncobject.h declares it."""

    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    )


class NoLoop(Exception):
    """An operation that only NumPy itself can do.

    Examples
    --------
    >>> loop(np.add, "O->O")
    Traceback (most recent call last):
    anyback.engine.loops.NoLoop
    """


@cache
def loop(ufunc: np.ufunc, signature: str) -> tuple[int, int]:
    """Return the addresses of a ufunc's loop and of its data.

    Examples
    --------
    >>> loop(np.add, "ff->f") == loop(np.add, "dd->d")
    False
    """
    if signature not in ufunc.types:
        raise NoLoop
    held, i = _UFunc.from_address(id(ufunc)), ufunc.types.index(signature)
    if (held.nin, held.nout, held.ntypes) != (ufunc.nin, ufunc.nout, ufunc.ntypes):
        raise NoLoop  # this NumPy has another layout
    return held.functions[i], (held.data[i] or 0) if held.data else 0


# --- compiled ---------------------------------------------------------------------------------------


@intrinsic
def _call(context: Any, f: Any, args: Any, dimensions: Any, steps: Any, data: Any) -> Any:
    """Call the loop at an address."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 4).as_pointer()
        builder.call(builder.inttoptr(given[0], kind), [builder.inttoptr(x, pointer) for x in given[1:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), emit


def _memory(kind: Any) -> tuple[Any, Any]:
    """Return ``load(address)`` and ``store(address, value)`` for a type."""

    def load(context: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.load(builder.inttoptr(given[0], context.get_value_type(kind).as_pointer()))

        return kind(types.int64), emit

    def store(context: Any, address: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            builder.store(given[1], builder.inttoptr(given[0], context.get_value_type(kind).as_pointer()))
            return context.get_dummy_value()

        return types.void(types.int64, kind), emit

    return intrinsic(load), intrinsic(store)


_load_b, _store_b = _memory(types.int8)
_load_i, _store_i = _memory(types.int32)
_load_l, _store_l = _memory(types.int64)
_load_f, _store_f = _memory(types.float32)
_load_d, _store_d = _memory(types.float64)


@njit(nogil=True, cache=True)
def _move(kind: int, p: int, q: int) -> None:
    """Copy one element, of the kind's size, from p to q."""
    if kind == 0:
        _store_b(q, _load_b(p))
    elif kind == 1:
        _store_i(q, _load_i(p))
    else:
        _store_l(q, _load_l(p))


@njit(nogil=True, cache=True)
def _cast(a: int, b: int, n: int, p: int, q: int, dp: int, dq: int) -> None:
    """Copy n elements from dtype a at p to dtype b at q."""
    if a == 0 and b == 3 and dp == 1 and dq == 4:  # a mask of a whole layer: steps known, so vectorised
        for i in range(n):
            _store_f(q + 4 * i, np.float32(_load_b(p + i)))
        return
    for _ in range(n):
        if a == 0:
            x = np.float64(_load_b(p))
        elif a == 1:
            x = np.float64(_load_i(p))
        elif a == 2:
            x = np.float64(_load_l(p))
        elif a == 3:
            x = np.float64(_load_f(p))
        else:
            x = _load_d(p)
        if b == 1:
            _store_i(q, np.int32(x))
        elif b == 2:
            _store_l(q, np.int64(x))
        elif b == 3:
            _store_f(q, np.float32(x))
        else:
            _store_d(q, x)
        p += dp
        q += dq


@njit(nogil=True, cache=True)
def _where(kind: int, n: int, c: int, p: int, q: int, r: int, dc: int, dp: int, dq: int, dr: int) -> None:
    """Copy n elements, each from p where c is true and from q elsewhere, to r."""
    for _ in range(n):
        _move(kind, p if _load_b(c) else q, r)
        c += dc
        p += dp
        q += dq
        r += dr


@njit(nogil=True, cache=True)
def _take(
    kind: int, index: int, n: int, width: int, x: int, rows: int, out: int, dx: int, drows: int, dout: int
) -> None:
    """Copy n rows of `width` elements from x to out."""
    size = 1 if kind == 0 else 4 if kind == 1 else 8
    for i in range(n):
        at = rows + i * drows
        p = x + dx * (_load_l(at) if index == 2 else np.int64(_load_i(at)))
        q = out + i * dout
        if kind == 1:
            for j in range(width):
                _store_i(q + 4 * j, _load_i(p + 4 * j))
        else:
            for j in range(width):
                _move(kind, p + size * j, q + size * j)


@njit(nogil=True, cache=True)
def _own(f: int, data: int, n: int, width: int, w: Any, s: Any) -> None:
    """Do an operation of our own on n elements at the addresses w, in the steps s."""
    if f == CAST:
        _cast(data // 8, data % 8, n, w[0], w[1], s[0], s[1])
    elif f == WHERE:
        _where(data, n, w[0], w[1], w[2], w[3], s[0], s[1], s[2], s[3])
    elif f == TAKE:
        _take(data % 8, data // 8, n, width, w[0], w[1], w[2], s[0], s[1], s[2])
    else:
        for i in range(n):
            _move(data, w[0] + i * s[0], w[1] + i * s[1])


@njit(nogil=True, cache=True)
def execute(table: Any, geometry: Any, work: Any) -> None:
    """Go through the table; `work` holds the operands of the loop that is running, and its length."""
    start, args = geometry.ctypes.data, work.ctypes.data
    k = 0
    while k < len(table):
        row = table[k]
        k += 1
        if row[F] != RUN:
            f, data, inner, shape = row[F], row[DATA], row[INNER], row[SHAPE]
            at = start + 8 * shape
            for j in range(4):
                work[j] = row[ARGS + j]
            for _ in range(row[OUTER]):
                if f >= 256:
                    _call(f, args, at, at + 32, data)
                else:
                    _own(f, data, inner, geometry[shape + 1], work, geometry[shape + 4 :])
                for j in range(4):
                    work[j] += row[STEPS + j]
            continue
        stop, rows, chunk = k + row[DATA], row[OUTER], row[INNER]
        for done in range(0, rows, chunk):
            now = min(chunk, rows - done)
            for q in range(k, stop):
                row = table[q]
                f, data, inner, shape = row[F], row[DATA], row[INNER], row[SHAPE]
                at = start + 8 * (shape + 4)
                for j in range(4):
                    work[j] = row[ARGS + j] + done * row[ADVANCE + j]
                n, times = (now * inner, 1) if row[FLAT] else (inner, now)
                work[8] = n
                for _ in range(times):
                    if f >= 256:
                        _call(f, args, args + 64, at, data)
                    else:
                        _own(f, data, n, 1, work, geometry[shape + 4 :])
                    for j in range(4):
                        work[j] += row[STEPS + j]
        k = stop
