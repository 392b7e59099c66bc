"""Operations as calls of NumPy's functions, each with its arguments and its result in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from anyback.engine.layout import Operation, Run

__all__ = ["calls"]

_copy: Any = np.copyto  # its stub knows no argument by position


def calls(operations: Iterable[Operation | Run]) -> Iterator[Callable[[], Any]]:
    """Yield functions without arguments that do the operations, in order.

    Examples
    --------
    >>> y = np.zeros(2)
    >>> for call in calls([Operation("ufunc", np.add, [np.ones(2), np.ones(2)], y)]):
    ...     _ = call()
    >>> y
    array([2., 2.])
    """
    for operation in operations:
        if isinstance(operation, Operation):
            yield _call(operation)
            continue
        yield from map(_call, operation.chunks())


def _call(o: Operation) -> Callable[[], Any]:
    if o.kind == "ufunc":
        return partial(o.f, *o.inputs, out=o.out)
    if o.kind == "reduce":
        return partial(o.f.reduce, *o.inputs, o.options["axis"], None, o.out, o.options["keepdims"])
    if o.kind == "take":
        return partial(o.inputs[0].take, o.inputs[1], 0, o.out, "clip")
    if o.kind in ("cast", "copy"):
        return partial(_copy, o.out, *o.inputs, "unsafe")
    return partial(_choose if o.kind == "where" else _any, o)


def _choose(o: Operation) -> None:
    condition, x, y = o.inputs
    if np.may_share_memory(o.out, x):
        np.copyto(o.out, y, where=~condition)
    else:
        np.copyto(o.out, y)
        np.copyto(o.out, x, where=condition)


def _any(o: Operation) -> None:
    o.out[...] = o.f(*o.inputs)
