"""The base class of all layers: what a layer is asked for, and the summary of a model."""

from __future__ import annotations

from typing import Any, TypeAlias

from anyback.arrays import Array, Vjp, namespace
from anyback.parameters import Layout, Parameters
from anyback.random import Key

__all__ = ["Layer", "Shape", "as_matrix", "check_in_shape", "column_sums"]

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

    @property
    def _chain(self) -> tuple[Layer, ...]:
        """The layers that are applied one after the other: those of a `Sequential`, else this one alone."""
        return (self,)

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
        >>> from anyback import MLP
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
        for name, layer in enumerate(self._chain):
            layer, shape = layer.bind(shape)
            size = Layout(layer.specs()).size
            total += size
            rows.append(
                (f"{name} {type(layer).__name__}", f"(..., {', '.join(map(str, shape))})", f"{size:,}")
            )
        rows = [("layer", "output", "parameters"), *rows, ("total", "", f"{total:,}")]
        first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
        return "\n".join(f"{a:<{first + 2}}  {b:<{second + 2}}{c:>{third + 1}}" for a, b, c in rows)


def check_in_shape(layer: Any, in_shape: Shape) -> None:
    """Say so when a layer that was bound to one shape is given another, or a sample has no axis."""
    if not in_shape:
        raise ValueError(f"{type(layer).__name__} needs samples with at least one axis, got shape ()")
    if layer.in_shape is not None and layer.in_shape != in_shape:
        raise ValueError(
            f"{type(layer).__name__} is bound to inputs of shape {layer.in_shape}, got {in_shape}"
        )


def as_matrix(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def column_sums(x: Array, like: Array) -> Array:
    """Sum over the batch: all axes but the last, or axis -2 alone where `like` is a population's."""
    xp = namespace(x)
    return xp.sum(x if like.ndim > 2 else as_matrix(x), axis=-2, keepdims=True)
