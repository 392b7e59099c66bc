"""Where the results of fused operations are: over the arguments they replace, or in one block of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anyback.engine.fusion import Fused, Kernel, Sight, array_args, in_c_order, ones_out
from anyback.engine.recording import Node

__all__ = ["Places", "arranged", "place"]

# Every result begins at a multiple of so many bytes, as memory of CUDA does.
ALIGNED = 256


@dataclass(frozen=True)
class Places:
    """Where results go.

    Attributes
    ----------
    over : dict of Node to Node
        Results to the arguments whose memory they take.
    starts : dict of Node to int
        Where the others begin, in bytes.
    nbytes : int
        Size of the block that holds them.
    """

    over: dict[Node, Node]
    starts: dict[Node, int]
    nbytes: int


def place(fused: Fused, results: Sequence[Node], donated: Sequence[Node]) -> Places:
    """Find a place for all that is stored.

    Parameters
    ----------
    fused : Fused
        What is done.
    results : sequence of Node
        What the function returns.
    donated : sequence of Node
        Its first arguments, which the first results replace.
    """
    over = dict(_over(fused, results, donated))
    lives = _lives(fused, results, over)
    return Places(over, *arranged({node: node.value.nbytes for node in lives}, lives))


def _over(fused: Fused, results: Sequence[Node], donated: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Yield (result, argument) where the kernel that makes the result can put it over the argument."""
    roots = [fused.sights.of(result).root for result in results]
    for result, old in zip(results, donated, strict=False):
        sight, steps = fused.sights.of(result), fused.steps
        new = sight.root
        at = next((i for i, s in enumerate(steps) if isinstance(s, Kernel) and new in s.roles), -1)
        whole = sight == Sight(new, 0, new.value.shape, in_c_order(new.value.shape))
        if at < 0 or not whole or new in fused.places or roots.count(new) > 1 or old in roots:
            continue
        kernel = steps[at]
        assert isinstance(kernel, Kernel)
        # Threads that put a sum together read at their own pace, and parts of a sum are blocks of their own.
        stores = any(role == "all" and node in fused.stored for node, role in kernel.roles.items())
        together = kernel.parts > 1 or (bool(kernel.axes) and stores)
        later = any(old in _read(fused, step) for step in steps[at + 1 :])
        readers = [node for node in kernel.roles if old in _roots(fused, node)]
        if not (later or together) and all(_same(fused, kernel, node, old, new) for node in readers):
            yield new, old


def _same(fused: Fused, kernel: Kernel, reader: Node, old: Node, new: Node) -> bool:
    """Whether a reader of `old` is done with each element when that of `new` is written."""
    if reader.kind in ("take", "reduce"):
        return False
    shape = reader.value.shape
    once = ones_out(shape, in_c_order(shape))
    sights = [sight for sight in map(fused.sights.of, array_args(reader)) if sight.root is old]
    alike = all((sight.offset, sight.along(shape)) == (0, once) for sight in sights)
    return alike and kernel.roles[reader] == kernel.roles[new] and reader.value.size == new.value.size


def _lives(fused: Fused, results: Sequence[Node], over: dict[Node, Node]) -> dict[Node, tuple[int, int]]:
    """Return from which step to which what is stored is needed."""
    lives: dict[Node, tuple[int, int]] = {}

    def needed(root: Node, i: int) -> None:
        whole = fused.places.get(root, (root,))[0]
        if whole in lives:
            lives[whole] = lives[whole][0], i

    for i, step in enumerate(fused.steps):
        for node in step.roles if isinstance(step, Kernel) else [step]:
            if node in fused.stored and node not in over:
                whole = fused.places.get(node, (node,))[0]
                lives[whole] = lives.get(whole, (i, i))[0], i
        for root in _read(fused, step):
            needed(root, i)
    for result in results:
        needed(fused.sights.of(result).root, len(fused.steps))
    return lives


def arranged(sizes: dict[Node, int], lives: dict[Node, tuple[int, int]]) -> tuple[dict[Node, int], int]:
    """Return where in a block of memory each result begins, and the size of the block.

    The largest come first, each at the lowest place that is free as long as it lives.

    Examples
    --------
    >>> starts, nbytes = arranged({"a": 10, "b": 300, "c": 20}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)})
    >>> starts, nbytes
    ({'b': 0, 'c': 512, 'a': 512}, 768)
    """
    starts: dict[Node, int] = {}

    def stop(node: Node) -> int:
        return starts[node] + -(-sizes[node] // ALIGNED) * ALIGNED

    for node in sorted(sizes, key=lambda node: -sizes[node]):
        (begin, end), at = lives[node], 0
        beside = [other for other in starts if lives[other][0] <= end and begin <= lives[other][1]]
        for other in sorted(beside, key=lambda other: starts[other]):
            if at + sizes[node] <= starts[other]:
                break
            at = max(at, stop(other))
        starts[node] = at
    return starts, max(map(stop, starts), default=0)


def _roots(fused: Fused, node: Node) -> list[Node]:
    return [fused.sights.of(arg).root for arg in array_args(node)]


def _read(fused: Fused, step: Kernel | Node) -> set[Node]:
    """Return what a step reads."""
    nodes = step.roles if isinstance(step, Kernel) else [step]
    return {root for node in nodes for root in _roots(fused, node)}
