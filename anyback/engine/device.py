"""Functions of a GPU's arrays: plain at first, then as programs that were compared with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from anyback.engine.program import Machine, Program, look
from anyback.engine.recording import NotRecordable
from anyback.pytree import leaves, structure, tree_map

__all__ = ["Compiled", "Stepped"]

# Calls of one kind before it is compiled, which takes some tenths of a second.
PLAIN = 32
# Kinds of arguments that are remembered.
KINDS = 8
# How far a program may be from the plain formulas, of the size of each result, before it is not believed.
TOLERANCE, HALF_TOLERANCE = 1e-2, 1e-1


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
        # By what the arguments look like; a number counts plain calls, None is what cannot be compiled.
        self.programs: dict[Any, Program | int | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # a copy begins anew
        return type(self), (self.f, self.machine, self.donate, self.fresh)

    def release(self) -> None:
        """Let go of the arrays of earlier calls."""
        for program in self.programs.values():
            if isinstance(program, Program):
                program.release()

    def __call__(self, *args: Any) -> Any:
        """Call the function; results that take the place of arguments are the same arrays each time."""
        with self.machine.lock, self.machine.device:
            if (program := self.program(args)) is not None:
                with suppress(NotRecordable):
                    return program(args)
            return self.f(*args)

    def program(self, args: tuple[Any, ...], calls: int = 1) -> Program | None:
        """Return the program for such arguments, if it is time for one and it can be had."""
        key = structure(args), *map(look, leaves(args))
        program = self.programs[key] = self.programs.pop(key, 0)  # the last one used is forgotten last
        if len(self.programs) > KINDS:
            del self.programs[next(iter(self.programs))]
        if isinstance(program, int):
            self.programs[key] = program + calls
            if program + calls < PLAIN:
                return None
            self.programs[key] = program = self._made(args)
        return program

    def _made(self, args: tuple[Any, ...]) -> Program | None:
        try:
            program = Program(self.f, args, self.machine, self.donate, self.fresh)
            self._prove(program, args)
        except Exception as reason:  # whatever it is, the function can still be called
            name = getattr(self.f, "__name__", "function")
            warnings.warn(f"{name} runs without kernels of its own, slower: {reason}", stacklevel=5)
            return None
        return program

    def _prove(self, program: Program, args: tuple[Any, ...]) -> None:
        """Compare a new program once with the plain function, on copies of what it may overwrite."""
        copied = tree_map(lambda x: x.copy(), args[: self.donate])
        found = [self.machine.to_numpy(x) for x in leaves(program((*copied, *args[self.donate :])))]
        program.release()
        most = HALF_TOLERANCE if self.machine.half else TOLERANCE
        for x, expected in zip(found, leaves(self.f(*args)), strict=True):
            y = self.machine.to_numpy(expected)
            a, b = x.astype(float), y.astype(float)
            with np.errstate(all="ignore"):
                apart = np.linalg.norm(np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, a - b))
                size = np.linalg.norm(b[np.isfinite(b)])
            if x.dtype != y.dtype or not apart <= most * size + np.finfo(np.float32).tiny:
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
        one = self.one
        with one.machine.lock, one.machine.device:
            one.fresh = len(batches[0])
            program = one.program((*state, *fixed, *batches[0]), len(batches))
            if program is not None:
                with suppress(NotRecordable):
                    return program.repeat(leaves((state, fixed)), [*map(leaves, batches)])
            for batch in batches:
                state = one.f(*state, *fixed, *batch)
            return state
