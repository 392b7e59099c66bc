"""Seeing what a training step computes, operation by operation; formulas and layers know nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from anyback.arrays import Array, Vjp
from anyback.backends import Backend
from anyback.layers import Layer, Sequential
from anyback.optimizers._base import Optimizer
from anyback.parameters import Layout, Parameters
from anyback.random import Key
from anyback.training.step import Program

__all__ = ["Seen", "Witness", "largest", "observed"]


@dataclass(frozen=True)
class Seen:
    """The result of an operation on the host, with the largest magnitude of what went into it."""

    operation: str
    value: np.ndarray
    entered: float = 0.0


@dataclass
class Witness:
    """Sees results; what was seen goes on with the values of a guide, where there is one.

    Attributes
    ----------
    where : Backend
        Of the results.
    guide : list of Seen, optional
        Of the same operations on another backend.
    seen : list of Seen
        So far.

    Examples
    --------
    >>> from anyback import backend
    >>> see = Witness(backend("numpy"), [Seen("sum", np.float64(2.0))])
    >>> print(see("sum", np.float64(3.0)), see.seen[0].value)
    2.0 3.0
    """

    where: Backend
    guide: list[Seen] | None = None
    seen: list[Seen] = field(default_factory=list)

    def __call__(self, operation: str, result: Array, entered: Array | None = None) -> Array:
        """See one result, and return with what to go on; `entered` is what went into it."""
        size = 0.0 if entered is None else largest(self.where.to_numpy(entered))
        self.seen.append(Seen(operation, self.where.to_numpy(result), size))
        return result if self.guide is None else self.where.asarray(self.guide[len(self.seen) - 1].value)

    def vector(self, operation: str, result: Array, layout: Layout) -> Array:
        """See a flat vector (P,), parameter by parameter."""
        parts, first = layout.arrays(self.where.to_numpy(result)), len(self.seen)
        self.seen += [Seen(f"{operation} of {name}", part) for name, part in parts.items()]
        if self.guide is None:
            return result
        return self.where.asarray(
            np.concatenate([s.value.ravel() for s in self.guide[first : len(self.seen)]])
        )


def observed(program: Program, see: Witness, loss: str, optimizer: Optimizer) -> Program:
    """Return a program whose steps are seen: batch, layers, loss, gradients, slots and new parameters.

    Parameters
    ----------
    program : Program
        What a trainer runs.
    see : Witness
        Of one step.
    loss : str
        The name of its loss.
    optimizer : Optimizer
        Whose rule it has.
    """

    def sums(pred: Array, y: Array, weight: Array | None) -> tuple[Array, Any, Vjp]:
        value, total, vjp = program.loss(pred, see("batch targets", y), weight)
        value = see(f"loss {loss}", value, pred)
        return value, total, lambda dl: see(f"loss {loss} backward", vjp(dl), pred * dl)

    def rule(xp: Any) -> Callable[..., tuple[Array, ...]]:
        return partial(updated, program.rule(xp))

    def updated(f: Callable[..., Any], w: Array, g: Array, *rest: Any) -> tuple[Array, ...]:
        g = see("flat gradient", g)
        # Added to weights that are much larger, an error of a step is lost in their rounding.
        step = f(0.0 * w, g, *rest)[0]
        w, *slots = f(w, g, *rest)
        for i, slot in enumerate(optimizer.slots):
            slots[i] = see.vector(f"{name} slot {slot}", slots[i], program.layout)
        see.vector(f"{name} step", step, program.layout)
        return see.vector(f"{name} update", w, program.layout), *slots

    name = type(optimizer).__name__
    return replace(program, model=_Entered(_seen(program.model, see), see), loss=sums, rule=rule)


def largest(x: np.ndarray) -> float:
    """Return the largest magnitude that is finite, 0.0 if there is none."""
    return float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0))


def _seen(layer: Layer, see: Witness, path: str = "") -> Layer:
    """Return `layer`, and the layers in its fields, observed; a Sequential does nothing by itself."""
    whole: Any = layer
    inside: dict[str, Any] = {}
    for f in fields(whole) if is_dataclass(whole) else ():
        value = getattr(layer, f.name)
        if isinstance(value, Layer):
            inside[f.name] = _seen(value, see, _join(path, f.name))
        elif isinstance(value, tuple) and value and all(isinstance(part, Layer) for part in value):
            inside[f.name] = tuple(_seen(part, see, _join(path, i)) for i, part in enumerate(value))
    whole = replace(whole, **inside) if inside else whole
    return whole if isinstance(layer, Sequential) else _Observed(whole, see, path)


class _Observed(Layer):
    """A layer whose results are seen."""

    def __init__(self, layer: Layer, see: Witness, path: str) -> None:
        self.layer, self.see, self.path = layer, see, path
        kind = f"{type(layer).__name__} {getattr(layer, 'name', '')}".strip()  # an Activation has one
        self.name = f"layer {path} ({kind})" if path else f"layer ({kind})"

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        return self._results(x, *self.layer(params, x))

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        y, vjp, stats = self.layer.train(params, x, key)
        return *self._results(x, y, vjp), self._each("statistics", stats)

    def _results(self, x: Array, y: Array, vjp: Vjp) -> tuple[Array, Vjp]:
        def back(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
            dparams, dinput = vjp(dy, dx)
            dinput = None if dinput is None else self.see(f"{self.name} backward", dinput, dy)
            return self._each("gradient", dparams, dy), dinput

        return self.see(f"{self.name} forward", y, x), back

    def _each(self, what: str, tree: dict[str, Any], entered: Array | None = None) -> dict[str, Any]:
        """See the arrays of the layer itself; those of layers in it were seen there."""
        return {
            name: x if isinstance(x, dict) else self.see(f"{what} of {_join(self.path, name)}", x, entered)
            for name, x in tree.items()
        }


class _Entered(Layer):
    """A model whose batch is seen."""

    def __init__(self, model: Layer, see: Witness) -> None:
        self.model, self.see = model, see

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        return self.model.train(params, self.see("batch inputs", x), key)


def _join(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)
