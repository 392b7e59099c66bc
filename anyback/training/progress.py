"""The progress of a fit: a progress bar, or a line per epoch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

__all__ = ["Progress"]


class Progress:
    """Show nothing, a progress bar by tqdm, or a line per epoch.

    Parameters
    ----------
    trainer : Trainer
        Whose fit is shown.
    batches : int
        Batches per epoch.
    epochs : int
        Epochs in all.
    verbose : {0, 1, 2}
        Nothing, a bar, or lines.
    """

    def __init__(self, trainer: Any, batches: int, epochs: int, verbose: int) -> None:
        self.verbose, self.epochs = verbose, epochs
        self._bar: Any = None
        done = trainer.epoch * batches + trainer.batch
        if verbose == 1 and trainer.epoch < epochs and not trainer.stop:
            self._bar = _bar(batches * epochs, done, f"{trainer.backend.name} {trainer.dtype}")
        elif verbose and trainer.epoch >= epochs:
            print(f"epochs={epochs} is the total: {trainer.epoch} are done already", file=sys.stderr)
        elif verbose and trainer.stop:
            print(f"a callback ended this run after epoch {trainer.epoch}", file=sys.stderr)
        # A bar redrawn for every batch of a small network would cost as much as its training.
        self._stride, self._pending = max(1, batches // 20), 0

    def advance(self, batches: int) -> None:
        """Count finished batches."""
        self._pending += batches
        if self._bar is not None and self._pending >= self._stride:
            self._flush()

    def show(self, logs: dict[str, float]) -> None:
        """Show the loss and metrics of an epoch."""
        values = {name: f"{value:.4g}" for name, value in logs.items() if name not in ("epoch", "lr")}
        if self._bar is not None:
            self._flush()
            self._bar.set_postfix(values, refresh=False)
        elif self.verbose == 2:
            print(
                f"epoch {int(logs['epoch'])}/{self.epochs}: "
                + ", ".join(f"{k} {v}" for k, v in values.items())
            )

    def _flush(self) -> None:
        self._bar.update(self._pending)
        self._pending = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._flush()
            self._bar.close()


def _bar(total: int, done: int, label: str) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, desc=label, unit="batch", dynamic_ncols=True)
