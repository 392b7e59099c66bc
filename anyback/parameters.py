"""Parameters of a network in two flat vectors: trained parameters, and running statistics.

With one vector, an update is one pass over memory, a checkpoint has one array, and a population of networks
has one more axis. A `Layout` maps names to slices of the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import numpy as np

from anyback import initializers
from anyback.arrays import Array, namespace
from anyback.lookup import lookup
from anyback.random import Purpose, Stream

__all__ = ["Layout", "Parameter", "Parameters"]

Parameters: TypeAlias = Mapping[str, Any]
"""A nested dict of arrays, one level for each layer inside a layer."""


@dataclass(frozen=True)
class Parameter:
    """Specification of one of a layer's arrays.

    Attributes
    ----------
    shape : tuple of int
        (out, in) for a matrix of weights, (k,) for a vector.
    initializer : str or callable
        A name of `anyback.initializers`, or ``f(shape, draw) -> array``.
    decays : bool
        Whether penalties and weight decay apply: not to biases, nor to the scales of normalization layers.
    trained : bool
        False for running statistics.

    Examples
    --------
    >>> Parameter((3, 2), "he_normal").decays
    True
    """

    shape: tuple[int, ...]
    initializer: str | Callable[..., np.ndarray] = "zeros"
    decays: bool = True
    trained: bool = True


@dataclass(frozen=True)
class _Part:
    """A parameter's name, its slice of the flat vector, and the shape that layers see."""

    path: tuple[str, ...]
    spec: Parameter
    place: tuple[Any, slice]
    view: tuple[int, ...]

    @property
    def name(self) -> str:
        return ".".join(self.path)


class Layout:
    """Names, shapes and offsets of a network's parameters in its flat vectors.

    Parameters
    ----------
    specs : nested dict of str to Parameter
        As `Layer.specs` returns them.

    Attributes
    ----------
    size, statistics_size : int
        Lengths of the vectors of trained parameters and of running statistics.
    names : tuple of str
        Names of the trained parameters, in their order in the vector.

    Examples
    --------
    >>> import numpy as np
    >>> layout = Layout({"0": {"weight": Parameter((2, 3)), "bias": Parameter((2,))}})
    >>> layout.size, layout.names
    (8, ('0.weight', '0.bias'))
    >>> layout.params(np.arange(8.0), np.zeros(0))["0"]["bias"]
    array([[6., 7.]])
    """

    def __init__(self, specs: Mapping[str, Any]) -> None:
        self._specs = specs
        leaves = list(_leaves(specs))
        self._trained = _places([leaf for leaf in leaves if leaf[1].trained])
        self._running = _places([leaf for leaf in leaves if not leaf[1].trained])
        self.size = sum(prod(part.spec.shape) for part in self._trained)
        self.statistics_size = sum(prod(part.spec.shape) for part in self._running)
        self.names = tuple(part.name for part in self._trained)

    def params(self, w: Array, stats: Array) -> dict[str, Any]:
        """Return the nested dict that layers take, as views of the flat vectors.

        Parameters
        ----------
        w : array (..., size)
            Trained parameters; a population has a leading axis.
        stats : array (..., statistics_size)
            Running statistics.

        Returns
        -------
        nested dict of arrays
            Weights (..., out, in); vectors (..., 1, k), so that those of a population broadcast over batches.
        """
        params = _nest(self._specs)
        _fill(params, self._trained, w)
        if self._running:
            _fill(params, self._running, stats)
        return params

    def gradient(self, tree: Parameters) -> Array:
        """Concatenate the gradients (nested as the parameters are) into one flat vector (..., size)."""
        return _concat(tree, self._trained)

    def statistics(self, tree: Parameters, stats: Array) -> Array:
        """Concatenate new running statistics into a flat vector; return `stats` if the network has none."""
        return _concat(tree, self._running) if self._running else stats

    def arrays(self, w: np.ndarray) -> dict[str, np.ndarray]:
        """Copy a flat host vector of trained parameters into arrays by name, of the specified shapes."""
        return _arrays(self._trained, w)

    def statistics_arrays(self, stats: np.ndarray) -> dict[str, np.ndarray]:
        """Copy a flat host vector of running statistics into arrays by name."""
        return _arrays(self._running, stats)

    def initial(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the initial parameters and statistics for a seed, float64 (size,) and (statistics_size,)."""
        return _initial(self._trained, seed), _initial(self._running, seed)

    def decays(self) -> np.ndarray:
        """Return 1.0 where penalties and weight decay apply and 0.0 on biases and norms, (size,)."""
        return np.concatenate([np.full(prod(p.spec.shape), float(p.spec.decays)) for p in self._trained])


def _leaves(
    specs: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Parameter]]:
    for name, spec in specs.items():
        if isinstance(spec, Parameter):
            yield (*path, name), spec
        else:
            yield from _leaves(spec, (*path, name))


def _places(leaves: list[tuple[tuple[str, ...], Parameter]]) -> tuple[_Part, ...]:
    stops = list(accumulate(prod(spec.shape) for _, spec in leaves))
    starts = [0, *stops]
    return tuple(
        _Part(path, spec, (..., slice(start, stop)), spec.shape if len(spec.shape) > 1 else (1, *spec.shape))
        for (path, spec), start, stop in zip(leaves, starts, stops, strict=False)
    )


def _nest(specs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _nest(spec) for name, spec in specs.items() if not isinstance(spec, Parameter)}


def _fill(params: dict[str, Any], parts: tuple[_Part, ...], flat: Array) -> None:
    xp, lead = namespace(flat), tuple(flat.shape[:-1])
    for part in parts:
        node = params
        for name in part.path[:-1]:
            node = node[name]
        node[part.path[-1]] = xp.reshape(flat[part.place], lead + part.view)


def _concat(tree: Parameters, parts: tuple[_Part, ...]) -> Array:
    pieces = []
    for part in parts:
        piece: Any = tree
        for name in part.path:
            piece = piece[name]
        pieces.append(piece)
    xp = namespace(pieces[0])
    lead = tuple(pieces[0].shape[: pieces[0].ndim - len(parts[0].view)])
    flat = [xp.reshape(piece, (*lead, -1)) for piece in pieces]
    return flat[0] if len(flat) == 1 else xp.concat(flat, axis=-1)


def _arrays(parts: tuple[_Part, ...], flat: np.ndarray) -> dict[str, np.ndarray]:
    return {part.name: flat[part.place].reshape(part.spec.shape).copy() for part in parts}


def _initial(parts: tuple[_Part, ...], seed: int) -> np.ndarray:
    pieces = [_initial_part(part, seed).ravel() for part in parts]
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _initial_part(part: _Part, seed: int) -> np.ndarray:
    f = lookup("initializer", part.spec.initializer, initializers)
    drawn = np.asarray(f(part.spec.shape, Stream(seed, Purpose.WEIGHTS, part.name)), dtype=np.float64)
    if drawn.shape != part.spec.shape:
        raise ValueError(f"initializer of {part.name} must give shape {part.spec.shape}, got {drawn.shape}")
    return drawn
