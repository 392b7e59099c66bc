"""Hooks: what a fit calls before and after epochs and updates, and the guard against divergence.

The callbacks that users choose from are in `anyback.callbacks`.
"""

# ruff: noqa: D102 - the methods of a callback are documented in Callback

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from anyback.training.state import Snapshot

__all__ = ["Callback", "DivergenceError", "Hooks", "NaNGuard", "hook_names"]

_REMEDY = "try a lower learning rate, clip_norm, or standardize"
_RESTORED = "the trainer has gone back to before it"


class DivergenceError(ArithmeticError):
    """Training diverged: the loss or the state is not finite."""


class Callback:
    """Base class of callbacks: override the methods you need.

    Attributes
    ----------
    order : int
        Callbacks with a higher number run later; those that save run last, to save what others did.
    """

    order = 0

    def __init_subclass__(cls, **options: Any) -> None:
        """Warn about a method that is named like a hook but is none."""
        super().__init_subclass__(**options)
        known = hook_names()
        for name, value in vars(cls).items():
            if name.startswith("on_") and name not in known and callable(value):
                warnings.warn(
                    f"{cls.__name__}.{name} is not called by fit, which calls {', '.join(known)}",
                    stacklevel=2,
                )

    def on_fit_start(self, trainer: Any) -> None:
        """Run before the first epoch of a fit."""

    def on_update(self, trainer: Any) -> None:
        """Run after every update of the weights; reading from the device here costs a synchronisation."""

    def on_epoch_end(self, trainer: Any, logs: dict[str, float]) -> None:
        """Run after an epoch; `logs` are its metrics, and what is added to them enters the history."""

    def on_stop(self, trainer: Any) -> None:
        """Run where a fit is left within an epoch: by `stop`, by Ctrl-C or by SIGTERM."""

    def on_fit_end(self, trainer: Any) -> None:
        """Run at every exit from fit, by exception too."""

    @property
    def watches_updates(self) -> bool:
        """Whether `on_update` does anything; if no callback's does, many steps run as one call."""
        return getattr(self.on_update, "__func__", None) is not Callback.on_update

    def reset(self) -> None:
        """Forget earlier epochs: a fit of other data begins."""

    def state(self) -> dict[str, Any]:
        """Return JSON values that a resumed run needs."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


def hook_names() -> list[str]:
    """Return the names of the methods of a callback that a fit calls."""
    return [name for name in vars(Callback) if name.startswith("on_")]


class NaNGuard(Callback):
    """Raise `DivergenceError` at the end of the first epoch whose loss or state is not finite.

    Where a fit is left within an epoch, by Ctrl-C too, the error is raised there at once, and names no batch.

    `fit` adds one if none is given. It keeps a copy of the state (weights, slots and running statistics) at
    the beginning of each epoch. The trainer goes back to it, and the epoch is repeated batch by batch, to
    name the batch and the layer in which the first value or gradient was not finite. It runs before
    callbacks that save, so that the last checkpoint holds finite numbers.
    """

    order = -100

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None

    def on_fit_start(self, trainer: Any) -> None:
        self._snapshot = trainer.loop.snapshot()

    def on_epoch_end(self, trainer: Any, logs: dict[str, float]) -> None:
        bad = [name for name in ("loss", "val_loss") if not math.isfinite(logs.get(name, 0.0))]
        if not bad:
            self._snapshot = trainer.loop.snapshot()
            return
        epoch, snapshot = trainer.epoch, self._snapshot or trainer.loop.snapshot()
        trainer.loop.restore(snapshot)
        try:
            place = trainer.loop.first_nonfinite()
        finally:
            trainer.loop.restore(snapshot)
        raise DivergenceError(
            f"{bad[0]} is {logs[bad[0]]} after epoch {epoch}: {_REMEDY}; not finite first in {place}; "
            f"{_RESTORED}"
        )

    def on_stop(self, trainer: Any) -> None:
        # The state must not be saved; naming the batch would take as long as the epoch did.
        if not trainer.finite:
            trainer.loop.restore(self._snapshot or trainer.loop.snapshot())
            raise DivergenceError(
                f"the state is not finite within epoch {trainer.epoch + 1}: {_REMEDY}; {_RESTORED}"
            )

    def on_fit_end(self, trainer: Any) -> None:
        self._snapshot = None


class Hooks:
    """The callbacks of one fit in the order in which they run, with a `NaNGuard` among them.

    Raises
    ------
    TypeError
        If `callbacks` is not a sequence of `Callback` objects.
    ValueError
        If more than one restores the best weights.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a sequence of Callback objects, got {callbacks!r}")
        chain = list(callbacks)
        if not any(isinstance(callback, NaNGuard) for callback in chain):
            chain.insert(0, NaNGuard())
        if sum(getattr(callback, "restore_best", False) for callback in chain) > 1:
            raise ValueError("callbacks: only one may have restore_best=True, got several")
        for callback in chain:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks must be Callback objects such as EarlyStopping(), got {callback!r}"
                )
        self.callbacks = sorted(chain, key=lambda callback: callback.order)

    @property
    def restore_best(self) -> bool:
        """Whether a callback keeps the best weights."""
        return any(getattr(callback, "restore_best", False) for callback in self.callbacks)

    @property
    def updates(self) -> list[Any]:
        """The `on_update` methods that do anything."""
        return [callback.on_update for callback in self.callbacks if callback.watches_updates]

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return class name and state of each callback."""
        return [(type(callback).__name__, callback.state()) for callback in self.callbacks]

    def resume(self, states: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Give each callback the state that one of its class and monitor had in the last fit, in order."""
        left = list(states)
        for callback in self.callbacks:
            for i, (name, state) in enumerate(left):
                same = state.get("monitor") == callback.state().get("monitor")
                if same and name == type(callback).__name__:
                    callback.restore(state)
                    del left[i]
                    break

    def reset(self) -> None:
        """Make all callbacks forget earlier epochs."""
        for callback in self.callbacks:
            callback.reset()

    def call(self, name: str, trainer: Any) -> None:
        """Call one method of every callback."""
        for callback in self.callbacks:
            getattr(callback, name)(trainer)

    def end(self, trainer: Any) -> None:
        """Call every `on_fit_end` in reverse order, whichever of them raise."""
        with ExitStack() as ends:
            for callback in reversed(self.callbacks):
                ends.callback(callback.on_fit_end, trainer)
