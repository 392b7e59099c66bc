"""Sums of the loss and the metrics: they stay on the device and are read back once per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyback.arrays import Array
from anyback.backends import Backend
from anyback.losses import Loss
from anyback.metrics import Metric

__all__ = ["MetricSums"]


@dataclass(frozen=True)
class MetricSums:
    """Makes the zeros that the sums of an epoch start from, and turns sums into means.

    Attributes
    ----------
    loss, metrics : Loss, sequence of Metric
        Whose sums they are.
    outputs : int
        Number of outputs of the model.
    backend : Backend
        Where the sums are kept.

    Raises
    ------
    ValueError
        If a metric is not a single number, or takes other targets than the loss.
    """

    loss: Loss
    metrics: Sequence[Metric]
    outputs: int
    backend: Backend

    def __post_init__(self) -> None:
        self.loss.sums(*self._sample())  # raises for options out of range
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
        """Return sums of zero, in the device's widest dtype: sums of many samples lose digits."""
        wide = self.backend.wide
        return {name: self.backend.asarray(np.zeros(shape), wide) for name, shape in self._shapes().items()}

    def means(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """Read the sums back; return the mean loss (over the total weight) and each metric's value."""
        host = {name: self.backend.to_numpy(value) for name, value in sums.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {"loss": self.loss.finish(host["loss"], host["weight"])}
            values |= {m.name: m.finish(host[m.name], host["samples"]) for m in self.metrics}
        return {name: float(value) for name, value in values.items()}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        x, y = self._sample()
        shapes: dict[str, tuple[int, ...]] = {"loss": (), "weight": ()}
        shapes |= {"samples": ()} if self.metrics else {}
        return shapes | {m.name: np.shape(m.sums(x, y, None)) for m in self.metrics}

    def _sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and targets of one sample, all zero."""
        x = np.zeros((1, self.outputs))
        return x, np.zeros(1, np.int64) if self.loss.targets == "labels" else x
