"""Layers: frozen descriptions that hold no arrays, chained into networks.

A layer computes ``y, vjp = layer(params, x)``, and ``vjp(dy)`` gives the gradients of its parameters
and of its input. A network is the chain of its layers, and its vjp the same list reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from anyback import activations
from anyback.arrays import Array, Vjp, device, namespace
from anyback.lookup import lookup
from anyback.parameters import Layout, Parameter, Parameters
from anyback.random import Key

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

Shape: TypeAlias = tuple[int, ...]


class Layer:
    """What every layer does; the base class is the layer that does nothing.

    A subclass is a frozen dataclass of plain values. It overrides `__call__`, and of the rest what
    it needs: `bind` to learn sizes, `specs` to have parameters, `train` to behave differently there.

    Examples
    --------
    >>> layer, shape = Layer().bind((3,))
    >>> y, vjp = layer({}, 2.0)
    >>> y, vjp(1.0), shape
    (2.0, ({}, 1.0), (3,))
    """

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Fix sizes once: return this layer for samples of `in_shape`, and the shape of its outputs.

        Raises
        ------
        ValueError
            If such inputs do not fit.
        """
        return self, in_shape

    def specs(self) -> dict[str, Any]:
        """Return the parameters of a bound layer, by name; nested where layers hold layers."""
        return {}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Return the output and its vjp.

        Parameters
        ----------
        params : nested dict of arrays
            As `specs` names them; matrices (..., out, in), vectors (..., 1, k).
        x : array (..., n)
            Inputs with any number of leading axes, at least one. Where parameters have one axis more
            than usual they are K networks, and inputs are (B, n) for all or (K, B, n); the gradient of
            the inputs is then (K, B, n), each network's own.

        Returns
        -------
        y : array
            Outputs.
        vjp : callable
            ``vjp(dy, dx=True) -> (dparams, dx)``; dx is None where it was not asked for.
        """
        return x, lambda dy, dx=True: ({}, dy if dx else None)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Do the same while training: draw from `key`, and return new running statistics too."""
        return (*self(params, x), {})

    def summary(self, in_shape: Shape | int | None = None) -> str:
        """Return a table of the layers with their output shapes and numbers of parameters.

        Parameters
        ----------
        in_shape : int or tuple of int, optional
            Shape of one sample; not needed for the model of a trainer, which is bound.

        Raises
        ------
        ValueError
            If the layer is not bound and no shape is given.

        Examples
        --------
        >>> print(MLP([4], 2).summary(3))
        layer           output     parameters
        0 Dense         (..., 4)           16
        1 Activation    (..., 4)            0
        2 Dense         (..., 2)           10
        total                              26
        """
        if in_shape is None:
            in_shape = getattr(self, "in_shape", None)
        if in_shape is None:
            raise ValueError(
                "summary of a model that is not bound needs in_shape, the shape of one sample, got None"
            )
        shape = (in_shape,) if isinstance(in_shape, int) else tuple(in_shape)
        rows, total = [], 0
        for name, layer in enumerate(self.layers if isinstance(self, Sequential) else (self,)):
            layer, shape = layer.bind(shape)
            size = Layout(layer.specs()).size
            total += size
            rows.append(
                (f"{name} {type(layer).__name__}", f"(..., {', '.join(map(str, shape))})", f"{size:,}")
            )
        rows = [("layer", "output", "parameters"), *rows, ("total", "", f"{total:,}")]
        first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
        return "\n".join(f"{a:<{first + 2}}  {b:<{second + 2}}{c:>{third + 1}}" for a, b, c in rows)


@dataclass(frozen=True)
class Dense(Layer):
    """An affine map of the last axis: y = x W^T + b.

    Parameters
    ----------
    units : int
        Number of outputs.
    bias : bool
        Whether to add b. Before a BatchNorm it has no effect and is better left out.
    initializer, bias_initializer : str or callable
        Names of `anyback.initializers`, or ``f(shape, draw) -> array``.

    Notes
    -----
    dW = dy^T x, db = sum over rows of dy, dx = dy W. Parameters: weight (units, n), bias (units,).

    Examples
    --------
    >>> import numpy as np
    >>> layer, shape = Dense(2).bind((3,))
    >>> y, vjp = layer({"weight": np.ones((2, 3)), "bias": np.zeros((1, 2))}, np.ones((4, 3)))
    >>> y.shape, vjp(y)[0]["weight"].shape
    ((4, 2), (2, 3))
    """

    units: int
    bias: bool = True
    initializer: str | Callable[..., Any] = "glorot_uniform"
    bias_initializer: str | Callable[..., Any] = "zeros"
    in_shape: Shape | None = None

    def __post_init__(self) -> None:
        if isinstance(self.units, bool) or not isinstance(self.units, int | np.integer) or self.units < 1:
            raise ValueError(f"units must be a positive integer, got {self.units!r}")
        if not isinstance(self.bias, bool | np.bool_):
            raise TypeError(
                f"bias must be True or False, got {self.bias!r}: Dense takes the number of its outputs, and "
                "finds that of its inputs"
            )
        object.__setattr__(self, "units", int(self.units))  # checkpoints hold no NumPy numbers
        object.__setattr__(self, "bias", bool(self.bias))

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the number of inputs."""
        _expect(self, in_shape)
        return replace(self, in_shape=in_shape), (*in_shape[:-1], self.units)

    def specs(self) -> dict[str, Any]:
        """Return weight (units, n) and bias (units,)."""
        assert self.in_shape is not None, "bind comes first"
        specs = {"weight": Parameter((self.units, self.in_shape[-1]), self.initializer)}
        if self.bias:
            specs["bias"] = Parameter((self.units,), self.bias_initializer, decays=False)
        return specs

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Map (..., n) to (..., units)."""
        w = params["weight"]
        y = x @ w.mT
        if self.bias:
            y += params["bias"]

        def vjp(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
            rows, columns = (x, dy) if w.ndim > 2 else (_matrix(x), _matrix(dy))
            dparams = {"weight": columns.mT @ rows}
            if self.bias:
                dparams["bias"] = _column_sums(columns, w)
            return dparams, dy @ w if dx else None

        return y, vjp


@dataclass(frozen=True)
class Activation(Layer):
    """An activation function as a layer.

    Parameters
    ----------
    function : str or callable
        A name of `anyback.activations`, or any ``f(x) -> (y, vjp)``; options by `functools.partial`.

    Raises
    ------
    ValueError
        If no activation is called so; the message gives the nearest name.

    Examples
    --------
    >>> import numpy as np
    >>> Activation("relu")({}, np.array([[-1.0, 2.0]]))[0]
    array([[0., 2.]])
    """

    function: str | Callable[..., Any]

    def __post_init__(self) -> None:
        lookup("activation", self.function, activations)

    @property
    def name(self) -> str:
        """What its function is called."""
        function = self.function.func if isinstance(self.function, partial) else self.function
        return str(getattr(function, "__name__", function))

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Find the shape of the outputs by trying: maxout changes it."""
        y, _ = self({}, np.zeros((1, *in_shape)))
        return self, tuple(y.shape[1:])

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Apply the function."""
        y, vjp = lookup("activation", self.function, activations)(x)
        return y, lambda dy, dx=True: ({}, vjp(dy) if dx else None)


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, each element is zero with probability `rate` and divided by 1 - rate otherwise.

    Parameters
    ----------
    rate : float
        In [0, 1).

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> y, _, _ = Dropout(0.5).train({}, np.ones((2, 3)), Key(1))
    >>> bool(np.all((y == 0) | (y == 2)))
    True
    """

    rate: float

    def __post_init__(self) -> None:
        if not isinstance(self.rate, Real) or not 0 <= self.rate < 1:
            raise ValueError(f"dropout rate must lie in [0, 1), got {self.rate!r}")

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Draw a mask from the key; a population's members draw what each would alone."""
        if self.rate == 0:
            return super().train(params, x, key)
        shape = tuple(x.shape[-2:] if getattr(key.word, "ndim", 0) else x.shape)
        xp = namespace(x)
        scale = xp.astype(key.keep(1.0 - self.rate, shape, xp, device(x)), x.dtype)
        scale *= 1.0 / (1.0 - self.rate)
        return x * scale, lambda dy, dx=True: ({}, dy * scale if dx else None), {}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalise each sample over its last axis: y = (x - mean) / sqrt(var + eps) * weight + bias.

    Parameters
    ----------
    eps : float
        Added to the variance, which is the biased one.

    References
    ----------
    Ba, Kiros, Hinton, Layer normalization, 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> layer, _ = LayerNorm().bind((4,))
    >>> y, _ = layer({"weight": np.ones((1, 4)), "bias": np.zeros((1, 4))}, np.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> y.round(2)
    array([[-1.34, -0.45,  0.45,  1.34]])
    """

    eps: float = 1e-5
    in_shape: Shape | None = None

    def __post_init__(self) -> None:
        _positive("eps of LayerNorm", self.eps)

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the width."""
        _expect(self, in_shape)
        return replace(self, in_shape=in_shape), in_shape

    def specs(self) -> dict[str, Any]:
        """Return weight and bias, (k,) each."""
        return _scale_and_shift(self.in_shape)

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Normalise (..., k)."""
        n = x.shape[-1]
        return _normalise(params, x, lambda a: namespace(a).sum(a, axis=-1, keepdims=True) / n, self.eps)[:2]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalise each feature over the batch; outside training by the running mean and variance.

    Parameters
    ----------
    momentum : float
        Share of the newest batch in the running statistics, in (0, 1].
    eps : float
        Added to the variance.

    Notes
    -----
    As PyTorch does, a batch is normalised by its biased variance while the running one is unbiased. A
    batch of one sample leaves the running statistics as they are.
    Statistics: running_mean and running_var, (k,) each. A bias just before has no effect: leave it out.

    References
    ----------
    Ioffe, Szegedy, Batch normalization, ICML 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> layer, _ = BatchNorm().bind((1,))
    >>> zero, one = np.zeros((1, 1)), np.ones((1, 1))
    >>> params = {"weight": one, "bias": zero, "running_mean": zero, "running_var": one}
    >>> y, _, stats = layer.train(params, np.array([[0.0], [2.0]]), Key(0))
    >>> y.round(3).tolist(), stats["running_mean"].tolist()
    ([[-1.0], [1.0]], [[0.1]])
    """

    momentum: float = 0.1
    eps: float = 1e-5
    in_shape: Shape | None = None

    def __post_init__(self) -> None:
        _positive("eps of BatchNorm", self.eps)
        if not isinstance(self.momentum, Real) or not 0 < self.momentum <= 1:
            raise ValueError(f"momentum of BatchNorm must lie in (0, 1], got {self.momentum!r}")

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the width."""
        _expect(self, in_shape)
        return replace(self, in_shape=in_shape), in_shape

    def specs(self) -> dict[str, Any]:
        """Return weight, bias, and the running statistics, (k,) each."""
        specs = _scale_and_shift(self.in_shape)
        shape = specs["weight"].shape
        specs["running_mean"] = Parameter(shape, "zeros", decays=False, trained=False)
        specs["running_var"] = Parameter(shape, "ones", decays=False, trained=False)
        return specs

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Normalise (..., k) by the running statistics."""
        xp = namespace(x)
        scale = 1.0 / xp.sqrt(params["running_var"] + self.eps)
        h = (x - params["running_mean"]) * scale

        def vjp(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
            return _affine_gradient(params, h, dy), dy * (params["weight"] * scale) if dx else None

        return h * params["weight"] + params["bias"], vjp

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Normalise (..., k) by the batch's own statistics, and move the running ones towards them."""
        stacked = params["running_mean"].ndim > 2
        axes = -2 if stacked else tuple(range(x.ndim - 1))
        n = x.shape[-2] if stacked else prod(x.shape[:-1])
        y, vjp, mean, var = _normalise(
            params, x, lambda a: namespace(a).sum(a, axis=axes, keepdims=True) / n, self.eps
        )
        if not stacked:
            xp, shape = namespace(x), params["running_mean"].shape
            mean, var = xp.reshape(mean, shape), xp.reshape(var, shape)
        if n == 1:  # one sample says nothing of a variance
            return y, vjp, {name: params[name] for name in ("running_mean", "running_var")}
        keep, m = 1.0 - self.momentum, self.momentum
        stats = {
            "running_mean": keep * params["running_mean"] + m * mean,
            "running_var": keep * params["running_var"] + (m * n / (n - 1)) * var,
        }
        return y, vjp, stats


@dataclass(frozen=True)
class Flatten(Layer):
    """Make each sample a vector: (..., a, b, c) becomes (..., a * b * c).

    Examples
    --------
    >>> import numpy as np
    >>> layer, shape = Flatten().bind((2, 3))
    >>> layer({}, np.zeros((5, 2, 3)))[0].shape
    (5, 6)
    """

    in_shape: Shape | None = None

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the shape of a sample."""
        return replace(self, in_shape=in_shape), (prod(in_shape),)

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Reshape, and back."""
        assert self.in_shape is not None, "bind comes first"
        xp = namespace(x)
        y = xp.reshape(x, (*x.shape[: x.ndim - len(self.in_shape)], prod(self.in_shape)))
        return y, lambda dy, dx=True: ({}, xp.reshape(dy, x.shape) if dx else None)


@dataclass(frozen=True)
class Sequential(Layer):
    """Layers one after the other, named "0", "1", ... as PyTorch does.

    Parameters
    ----------
    layers : iterable of Layer
        In the order of the data's way.
    in_shape : tuple of int, optional
        Of one sample; `bind` sets it.

    Raises
    ------
    TypeError
        If it is no list of layers, but a layer, or an element is none.

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

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Bind each layer to the output of the one before."""
        bound, shape = [], in_shape
        for i, layer in enumerate(self.layers):
            try:
                layer, shape = layer.bind(shape)
            except ValueError as error:
                raise ValueError(f"layer {i}: {error}") from error
            bound.append(layer)
        return replace(self, layers=tuple(bound), in_shape=in_shape), shape

    def specs(self) -> dict[str, Any]:
        """Return the parameters of every layer under its name."""
        return {str(i): layer.specs() for i, layer in enumerate(self.layers)}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Chain the layers."""
        vjps = []
        for i, layer in enumerate(self.layers):
            x, vjp = layer(params[str(i)], x)
            vjps.append(vjp)
        return x, _reversed_chain(vjps, params)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Chain the layers as they train, each with a key of its own."""
        vjps, stats = [], {}
        for i, layer in enumerate(self.layers):
            name = str(i)
            if type(layer).train is Layer.train:  # trains as it predicts, and needs no key
                x, vjp = layer(params[name], x)
            else:
                x, vjp, stats[name] = layer.train(params[name], x, key.at(name))
            vjps.append(vjp)
        return x, _reversed_chain(vjps, params), stats


@dataclass(frozen=True)
class Residual(Layer):
    """A layer with a way around it: y = x + inner(x).

    Parameters
    ----------
    inner : Layer or iterable of Layer
        Its outputs have the shape of its inputs; several layers become a Sequential.

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
        """Return the parameters of the inner layer."""
        return {"inner": self.inner.specs()}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Add the inner layer's output to its input."""
        y, vjp = self.inner(params["inner"], x)
        return x + y, _around(vjp)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Do the same with the inner layer training."""
        y, vjp, stats = self.inner.train(params["inner"], x, key.at("inner"))
        return x + y, _around(vjp), {"inner": stats}


# What keeps the size of signals through depth: He for the halves of ReLU, LeCun for self-normalising units.
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
        Of the hidden layers; the output layer has none.
    dropout : float
        Rate after each hidden layer, in [0, 1).
    norm : {None, "batch", "layer"}
        Normalisation before each activation; Dense layers have no bias before "batch".
    initializer : str or callable, optional
        Of all weights. By default what suits the activation: He for ReLU and its kin, LeCun for SELU,
        else Glorot; Glorot for the output layer.

    Returns
    -------
    Sequential
        The model, not yet bound to an input width.

    Raises
    ------
    ValueError
        For an unknown activation or norm, or sizes that are not positive integers.

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


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, Real) or not 0 < float(value) < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def _expect(layer: Any, in_shape: Shape) -> None:
    """Say so when a layer that was bound to one shape is given another, or a sample has no axis."""
    if not in_shape:
        raise ValueError(f"{type(layer).__name__} needs samples with at least one axis, got shape ()")
    if layer.in_shape is not None and layer.in_shape != in_shape:
        raise ValueError(
            f"{type(layer).__name__} is bound to inputs of shape {layer.in_shape}, got {in_shape}"
        )


def _scale_and_shift(in_shape: Shape | None) -> dict[str, Parameter]:
    assert in_shape is not None, "bind comes first"
    return {
        "weight": Parameter((in_shape[-1],), "ones", decays=False),
        "bias": Parameter((in_shape[-1],), "zeros", decays=False),
    }


def _matrix(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def _column_sums(x: Array, like: Array) -> Array:
    """Sum over the batch: all axes but the last, or axis -2 alone where `like` is a population's."""
    xp = namespace(x)
    return xp.sum(x if like.ndim > 2 else _matrix(x), axis=-2, keepdims=True)


def _affine_gradient(params: Parameters, h: Array, dy: Array) -> dict[str, Any]:
    weight = params["weight"]
    return {"weight": _column_sums(dy * h, weight), "bias": _column_sums(dy, weight)}


def _normalise(
    params: Parameters, x: Array, mean: Callable[[Array], Array], eps: float
) -> tuple[Array, Vjp, Array, Array]:
    """Normalise over the axes that `mean` averages: y, its vjp, the mean and the biased variance."""
    xp = namespace(x)
    mu = mean(x)
    h = x - mu
    var = mean(h * h)
    scale = 1.0 / xp.sqrt(var + eps)
    h *= scale

    def vjp(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
        dparams = _affine_gradient(params, h, dy)
        if not dx:
            return dparams, None
        dh = dy * params["weight"]
        return dparams, scale * (dh - mean(dh) - h * mean(dh * h))

    return h * params["weight"] + params["bias"], vjp, mu, var


def _around(vjp: Vjp) -> Vjp:
    """Return the vjp of x + inner(x)."""

    def both(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
        dparams, dinner = vjp(dy, dx)
        return {"inner": dparams}, dy + dinner if dx else None

    return both


def _reversed_chain(vjps: list[Vjp], params: Parameters) -> Vjp:
    """Return the vjp of a chain: the same list reversed, down to the first layer that wants a gradient."""

    def chain(dy: Array, dx: bool = True) -> tuple[dict[str, Any], Array | None]:
        first = next((i for i in range(len(vjps)) if params[str(i)]), len(vjps))
        dparams: dict[str, Any] = {}
        for i in range(len(vjps) - 1, -1 if dx else first - 1, -1):
            dparams[str(i)], dy = vjps[i](dy, dx or i > first)
        return dparams, dy if dx else None

    return chain
