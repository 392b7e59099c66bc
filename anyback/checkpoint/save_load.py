"""A trainer as arrays and plain data, and back: everything that exact resuming needs.

Weights, slots, running statistics, the sums of the current epoch, the best weights, an accumulated
gradient, counters, history (without wall times), standardization, the states of the callbacks, the factor
of the learning rate, a fingerprint of the data, and the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends import BackendError
from anyback.backends import backend as find_backend
from anyback.checkpoint.config import from_config, to_config
from anyback.checkpoint.files import CheckpointError, read, write
from anyback.layers import Layer
from anyback.parameters import Layout

__all__ = ["load", "save"]

_PARTS = ("model", "loss", "optimizer", "metrics")


def save(trainer: Any, path: str | Path, keep: int = 1) -> None:
    """Write a built trainer to `path`; see `anyback.Trainer.save`."""
    arrays = {name: trainer.backend.to_numpy(value) for name, value in trainer.state().items()}
    scaler = trainer.train_state.scaler
    if scaler.mean is not None and scaler.scale is not None:
        arrays |= {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}
    write(path, arrays, {**_configuration(trainer), **_progress(trainer)}, keep)


def load(kind: Any, path: str | Path, backend: Any, given: dict[str, Any]) -> Any:
    """Return the trainer in `path`, of the class `kind`; see `anyback.Trainer.load`."""
    arrays, stored = read(path)
    backend = find_backend(backend)
    if own := {name: part for name, part in given.items() if part is not None}:
        kind(**{"model": Layer(), "loss": "huber", **own})  # raises for wrong arguments
    try:
        parts = {name: _part(stored[name], name) if given[name] is None else given[name] for name in _PARTS}
        options = {name: stored[name] for name in ("dtype", "seed", "standardize")}
        trainer = kind(**parts, **options, **stored["limits"], backend=backend)
        _check_size(trainer.model, stored["in_shape"], arrays)
        trainer.build(stored["in_shape"])
        if given["metrics"] is not None and stored["position"][1] == 0:  # between epochs there are no sums
            arrays = {name: array for name, array in arrays.items() if not name.startswith("tally.")}
            zeros = {name: array for name, array in trainer.state().items() if name.startswith("tally.")}
            arrays |= {name: backend.to_numpy(array) for name, array in zeros.items()}
        _restore(trainer, arrays, stored)
    except (BackendError, MemoryError):
        raise
    except Exception as error:  # constructors raise errors of any kind for values from a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"checkpoint {path} does not describe a trainer: {reason:.300}") from error
    return trainer


def _configuration(trainer: Any) -> dict[str, Any]:
    options = {
        name: getattr(trainer, name) for name in ("dtype", "seed", "standardize", "limits", "in_shape")
    }
    return {**{name: _config_or_missing(getattr(trainer, name)) for name in _PARTS}, **options}


def _progress(trainer: Any) -> dict[str, Any]:
    state = trainer.train_state
    return {
        "position": [state.epoch, state.batch, state.updates, state.micro_batches],
        "lr_factor": state.lr_factor,
        "history": [
            {**{k: float(v) for k, v in row.items()}, "epoch": row["epoch"]} for row in state.history
        ],
        "showing_best": state.showing_best,
        "callbacks": state.callback_states,
        "fit": state.fit_config,
        "backend": trainer.backend.name,
    }


def _config_or_missing(thing: Any) -> Any:
    try:
        return to_config(thing)
    except TypeError as error:
        return {"missing": str(error)}


def _part(description: Any, name: str) -> Any:
    if isinstance(description, dict) and "missing" in description:
        raise ValueError(f"{name}: {description['missing']}")
    return from_config(description)


def _check_size(model: Layer, in_shape: Any, arrays: dict[str, np.ndarray]) -> None:
    """Refuse weights that do not fit the model, before memory is taken for it."""
    layout = Layout(model.bind(tuple(in_shape))[0].specs())
    for name, size in ("w", layout.size), ("stats", layout.statistics_size):
        if name in arrays and arrays[name].shape != (size,):
            raise ValueError(f"{name} has shape {arrays[name].shape} where the model needs ({size},)")


def _restore(trainer: Any, arrays: dict[str, np.ndarray], stored: dict[str, Any]) -> None:
    """Set the state of a fresh trainer."""

    def put(name: str, like: np.ndarray) -> Array:
        array = arrays[name]
        if array.shape != like.shape or array.dtype.kind != "f":
            got = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"{name} is {got} where the model needs {like.dtype} of shape {like.shape}")
        return trainer.backend.asarray(array, like.dtype.name)

    for name, (fits, expected) in _EXPECTED.items():
        if not fits(stored[name]):
            raise ValueError(f"{name} must be {expected}, got {stored[name]!r:.80}")
    state = trainer.train_state
    # The fresh trainer's own arrays say what shapes and dtypes this backend needs.
    fresh = {name: trainer.backend.to_numpy(x) for name, x in state.arrays(everything=True).items()}
    scaler = {"scaler.mean", "scaler.scale"} if trainer.standardize and stored["fit"] else set()
    missing = sorted({*state.arrays(), *scaler} - arrays.keys())
    unknown = sorted(arrays.keys() - fresh.keys() - scaler)
    if missing or unknown:
        fault = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(map(repr, unknown))} beside it"
        raise ValueError(f"the file {fault}")
    state.set_arrays({name: put(name, like) for name, like in fresh.items() if name in arrays})
    if scaler:
        mean, scale = arrays["scaler.mean"], arrays["scaler.scale"]
        if not mean.shape == scale.shape == trainer.in_shape:
            raise ValueError(
                f"scaler.mean must have shape {trainer.in_shape}, got {mean.shape}, {scale.shape}"
            )
        state.scaler = type(state.scaler)(mean, scale)
    state.epoch, state.batch, state.updates, state.micro_batches = stored["position"]
    state.lr_factor, state.showing_best = stored["lr_factor"], stored["showing_best"]
    state.history.rows = stored["history"]
    state.callback_states = [(name, values) for name, values in stored["callbacks"]]
    state.fit_config = stored["fit"]


def _numbers(values: Any) -> bool:
    return all(isinstance(v, float) or (type(v) is int and abs(v) < 2**53) for v in values)


# What a file must say of a run's progress; the model's parts are checked by their own constructors.
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "position": (
        lambda v: isinstance(v, list) and len(v) == 4 and all(type(n) is int and n >= 0 for n in v),
        "four counts",
    ),
    "lr_factor": (lambda v: _numbers([v]) and 0 <= v < math.inf, "a number, not negative"),
    "showing_best": (lambda v: isinstance(v, bool), "true or false"),
    "history": (
        lambda v: isinstance(v, list) and all("epoch" in row and _numbers(row.values()) for row in v),
        "rows of numbers with an epoch",
    ),
    "callbacks": (
        lambda v: isinstance(v, list) and all(isinstance(n, str) and isinstance(s, dict) for n, s in v),
        "names with states",
    ),
    "fit": (
        lambda v: v is None or (isinstance(v, dict) and {"data", "validation_split"} <= v.keys()),
        "what a fit began with",
    ),
}
