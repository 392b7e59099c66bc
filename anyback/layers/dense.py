"""Dense layers and what stands between them: activations, dropout, flattening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from anyback import activations
from anyback.arrays import Array, Vjp, device, namespace
from anyback.layers._base import Layer, Shape, as_matrix, check_in_shape, column_sums
from anyback.lookup import lookup
from anyback.parameters import Parameter, Parameters
from anyback.random import Key
from anyback.validation import boolean, integer, number

__all__ = ["Dense", "Activation", "Dropout", "Flatten"]


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
        units = integer("units", self.units, expected="be a positive integer")
        hint = ": Dense takes the number of its outputs, and finds that of its inputs"
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "bias", boolean("bias", self.bias, hint))

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the number of inputs."""
        check_in_shape(self, in_shape)
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
            rows, columns = (x, dy) if w.ndim > 2 else (as_matrix(x), as_matrix(dy))
            dparams = {"weight": columns.mT @ rows}
            if self.bias:
                dparams["bias"] = column_sums(columns, w)
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
    >>> from anyback.random import Key
    >>> y, _, _ = Dropout(0.5).train({}, np.ones((2, 3)), Key(1))
    >>> bool(np.all((y == 0) | (y == 2)))
    True
    """

    rate: float

    def __post_init__(self) -> None:
        number("dropout rate", self.rate, "in [0, 1)", "lie in [0, 1)")

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Draw a mask from the key; a population's members draw what each would alone."""
        if self.rate == 0:
            return super().train(params, x, key)
        shape = tuple(x.shape[-2:] if getattr(key.step_seed, "ndim", 0) else x.shape)
        xp = namespace(x)
        scale = xp.astype(key.bernoulli(1.0 - self.rate, shape, xp, device(x)), x.dtype)
        scale *= 1.0 / (1.0 - self.rate)
        return x * scale, lambda dy, dx=True: ({}, dy * scale if dx else None), {}


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
