"""Inner loops: NumPy's own, by their addresses, and those that NumPy lacks.

Behind every ufunc of NumPy stand loops in C, one for each combination of dtypes, all of one signature

    void loop(char **args, intptr_t *dimensions, intptr_t *steps, void *data)

whose addresses the ufunc holds ("UFunc API" in the reference of NumPy's C API). `matmul` has such loops
too, which call BLAS. What calls them does what NumPy does, on the same numbers, to the same bits.

Copying with a cast, choosing by a mask, taking rows and finding the largest have no ufunc: their loops are
written here, for LLVM.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np

__all__ = ["CASTS", "TAKING", "TYPES", "NoLoop", "largest", "loop", "moving"]


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


# Dtypes in memory, by NumPy's strings for them; what is only moved is moved as an integer.
TYPES = {"b1": "i8", "i4": "i32", "i8": "i64", "f4": "float", "f8": "double"}
SIZES = {"i8": 1, "i32": 4, "i64": 8, "float": 4, "double": 8}
MOVED = {1: "i8", 4: "i32", 8: "i64"}
CASTS = {
    ("i8", "float"): "uitofp",
    ("i8", "double"): "uitofp",
    ("i8", "i64"): "zext",
    ("i32", "float"): "sitofp",
    ("i32", "double"): "sitofp",
    ("i64", "float"): "sitofp",
    ("i64", "double"): "sitofp",
    ("float", "double"): "fpext",
    ("double", "float"): "fptrunc",
}


def moving(kind: str, dtypes: Sequence[np.dtype], steps: Sequence[int]) -> str:
    """Return the source of a loop that casts, copies or chooses.

    Examples
    --------
    >>> "fptrunc double" in moving("cast", [np.dtype("f8"), np.dtype("f4")], [8, 4])
    True
    """
    words = [MOVED.get(dtype.itemsize, "") for dtype in dtypes]
    if kind == "where":
        if not words[-1]:
            raise NoLoop
        body = f"%c = icmp ne i8 %v0, 0\n  %y = select i1 %c, {words[1]} %v1, {words[2]} %v2"
        return _elementwise(["i8", *words[1:]], body, steps)
    if dtypes[0] == dtypes[1] and words[0]:
        return _elementwise(words, f"%y = or {words[0]} %v0, 0", steps)
    a, b = (TYPES.get(dtype.str[1:], "") for dtype in dtypes)
    if (a, b) not in CASTS or not all(dtype.isnative for dtype in dtypes):
        raise NoLoop
    return _elementwise([a, b], f"%y = {CASTS[a, b]} {a} %v0 to {b}", steps)


def _elementwise(types: Sequence[str], body: str, steps: Sequence[int]) -> str:
    """Return the source of a loop over elements that makes %y, the last operand, of %v0, %v1 ...

    Steps that are the sizes of the elements become constants, so that LLVM can use vectors.
    """
    flat = all(step == SIZES[t] for step, t in zip(steps, types, strict=True))
    begin: list[str] = []
    before: list[str] = []
    after: list[str] = []
    for j, t in enumerate(types):
        begin += [
            f"%at{j} = getelementptr ptr, ptr %args, i64 {j}",
            f"%p{j} = load ptr, ptr %at{j}",
            f"%step{j} = getelementptr i64, ptr %steps, i64 {j}",
            f"%d{j} = add i64 0, {SIZES[t]}" if flat else f"%d{j} = load i64, ptr %step{j}",
        ]
        before += [f"%o{j} = mul i64 %i, %d{j}", f"%q{j} = getelementptr i8, ptr %p{j}, i64 %o{j}"]
        if j < len(types) - 1:
            before.append(f"%v{j} = load {t}, ptr %q{j}")
        else:
            after.append(f"store {t} %y, ptr %q{j}")
    return _loop(begin, [*before, body, *after])


def _loop(
    begin: Sequence[str],
    body: Sequence[str],
    *,
    carried: Sequence[str] = (),
    end: Sequence[str] = (),
    declared: Sequence[str] = (),
) -> str:
    """Return the source of a loop of NumPy's signature over %i from 0 to %n, %i1 being the next.

    Parameters
    ----------
    begin, body, end : sequence of str
        What is done before the loop, in it, and after.
    carried : sequence of str
        What goes from one round to the next, as phi of %start and %loop.
    declared : sequence of str
        The functions of LLVM that are called.
    """
    lines = "\n  ".join
    return f"""
define void @f(ptr %args, ptr %dimensions, ptr %steps, ptr %data) {{
start:
  %n = load i64, ptr %dimensions
  {lines(begin)}
  br label %loop
loop:
  {lines(["%i = phi i64 [0, %start], [%i1, %loop]", *carried])}
  %i1 = add i64 %i, 1
  {lines(body)}
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %loop, label %end
end:
  {lines([*end, "ret void"])}
}}
{lines(f"declare {function}" for function in declared)}
"""


TAKING = _loop(
    [
        "%x = load ptr, ptr %args",
        "%rows.at = getelementptr ptr, ptr %args, i64 1",
        "%rows = load ptr, ptr %rows.at",
        "%out.at = getelementptr ptr, ptr %args, i64 2",
        "%out = load ptr, ptr %out.at",
        "%width = ptrtoint ptr %data to i64",
        "%last = sub i64 %n, 1",
    ],
    [
        # The rows lie anywhere: the beginning of the next one is asked for while this one is copied.
        "%j = call i64 @llvm.smin.i64(i64 %i1, i64 %last)",
        "%next.at = getelementptr i64, ptr %rows, i64 %j",
        "%next = load i64, ptr %next.at",
        "%away = mul i64 %next, %width",
        "%begin = getelementptr i8, ptr %x, i64 %away",
        *(
            f"%line{at} = getelementptr i8, ptr %begin, i64 {at}\n"
            f"  call void @llvm.prefetch.p0(ptr %line{at}, i32 0, i32 3, i32 1)"
            for at in range(0, 512, 64)
        ),
        "%row.at = getelementptr i64, ptr %rows, i64 %i",
        "%row = load i64, ptr %row.at",
        "%there = mul i64 %row, %width",
        "%from = getelementptr i8, ptr %x, i64 %there",
        "%here = mul i64 %i, %width",
        "%to = getelementptr i8, ptr %out, i64 %here",
        "call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %width, i1 false)",
    ],
    declared=[
        "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
        "void @llvm.prefetch.p0(ptr, i32, i32, i32)",
        "i64 @llvm.smin.i64(i64, i64)",
    ],
)
"""The source of a loop ``out[i] = x[rows[i]]`` of whole rows, whose width in bytes is its data."""


def largest(dtype: np.dtype) -> str:
    """Return the source of a loop that finds the place of the largest element of a row, or its first NaN.

    Examples
    --------
    >>> "fcmp ugt float" in largest(np.dtype("f4"))
    True
    """
    t = TYPES[dtype.str[1:]]
    return _loop(
        [
            "%x = load ptr, ptr %args",
            "%out.at = getelementptr ptr, ptr %args, i64 1",
            "%out = load ptr, ptr %out.at",
            f"%first = load {t}, ptr %x",
        ],
        [
            f"%v.at = getelementptr {t}, ptr %x, i64 %i",
            f"%v = load {t}, ptr %v.at",
            f"%above = fcmp ugt {t} %v, %most",
            f"%known = fcmp ord {t} %most, %most",
            "%better = and i1 %above, %known",
            f"%most1 = select i1 %better, {t} %v, {t} %most",
            "%place1 = select i1 %better, i64 %i, i64 %place",
        ],
        carried=[
            f"%most = phi {t} [%first, %start], [%most1, %loop]",
            "%place = phi i64 [0, %start], [%place1, %loop]",
        ],
        end=["store i64 %place1, ptr %out"],
    )
