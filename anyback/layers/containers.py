"""Layers composed of layers: Sequential, Residual and MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from anyback import activations
from anyback.arrays import Array, Vjp
from anyback.layers._base import Layer, Shape
from anyback.layers.dense import Activation, Dense, Dropout
from anyback.layers.normalization import BatchNorm, LayerNorm
from anyback.lookup import lookup
from anyback.parameters import Parameters
from anyback.random import Key

__all__ = ["Sequential", "Residual", "MLP"]


@dataclass(frozen=True)
class Sequential(Layer):
    """Layers applied in sequence, named "0", "1", ... as in PyTorch.

    Parameters
    ----------
    layers : iterable of Layer
        The layers, first to last.
    in_shape : tuple of int, optional
        Shape of one sample; set by `bind`.

    Raises
    ------
    TypeError
        If `layers` is no iterable, or an element is no Layer.

    Examples
    --------
    >>> Sequential([Dense(8), Activation("tanh"), Dense(1)]).bind((2,))[1]
    (1,)
    """

    layers: tuple[Layer, ...]
    in_shape: Shape | None = None

    def __post_init__(self) -> None:
        given: Iterable[Layer] = self.layers
        if not isinstance(given, Iterable):
            raise TypeError(f"layers must be a list such as [Dense(8), Activation('relu')], got {given!r}")
        object.__setattr__(self, "layers", tuple(given))
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be Layer objects, got {layer!r} at position {i}")

    @property
    def _chain(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self.layers

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Bind each layer to the output shape of the previous one."""
        bound, shape = [], in_shape
        for i, layer in enumerate(self.layers):
            try:
                layer, shape = layer.bind(shape)
            except ValueError as error:
                raise ValueError(f"layer {i}: {error}") from error
            bound.append(layer)
        return replace(self, layers=tuple(bound), in_shape=in_shape), shape

    def specs(self) -> dict[str, Any]:
        """Return the specifications of each layer under its name."""
        return {str(i): layer.specs() for i, layer in enumerate(self.layers)}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Apply the layers in sequence."""
        vjps = []
        for i, layer in enumerate(self.layers):
            x, vjp = layer(params[str(i)], x)
            vjps.append(vjp)
        return x, _reversed_chain(vjps, params)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Apply the layers in training mode, each with its own key."""
        vjps, stats = [], {}
        for i, layer in enumerate(self.layers):
            name = str(i)
            if type(layer).train is Layer.train:  # the same as in inference, without a key
                x, vjp = layer(params[name], x)
            else:
                x, vjp, stats[name] = layer.train(params[name], x, key.at(name))
            vjps.append(vjp)
        return x, _reversed_chain(vjps, params), stats


@dataclass(frozen=True)
class Residual(Layer):
    """A residual connection: y = x + inner(x).

    Parameters
    ----------
    inner : Layer or iterable of Layer
        A layer whose outputs have the shape of its inputs; several layers become a Sequential.

    References
    ----------
    He et al., Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.

    Examples
    --------
    >>> Residual([Dense(8), Activation("relu"), Dense(4)]).bind((4,))[1]
    (4,)
    """

    inner: Layer

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Layer):
            object.__setattr__(self, "inner", Sequential(self.inner))

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Bind the inner layer, whose output must have the shape of its input."""
        inner, out_shape = self.inner.bind(in_shape)
        if out_shape != in_shape:
            raise ValueError(f"inner of Residual must map {in_shape} to the same shape, got {out_shape}")
        return replace(self, inner=inner), out_shape

    def specs(self) -> dict[str, Any]:
        """Return the specifications of the inner layer."""
        return {"inner": self.inner.specs()}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Add the inner layer's output to its input."""
        y, vjp = self.inner(params["inner"], x)
        return x + y, _around(vjp)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Add the inner layer's output in training mode to its input."""
        y, vjp, stats = self.inner.train(params["inner"], x, key.at("inner"))
        return x + y, _around(vjp), {"inner": stats}


# The initializers that preserve the variance of activations through depth; others take Glorot's.
_INITIALIZERS = dict.fromkeys(["relu", "leaky_relu", "elu", "gelu", "silu", "mish"], "he_normal") | {
    "selu": "lecun_normal"
}


def MLP(
    hidden: Iterable[int],
    outputs: int,
    *,
    activation: str | Callable[..., Any] = "relu",
    dropout: float = 0.0,
    norm: str | None = None,
    initializer: str | Callable[..., Any] | None = None,
) -> Sequential:
    """Return a multilayer perceptron: Dense, norm, activation and dropout for each hidden layer, then Dense.

    Parameters
    ----------
    hidden : iterable of int
        Units of each hidden layer; empty for a linear model.
    outputs : int
        Number of outputs: classes for a classifier of logits, columns for a regression.
    activation : str or callable
        Activation of the hidden layers; the output layer has none.
    dropout : float
        Dropout rate after each hidden layer, in [0, 1).
    norm : {None, "batch", "layer"}
        Normalization before each activation; before "batch", Dense layers have no bias.
    initializer : str or callable, optional
        Initializer of all weights. By default He for ReLU and its variants, LeCun for SELU, and Glorot for
        other activations and for the output layer.

    Returns
    -------
    Sequential
        The model, not yet bound to an input width.

    Raises
    ------
    ValueError
        If an activation or norm is unknown, or a size is no positive integer.
    TypeError
        If `hidden` is no iterable.

    Examples
    --------
    >>> [type(layer).__name__ for layer in MLP([128], 10, dropout=0.1).layers]
    ['Dense', 'Activation', 'Dropout', 'Dense']
    """
    norms: dict[str | None, tuple[Layer, ...]] = {None: (), "batch": (BatchNorm(),), "layer": (LayerNorm(),)}
    if not isinstance(hidden, Iterable):
        raise TypeError(f"hidden must be a sequence of sizes such as [128, 64], got {hidden!r}")
    if norm not in norms:
        raise ValueError(f"norm must be None, 'batch' or 'layer', got {norm!r}")
    name = getattr(lookup("activation", activation, activations), "__name__", "")
    suited = initializer or _INITIALIZERS.get(name, "glorot_uniform")
    layers: list[Layer] = []
    for units in hidden:
        layers += [
            Dense(units, bias=norm != "batch", initializer=suited),
            *norms[norm],
            Activation(activation),
        ]
        layers += [Dropout(dropout)] if dropout else []
    return Sequential((*layers, Dense(outputs, initializer=initializer or "glorot_uniform")))


def _around(vjp: Vjp) -> Vjp:
    """Return the vjp of x + inner(x)."""

    def both(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
        dparams, dinner = vjp(dy, dx)
        return {"inner": dparams}, dy + dinner if dx else None

    return both


def _reversed_chain(vjps: list[Vjp], params: Parameters) -> Vjp:
    """Return the vjp of a chain: the vjps in reverse, back to the first layer that needs a gradient."""

    def chain(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
        first = next((i for i in range(len(vjps)) if params[str(i)]), len(vjps))
        dparams: dict[str, Any] = {}
        for i in range(len(vjps) - 1, -1 if dx else first - 1, -1):
            dparams[str(i)], dy = vjps[i](dy, dx or i > first)
        return dparams, dy if dx else None

    return chain
