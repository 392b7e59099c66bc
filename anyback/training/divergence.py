"""Where training left the finite numbers: one batch, layer by layer, forward and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from anyback.arrays import Array, namespace
from anyback.layers import Layer, Sequential
from anyback.random import Key
from anyback.training.step import Data, Program, gather, inverse

__all__ = ["first_fault"]


def first_fault(
    program: Program, w: Array, stats: Array, data: Data, rows: Array | None, word: Any
) -> str | None:
    """Name the first value or gradient of a batch that is not finite, in the order of computing; or None.

    It is for the moment after a failure, and reads every layer's values back.

    Parameters
    ----------
    program : Program
        With model, layout and loss.
    w, stats, data, rows, word
        As for `Program.step`; without a `word` the model predicts, and there is no gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback import Dense
    >>> from anyback.parameters import Layout
    >>> from anyback.losses import mean_squared_error
    >>> model, _ = Sequential([Dense(1), Dense(1)]).bind((1,))
    >>> program = Program(model, Layout(model.specs()), mean_squared_error.sums, {}, None)
    >>> x, w = np.ones((2, 1)), np.array([1e200, 0.0, 1e200, 0.0])
    >>> with np.errstate(all="ignore"):
    ...     first_fault(program, w, np.zeros(0), (x, x, None), None, 0)
    'the output of layer 1 (Dense)'
    """
    x, y, weight = gather(data, rows)
    params = program.layout.params(w, stats)
    vjps = []
    for name, label, layer in _chain(program.model):
        own = params[name] if name else params
        if word is None:
            x, vjp = layer(own, x)
        else:
            key = Key(word)
            x, vjp, _ = layer.train(own, x, key.at(name) if name else key)
        if not _finite(x):
            return f"the output of {label}"
        vjps.append((name, label, vjp))
    total, n, dloss = program.loss(x, y, weight)
    if not _finite(total):
        return f"the loss, from outputs of {vjps[-1][1]} up to {_largest(x):.3g}"
    if word is None:
        return None
    dy = dloss(inverse(n))
    if not _finite(dy):
        return f"the gradient of the loss, from outputs of {vjps[-1][1]} up to {_largest(x):.3g}"
    for name, label, vjp in reversed(vjps):
        dparams, dy = vjp(dy)
        for parameter, gradient in _leaves(dparams, name):
            if not _finite(gradient):
                return f"the gradient of {parameter}, of {label}"
        if not _finite(dy):
            return f"the gradient of the inputs of {label}"
    return None


def _chain(model: Layer) -> Iterator[tuple[str, str, Layer]]:
    """Yield each layer's name, what to call it in a message, and the layer."""
    if not isinstance(model, Sequential):
        yield "", f"the model ({type(model).__name__})", model
        return
    for i, layer in enumerate(model.layers):
        yield str(i), f"layer {i} ({type(layer).__name__})", layer


def _leaves(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, Array]]:
    for name, leaf in tree.items():
        longer = f"{path}.{name}" if path else name
        if isinstance(leaf, Mapping):
            yield from _leaves(leaf, longer)
        else:
            yield longer, leaf


def _finite(x: Array) -> bool:
    xp = namespace(x)
    return bool(xp.all(xp.isfinite(x)))


def _largest(x: Array) -> float:
    xp = namespace(x)
    return float(xp.max(xp.abs(x))) if math.prod(x.shape) else 0.0
