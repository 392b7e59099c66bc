"""One training step as a pure function, and the other programs a trainer runs on its arrays.

The data's way through a step: gather the batch, view the flat vector as parameters, forward, loss,
the vjps back, one flat gradient, penalties and clipping, the update rule. Nothing is read back to
the host on the way: what is reported is added to a tally that stays on the device.
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

__all__ = ["Data", "Program", "Tally", "gather", "inverse"]

Data: TypeAlias = tuple[Array, Array, Array | None]
"""Inputs (n, ...), targets, and sample weights (n,) or None, on the device."""

Tally: TypeAlias = Mapping[str, Array]
"""Sums on the device: of loss * weight, of what the loss divides by, of samples, and of each metric."""


@dataclass(frozen=True)
class Program:
    """The pure functions of a training run: no state, everything they need is passed.

    Attributes
    ----------
    model : Layer
        Bound to its input shape.
    layout : Layout
        Places of the model's parameters in the flat vectors.
    loss : callable
        ``loss(pred, y, weight) -> (sum of loss, total weight, vjp)``: what is minimised is their quotient.
    metrics : mapping of str to callable
        ``sums(pred, y, weight) -> array``: what else is tallied.
    rule : callable
        The optimizer's ``rule(xp)``, which gives ``f(w, g, *slots, mask, *scalars) -> (w, *slots)``.
    l1, l2 : float
        Factors of sum(mask |w|) and sum(mask w^2), added to the loss that is minimised.
    clip_norm, clip_value : float or None
        Largest norm of the gradient, and largest size of each of its elements.
    """

    model: Layer
    layout: Layout
    loss: Callable[..., Any]
    metrics: Mapping[str, Callable[..., Array]]
    rule: Callable[..., Any]
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def step(
        self,
        w: Array,
        slots: Sequence[Array],
        stats: Array,
        tally: Tally,
        data: Data,
        mask: Any,
        rows: Array | None,
        scalars: Sequence[Any],
        word: Any,
    ) -> tuple[Array, tuple[Array, ...], Array, Tally]:
        """Train on one batch.

        Parameters
        ----------
        w, slots, stats, tally
            The state: (P,) parameters, as many slots as the optimizer has, running statistics, sums.
        data : tuple of arrays
            Inputs, targets and weights of all samples.
        mask : float or array (P,)
            1.0 where penalties and decay apply.
        rows : array (B,) of integers, or None
            The batch; None means all of the data.
        scalars : sequence of float
            What the optimizer's `at` gives for this update.
        word : int
            The draw of this micro-batch, see `anyback.random.Key`.

        Returns
        -------
        w, slots, stats, tally
            The state after the update.
        """
        g, _, _, stats, tally = self._gradient(w, stats, tally, data, rows, word, mean=True)
        w, slots = self._apply(w, slots, g, mask, scalars)
        return w, slots, stats, tally

    def fed(
        self,
        w: Array,
        slots: Sequence[Array],
        stats: Array,
        tally: Tally,
        mask: Any,
        data: Data,
        scalars: Sequence[Any],
        word: Any,
    ) -> tuple[Array, tuple[Array, ...], Array, Tally]:
        """Train on a batch that is all of the data on the device; see `step`."""
        return self.step(w, slots, stats, tally, data, mask, None, scalars, word)

    def accumulate(
        self,
        total: tuple[Array, Array],
        stats: Array,
        tally: Tally,
        w: Array,
        data: Data,
        rows: Array | None,
        word: Any,
    ) -> tuple[tuple[Array, Array], Array, Tally]:
        """Add one micro-batch to a summed gradient (P,) and its weight, without an update."""
        g, _, n, stats, tally = self._gradient(w, stats, tally, data, rows, word, mean=False)
        return (total[0] + g, total[1] + n), stats, tally

    def finish(
        self, w: Array, slots: Sequence[Array], total: tuple[Array, Array], mask: Any, scalars: Sequence[Any]
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, Array]]:
        """Update with an accumulated gradient, and return the sums emptied."""
        g, n = total
        w, slots = self._apply(w, slots, g * namespace(g).astype(inverse(n), g.dtype), mask, scalars)
        zeros = namespace(g).zeros_like
        return w, slots, (zeros(g), zeros(n))

    def objective(
        self, w: Array, stats: Array, data: Data, rows: Array | None, mask: Any, word: Any
    ) -> tuple[Array, Array]:
        """Return the mean loss of a batch with its penalties, and its gradient (P,), before clipping."""
        g, loss, n, *_ = self._gradient(w, stats, None, data, rows, word, mean=True)
        value = loss * inverse(n)
        return value + self.penalty(w, mask) if self.l1 or self.l2 else value, self._penalise(w, g, mask)

    def measure(self, tally: Tally, w: Array, stats: Array, data: Data, rows: Array | None) -> Tally:
        """Add a batch's loss and metrics, without training, to a tally."""
        x, y, weight = gather(data, rows)
        pred, _ = self.model(self.layout.params(w, stats), x)
        loss, n, _ = self.loss(pred, y, weight)
        return self._add(tally, loss, n, pred, y, weight)

    def judge(self, tally: Tally, w: Array, stats: Array, slots: Sequence[Array]) -> Tally:
        """Return the tally of an epoch, its loss NaN where any number of the state is not finite.

        So what is read anyway tells whether the state is sound.
        """
        loss = tally["loss"]
        for state in (w, stats, *slots):
            xp = namespace(state)
            loss = loss + xp.astype(xp.sum(state * 0.0), loss.dtype)
        return {**tally, "loss": loss}

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
        tally: Tally | None,
        data: Data,
        rows: Array | None,
        word: Any,
        *,
        mean: bool,
    ) -> tuple[Array, Array, Any, Array, Any]:
        x, y, weight = gather(data, rows)
        pred, vjp, moved = self.model.train(self.layout.params(w, stats), x, Key(word))
        loss, n, dloss = self.loss(pred, y, weight)
        dparams, _ = vjp(dloss(inverse(n) if mean else 1.0), dx=False)
        if tally is not None:
            tally = self._add(tally, loss, n, pred, y, weight)
        return self.layout.gradient(dparams), loss, n, self.layout.statistics(moved, stats), tally

    def _add(self, tally: Tally, loss: Array, n: Any, pred: Array, y: Array, weight: Array | None) -> Tally:
        added = {"loss": tally["loss"] + loss, "weight": tally["weight"] + n}
        if self.metrics:  # a loss may weigh classes on its own account, of which metrics know nothing
            samples = y.shape[0] if weight is None else namespace(weight).sum(weight)
            added["samples"] = tally["samples"] + samples
        for name, sums in self.metrics.items():
            added[name] = tally[name] + sums(pred, y, weight)
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
        w, *slots = self.rule(namespace(w))(w, g, *slots, mask, *scalars)
        return w, tuple(slots)


def gather(data: Data, rows: Array | None) -> Data:
    """Return inputs, targets and weights of some rows; of all where there are none."""
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
    """Return 1 / n, and 0 where all weights are zero."""
    return 1.0 / n if isinstance(n, int) else 1.0 / namespace(n).where(n == 0.0, float("inf"), n)
