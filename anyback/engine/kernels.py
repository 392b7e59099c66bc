"""A run of elementwise operations as one loop: each element is read once, and written once.

The update of an optimizer is such a run. As a dozen of NumPy's loops it goes through the core's cache a dozen
times; as one loop what passes between the operations stays in registers. Only operations whose every result
the IEEE 754 standard prescribes are taken, so that the bits are those of NumPy's loops.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, count
from typing import Any, TypeAlias

import numpy as np

from anyback.arrays import Array
from anyback.engine.layout import Operation, Run
from anyback.engine.loops import CASTS, TYPES, NoLoop

__all__ = ["kernel"]

_ARITHMETIC = {np.add: "fadd", np.subtract: "fsub", np.multiply: "fmul", np.true_divide: "fdiv"}
_COMPARISONS = {
    np.greater: "ogt",
    np.greater_equal: "oge",
    np.less: "olt",
    np.less_equal: "ole",
    np.equal: "oeq",
    np.not_equal: "une",
}
_EXTREMA = {np.maximum: "ogt", np.minimum: "olt"}
_OTHERS = {
    np.sqrt: "call {t} @llvm.sqrt.{k}({t} {x})",
    np.absolute: "call {t} @llvm.fabs.{k}({t} {x})",
    np.negative: "fneg {t} {x}",
    np.square: "fmul {t} {x}, {x}",
}
_KINDS = {"float": "f32", "double": "f64"}

Place: TypeAlias = tuple[int, int, str]
"""Of an operand: its address, its size, and by what it is indexed, "" for a number."""


def kernel(run: Run) -> tuple[str, list[int]]:
    """Return the source of a run as one loop of NumPy's signature, and the addresses its data consist of.

    Its dimensions are the product of the first axes and the last one.

    Raises
    ------
    NoLoop
        If an operation or the shape of an operand is of another kind.
    """
    made = _Kernel(run)
    return made.source(), [place[0] for place in made.arrays]


class _Kernel:
    def __init__(self, run: Run) -> None:
        self.run, self.names = run, count()
        self.begin: list[str] = []  # done once
        self.row: list[str] = []  # done for each row
        self.body: list[str] = []  # done for each element
        self.values: dict[Place, str] = {}  # what is now in a place
        self.arrays: dict[Place, Array] = {}  # what is read and written
        self.written: list[Place] = []
        for operation in run.operations:
            self._add(operation)
        for a, b in combinations(self.arrays.values(), 2):
            if np.may_share_memory(a, b):  # element i of one may be another element of the other
                raise NoLoop

    def source(self) -> str:
        """Return the loop, in a function of its own whose arrays LLVM may take for separate."""
        for place in self.written:
            self._store(place)
        pointers = range(len(self.arrays))
        given = ", ".join(f"ptr noalias %p{j}" for j in pointers)
        loads = [
            f"%at{j} = getelementptr ptr, ptr %data, i64 {j}\n  %p{j} = load ptr, ptr %at{j}"
            for j in pointers
        ]
        passed = ", ".join(f"ptr %p{j}" for j in pointers)
        lines = "\n  ".join
        return f"""
define internal void @inside(i64 %rows, i64 %width, {given}) noinline {{
start:
  {lines(self.begin)}
  br label %row
row:
  %r = phi i64 [0, %start], [%r1, %done]
  %first = mul i64 %r, %width
  {lines(self.row)}
  br label %element
element:
  %c = phi i64 [0, %row], [%c1, %element]
  %i = add i64 %first, %c
  {lines(self.body)}
  %c1 = add i64 %c, 1
  %more = icmp slt i64 %c1, %width
  br i1 %more, label %element, label %done
done:
  %r1 = add i64 %r, 1
  %more.rows = icmp slt i64 %r1, %rows
  br i1 %more.rows, label %row, label %end
end:
  ret void
}}
define void @f(ptr %args, ptr %dimensions, ptr %steps, ptr %data) {{
  %rows = load i64, ptr %dimensions
  %width.at = getelementptr i64, ptr %dimensions, i64 1
  %width = load i64, ptr %width.at
  {lines(loads)}
  call void @inside(i64 %rows, i64 %width, {passed})
  ret void
}}
declare float @llvm.sqrt.f32(float)
declare double @llvm.sqrt.f64(double)
declare float @llvm.fabs.f32(float)
declare double @llvm.fabs.f64(double)
"""

    def _add(self, o: Operation) -> None:
        place = self._place(o.out)
        if place[2] not in ("", "%i"):
            raise NoLoop
        lines = self.body if place[2] else self.begin
        x = [self._value(a, once=not place[2]) for a in o.inputs]
        a, b = _type(o.inputs[0]), _type(o.out)
        real = o.kind == "ufunc" and a in _KINDS
        y = f"%v{next(self.names)}"
        if o.kind in ("cast", "copy") and a == b:
            y = x[0]
        elif o.kind == "cast" and (a, b) in CASTS:
            lines.append(f"{y} = {CASTS[a, b]} {_held(a)} {x[0]} to {b}")
        elif o.kind == "where" and a == "i8":
            lines.append(f"{y} = select i1 {x[0]}, {_held(b)} {x[1]}, {_held(b)} {x[2]}")
        elif real and o.f in _ARITHMETIC:
            lines.append(f"{y} = {_ARITHMETIC[o.f]} {a} {x[0]}, {x[1]}")
        elif real and o.f in _COMPARISONS:
            lines.append(f"{y} = fcmp {_COMPARISONS[o.f]} {a} {x[0]}, {x[1]}")
        elif real and o.f in _OTHERS:
            lines.append(f"{y} = {_OTHERS[o.f].format(t=a, k=_KINDS[a], x=x[0])}")
        elif real and o.f in _EXTREMA and _chooses(o.f, o.out.dtype.char):
            lines += [
                f"{y}.c = fcmp {_EXTREMA[o.f]} {a} {x[0]}, {x[1]}",
                f"{y}.m = select i1 {y}.c, {a} {x[0]}, {a} {x[1]}",
                f"{y}.n = fcmp uno {a} {x[0]}, {x[0]}",
                f"{y} = select i1 {y}.n, {a} {x[0]}, {a} {y}.m",
            ]
        else:
            raise NoLoop
        self.values[place] = y
        if place[2] and not self._local(o.out) and place not in self.written:
            self.arrays.setdefault(place, o.out)
            self.written.append(place)

    def _value(self, a: Array, once: bool) -> str:
        """Return the value of an operand, loaded where it is needed for the first time."""
        place = self._place(a)
        if once and place[2]:
            raise NoLoop
        if place not in self.values:
            if self._local(a):
                raise NoLoop
            lines = {"": self.begin, "%r": self.row}.get(place[2], self.body)
            self.arrays.setdefault(place, a)
            y, t = f"%v{next(self.names)}", _type(a)
            lines.append(f"{y} = load {t}, ptr {self._element(lines, place)}")
            if t == "i8":
                lines.append(f"{y}.is = icmp ne i8 {y}, 0")
                y += ".is"
            self.values[place] = y
        return self.values[place]

    def _store(self, place: Place) -> None:
        t, value = _type(self.arrays[place]), self.values[place]
        if t == "i8":
            self.body.append(f"%b{next(self.names)} = zext i1 {value} to i8")
            value = self.body[-1].split(" ")[0]
        self.body.append(f"store {t} {value}, ptr {self._element(self.body, place)}")

    def _element(self, lines: list[str], place: Place) -> str:
        """Return where an element of an operand is."""
        pointer = f"%p{list(self.arrays).index(place)}"
        if not place[2]:
            return pointer
        name = f"%e{next(self.names)}"
        lines.append(f"{name} = getelementptr {_type(self.arrays[place])}, ptr {pointer}, i64 {place[2]}")
        return name

    def _place(self, a: Array) -> Place:
        """Return where an operand is, and by what its elements are found."""
        shape = self.run.shape
        if a.size == 1:
            index = ""
        elif self._local(a) or (a.shape == shape and a.flags.c_contiguous):
            index = "%i"
        elif len(shape) == 2 and a.shape in ((1, shape[1]), shape[1:]) and a.strides[-1] == a.itemsize:
            index = "%c"
        elif len(shape) == 2 and a.shape == (shape[0], 1) and a.strides[0] == a.itemsize:
            index = "%r"
        else:
            raise NoLoop
        return a.ctypes.data, a.size, index

    def _local(self, a: Array) -> bool:
        return any(a is b for b in self.run.local)


@cache
def _chooses(f: np.ufunc, char: str) -> bool:
    """Whether a maximum or minimum gives the second number of 0.0 and -0.0, as it does on x86."""
    numbers = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5] * 9, char)
    a, b = np.repeat(numbers, len(numbers)), np.tile(numbers, len(numbers))

    def alike(a: Array, b: Array) -> bool:
        chosen: Any = np.where(np.isnan(a) | (a > b if f is np.maximum else a < b), a, b)
        found: Any = f(a, b)
        return bool(found.tobytes() == chosen.tobytes())

    # With vectors and what is left of them, and with a number on either side.
    pieces = all(alike(a[i : i + n], b[i : i + n]) for i in range(0, 256, 5) for n in (3, 37))
    return pieces and alike(a, b) and all(alike(a, n) and alike(n, a) for n in numbers[:8])


def _held(t: str) -> str:
    """Return the type of a value in a register."""
    return "i1" if t == "i8" else t


def _type(a: Array) -> str:
    t = TYPES.get(a.dtype.str[1:], "") if a.dtype.isnative else ""
    if t not in ("i8", *_KINDS):
        raise NoLoop
    return t
