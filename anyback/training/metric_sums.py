"""Sums of loss and metrics that stay on the device, and are read back once per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyback.arrays import Array
from anyback.backends import Backend
from anyback.training.objective import Objective

__all__ = ["Tallies"]


@dataclass(frozen=True)
class Tallies:
    """Makes empty tallies and reads full ones.

    Attributes
    ----------
    loss, metrics : Objective, sequence of Objective
        What is tallied.
    outputs : int
        Number of outputs of the model.
    backend : Backend
        Where.

    Raises
    ------
    ValueError
        If a metric is no single number, or compares with other targets than the loss.
    """

    loss: Objective
    metrics: Sequence[Objective]
    outputs: int
    backend: Backend

    def __post_init__(self) -> None:
        self.loss.sums(*self._zeros())  # options out of range are named now
        for metric in self.metrics:
            if (metric.targets == "reals") != (self.loss.targets in ("reals", "counts")):
                raise ValueError(
                    f"metric {metric.name!r} compares with {metric.targets}, "
                    f"but the targets of loss {self.loss.name!r} are {self.loss.targets}"
                )
            value = metric.finish(np.ones(self._shapes()[metric.name]), 1.0)
            if np.ndim(value):
                raise ValueError(
                    f"metric {metric.name!r} is no single number: call it on predictions instead"
                )

    def zeros(self) -> dict[str, Array]:
        """Return an empty tally, in the device's widest dtype: sums of many samples lose digits."""
        wide = self.backend.wide
        return {name: self.backend.asarray(np.zeros(shape), wide) for name, shape in self._shapes().items()}

    def read(self, tally: Mapping[str, Array]) -> dict[str, float]:
        """Read a tally back and return means: sums of loss * weight over the sum of weights."""
        sums = {name: self.backend.to_numpy(value) for name, value in tally.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = {"loss": sums["loss"] / sums["weight"]}
            figures |= {m.name: m.finish(sums[m.name], sums["samples"]) for m in self.metrics}
        return {name: float(value) for name, value in figures.items()}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        x, y = self._zeros()
        totals: dict[str, tuple[int, ...]] = {"loss": (), "weight": ()}
        totals |= {"samples": ()} if self.metrics else {}
        return totals | {m.name: np.shape(m.sums(x, y, None)) for m in self.metrics}

    def _zeros(self) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and targets of one sample."""
        x = np.zeros((1, self.outputs))
        return x, np.zeros(1, np.int64) if self.loss.targets == "labels" else x
