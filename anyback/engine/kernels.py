"""A run of elementwise operations as one loop: each element is read once, and written once.

The update of an optimizer is such a run. As a dozen of NumPy's loops it goes through the core's cache a dozen
times; as one loop what passes between the operations stays in registers. Only operations whose every result
the IEEE 754 standard prescribes are taken, so that the bits are those of NumPy's loops.
"""

from __future__ import annotations

from itertools import combinations, count

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
_OTHERS = {np.sqrt: "call {t} @llvm.sqrt.{k}({t} {x})", np.absolute: "call {t} @llvm.fabs.{k}({t} {x})"}
_OTHERS |= {np.negative: "fneg {t} {x}"}
_OTHERS |= {np.square: "fmul {t} {x}, {x}"}
_KINDS = {"float": "f32", "double": "f64"}


def kernel(run: Run) -> tuple[str, list[int]]:
    """Return the source of a run as one loop of NumPy's signature, and the addresses its data consist of.

    Raises
    ------
    NoLoop
        If an operation or the shape of an operand is of another kind.
    """
    made = _Kernel(run)
    return made.source(), made.addresses


class _Kernel:
    def __init__(self, run: Run) -> None:
        self.run, self.names = run, count()
        self.addresses: list[int] = []  # of the arrays it reads and writes
        self.types: list[str] = []
        self.begin: list[str] = []  # done once
        self.body: list[str] = []  # done for each element
        self.values: dict[tuple[int, int], str] = {}  # what is now at an address
        self.written: dict[tuple[int, int], Array] = {}
        self.arrays: dict[tuple[int, int], Array] = {}
        for operation in run.operations:
            self._add(operation)
        for a, b in combinations(self.arrays.values(), 2):
            if np.may_share_memory(a, b):  # element i of one may be another element of the other
                raise NoLoop

    def source(self) -> str:
        """Return the loop, in a function of its own whose arrays LLVM may take for separate."""
        stores = [
            line
            for at, a in self.written.items()
            for line in self._stored(self.values[at], _type(a), self._pointer(a))
        ]
        given = ", ".join(f"ptr noalias %p{j}" for j in range(len(self.addresses)))
        loads = [
            f"%at{j} = getelementptr ptr, ptr %data, i64 {j}\n  %p{j} = load ptr, ptr %at{j}"
            for j in range(len(self.addresses))
        ]
        passed = ", ".join(f"ptr %p{j}" for j in range(len(self.addresses)))
        lines = "\n  ".join
        return f"""
define internal void @inside(i64 %n, {given}) noinline {{
start:
  {lines(self.begin)}
  br label %loop
loop:
  %i = phi i64 [0, %start], [%i1, %loop]
  {lines([*self.body, *stores])}
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}
define void @f(ptr %args, ptr %dimensions, ptr %steps, ptr %data) {{
  %n = load i64, ptr %dimensions
  {lines(loads)}
  call void @inside(i64 %n, {passed})
  ret void
}}
declare float @llvm.sqrt.f32(float)
declare double @llvm.sqrt.f64(double)
declare float @llvm.fabs.f32(float)
declare double @llvm.fabs.f64(double)
"""

    def _add(self, o: Operation) -> None:
        once = o.out.size == 1
        lines = self.begin if once else self.body
        x = [self._value(a, once) for a in o.inputs]
        a, b = _type(o.inputs[0]), _type(o.out)
        y = f"%v{next(self.names)}"
        if o.kind == "where" and a == "i8":
            kind = "i1" if b == "i8" else b
            text = f"select i1 {x[0]}, {kind} {x[1]}, {kind} {x[2]}"
        elif o.kind in ("cast", "copy") and a == b:
            text, y = "", x[0]
        elif o.kind == "cast" and (a, b) in CASTS:
            text = f"{CASTS[a, b]} {'i1' if a == 'i8' else a} {x[0]} to {b}"
        elif o.kind == "ufunc" and a in _KINDS and o.f in _ARITHMETIC:
            text = f"{_ARITHMETIC[o.f]} {a} {x[0]}, {x[1]}"
        elif o.kind == "ufunc" and a in _KINDS and o.f in _COMPARISONS:
            text = f"fcmp {_COMPARISONS[o.f]} {a} {x[0]}, {x[1]}"
        elif o.kind == "ufunc" and a in _KINDS and o.f in _OTHERS:
            text = _OTHERS[o.f].format(t=a, k=_KINDS[a], x=x[0])
        else:
            raise NoLoop
        if text:
            lines.append(f"{y} = {text}")
        at = _place(o.out)
        self.values[at] = y
        if not once and not self._local(o.out):
            self._pointer(o.out)
            self.written[at] = o.out

    def _value(self, a: Array, once: bool) -> str:
        """Return the value of an operand, loaded where it is needed for the first time."""
        at = _place(a)
        if at not in self.values:
            if self._local(a) or (once and a.size != 1):
                raise NoLoop
            number = a.size == 1
            lines, y = self.begin if number else self.body, f"%v{next(self.names)}"
            where, t = f"%p{self._pointer(a)}", _type(a)
            if not number:
                where = self._element(lines, t, where)
            lines.append(f"{y} = load {t}, ptr {where}")
            if t == "i8":
                lines.append(f"{y}.is = icmp ne i8 {y}, 0")
                y += ".is"
            self.values[at] = y
        return self.values[at]

    def _stored(self, value: str, t: str, j: int) -> list[str]:
        lines: list[str] = []
        where = self._element(lines, t, f"%p{j}")
        if t == "i8":
            lines.append(f"{where}.b = zext i1 {value} to i8")
            value = f"{where}.b"
        return [*lines, f"store {t} {value}, ptr {where}"]

    def _element(self, lines: list[str], t: str, pointer: str) -> str:
        name = f"%e{next(self.names)}"
        lines.append(f"{name} = getelementptr {t}, ptr {pointer}, i64 %i")
        return name

    def _pointer(self, a: Array) -> int:
        """Return the place of an array among the addresses; its elements must follow one another."""
        at = _place(a)
        if at not in self.arrays:
            if a.size != 1 and not (a.shape == self.run.shape and a.flags.c_contiguous):
                raise NoLoop
            self.arrays[at] = a
            self.addresses.append(at[0])
        return list(self.arrays).index(at)

    def _local(self, a: Array) -> bool:
        return any(a is b for b in self.run.local)


def _type(a: Array) -> str:
    t = TYPES.get(a.dtype.str[1:], "") if a.dtype.isnative else ""
    if t not in ("i8", *_KINDS):
        raise NoLoop
    return t


def _place(a: Array) -> tuple[int, int]:
    return a.ctypes.data, a.size
