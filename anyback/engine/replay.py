"""Functions that are replayed on the arrays they are given."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from threading import RLock
from time import perf_counter
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.engine.calls import calls
from anyback.engine.layout import Operation, lay_out
from anyback.engine.recording import Node, NotRecordable, Recording, base, record
from anyback.pytree import leaves, structure, tree_map

__all__ = ["Repeated", "Replayed"]

# Calls of one kind before it is recorded: a short run does not pay for what a long one gains by.
PLAIN = 2
# Bytes of what may be overwritten from which on nothing is called plainly first: that takes more memory.
LARGE = 1 << 20
# Replays that each layout after the first must have served before another is made.
WORTH = 8
# Bytes of an array that is copied when another comes in its place; for a larger one all is laid out anew.
SMALL = 1 << 16
# Bytes of what is another array each time above which it is not copied, and calls are plain.
STREAMED = 1 << 22
# Kinds of arguments that are remembered.
KINDS = 8
# Elements of a chunk of a `Run`: a dozen operands of so many stay in a core's second cache, or in its first,
# which pays where a call costs nothing.
CHUNK, COMPILED_CHUNK = 32768, 2048
# Seconds of replaying after which loading the compiler, a third of that, pays if as many are to come.
PATIENCE = 0.3


class Replayed:
    """A pure function that is recorded, and from then on replayed.

    Plain and replayed calls give the same bits, so that it does not matter when one takes the place of the
    other. A function that cannot be recorded is called as it stands, and a warning says so once.

    Parameters
    ----------
    f : callable
        A pure function of nested tuples and dicts of arrays and numbers.
    donate : int
        How many of the first arguments may be overwritten with the first results.
    fresh : int
        How many of the last arguments are other arrays in each call; they are copied.

    Examples
    --------
    >>> step = Replayed(lambda w, g, lr: w - lr * g, donate=1)
    >>> w, g = np.ones(3), np.ones(3)
    >>> for lr in (0.1, 0.1, 0.2, 0.1):
    ...     w = step(w, g, lr)
    >>> w.round(6).tolist(), step.recorded
    ([0.5, 0.5, 0.5], True)
    """

    def __init__(self, f: Callable[..., Any], donate: int = 0, fresh: int = 0) -> None:
        self.f, self.donate, self.fresh = f, donate, fresh
        self._recordable = True
        self._lock = RLock()  # threads may predict with one trainer
        self._plan: _Plan | None = None
        # By what the arguments look like; a number counts plain calls.
        self._plans: dict[Any, _Plan | int] = {}

    @property
    def recorded(self) -> bool:
        """Whether the last call was a replay."""
        return self._plan is not None

    def __reduce__(self) -> tuple[Any, ...]:  # a copy begins anew
        return type(self), (self.f, self.donate, self.fresh)

    def release(self) -> None:
        """Let go of the arrays of earlier calls."""
        with self._lock:
            self._plan = None
            self._plans.clear()

    def __call__(self, *args: Any) -> Any:
        """Call the function; results that all take the place of arguments are the same arrays each time."""
        with self._lock:
            if self._plan is None or not self._plan.takes(args):
                self._plan = self._planned(args) if self._recordable else None
            if self._plan is not None:
                return self._plan.run()
        return self.f(*args)

    def goes_on(self, batches: Sequence[Any]) -> bool:
        """Go on from the results of the last call, see `_Plan.repeat`; whether that was done."""
        with self._lock:
            return self._plan is not None and self._plan.repeat(batches)

    def _planned(self, args: tuple[Any, ...]) -> _Plan | None:
        """Return the plan for these arguments, if it is time for one."""
        key = structure(args), *map(_look, leaves(args))
        plan = self._plans[key] = self._plans.pop(key, 0)  # the last one used is the last to be forgotten
        if len(self._plans) > KINDS:
            del self._plans[next(iter(self._plans))]
        try:
            if isinstance(plan, _Plan):
                if plan.takes(args):
                    return plan
                if plan.done >= WORTH * (plan.layouts - 1):
                    plan.lay_out(args)
                    return plan
                self._plans[key] = -sys.maxsize  # other large arrays each time: called plainly from now on
                return None
            streamed = _bytes(args[len(args) - self.fresh :]) > STREAMED
            if streamed or plan < (PLAIN if _bytes(args[: self.donate]) < LARGE else 0):
                self._plans[key] = plan + 1
                return None
            new = self._plans[key] = _Plan(record(self.f, *args), args, self.donate, self.fresh)
            return new
        except Exception as reason:  # whatever it is, what cannot be recorded can still be called
            self._recordable = False
            name = getattr(self.f, "__name__", "function")
            warnings.warn(f"{name} cannot be recorded and runs slower: {reason}", stacklevel=4)
            return None


class Repeated:
    """A function that is called again and again, each time with the state it returned before.

    Examples
    --------
    >>> steps = Repeated(lambda w, g, lr: (w - lr * g,), donate=1)
    >>> state = (np.ones(3),)
    >>> for _ in range(2):
    ...     state = steps(state, (np.ones(3),), [(0.1,), (0.2,)])
    >>> state[0].round(6).tolist()
    [0.4, 0.4, 0.4]
    """

    def __init__(self, f: Callable[..., Any], donate: int = 0) -> None:
        self.one = Replayed(f, donate)

    def release(self) -> None:
        """Let go of the arrays of earlier calls."""
        self.one.release()

    def __call__(self, state: Any, fixed: Any, batches: Any) -> Any:
        """Return the state after ``state = f(*state, *fixed, *batch)`` for each batch."""
        self.one.fresh = len(batches[0])
        for i, batch in enumerate(batches):
            state = self.one(*state, *fixed, *batch)
            if self.one.goes_on(batches[i + 1 :]):
                break
        return state


class _Plan:
    """A recording laid out on the arrays of a call."""

    def __init__(self, recording: Recording, args: tuple[Any, ...], donate: int, fresh: int) -> None:
        self.recording = recording
        self.donated = len(leaves(args[:donate]))
        self.computed = [node for node in recording.nodes if node.kind == "scalar"]
        self.bound: list[Any] = leaves(args)
        # Inputs that are copied into arrays of the plan: what may be overwritten, and what changes.
        last = len(self.bound) - len(leaves(args[len(args) - fresh :]))
        mine, others = self.bound[: self.donated], enumerate(self.bound[self.donated :], self.donated)
        self.copied = {*range(self.donated)} | {
            i for i, leaf in others if i >= last or np.ndim(leaf) == 0 or _overlaps(leaf, mine)
        }
        given, results = recording.inputs[: self.donated], leaves(recording.result)
        if any(base(node) in given for node in results[self.donated :]):
            raise NotRecordable("it returns what it was given to overwrite")
        for new, old in zip(results, given, strict=False):
            if _look(new.value) != _look(old.value):
                raise NotRecordable(f"it returns {_look(new.value)} for {_look(old.value)}")
        self.forms = [structure(arg) for arg in args]
        self.counts = [len(leaves(arg)) for arg in args]
        self.starts = [sum(self.counts[:i]) for i in range(len(args))]
        self.spent, self.done, self.layouts = 0.0, 0, 0
        self.lay_out(args)

    def lay_out(self, args: tuple[Any, ...]) -> None:
        """Place everything around the arrays of these arguments."""
        given = leaves(args)
        for i, (old, new) in enumerate(zip(self.bound, given, strict=True)):
            if isinstance(old, np.ndarray) and new is not old and old.nbytes <= SMALL:
                self.copied.add(i)
        self.bound = []
        for i, x in enumerate(given):
            over = i < self.donated and isinstance(x, np.ndarray) and not _overlaps(x, self.bound)
            over = over and x.flags.writeable and x.flags.c_contiguous
            own = i in self.copied and isinstance(x, _ARRAYS) and not over
            self.bound.append(np.array(x, order="C") if own else x)
        self.args: list[Any] = [None] * len(args)
        self.values: dict[Node, Any] = dict(zip(self.recording.inputs, self.bound, strict=True))
        self.layouts += 1
        self._arrange(_table() if "anyback.engine.table" in sys.modules else None)  # if that is loaded anyway
        self.takes(args)

    def _arrange(self, table: Any = None) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.table, self.result, self.slots = None, None, []  # not two layouts at once
        chunk = CHUNK if table is None else COMPILED_CHUNK
        operations, places, slots = lay_out(self.recording, self.bound, self.donated, chunk)
        self.slots = [(node, array) for (node, _), array in slots.items()]
        results = leaves(self.recording.result)
        over = dict(zip(results[: self.donated], self.bound, strict=False))
        self.all_over = len(over) == len(results)
        self.result = tree_map(lambda node: over.get(node, places.get(node)), self.recording.result)
        try:
            self.table = None if table is None else table(operations)
        except Exception as reason:  # of LLVM: the calls do the same
            warnings.warn(f"a step runs without llvmlite, which refused it: {reason}", stacklevel=2)
            self.spent = -math.inf
        self.calls = list(calls(operations)) if self.table is None else self.table.calls

    def takes(self, args: tuple[Any, ...]) -> bool:
        """Take up what is new in the arguments, and return whether they are of this plan."""
        taken = []
        for i, arg in enumerate(args):
            if arg is self.args[i] and not isinstance(arg, _CHANGING):
                continue
            nested = isinstance(arg, _NESTED)
            inside = leaves(arg) if nested else (arg,)
            if len(inside) != self.counts[i] or (nested and structure(arg) != self.forms[i]):
                return False
            self.args[i] = arg
            for j, leaf in enumerate(inside, self.starts[i]):
                bound = self.bound[j]
                if not isinstance(bound, np.ndarray):
                    if type(leaf) is not type(bound):
                        self.args[i] = None
                        return False
                    self.values[self.recording.inputs[j]] = leaf
                elif leaf is not bound:
                    self.args[i] = None  # the same array may hold other values next time
                    if j not in self.copied or not isinstance(leaf, _ARRAYS):
                        return False
                    if leaf.shape != bound.shape or leaf.dtype != bound.dtype:
                        return False
                    if j < self.donated:  # a part of the state that was swapped is read before it goes
                        taken.append((bound, leaf.copy()))
                    else:
                        bound[...] = leaf
        for bound, leaf in taken:
            bound[...] = leaf
        return True

    def run(self) -> Any:
        """Do it all once more."""
        began = perf_counter() if self.table is None else 0.0
        if self.computed:
            self._compute()
        for node, slot in self.slots:
            slot[()] = self.values[node]
        for call in self.calls:
            call()
        self.done += 1
        result = self.result
        if not self.all_over:
            result = result.copy() if isinstance(result, np.ndarray) else tree_map(np.copy, result)
        if self.table is None:
            self._spend(perf_counter() - began)
        return result

    def repeat(self, batches: Sequence[Any]) -> bool:
        """Go on from the results, with each batch for the last arguments, if that can be done at once.

        What changes between the batches is computed before; where all is one table, one call does the rest.
        """
        if not (batches and self.all_over):
            return False
        first = len(self.args) - len(batches[0])
        start, columns = self.starts[first], list(zip(*map(leaves, batches), strict=True))
        feeds: list[tuple[Array, Array]] = []
        numbers: list[tuple[Node, Sequence[Any]]] = []
        for j, column in enumerate(columns, start):
            if set(map(_look, column)) != {_look(self.bound[j])}:
                return False
            if not isinstance(self.bound[j], np.ndarray):
                numbers.append((self.recording.inputs[j], column))
            elif j in self.copied:
                feeds.append((self.bound[j], np.stack(column)))
            else:
                return False
        rounds = []
        for i in range(len(batches)):
            self.values |= {node: column[i] for node, column in numbers}
            self._compute()
            rounds.append([self.values[node] for node, _ in self.slots])
        for k, (_, slot) in enumerate(self.slots):
            feeds.append((slot, np.array([values[k] for values in rounds], slot.dtype)))
        if self.table is not None and self.table.whole:
            self.table.repeat(len(batches), feeds)
        else:
            began = perf_counter()
            for i in range(len(batches)):
                for to, pieces in feeds:
                    to[...] = pieces[i]
                for call in self.calls:
                    call()
            if self.table is None:
                self._spend(perf_counter() - began)
        self.args[first:] = [None] * len(batches[0])  # what is taken up now is of the last batch
        self.done += len(batches)
        return True

    def _spend(self, seconds: float) -> None:
        """Count the time of calls, and have them compiled when that pays."""
        self.spent += seconds
        if self.spent > PATIENCE and _table() is not None:
            self._arrange(_table())

    def _compute(self) -> None:
        """Compute the numbers that follow from those among the arguments."""
        values = self.values
        for node in self.computed:
            values[node] = node.f(*(values[arg] if isinstance(arg, Node) else arg for arg in node.args))


@cache
def _table() -> Any:
    """Return `anyback.engine.table.Table` where llvmlite is installed and it works, else None."""
    if find_spec("llvmlite") is None:
        return None
    try:
        from anyback.engine.table import Table

        y = np.zeros(2)
        Table([Operation("ufunc", np.add, [np.ones(2), np.ones(2)], y)])()
        if y.tolist() != [2.0, 2.0]:
            raise RuntimeError(f"1 + 1 came out as {y[0]}")
    except Exception as reason:  # of LLVM, or of a NumPy that is not known yet
        warnings.warn(f"steps run without llvmlite, which does not work here: {reason}", stacklevel=2)
        return None
    return Table


_ARRAYS, _NESTED, _CHANGING = (np.ndarray, np.generic), (tuple, list, dict), (list, dict)


def _overlaps(leaf: Any, arrays: Sequence[Any]) -> bool:
    return isinstance(leaf, np.ndarray) and any(
        isinstance(a, np.ndarray) and np.may_share_memory(a, leaf) for a in arrays
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in leaves(tree) if isinstance(leaf, _ARRAYS))


def _look(leaf: Any) -> Any:
    """Return what a recording depends on: shape and dtype, or the type of a number."""
    return (leaf.shape, leaf.dtype) if isinstance(leaf, _ARRAYS) else type(leaf)
