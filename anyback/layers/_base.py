"""The base class of layers, and the summary of a model."""

from __future__ import annotations

from typing import Any, TypeAlias

from anyback.arrays import Array, Vjp, namespace
from anyback.parameters import Layout, Parameters
from anyback.random import Key

__all__ = ["Layer", "Shape", "as_matrix", "check_in_shape", "column_sums"]

Shape: TypeAlias = tuple[int, ...]


class Layer:
    """Base class of layers, and itself the identity.

    A subclass is a frozen dataclass of plain values. It overrides `__call__` and, as needed, `bind` to infer
    sizes from the inputs, `specs` to have parameters, and `train` for another behaviour in training.

    Examples
    --------
    >>> layer, shape = Layer().bind((3,))
    >>> y, vjp = layer({}, 2.0)
    >>> y, vjp(1.0), shape
    (2.0, ({}, 1.0), (3,))
    """

    @property
    def _chain(self) -> tuple[Layer, ...]:
        """The layers that are applied in sequence: those of a `Sequential`, otherwise this layer alone."""
        return (self,)

    def bind(self, in_shape: Shape) -> tuple[Layer, Shape]:
        """Return this layer with its sizes fixed for samples of `in_shape`, and the shape of its outputs.

        Raises
        ------
        ValueError
            If the layer cannot take samples of that shape.
        """
        return self, in_shape

    def specs(self) -> dict[str, Any]:
        """Return the specification of each parameter of a bound layer, by name; nested for inner layers."""
        return {}

    def __call__(self, params: Parameters, x: Array) -> tuple[Array, Vjp]:
        """Return the output and its vjp, in inference mode.

        Parameters
        ----------
        params : nested dict of arrays
            Named as in `specs`; matrices (..., out, in), vectors (..., 1, k).
        x : array (..., n)
            Inputs with any number of leading axes, at least one. Parameters with an additional leading axis
            are those of K networks: inputs are then (B, n) for all networks or (K, B, n), and the gradient
            of the inputs is (K, B, n), with that of each network.

        Returns
        -------
        y : array
            Outputs.
        vjp : callable
            ``vjp(dy, dx=True) -> (dparams, dx)``; the returned dx is None for ``dx=False``.
        """
        return x, lambda dy, dx=True: ({}, dy if dx else None)

    def train(self, params: Parameters, x: Array, key: Key) -> tuple[Array, Vjp, dict[str, Any]]:
        """Return the output, its vjp and new running statistics, in training mode.

        Parameters
        ----------
        params, x
            As in `__call__`.
        key : Key
            Key of the layer's random numbers in this step.

        Returns
        -------
        y, vjp
            As from `__call__`.
        stats : dict
            New values of the running statistics, nested as in `specs`; empty if there are none.
        """
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
    """Raise ValueError if `layer` is bound to another shape, or samples have no axis."""
    if not in_shape:
        raise ValueError(f"{type(layer).__name__} needs samples with at least one axis, got shape ()")
    if layer.in_shape is not None and layer.in_shape != in_shape:
        raise ValueError(
            f"{type(layer).__name__} is bound to inputs of shape {layer.in_shape}, got {in_shape}"
        )


def as_matrix(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def column_sums(x: Array, like: Array) -> Array:
    """Sum over the batch: all axes but the last, or axis -2 alone if `like` is a population's parameter."""
    xp = namespace(x)
    return xp.sum(x if like.ndim > 2 else as_matrix(x), axis=-2, keepdims=True)
