"""One training step as a pure function, and the other functions that a trainer runs on its arrays.

A step gathers the batch, views the flat vector as parameters, runs the model forward, evaluates the loss,
runs the vjps backward, flattens the gradient, adds penalties, clips, and applies the optimizer's update.
Nothing is read back to the host on the way: the loss and the metrics are added to sums on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from anyback.arrays import Array, namespace
from anyback.layers import Layer
from anyback.optimizers.clipping import clip_by_norm, clip_by_value
from anyback.parameters import Layout
from anyback.random import Key
from anyback.regularizers import l1, l2

__all__ = ["Data", "Sums", "TrainStep", "gather", "inverse"]

Data: TypeAlias = tuple[Array, Array, Array | None]
"""Inputs (n, ...), targets, and sample weights (n,) or None, on the device."""

Sums: TypeAlias = Mapping[str, Array]
"""Sums on the device: loss * weight, the total weight, the number of samples, and those of each metric."""


@dataclass(frozen=True)
class TrainStep:
    """The pure functions of a training run. They hold no state: everything they need is passed to them.

    Attributes
    ----------
    model : Layer
        Bound to its input shape.
    layout : Layout
        Places of the model's parameters in the flat vectors.
    loss : callable
        ``loss(pred, y, weight) -> (sum of loss, total weight, vjp)``: their quotient is minimised.
    metrics : mapping of str to callable
        ``sums(pred, y, weight) -> array``, added up over the batches of an epoch.
    update : callable
        The optimizer's ``update(w, g, *slots, mask, *scalars) -> (w, *slots)``.
    l1, l2 : float
        Factors of sum(mask |w|) and sum(mask w^2), added to the loss that is minimised.
    clip_norm, clip_value : float or None
        Largest norm of the gradient, and largest size of each of its elements.
    """

    model: Layer
    layout: Layout
    loss: Callable[..., Any]
    metrics: Mapping[str, Callable[..., Array]]
    update: Callable[..., tuple[Array, ...]]
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def step(
        self,
        w: Array,
        slots: Sequence[Array],
        stats: Array,
        sums: Sums,
        mask: Any,
        data: Data,
        rows: Array | None,
        scalars: Sequence[Any],
        step_seed: Any,
    ) -> tuple[Array, tuple[Array, ...], Array, Sums]:
        """Train on one batch.

        Parameters
        ----------
        w, slots, stats, sums
            The state: parameters (P,), as many slots as the optimizer has, running statistics, sums.
        mask : float or array (P,)
            1.0 where penalties and decay apply.
        data : tuple of arrays
            Inputs, targets and weights of all samples, or of the batch alone.
        rows : array (B,) of integers, or None
            The rows of the batch; None for all of `data`.
        scalars : sequence of float
            The optimizer's `scalars` of this update.
        step_seed : int
            The seed of this micro-batch, see `anyback.random.Key`.

        Returns
        -------
        w, slots, stats, sums
            The state after the update.
        """
        g, _, _, stats, sums = self._gradient(w, stats, sums, data, rows, step_seed, mean=True)
        w, slots = self._apply(w, slots, g, mask, scalars)
        return w, slots, stats, sums

    def accumulate(
        self,
        accumulated: tuple[Array, Array],
        stats: Array,
        sums: Sums,
        w: Array,
        data: Data,
        rows: Array | None,
        step_seed: Any,
    ) -> tuple[tuple[Array, Array], Array, Sums]:
        """Add one micro-batch to an accumulated gradient (P,) and its weight, without an update."""
        g, _, n, stats, sums = self._gradient(w, stats, sums, data, rows, step_seed, mean=False)
        return (accumulated[0] + g, accumulated[1] + n), stats, sums

    def finish(
        self,
        w: Array,
        slots: Sequence[Array],
        accumulated: tuple[Array, Array],
        mask: Any,
        scalars: Sequence[Any],
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, Array]]:
        """Update with an accumulated gradient, and return the accumulator set back to zero."""
        g, n = accumulated
        w, slots = self._apply(w, slots, g * namespace(g).astype(inverse(n), g.dtype), mask, scalars)
        zeros = namespace(g).zeros_like
        return w, slots, (zeros(g), zeros(n))

    def objective(
        self, w: Array, stats: Array, data: Data, rows: Array | None, mask: Any, step_seed: Any
    ) -> tuple[Array, Array]:
        """Return the mean loss of a batch with its penalties, and its gradient (P,) before clipping."""
        g, loss, n, *_ = self._gradient(w, stats, None, data, rows, step_seed, mean=True)
        value = loss * inverse(n)
        return value + self.penalty(w, mask) if self.l1 or self.l2 else value, self._penalise(w, g, mask)

    def measure(self, sums: Sums, w: Array, stats: Array, data: Data, rows: Array | None) -> Sums:
        """Add a batch's loss and metrics to the sums, with the model in inference mode."""
        x, y, weight = gather(data, rows)
        pred, _ = self.model(self.layout.params(w, stats), x)
        loss, n, _ = self.loss(pred, y, weight)
        return self._add(sums, loss, n, pred, y, weight)

    def mark_nonfinite(self, sums: Sums, w: Array, stats: Array, slots: Sequence[Array]) -> Sums:
        """Return the sums of an epoch, with a loss of NaN if any number of the state is not finite.

        The check then costs no read of its own: the loss is read anyway.
        """
        loss = sums["loss"]
        for state in (w, stats, *slots):
            xp = namespace(state)
            loss = loss + xp.astype(xp.sum(state * 0.0), loss.dtype)
        return {**sums, "loss": loss}

    def forward(self, w: Array, stats: Array, x: Array) -> Array:
        """Return the outputs (B, k) for inputs (B, ...)."""
        return self.model(self.layout.params(w, stats), x)[0]

    def penalty(self, w: Array, mask: Any) -> Array:
        """Return the penalties that are added to the loss."""
        return self.l1 * l1(w, mask)[0] + self.l2 * l2(w, mask)[0]

    def _gradient(
        self,
        w: Array,
        stats: Array,
        sums: Sums | None,
        data: Data,
        rows: Array | None,
        step_seed: Any,
        *,
        mean: bool,
    ) -> tuple[Array, Array, Any, Array, Any]:
        x, y, weight = gather(data, rows)
        pred, vjp, new_stats = self.model.train(self.layout.params(w, stats), x, Key(step_seed))
        loss, n, dloss = self.loss(pred, y, weight)
        dparams, _ = vjp(dloss(inverse(n) if mean else 1.0), dx=False)
        if sums is not None:
            sums = self._add(sums, loss, n, pred, y, weight)
        return self.layout.gradient(dparams), loss, n, self.layout.statistics(new_stats, stats), sums

    def _add(self, sums: Sums, loss: Array, n: Any, pred: Array, y: Array, weight: Array | None) -> Sums:
        added = {"loss": sums["loss"] + loss, "weight": sums["weight"] + n}
        if self.metrics:  # a loss may weight classes on its own account, which metrics do not
            samples = y.shape[0] if weight is None else namespace(weight).sum(weight)
            added["samples"] = sums["samples"] + samples
        for name, metric_sums in self.metrics.items():
            added[name] = sums[name] + metric_sums(pred, y, weight)
        return added

    def _penalise(self, w: Array, g: Array, mask: Any) -> Array:
        if self.l1:
            g = g + l1(w, mask)[1](self.l1)
        if self.l2:
            g = g + l2(w, mask)[1](self.l2)
        return g

    def _apply(
        self, w: Array, slots: Sequence[Array], g: Array, mask: Any, scalars: Sequence[Any]
    ) -> tuple[Array, tuple[Array, ...]]:
        g = self._penalise(w, g, mask)
        if self.clip_value is not None:
            g = clip_by_value(g, self.clip_value)
        if self.clip_norm is not None:
            g = clip_by_norm(g, self.clip_norm)
        w, *slots = self.update(w, g, *slots, mask, *scalars)
        return w, tuple(slots)


def gather(data: Data, rows: Array | None) -> Data:
    """Return inputs, targets and weights of the given rows; `data` itself for None."""
    if rows is None:
        return data
    x, y, weight = data
    take = namespace(x).take
    return (
        take(x, rows, axis=0),
        take(y, rows, axis=0),
        None if weight is None else take(weight, rows, axis=0),
    )


def inverse(n: Any) -> Any:
    """Return 1 / n, and 0 where the total weight n is 0."""
    return 1.0 / n if isinstance(n, int) else 1.0 / namespace(n).where(n == 0.0, float("inf"), n)
