"""A model bound to the shape of its inputs, and the functions that a backend compiled for it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends import Backend
from anyback.layers import Activation, Layer, Sequential
from anyback.losses import Loss
from anyback.metrics import Metric
from anyback.optimizers import Optimizer
from anyback.parameters import Layout
from anyback.training.data_checks import Scaler
from anyback.training.fit_data import HostData, InputSpec, chunks
from anyback.training.metric_sums import MetricSums
from anyback.training.state import TrainState
from anyback.training.step import Data, TrainStep

__all__ = ["BoundModel"]


class BoundModel:
    """A model for samples of one shape, with its loss and optimizer, compiled by a backend.

    Parameters
    ----------
    model : Layer
        Not bound, or bound to `in_shape`.
    in_shape : tuple of int
        Shape of one sample.
    loss, metrics : Loss, sequence of Metric
        What is minimised, and what is reported.
    optimizer : Optimizer
        Its update becomes a part of the step.
    limits : mapping
        "l1", "l2", "clip_norm" and "clip_value", see `TrainStep`.
    backend, dtype
        Where the arrays are, and their dtype.

    Attributes
    ----------
    layout : Layout
        Names and places of the parameters in the flat vectors.
    outputs : int
        Number of outputs of the model.
    step : TrainStep
        The pure functions; the other attributes that can be called are their compiled forms.
    mask : float or array (P,)
        1.0 where penalties and weight decay apply.

    Raises
    ------
    ValueError
        If the model, the loss and the metrics do not fit together.
    """

    def __init__(
        self,
        model: Layer,
        in_shape: tuple[int, ...],
        loss: Loss,
        metrics: Sequence[Metric],
        optimizer: Optimizer,
        limits: Mapping[str, Any],
        backend: Backend,
        dtype: str,
    ) -> None:
        self.model, out_shape = model.bind(in_shape)
        self.layout = Layout(self.model.specs())
        _check_outputs(out_shape, loss)
        if self.layout.size == 0:
            raise ValueError("model must have parameters to train, got none")
        _warn_of_link(self.model, loss)
        self.in_shape, self.outputs, self.loss = in_shape, out_shape[0], loss
        self.backend, self.dtype = backend, dtype
        self.sums = MetricSums(loss, metrics, self.outputs, backend)
        decays = optimizer.weight_decay or limits["l1"] or limits["l2"]
        self.mask = backend.asarray(self.layout.decays(), dtype) if decays else 1.0
        on_device = loss.placed(lambda values: backend.asarray(np.asarray(values), dtype))
        metric_sums = {metric.name: metric.sums for metric in metrics}
        functions = on_device.sums, metric_sums, optimizer.update
        step = self.step = TrainStep(self.model, self.layout, *functions, **limits)
        self.copy = partial(backend.call, partial(backend.namespace.asarray, copy=True))
        self.init_slots = partial(backend.call, optimizer.init)
        self.steps = backend.repeat(step.step, donate=4)
        self.accumulate = backend.compile(step.accumulate, donate=3, fresh=2)
        self.finish = backend.compile(step.finish, donate=3)
        self.measure = backend.compile(step.measure, donate=1, fresh=1)
        self.forward = backend.compile(step.forward, fresh=1)
        self.mark_nonfinite = backend.compile(step.mark_nonfinite, fresh=4)
        self.objective = backend.compile(step.objective)
        self.penalty = backend.compile(step.penalty)

    def start(self, state: TrainState, seed: int) -> None:
        """Give `state` the initial weights of a seed, fresh slots and sums of zero."""
        w, stats = self.layout.initial(seed)
        state.w, state.stats = self.backend.asarray(w, self.dtype), self.backend.asarray(stats, self.dtype)
        state.slots, state.sums, state.accumulated = self.init_slots(state.w), self.sums.zeros(), None

    def input_spec(self, scaler: Scaler) -> InputSpec:
        """Return what data for this model must look like."""
        classes = any(metric.targets == "labels" for metric in self.sums.metrics)
        return InputSpec(self.loss, self.in_shape, self.outputs, self.backend, self.dtype, scaler, classes)

    def evaluate(
        self, w: Array, stats: Array, data: Data | HostData, batch_size: int = 1024
    ) -> dict[str, float]:
        """Return the mean loss and the metrics of data, in inference mode."""
        sums: Any = self.sums.zeros()
        for _, part, rows in chunks(data, batch_size, self.backend):
            sums = self.measure(sums, w, stats, part, rows)
        return self.sums.means(sums)

    def penalties(self, w: Array) -> dict[str, float]:
        """Return the value of the penalties as "penalty"; nothing if there are none."""
        if not (self.step.l1 or self.step.l2):
            return {}
        return {"penalty": float(self.penalty(w, self.mask))}

    def release(self) -> None:
        """Let the compiled functions drop the data they were called with."""
        self.backend.release(self.steps, self.accumulate, self.measure, self.objective)


def _check_outputs(out_shape: tuple[int, ...], loss: Loss) -> None:
    if len(out_shape) != 1:
        raise ValueError(f"model must give one row of outputs a sample, got shape {out_shape}: add a Flatten")
    if loss.targets == "labels" and out_shape[0] < 2:
        raise ValueError(
            f"model must have an output for each class, two at least, for loss {loss.name!r}, "
            f"got {out_shape[0]}"
        )


def _warn_of_link(model: Layer, loss: Loss) -> None:
    """Warn if the last layer is the activation that the loss applies itself."""
    last = model
    while isinstance(last, Sequential) and last.layers:
        last = last.layers[-1]
    if isinstance(last, Activation) and last.name == loss.link:
        warnings.warn(
            f"model ends in {last.name}, which loss {loss.name!r} applies by itself: leave it out",
            stacklevel=4,
        )
