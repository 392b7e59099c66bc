"""What to call each public formula and layer with."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import activations, gates, layers, losses, regularizers
from anyback.parameters import Layout

B, N = 5, 6


def rng():
    return np.random.default_rng(7)


def target_for(kind, shape):
    """Targets of a kind for predictions (B, k)."""
    draw = rng()
    return {
        "labels": lambda: draw.integers(0, shape[-1], shape[0]),
        "signs": lambda: draw.choice([-1.0, 1.0], shape),
        "unit interval": lambda: (lambda p: p / p.sum(axis=-1, keepdims=True))(draw.uniform(0.1, 0.9, shape)),
        "counts": lambda: draw.integers(0, 6, shape).astype(float),
        "reals": lambda: draw.normal(size=shape),
    }[kind]()


def required(function):
    """Names of the positional parameters without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def gate_case(name):
    """A gate with the arguments it requires: positive, so that log, power and divide are defined."""
    function = getattr(gates, name)
    draw = rng()
    arrays, options = [], {}
    for parameter in required(function):
        if parameter in ("exponent", "n"):
            options[parameter] = 3.0
        else:
            arrays.append(draw.uniform(0.5, 2.0, (B, B)))
    return partial(function, **options), tuple(arrays)


def cases():
    """Every public formula as (name, function of float arrays -> (value, vjp), arrays, other arguments)."""
    for name in activations.__all__:
        yield f"activations.{name}", getattr(activations, name), (2.0 * rng().normal(size=(B, N)),), ()
    for name in gates.__all__:
        function, arrays = gate_case(name)
        yield f"gates.{name}", function, arrays, ()
    for name in losses.__all__:
        loss = getattr(losses, name)
        yield f"losses.{name}", loss, (rng().normal(size=(B, 3)),), (target_for(loss.targets, (B, 3)),)
    for name in regularizers.__all__:
        yield f"regularizers.{name}", getattr(regularizers, name), (rng().normal(size=(N,)),), ()


CASES = {name: rest for name, *rest in cases()}
formula = pytest.mark.parametrize("name", CASES)

# How a layer is made for the tests, by the names of the values it requires.
EXAMPLES = {
    "units": 3,
    "function": "tanh",
    "rate": 0.4,
    "layers": (ab.Dense(4), ab.Activation("tanh"), ab.Dropout(0.3), ab.Dense(3)),
    "inner": (ab.Dense(8), ab.Activation("tanh"), ab.Dense(N)),
}
LAYERS = [name for name in layers.__all__ if name not in ("Layer", "MLP")] + ["MLP"]


def bound_layer(name):
    """A layer bound to (N,), with random parameters: (layer, layout, w, stats)."""
    if name == "MLP":
        made = ab.MLP([7, 4], 3, activation="tanh", dropout=0.2, norm="layer")
    else:
        kind = getattr(layers, name)
        values = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        made = kind(**{value: EXAMPLES[value] for value in values})
    layer, _ = made.bind((N,))
    layout = Layout(layer.specs())
    return (
        layer,
        layout,
        0.5 + 0.3 * rng().normal(size=layout.size),
        rng().uniform(0.5, 2, layout.statistics_size),
    )
