"""A run as arrays and a description: everything exact resuming needs.

Weights, slots, running statistics, the current epoch's sums, the best weights, a half-gathered
gradient, position, history (it has no wall times), standardisation, callback states, the learning
rate's factor, the data's fingerprint, and the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anyback.arrays import Array
from anyback.backends import backend as find_backend
from anyback.data import Scaler
from anyback.describe import describe, restore
from anyback.history import History
from anyback.storage import CheckpointError, newest, read, write

if TYPE_CHECKING:
    from pathlib import Path

    from anyback.trainer import Trainer

__all__ = ["CheckpointError", "load", "newest", "save"]

_PARTS = ("model", "loss", "optimizer", "metrics")


def save(trainer: Trainer, path: str | Path, keep: int = 1) -> None:
    """Write a built trainer to `path`; see `Trainer.save`."""
    state = trainer.state()
    arrays = {name: trainer.backend.to_numpy(value) for name, value in state.items()}
    scaler = trainer.scaler
    if scaler.mean is not None and scaler.scale is not None:
        arrays |= {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}
    write(path, arrays, {**_configuration(trainer), **_progress(trainer)}, keep)


def load(kind: type[Trainer], path: str | Path, backend: Any, given: dict[str, Any]) -> Trainer:
    """Return the trainer of `path`; see `Trainer.load`."""
    arrays, stored = read(path)
    backend = find_backend(backend)
    try:
        parts = {name: _part(stored[name], name) if given[name] is None else given[name] for name in _PARTS}
        options = {name: stored[name] for name in ("dtype", "seed", "standardize")}
        trainer = kind(**parts, **options, **stored["limits"], backend=backend).build(stored["in_shape"])
        _take_up(trainer, arrays, stored)
    except (AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} does not describe a trainer: {error or type(error).__name__}"
        ) from error
    return trainer


def _configuration(trainer: Trainer) -> dict[str, Any]:
    options = {
        name: getattr(trainer, name) for name in ("dtype", "seed", "standardize", "limits", "in_shape")
    }
    return {**{name: _described(getattr(trainer, name)) for name in _PARTS}, **options}


def _progress(trainer: Trainer) -> dict[str, Any]:
    return {
        "position": [trainer.epoch, trainer.batch, trainer.updates, trainer.micro],
        "lr_factor": trainer.lr_factor,
        "history": [
            {**{k: float(v) for k, v in row.items()}, "epoch": row["epoch"]} for row in trainer.history
        ],
        "showing_best": trainer.showing_best,
        "callbacks": trainer.callback_states,
        "fit": trainer.identity,
        "backend": trainer.backend.name,
    }


def _described(thing: Any) -> Any:
    try:
        return describe(thing)
    except TypeError as error:
        return {"missing": str(error)}


def _part(description: Any, name: str) -> Any:
    if isinstance(description, dict) and "missing" in description:
        raise ValueError(f"{name}: {description['missing']}")
    return restore(description)


def _take_up(trainer: Trainer, arrays: dict[str, np.ndarray], stored: dict[str, Any]) -> None:
    def put(array: np.ndarray, like: np.ndarray) -> Array:
        if array.shape != like.shape:
            raise ValueError(f"an array has shape {array.shape} where the model needs {like.shape}")
        return trainer.backend.asarray(array, like.dtype.name)

    # The fresh trainer's own state says what shapes and dtypes this backend needs.
    fresh = {name: trainer.backend.to_numpy(value) for name, value in trainer.state(everything=True).items()}
    missing = [name for name in trainer.state() if name not in arrays]
    if missing:
        raise ValueError(f"the file lacks {', '.join(missing)}")
    trainer.set_state({name: put(arrays[name], like) for name, like in fresh.items() if name in arrays})
    if "scaler.mean" in arrays:
        trainer.scaler = Scaler(arrays["scaler.mean"], arrays["scaler.scale"])
    trainer.epoch, trainer.batch, trainer.updates, trainer.micro = stored["position"]
    trainer.lr_factor, trainer.showing_best = stored["lr_factor"], stored["showing_best"]
    trainer.history = History(stored["history"])
    trainer.callback_states = [(name, state) for name, state in stored["callbacks"]]
    trainer.identity = stored["fit"]
