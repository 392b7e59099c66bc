"""A loss or metric with its options bound, as a trainer uses it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from anyback.lookup import lookup

__all__ = ["Objective", "distinct"]


@dataclass(frozen=True)
class Objective:
    """What a trainer asks of a loss or metric.

    Attributes
    ----------
    name : str
        Under which it is reported.
    targets : str
        What it compares with: "labels", "signs", "unit interval", "counts" or "reals".
    sums : callable
        Its sums over a batch, options bound.
    finish : callable
        ``finish(sums, total)``: the value from its sums.
    link : str or None
        The activation that makes probabilities of a loss's predictions.
    probabilities : bool
        Whether a loss of labels takes probabilities too.
    """

    name: str
    targets: str
    sums: Callable[..., Any]
    finish: Callable[..., Any]
    link: str | None = None
    probabilities: bool = False

    def placed(self, put: Callable[[Any], Any]) -> Objective:
        """Return the same with options of several numbers (class weights) made arrays by `put`, once."""
        if not isinstance(self.sums, partial):
            return self
        options = self.sums.keywords
        made = {k: put(v) if isinstance(v, list | tuple | np.ndarray) else v for k, v in options.items()}
        return replace(self, sums=partial(self.sums.func, **made))

    @classmethod
    def of(cls, kind: str, given: str | Callable[..., Any], room: ModuleType) -> Objective:
        """Return the objective of a name in `room`, of a Loss or Metric, or of a `functools.partial` of one.

        Raises
        ------
        ValueError
            If nothing is called so.
        TypeError
            If it is neither, or if it does not know an option.

        Examples
        --------
        >>> from anyback import losses
        >>> Objective.of("loss", partial(losses.huber, delta=2.0), losses).targets
        'reals'
        """
        whole = lookup(kind, given, room)
        options: dict[str, Any] = whole.keywords if isinstance(whole, partial) else {}
        base: Any = whole.func if isinstance(whole, partial) else whole
        if not hasattr(base, "sums") or not hasattr(base, "targets"):
            raise TypeError(
                f"{kind} must be a name, or made by the decorator anyback.{room.__name__[8:]}.{kind}, "
                f"got {given!r}"
            )
        unknown = set(options) - set(base.options)
        if unknown:
            raise TypeError(
                f"{kind} {base.__name__!r} has options {sorted(base.options)}, got {sorted(unknown)}"
            )
        return cls(
            base.__name__,
            base.targets,
            partial(base.sums, **options) if options else base.sums,
            getattr(base, "finish", operator.truediv),
            getattr(base, "link", None),
            getattr(base, "probabilities", False),
        )


def distinct(names: Sequence[str]) -> None:
    """Raise where two metrics, or a metric and a figure of the trainer's own, would be one in the history."""
    taken = {"epoch", "loss", "weight", "samples", "penalty", "lr"}
    for name in names:
        if name in taken:
            raise ValueError(f"metrics must have names of their own in the history, got {name!r} again")
        taken.add(name)
