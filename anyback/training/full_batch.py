"""A trainer's loss on all samples as a function of its flat weights, for optimizers of other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from anyback.interrupt import Interrupt
from anyback.random import step_seed
from anyback.training.fit_data import HostData
from anyback.training.trainer import Trainer

__all__ = ["full_batch"]


@contextmanager
def full_batch(
    trainer: Trainer, x: Any, y: Any, sample_weight: Any = None
) -> Iterator[tuple[Any, np.ndarray, Any]]:
    """Let another optimizer move the weights: ``with full_batch(trainer, x, y) as (loss, w, accept)``.

    ``loss(w) -> (value, gradient)`` of a flat host vector (P,), in float64, is the loss of all samples
    with its penalties, as SciPy expects it; `w` are the present weights. ``accept(w)`` sets the trainer's
    weights, which counts as an epoch.

    Raises
    ------
    MemoryError
        If the samples do not fit on the device.
    RuntimeError
        Within a fit, or within an epoch.
    """
    if trainer.busy:
        raise RuntimeError("fit is running already: a callback cannot minimize the same trainer")
    if trainer.batch:
        raise RuntimeError("an epoch is half done: finish it by fit, or give it up by restart_epoch()")
    whole = {"batch_size": None, "validation_split": 0.0, "shuffle": False, "accumulate": 1}
    fit_data = trainer.prepare((x, y, sample_weight), None, **whole)
    state, model, backend, data = trainer.train_state, trainer.bound, trainer.backend, fit_data.data
    if isinstance(data, HostData):
        raise MemoryError(f"minimize needs all samples on {backend.name}, where they do not fit")
    state.scaler, state.fit_config = fit_data.spec.scaler, fit_data.config
    state.showing_best, state.best, trainer.busy = False, None, True
    seed = step_seed(trainer.seed, state.micro_batches)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        interrupt.check()
        at = backend.asarray(w, trainer.dtype)
        value, g = model.objective(at, state.stats, data, None, model.mask, seed)
        return float(value), backend.to_numpy(g).astype(np.float64)

    def accept(w: np.ndarray) -> None:
        at = backend.asarray(w, trainer.dtype)
        values = model.evaluate(at, state.stats, data) | model.penalties(at)
        state.w, state.epoch = at, state.epoch + 1
        state.history.rows.append({"epoch": state.epoch, **values, "lr": trainer.lr})

    try:
        with Interrupt() as interrupt:
            yield loss, backend.to_numpy(state.w).astype(np.float64), accept
    finally:
        trainer.busy = False
        model.release()
