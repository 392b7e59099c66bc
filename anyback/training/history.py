"""The history of a run: loss and metrics, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """Loss and metrics of each epoch.

    Attributes
    ----------
    rows : list of dict
        One dict per epoch: "epoch" (from 1), "loss", each metric, and with validation data the same prefixed
        by ``val_``; "penalty" if the trainer has penalties; "lr", the learning rate of the next update.
        Values are floats.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history["loss"], history.last["loss"], len(history)
    ([0.5, 0.25], 0.25, 2)
    >>> history
    <History of 2 epochs, the last: loss 0.25>
    >>> min(history, key=lambda row: row["loss"])
    {'epoch': 2, 'loss': 0.25}
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.names:
            raise KeyError(f"history has {', '.join(self.names) or 'nothing yet'}, not {name!r}")
        return [row[name] for row in self.rows if name in row]

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.last.items() if name != "epoch")
        return f"<History of {len(self)} epochs{last and ', the last: '}{last}>"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    @property
    def names(self) -> list[str]:
        """Names of all columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def last(self) -> dict[str, float]:
        """The row of the newest epoch; empty before the first."""
        return self.rows[-1] if self.rows else {}
