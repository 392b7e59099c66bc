"""The state of a training run: the arrays and counters that training changes, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anyback.arrays import Array
from anyback.training.data_checks import Scaler
from anyback.training.history import History

__all__ = ["Snapshot", "TrainState", "check_resumable"]


@dataclass(frozen=True)
class Snapshot:
    """Copies of the arrays and counters of a `TrainState`, and the length of its history."""

    arrays: dict[str, Array]
    counters: tuple[int, int, int, int]
    epochs: int


@dataclass
class TrainState:
    """What exact resuming of a run needs, beside its configuration.

    Attributes
    ----------
    w, stats : array (P,), array (S,)
        Parameters and running statistics in flat vectors; None before the model is built.
    slots : tuple of array (P,)
        The optimizer's.
    sums : dict of str to array
        Of the loss and the metrics over the current epoch, see `anyback.training.metric_sums`.
    accumulated : (array (P,), array ()) or None
        Gradient and weight of the micro-batches since the last update, with ``fit(accumulate=...)``.
    best : (array (P,), array (S,)) or None
        Parameters and running statistics of the best epoch.
    showing_best : bool
        Whether predictions use the best weights rather than the newest.
    epoch, batch, updates, micro_batches : int
        Finished epochs, batches done of the current one, updates and micro-batches in all.
    lr_factor : float
        Factor of the learning rate, set by `anyback.callbacks.ReduceOnPlateau`.
    history : History
        A row for each finished epoch.
    scaler : Scaler
        Mean and scale of the inputs, learned from the training data.
    fit_config : dict or None
        The last fit's batch size, validation split, fingerprint of the data and the like: within an epoch,
        a resumed run must have the same.
    callback_states : list of (str, dict)
        Class and state of each callback of the last fit.
    """

    w: Array = None
    slots: tuple[Array, ...] = ()
    stats: Array = None
    sums: dict[str, Array] = field(default_factory=dict)
    accumulated: tuple[Array, Array] | None = None
    best: tuple[Array, Array] | None = None
    showing_best: bool = False
    epoch: int = 0
    batch: int = 0
    updates: int = 0
    micro_batches: int = 0
    lr_factor: float = 1.0
    history: History = field(default_factory=History)
    scaler: Scaler = field(default_factory=Scaler)
    fit_config: dict[str, Any] | None = None
    callback_states: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def shown(self) -> tuple[Array, Array]:
        """Parameters and running statistics for predictions: the best ones or the newest."""
        return self.best if self.showing_best and self.best else (self.w, self.stats)

    def lr(self, rate: float | Callable[[int], float], updates: int) -> float:
        """Return the learning rate of the update after `updates` others; `rate` is a number or a schedule."""
        return float(self.lr_factor * (rate(updates) if callable(rate) else rate))

    def arrays(self, everything: bool = False) -> dict[str, Array]:
        """Return the arrays by the names of checkpoint format 1, in which ``tally.`` are the sums.

        With `everything`, arrays like those of `best` and `accumulated` are included even if these are None.
        """
        # "tally" and "total" are older words, kept because they are stored in files of format 1.
        found = {"w": self.w, "stats": self.stats}
        found |= {f"slots.{i}": slot for i, slot in enumerate(self.slots)}
        found |= {f"tally.{name}": value for name, value in self.sums.items()}
        if self.best or everything:
            found |= dict(zip(("best.w", "best.stats"), self.best or (self.w, self.stats), strict=True))
        if self.accumulated or everything:
            pair = self.accumulated or (self.w, self.sums["weight"])
            found |= dict(zip(("total.g", "total.weight"), pair, strict=True))
        return found

    def set_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Replace the arrays by those of `arrays`, named as in `arrays()`."""
        self.w, self.stats = arrays["w"], arrays["stats"]
        self.slots = tuple(arrays[f"slots.{i}"] for i in range(len(self.slots)))
        self.sums = {name: arrays[f"tally.{name}"] for name in self.sums}
        self.best = (arrays["best.w"], arrays["best.stats"]) if "best.w" in arrays else None
        self.accumulated = (arrays["total.g"], arrays["total.weight"]) if "total.g" in arrays else None

    def snapshot(self, copy: Callable[[Array], Array]) -> Snapshot:
        """Copy all that training changes, without best weights and `lr_factor`, which callbacks set."""
        arrays = {name: copy(x) for name, x in self.arrays().items() if not name.startswith("best.")}
        return Snapshot(arrays, self._counters, len(self.history))

    def restore(self, snapshot: Snapshot, copy: Callable[[Array], Array]) -> None:
        """Go back to a snapshot, which stays intact."""
        best = self.best
        self.set_arrays({name: copy(x) for name, x in snapshot.arrays.items()})
        self.best = best
        self.epoch, self.batch, self.updates, self.micro_batches = snapshot.counters
        del self.history.rows[snapshot.epochs :]

    @property
    def _counters(self) -> tuple[int, int, int, int]:
        return self.epoch, self.batch, self.updates, self.micro_batches


def check_resumable(state: TrainState, new: Mapping[str, Any], epochs: int) -> None:
    """Compare a fit's configuration with that of the last fit.

    Raises
    ------
    ValueError
        If an epoch is half done and the data or the options are others.

    Warns
    -----
    UserWarning
        If no epochs are left for other data, or rows that were trained on become validation rows.
    """
    old = state.fit_config
    if state.batch and new != old:
        changed = [name for name, value in new.items() if value != (old or {}).get(name)]
        raise ValueError(
            f"to resume within an epoch, fit needs what it had before; other now: {', '.join(changed)} "
            "(restart_epoch() gives the rest of that epoch up)"
        )
    if not old:
        return
    if state.epoch >= epochs and new["data"] != old["data"]:
        warnings.warn(
            f"epochs={epochs} is the total, and {state.epoch} are done, with other data: nothing is "
            "trained (a new Trainer begins anew)",
            stacklevel=3,
        )
    before, now = old["validation_split"], new["validation_split"]
    if state.epoch and new["data"] == old["data"] and now and before != now:
        warnings.warn(
            f"validation_split was {before} and is {now}: validation now has rows that were trained on",
            stacklevel=3,
        )
