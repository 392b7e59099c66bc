"""A probe: every value that a training step computes, operation by operation, as it is computed.

Formulas and layers know nothing of it. `anyback.parity` compares the values of two backends, and
`first_nonfinite` names the operation in which a step left the finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from anyback.arrays import Array, Vjp
from anyback.backends import Backend
from anyback.layers import Layer, Sequential
from anyback.optimizers import Optimizer
from anyback.parameters import Layout, Parameters
from anyback.random import Key
from anyback.training.step import TrainStep

__all__ = ["Operation", "Probe", "first_nonfinite", "probed"]

# Of each kind of operation: its name in a table, and its result in a sentence.
_PHRASES = {
    "inputs": ("batch inputs", "the inputs of the batch"),
    "targets": ("batch targets", "the targets of the batch"),
    "forward": ("{} forward", "the output of {}"),
    "statistics": ("statistics of {}", "the running statistics of {}"),
    "loss": ("loss {}", "the loss"),
    "loss gradient": ("loss {} backward", "the gradient of the loss"),
    "gradient": ("gradient of {}", "the gradient of {}"),
    "backward": ("{} backward", "the gradient of the inputs of {}"),
    "flat gradient": ("flat gradient", "the gradient after penalties and clipping"),
    "slot": ("{} slot {} of {}", "the optimizer's slot {1} of {2}"),
    "step": ("{} step of {}", "the step of {1}"),
    "update": ("{} update of {}", "the update of {1}"),
}


class Operation(NamedTuple):
    """An operation of a training step: its kind and the names of the layer, parameter or optimizer.

    Examples
    --------
    >>> str(Operation("forward", "layer 1 (Dense)")), Operation("forward", "layer 1 (Dense)").result
    ('layer 1 (Dense) forward', 'the output of layer 1 (Dense)')
    """

    kind: str
    names: str | tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._phrase(0)

    @property
    def result(self) -> str:
        """The operation's result as part of a sentence."""
        return self._phrase(1)

    def _phrase(self, i: int) -> str:
        return _PHRASES[self.kind][i].format(*([self.names] if isinstance(self.names, str) else self.names))


class Probe(Protocol):
    """A function that is called with every result; the step continues with the value it returns."""

    def __call__(self, operation: Operation, result: Array, source: Array | None = None) -> Array:
        """Take the result of an operation and, if it has one, its input `source`."""
        ...

    def vector(self, kind: str, names: tuple[str, ...], result: Array, layout: Layout) -> Array:
        """Take a flat vector (P,), one operation for each of its parameters."""
        ...


def probed(step: TrainStep, probe: Probe, loss: str, optimizer: Optimizer) -> TrainStep:
    """Return `step` with `probe` called on its batch, layers, loss, gradients, slots and new parameters.

    Parameters
    ----------
    step : TrainStep
        Of a trainer.
    probe : Probe
        Called during the step.
    loss : str
        Name of the loss.
    optimizer : Optimizer
        Whose update the step has.
    """

    def sums(pred: Array, y: Array, weight: Array | None) -> tuple[Array, Any, Vjp]:
        value, total, vjp = step.loss(pred, probe(Operation("targets"), y), weight)
        value = probe(Operation("loss", loss), value, pred)
        return value, total, lambda dl: probe(Operation("loss gradient", loss), vjp(dl), pred * dl)

    def update(w: Array, g: Array, *rest: Any) -> tuple[Array, ...]:
        g = probe(Operation("flat gradient"), g)
        # Added to much larger weights, an error of the step would vanish in their rounding.
        alone = step.update(0.0 * w, g, *rest)[0]
        w, *slots = step.update(w, g, *rest)
        for i, slot in enumerate(optimizer.slots):
            slots[i] = probe.vector("slot", (name, slot), slots[i], step.layout)
        probe.vector("step", (name,), alone, step.layout)
        return probe.vector("update", (name,), w, step.layout), *slots

    name = type(optimizer).__name__
    return replace(step, model=_ProbedInputs(_probed(step.model, probe), probe), loss=sums, update=update)


def first_nonfinite(
    step: TrainStep, backend: Backend, loss: str, optimizer: Optimizer, run: Callable[[TrainStep], Any]
) -> str | None:
    """Name the first value of a step that is not finite, in the order of computing; None if all are finite.

    It is meant for the moment after a failure, and reads every value back.

    Parameters
    ----------
    step, loss, optimizer
        As for `probed`.
    backend : Backend
        Of the arrays.
    run : callable
        ``run(step)`` calls one of the functions of `step`.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback import SGD, Dense, backend
    >>> from anyback.losses import mean_squared_error
    >>> model, _ = Sequential([Dense(1), Dense(1)]).bind((1,))
    >>> step = TrainStep(model, Layout(model.specs()), mean_squared_error.sums, {}, SGD().update)
    >>> x, w = np.ones((2, 1)), np.array([1e200, 0.0, 1e200, 0.0])
    >>> with np.errstate(all="ignore"):
    ...     first_nonfinite(
    ...         step, backend("numpy"), "mean_squared_error", SGD(),
    ...         lambda step: step.objective(w, np.zeros(0), (x, x, None), None, 1.0, 0),
    ...     )
    'the output of layer 1 (Dense)'
    """
    finder = _FirstNonfinite(backend)
    backend.call(run, probed(step, finder, loss, optimizer))
    return finder.found


class _FirstNonfinite:
    """A probe that remembers the first result that is not finite."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.found: str | None = None
        self.last_layer = "the model"
        self.pred: Array = None

    def __call__(self, operation: Operation, result: Array, source: Array | None = None) -> Array:
        if operation.kind == "forward":
            self.last_layer = str(operation.names)
        elif operation.kind == "loss":
            self.pred = source
        if self.found is None and not np.isfinite(self.backend.to_numpy(result)).all():
            self.found = operation.result
            if operation.kind in ("loss", "loss gradient"):
                size = np.max(np.abs(self.backend.to_numpy(self.pred)), initial=0.0)
                self.found += f", from outputs of {self.last_layer} up to {size:.3g}"
        return result

    def vector(self, kind: str, names: tuple[str, ...], result: Array, layout: Layout) -> Array:
        if kind != "step":  # part of the update
            for name, part in layout.arrays(self.backend.to_numpy(result)).items():
                if self.found is None and not np.isfinite(part).all():
                    self.found = Operation(kind, (*names, name)).result
        return result


def _probed(layer: Layer, probe: Probe, path: str = "") -> Layer:
    """Return `layer`, and the layers in its fields, with `probe`; a Sequential computes nothing itself."""
    whole: Any = layer
    inside: dict[str, Any] = {}
    for f in fields(whole) if is_dataclass(whole) else ():
        value = getattr(layer, f.name)
        if isinstance(value, Layer):
            inside[f.name] = _probed(value, probe, _join(path, f.name))
        elif isinstance(value, tuple) and value and all(isinstance(part, Layer) for part in value):
            inside[f.name] = tuple(_probed(part, probe, _join(path, i)) for i, part in enumerate(value))
    whole = replace(whole, **inside) if inside else whole
    return whole if isinstance(layer, Sequential) else _ProbedLayer(whole, probe, path)


class _ProbedLayer(Layer):
    """A layer with a probe on its output, its statistics and its gradients."""

    def __init__(self, layer: Layer, probe: Probe, path: str) -> None:
        self._layer, self._probe, self._path = layer, probe, path
        kind = f"{type(layer).__name__} {getattr(layer, 'name', '')}".strip()  # an Activation has a name
        self._name = f"layer {path} ({kind})" if path else f"layer ({kind})"

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the layer, for containers that read the fields of their layers."""
        if name.startswith("__") or "_layer" not in vars(self):
            raise AttributeError(name)
        return getattr(self._layer, name)

    def bind(self, in_shape: tuple[int, ...]) -> tuple[Layer, tuple[int, ...]]:
        return self._layer.bind(in_shape)

    def specs(self) -> dict[str, Any]:
        return self._layer.specs()

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        return self._results(x, *self._layer(params, x))

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        y, vjp, stats = self._layer.train(params, x, key)
        return *self._results(x, y, vjp), self._each("statistics", stats)

    def _results(self, x: Array, y: Array, vjp: Vjp) -> tuple[Array, Vjp]:
        def back(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
            dparams, dinput = vjp(dy, dx)
            if dinput is not None:
                dinput = self._probe(Operation("backward", self._name), dinput, dy)
            return self._each("gradient", dparams, dy), dinput

        return self._probe(Operation("forward", self._name), y, x), back

    def _each(self, kind: str, tree: dict[str, Any], source: Array | None = None) -> dict[str, Any]:
        """Call the probe on the arrays of the layer itself; those of inner layers were seen there."""
        return {
            name: x
            if isinstance(x, dict)
            else self._probe(Operation(kind, _join(self._path, name)), x, source)
            for name, x in tree.items()
        }


class _ProbedInputs(Layer):
    """A model with a probe on its inputs."""

    def __init__(self, model: Layer, probe: Probe) -> None:
        self.model, self.probe = model, probe

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        return self.model(params, self.probe(Operation("inputs"), x))

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        return self.model.train(params, self.probe(Operation("inputs"), x), key)


def _join(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)
