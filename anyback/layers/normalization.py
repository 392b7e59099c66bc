"""Normalization: layer norm over a sample's features, batch norm over a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from anyback.arrays import Array, Vjp, namespace
from anyback.layers._base import Layer, Shape, check_in_shape, column_sums
from anyback.parameters import Parameter, Parameters
from anyback.random import Key
from anyback.validation import number

__all__ = ["LayerNorm", "BatchNorm"]


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
        number("eps of LayerNorm", self.eps)

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the width."""
        check_in_shape(self, in_shape)
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
    >>> from anyback.random import Key
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
        number("eps of BatchNorm", self.eps)
        number("momentum of BatchNorm", self.momentum, "in (0, 1]", "lie in (0, 1]")

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Learn the width."""
        check_in_shape(self, in_shape)
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


def _scale_and_shift(in_shape: Shape | None) -> dict[str, Parameter]:
    assert in_shape is not None, "bind comes first"
    return {
        "weight": Parameter((in_shape[-1],), "ones", decays=False),
        "bias": Parameter((in_shape[-1],), "zeros", decays=False),
    }


def _affine_gradient(params: Parameters, h: Array, dy: Array) -> dict[str, Any]:
    weight = params["weight"]
    return {"weight": column_sums(dy * h, weight), "bias": column_sums(dy, weight)}


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
