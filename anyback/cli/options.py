"""The options of a training run, as typed and as kept in run.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from anyback import metrics, optimizers
from anyback.cli.app import fail
from anyback.lookup import lookup
from anyback.optimizers._base import Optimizer

__all__ = ["Options", "any_case"]

# What a run decays by where nothing was asked for: PyTorch's 0.01 hardly holds a small network back.
_DECAY = {"AdamW": 0.3}
# Dropout where none was asked for: units that vary at random help to tell classes apart, and blur numbers.
_DROPOUT = 0.2
# What a resumed run may have otherwise than before: how far it goes, when it gives up and what it keeps.
_FREE = ("epochs", "patience", "keep")


@dataclass(frozen=True)
class Options:
    """What was asked for; the command line's help says what each option means."""

    target: str | None
    drop: str | None
    hidden: str
    activation: str
    dropout: float | None
    loss: str
    optimizer: str
    lr: float | None
    weight_decay: float | None
    clip_norm: float | None
    epochs: int
    batch_size: str
    validation: float
    test: float
    patience: int
    metrics: str
    standardize: bool
    dtype: str
    seed: int
    keep: int

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            if not 0 <= getattr(self, name) < 1:
                fail(f"--{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.keep < 1:
            fail(f"--keep must be at least 1, got {self.keep}")

    @classmethod
    def check(cls, stored: dict[str, Any]) -> None:
        """Refuse stored options of other types than these have."""
        for name, kind in get_type_hints(cls).items():
            if name in stored and not isinstance(stored[name], kind):
                fail(f"option {name} is {stored[name]!r}")

    def settled(self, *, classes: bool) -> Options:
        """Return the options with those that depend on what is learned: classes or numbers."""
        return replace(self, dropout=_DROPOUT if classes else 0.0) if self.dropout is None else self

    @property
    def units(self) -> list[int]:
        """Units of each hidden layer."""
        units = [part.strip() for part in self.hidden.split(",")] if self.hidden.strip() else []
        wrong = next((part for part in units if not part.isdecimal() or int(part) < 1), None)
        if wrong is not None:
            fail(f"--hidden must be numbers of units such as 128,64, got {wrong!r} in {self.hidden!r}")
        return [int(part) for part in units]

    @property
    def batch(self) -> int | None:
        """Samples a batch; None for all of them."""
        if self.batch_size == "full":
            return None
        if not self.batch_size.isdecimal() or int(self.batch_size) < 1:
            fail(f"--batch-size must be an integer of at least 1 or 'full', got {self.batch_size!r}")
        return int(self.batch_size)

    def metric_names(self, default: Sequence[str]) -> list[str]:
        """Return the metrics that were asked for, or the default."""
        if self.metrics == "auto":
            return list(default)
        names = [] if self.metrics == "none" else [name.strip() for name in self.metrics.split(",")]
        for name in names:
            lookup("metric", name, metrics)
        return names

    def make_optimizer(self) -> Optimizer:
        """Return the optimizer, with its own defaults where nothing was asked for."""
        kind: Any = lookup("optimizer", any_case(self.optimizer, optimizers.__all__), optimizers)
        decay = _DECAY.get(kind.__name__) if self.weight_decay is None else self.weight_decay
        given = {"lr": self.lr, "weight_decay": decay}
        return kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[no-any-return]

    def stored(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return asdict(self)

    def resumed(self, stored: dict[str, Any], given: set[str], run: str) -> Options:
        """Return the options of a stored run, with those typed now that may change.

        Raises
        ------
        ValueError
            If one was typed that may not.
        """
        before = replace(self, **{f.name: stored[f.name] for f in fields(self) if f.name in stored})
        for name in given & {f.name for f in fields(self)} - set(_FREE):
            old, new = getattr(before, name), getattr(self, name)
            if old != new:
                was = "left to its default" if old is None else old
                fail(
                    f"--{name.replace('_', '-')} was {was} in {run}, got {new}: "
                    "a resumed run goes on as it began, "
                    "only --epochs, --patience, --keep and --backend may be others"
                )
        return replace(before, **{name: getattr(self, name) for name in _FREE if name in given})


def any_case(name: str, names: Sequence[str]) -> str:
    """Return the one of `names` that is `name` in any case, else `name` itself."""
    return next((other for other in names if other.lower() == name.lower()), name)
