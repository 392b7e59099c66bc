"""Layers: frozen descriptors that hold no arrays, composed into networks.

A layer computes ``y, vjp = layer(params, x)``, and ``vjp(dy)`` returns the gradients of its parameters
and of its input. A network is the composition of its layers, and its vjp calls theirs in reverse order.
"""

from anyback.layers._base import Layer
from anyback.layers.containers import MLP, Residual, Sequential
from anyback.layers.dense import Activation, Dense, Dropout, Flatten
from anyback.layers.normalization import BatchNorm, LayerNorm
from anyback.lookup import set_module

# The registry of layers: names for checkpoints, the tests and the reference pages.
__all__ = [
    "MLP",
    "Activation",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Residual",
    "Sequential",
]

set_module(__name__, __all__)
