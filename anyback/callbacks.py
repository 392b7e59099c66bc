"""Callbacks: early stopping, learning rate reduction, checkpointing and logging during a fit."""

# ruff: noqa: D102 - the methods of a callback are documented in Callback

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anyback.checkpoint.files import append, rewrite, sweep
from anyback.lookup import set_module, suggestion
from anyback.training.hooks import Callback, DivergenceError, NaNGuard, hook_names
from anyback.training.trainer import Trainer
from anyback.validation import integer, number

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "GradientStatistics",
    "JSONLog",
    "Lambda",
    "NaNGuard",
    "ReduceOnPlateau",
]


class _Monitor(Callback):
    """Watch one column of the history for improvement."""

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not patience >= 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        if not math.isfinite(min_delta):
            raise ValueError(f"min_delta must be finite, got {min_delta}")
        lower = "loss" in monitor or "error" in monitor or "penalty" in monitor
        self.monitor, self.patience, self.min_delta = monitor, patience, abs(min_delta)
        self.sign = 1.0 if mode == "min" or (mode == "auto" and lower) else -1.0
        self.best, self.waited = math.inf, 0

    def reset(self) -> None:
        self.best, self.waited = math.inf, 0

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.monitor.startswith("val_") and not trainer.validates:
            raise ValueError(
                f"monitor {self.monitor!r} needs validation_split or validation_data, got neither"
            )
        if not len(trainer.history):  # state left from another trainer's run
            self.reset()

    def improved(self, logs: dict[str, float]) -> bool:
        """Return whether this epoch is the best so far, and count the epochs without improvement."""
        if self.monitor not in logs:
            known = [name for name in logs if name not in ("epoch", "lr")]
            meant = suggestion(self.monitor, known) or ": a metric must be among the trainer's metrics"
            raise ValueError(f"monitor must be one of {', '.join(known)}, got {self.monitor!r}{meant}")
        value = self.sign * logs[self.monitor]
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, Any]:
        best = None if math.isinf(self.best) else self.best
        return {"monitor": self.monitor, "best": best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = math.inf if state["best"] is None else state["best"], state["waited"]


class EarlyStopping(_Monitor):
    """Stop when a metric has not improved for some epochs, and restore the best weights.

    Parameters
    ----------
    monitor : str
        A column of the history, such as "val_loss".
    patience : int
        Epochs without improvement that are tolerated; one more stops training.
    min_delta : float
        The smallest change that counts as an improvement.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better; auto: lower for losses, errors and penalties.
    restore_best : bool
        Whether the trainer has the weights of the best epoch at every exit from fit. A later fit resumes
        from the last epoch, as if training had not been interrupted.

    Examples
    --------
    >>> EarlyStopping("val_accuracy", patience=5).sign
    -1.0
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best = restore_best

    def on_fit_start(self, trainer: Trainer) -> None:
        super().on_fit_start(trainer)
        if self.waited > self.patience:
            trainer.stop = True

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        if self.improved(logs):
            if self.restore_best:
                trainer.remember_best()
        elif self.waited > self.patience:
            trainer.stop = True

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.restore_best:
            trainer.use_best()


class ReduceOnPlateau(_Monitor):
    """Multiply the learning rate by `factor` when a metric has not improved for more than `patience` epochs.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for `EarlyStopping`.
    factor : float
        In (0, 1).
    floor : float
        The smallest factor of the initial learning rate.

    Examples
    --------
    >>> ReduceOnPlateau("val_loss", factor=0.5, patience=3).factor
    0.5
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        floor: float = 0.0,
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.factor = number("factor", factor, "in (0, 1)", "lie in (0, 1)")
        self.floor = floor

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        if not self.improved(logs) and self.waited > self.patience:
            trainer.lr_factor = max(trainer.lr_factor * self.factor, self.floor)
            self.waited = 0


class Checkpoint(Callback):
    """Save checkpoints, from which the run can be resumed exactly.

    Parameters
    ----------
    path : str or Path
        The file; ``{epoch}`` and ``{update}`` in its name become numbers, otherwise it is replaced each time.
    every : int
        Epochs between saves.
    updates : int, optional
        Updates between saves, within epochs too.
    keep : int
        Number of files to keep, if the name has no numbers: the previous one becomes "name.1.safetensors",
        that one "name.2.safetensors", and so on. `anyback.checkpoint.newest` finds the newest that is intact.

    Examples
    --------
    >>> Checkpoint("run-{epoch:03d}.safetensors", every=5).every
    5
    """

    order = 100

    def __init__(self, path: str | Path, every: int = 1, updates: int | None = None, keep: int = 1) -> None:
        if every < 1 or (updates is not None and updates < 1):
            raise ValueError(f"every and updates must be at least 1, got {every} and {updates}")
        integer("keep", keep, expected="be at least 1")
        self.path, self.every, self.updates, self.keep = str(path), every, updates, keep
        try:
            numbered = self.path.format(epoch=0, update=0) != self.path.format(epoch=1, update=1)
        except (LookupError, ValueError) as error:
            raise ValueError(f"path may have {{epoch}} and {{update}}, got {self.path!r}") from error
        if numbered and keep > 1:
            raise ValueError(f"keep needs a path without {{epoch}} and {{update}}, got {self.path!r}")

    def on_fit_start(self, trainer: Trainer) -> None:
        folder = os.path.dirname(self.path.format(epoch=0, update=0)) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"path must be in a folder that exists, got {self.path!r}")
        sweep(folder)

    @property
    def watches_updates(self) -> bool:
        return self.updates is not None or type(self).on_update is not Checkpoint.on_update

    def on_update(self, trainer: Trainer) -> None:
        # A state that NaNGuard will refuse at the epoch's end must not replace a good file.
        if self.updates and trainer.updates % self.updates == 0 and trainer.finite:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        if trainer.epoch % self.every == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save(self.path.format(epoch=trainer.epoch, update=trainer.updates), keep=self.keep)


class _Log(Callback):
    """Write the history to a file: in full at a fit's first epoch and for a new column, else one more row."""

    order = 50

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._rows = -1
        self._names: list[str] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self._rows = -1

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        history = trainer.history
        if self._rows == len(history) - 1 and logs.keys() <= {*self._names} and os.path.exists(self.path):
            append(self.path, self._text([logs]).encode())
        else:
            self._names = history.names
            rewrite(self.path, self._text(history.rows, head=True).encode())
        self._rows = len(history)

    def _text(self, rows: list[dict[str, float]], head: bool = False) -> str:
        raise NotImplementedError


class CSVLog(_Log):
    """Write the history to a CSV file after each epoch: one row per epoch.

    Values that callbacks of a higher order add to an epoch's row may be missing.
    """

    def _text(self, rows: list[dict[str, float]], head: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._names)
        if head:
            writer.writeheader()
        writer.writerows(map(_as_floats, rows))
        return text.getvalue()


class JSONLog(_Log):
    """Write the history to a JSON Lines file after each epoch: one object per epoch.

    A value that is not finite is null. Values that callbacks of a higher order add may be missing.
    """

    def _text(self, rows: list[dict[str, float]], head: bool = False) -> str:
        finite = (
            {name: value if math.isfinite(value) else None for name, value in _as_floats(row).items()}
            for row in rows
        )
        return "".join(json.dumps(row) + "\n" for row in finite)


class GradientStatistics(Callback):
    """Add the norm of the gradient of every parameter, "grad_norm.0.weight", to each row of the history.

    Parameters
    ----------
    rows : int
        The gradient is that of the first `rows` training samples, at the weights of the epoch's end.
    """

    def __init__(self, rows: int = 256) -> None:
        self.rows = integer("rows", rows, expected="be at least 1")

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        for name, g in trainer.loop.gradient(self.rows).items():
            logs[f"grad_norm.{name}"] = float(np.linalg.norm(g))


class Lambda(Callback):
    """Call functions: ``Lambda(on_epoch_end=lambda trainer, logs: print(logs))``.

    Parameters
    ----------
    on_fit_start, on_update, on_epoch_end, on_stop, on_fit_end : callable, optional
        Called as the methods of `Callback` are.
    """

    def __init__(self, **functions: Callable[..., None]) -> None:
        for name, function in functions.items():
            if name not in (known := hook_names()):
                raise TypeError(f"Lambda takes {', '.join(known)}, got {name!r}")
            setattr(self, name, function)


def _as_floats(row: dict[str, float]) -> dict[str, float]:
    """Return a row as a checkpoint stores it: floats, whatever a callback has added."""
    return {name: value if name == "epoch" else float(value) for name, value in row.items()}


set_module(__name__, __all__)
