"""Inputs on any library, and operations on nodes."""

from __future__ import annotations

from anyback import activations, gates
from anyback.graph import inputs, lift

exp, maximum, square, total = map(lift, (gates.exp, gates.maximum, gates.square, gates.sum))
relu, sigmoid = lift(activations.relu), lift(activations.sigmoid)
NEURON = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}


def on(library, dtype="float64", **values):
    return inputs(**{name: library.array(value, dtype) for name, value in values.items()})
