"""When to stop training, and how long an epoch took."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter


class Laps:
    """Counts epochs: iterate over it, or call `lap` at the end of each epoch and stop when it returns True.

    Either `epochs` of them; or until `warm` seconds pass after the first one (which may include
    compilation) and then `seconds` more, whose epochs `median` measures.
    """

    def __init__(self, epochs: int | None = None, *, warm: float = 0.0, seconds: float = 0.0) -> None:
        self.epochs, self.warm, self.seconds = epochs, warm, seconds
        self.ends: list[float] = []
        self.measured: int | None = None

    def __iter__(self) -> Iterator[None]:
        yield
        while not self.lap():
            yield

    def lap(self) -> bool:
        now = perf_counter()
        self.ends.append(now)
        if self.epochs is not None:
            return len(self.ends) >= self.epochs
        if self.measured is None:
            if now - self.ends[0] >= self.warm:
                self.measured = len(self.ends) - 1
            return False
        return now - self.ends[self.measured] >= self.seconds

    def median(self) -> float:
        """Seconds per epoch after the warm-up."""
        return statistics.median(after - before for before, after in pairwise(self.ends[self.measured :]))
