"""Learning-rate schedules: frozen functions from the number of updates already made to a rate.

A schedule takes the place of a learning rate: ``Adam(lr=Cosine(1e-3, period=1000))``. It counts updates, not
epochs; with 100 batches an epoch, "every 10 epochs" is ``every=1000``. Each says its learning rate outright,
so that a resumed run needs nothing but the count. Where torch.optim.lr_scheduler has the same schedule, so
are the rates.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from anyback.validation import boolean, integer, number

__all__ = [
    "Constant",
    "Cosine",
    "Cyclic",
    "Exponential",
    "InverseTime",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "Step",
    "Warmup",
]


@dataclass(frozen=True)
class Schedule(ABC):
    """What all schedules share: ``schedule(t)``; a new one adds options and `rate`."""

    def __call__(self, t: int) -> float:
        """Return the learning rate of the update after `t` updates.

        Parameters
        ----------
        t : int
            Number of updates already made, from 0.

        Returns
        -------
        float
            The learning rate.

        Raises
        ------
        ValueError
            If `t` is no integer or negative.
        """
        return float(self.rate(integer("t", t, 0, expected="be an integer from 0")))

    @abstractmethod
    def rate(self, t: int) -> float:
        """Return the learning rate after `t` >= 0 updates."""

    def _number(self, name: str, *expected: Any) -> None:
        object.__setattr__(self, name, number(name, getattr(self, name), *expected))

    def _positive(self, *names: str) -> None:
        for name in names:
            self._number(name)

    def _count(self, name: str) -> None:
        count = integer(name, getattr(self, name), expected="be an integer from 1")
        object.__setattr__(self, name, count)

    def _flag(self, name: str) -> None:
        object.__setattr__(self, name, boolean(name, getattr(self, name)))

    def _choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same learning rate.

    Parameters
    ----------
    lr : float
        Learning rate.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._positive("lr")

    def rate(self, t: int) -> float:
        """Return lr."""
        return self.lr


@dataclass(frozen=True)
class Step(Schedule):
    """A drop every so many updates: lr factor^floor(t / every). PyTorch's StepLR.

    Parameters
    ----------
    lr : float
        First learning rate.
    every : int
        Updates between two drops.
    factor : float in (0, 1]
        What each drop multiplies by.

    Examples
    --------
    >>> [Step(0.8, every=2, factor=0.5)(t) for t in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._positive("lr")
        self._count("every")
        self._number("factor", "in (0, 1]")

    def rate(self, t: int) -> float:
        """Return lr factor^floor(t / every)."""
        return self.lr * self.factor ** (t // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """A smooth fall by the same factor: lr factor^(t / every). PyTorch's ExponentialLR.

    Parameters
    ----------
    lr : float
        First learning rate.
    factor : float in (0, 1]
        What the rate is multiplied by over `every` updates.
    every : int
        Updates in which the factor takes effect.

    Examples
    --------
    >>> [Exponential(0.8, 0.5)(t) for t in range(3)]
    [0.8, 0.4, 0.2]
    """

    lr: float
    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        self._positive("lr")
        self._number("factor", "in (0, 1]")
        self._count("every")

    def rate(self, t: int) -> float:
        """Return lr factor^(t / every)."""
        return float(self.lr * self.factor ** (t / self.every))


@dataclass(frozen=True)
class InverseTime(Schedule):
    """A fall as one over time: lr / (1 + decay t), after Robbins and Monro (1951).

    Parameters
    ----------
    lr : float
        First learning rate.
    decay : float
        After 1 / decay updates the rate is half the first.

    Examples
    --------
    >>> InverseTime(0.1, decay=0.01)(100)
    0.05
    """

    lr: float
    decay: float

    def __post_init__(self) -> None:
        self._positive("lr", "decay")

    def rate(self, t: int) -> float:
        """Return lr / (1 + decay t)."""
        return self.lr / (1.0 + self.decay * t)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """A fall to `end` along a power: end + (lr - end) (1 - t / steps)^power. PyTorch's PolynomialLR.

    Parameters
    ----------
    lr : float
        First learning rate.
    steps : int
        Updates until the rate has arrived at `end`, where it stays.
    power : float
        1 for a straight line.
    end : float
        Last learning rate, from 0 to `lr`.

    Examples
    --------
    >>> [Polynomial(1.0, steps=4)(t) for t in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """

    lr: float
    steps: int
    power: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        self._positive("lr", "power")
        self._count("steps")
        self._number("end", lambda x: 0 <= x <= self.lr, f"be from 0 to lr = {self.lr}")

    def rate(self, t: int) -> float:
        """Return end + (lr - end) (1 - t / steps)^power."""
        left = 1.0 - min(t, self.steps) / self.steps
        return float(self.end + (self.lr - self.end) * left**self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `lr` to `floor`, again and again. PyTorch's CosineAnnealingWarmRestarts.

    Equation::

        floor + (lr - floor) (1 + cos(pi now / period)) / 2

    with `now` counted from the last restart. Source: Loshchilov and Hutter, "SGDR: stochastic gradient
    descent with warm restarts" (2017).

    Parameters
    ----------
    lr : float
        First learning rate, and that after every restart.
    period : int
        Updates until the first restart.
    multiplier : int
        Each period is so many times as long as the one before.
    floor : float
        Least learning rate, from 0 to `lr`.
    restarts : bool
        If False, the rate stays at `floor` after the first period.

    Examples
    --------
    >>> [round(Cosine(1.0, period=4)(t), 3) for t in range(5)]
    [1.0, 0.854, 0.5, 0.146, 1.0]
    >>> Cosine(1.0, period=4, restarts=False)(5)
    0.0
    """

    lr: float
    period: int
    multiplier: int = 1
    floor: float = 0.0
    restarts: bool = True

    def __post_init__(self) -> None:
        self._positive("lr")
        self._count("period")
        self._count("multiplier")
        self._number("floor", lambda x: 0 <= x <= self.lr, f"be from 0 to lr = {self.lr}")
        self._flag("restarts")

    def rate(self, t: int) -> float:
        """Return floor + (lr - floor) (1 + cos(pi now / period)) / 2."""
        now, period = t, self.period
        if not self.restarts:
            now = min(now, period)
        elif self.multiplier == 1:
            now %= period
        else:
            while now >= period:
                now -= period
                period *= self.multiplier
        return self.floor + (self.lr - self.floor) * (1.0 + math.cos(math.pi * now / period)) / 2.0


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight rise to the first rate of another schedule, which then takes over.

    As PyTorch's LinearLR, followed by the other schedule in SequentialLR. Source: Goyal et al.,
    "Accurate, large minibatch SGD" (2017).

    Parameters
    ----------
    then : float or schedule
        What follows; it counts from the end of the rise.
    steps : int
        Updates before the full rate.
    start : float in [0, 1]
        Part of the full rate that the first update has.

    Examples
    --------
    >>> [Warmup(0.8, steps=4)(t) for t in (0, 1, 2, 4, 9)]
    [0.0, 0.2, 0.4, 0.8, 0.8]
    >>> Warmup(Step(0.8, every=2, factor=0.5), steps=4)(6)
    0.4
    """

    then: float | Callable[[int], float]
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.then):
            self._number("then", "positive and finite", "be positive and finite or a schedule")
        self._count("steps")
        self._number("start", "in [0, 1]")

    def rate(self, t: int) -> float:
        """Return the following schedule's first rate times a rising part, or its rate."""
        after = self.then(max(t - self.steps, 0)) if callable(self.then) else self.then
        if t >= self.steps:
            return after
        return after * (self.start + (1.0 - self.start) * t / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """One rise to the largest rate and one long fall. PyTorch's OneCycleLR.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates" (2018).

    Parameters
    ----------
    lr : float
        Largest learning rate.
    steps : int
        Updates of the whole cycle; afterwards the last rate stays.
    rise : float in (0, 1)
        Part of the cycle that goes up; with three phases, less than 0.5.
    div_factor : float
        The first rate is lr / div_factor.
    final_div_factor : float
        The last rate is the first divided by this.
    anneal : {"cos", "linear"}
        Shape of the way between two rates.
    three_phase : bool
        Fall to the first rate as fast as it rose, and then on to the last.

    Examples
    --------
    >>> schedule = OneCycle(1.0, steps=10, rise=0.3)
    >>> [round(schedule(t), 4) for t in (0, 2, 9)]
    [0.04, 1.0, 0.0]
    """

    lr: float
    steps: int
    rise: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: str = "cos"
    three_phase: bool = False

    def __post_init__(self) -> None:
        self._positive("lr", "div_factor", "final_div_factor")
        self._count("steps")
        self._flag("three_phase")
        top = 0.5 if self.three_phase else 1.0
        self._number("rise", lambda x: 0 < x < top, f"be in (0, {top:g})")
        self._choice("anneal", ("cos", "linear"))

    def rate(self, t: int) -> float:
        """Return the rate between the ends of the phase that `t` is in."""
        first, last = self.lr / self.div_factor, self.lr / self.div_factor / self.final_div_factor
        phases = [(self.rise * self.steps - 1.0, first, self.lr)]
        if self.three_phase:
            phases += [(2.0 * self.rise * self.steps - 2.0, self.lr, first), (self.steps - 1.0, first, last)]
        else:
            phases += [(self.steps - 1.0, self.lr, last)]
        t = min(t, self.steps - 1)
        which = sum(t > end for end, _, _ in phases)
        end, start, stop = phases[which]
        begin = phases[which - 1][0] if which else 0.0
        part = (t - begin) / (end - begin) if end > begin else 1.0
        if self.anneal == "cos":
            return stop + (start - stop) / 2.0 * (1.0 + math.cos(math.pi * part))
        return start + (stop - start) * part


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Up and down between two rates, in straight lines. PyTorch's CyclicLR.

    Source: Smith, "Cyclical learning rates for training neural networks" (2017).

    Parameters
    ----------
    low, high : float
        Least and largest learning rate.
    up : int
        Updates from `low` to `high`.
    down : int, optional
        Updates back; as many by default.
    mode : {"triangular", "triangular2", "exp_range"}
        All cycles alike, each half as high as the last, or the height falling by `gamma` every update.
    gamma : float in (0, 1]
        Of "exp_range".

    Examples
    --------
    >>> [Cyclic(0.0, 1.0, up=2)(t) for t in range(6)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """

    low: float
    high: float
    up: int = 2000
    down: int | None = None
    mode: str = "triangular"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        self._positive("high")
        self._number("low", lambda x: 0 <= x <= self.high, f"be from 0 to high = {self.high}")
        self._count("up")
        if self.down is not None:
            self._count("down")
        self._choice("mode", ("triangular", "triangular2", "exp_range"))
        self._number("gamma", "in (0, 1]")

    def rate(self, t: int) -> float:
        """Return low + (high - low) height scale."""
        down = self.up if self.down is None else self.down
        cycle, now = divmod(t, self.up + down)
        height = now / self.up if now <= self.up else 1.0 - (now - self.up) / down
        scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**t}[self.mode]
        return self.low + (self.high - self.low) * height * scale


@dataclass(frozen=True)
class Piecewise(Schedule):
    """One learning rate up to each boundary, and one after the last. As PyTorch's MultiStepLR.

    Parameters
    ----------
    boundaries : sequence of int
        Increasing numbers of updates; at a boundary the next value holds already.
    values : sequence of float
        Learning rates, one more than boundaries.

    Examples
    --------
    >>> schedule = Piecewise([10, 20], [0.1, 0.01, 0.001])
    >>> [schedule(t) for t in (0, 9, 10, 20, 99)]
    [0.1, 0.1, 0.01, 0.001, 0.001]
    """

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        edges = _numbers("boundaries", self.boundaries, operator.index, "increasing integers from 1")
        values = _numbers("values", self.values, float, "positive and finite")
        if any(b <= a for a, b in pairwise(edges)):
            raise ValueError(f"boundaries must be increasing integers from 1, got {list(edges)}")
        if len(values) != len(edges) + 1:
            raise ValueError(f"values must be one more than the {len(edges)} boundaries, got {len(values)}")
        object.__setattr__(self, "boundaries", edges)
        object.__setattr__(self, "values", values)

    def rate(self, t: int) -> float:
        """Return the value between whose boundaries `t` lies."""
        return self.values[bisect_right(self.boundaries, t)]


def _numbers(name: str, given: Any, kind: Callable[[Any], Any], expected: str) -> tuple[Any, ...]:
    """Return a sequence as a tuple of Python numbers, all positive and finite."""
    try:
        numbers = tuple(kind(number) for number in given)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"{name} must be {expected}, got {given!r}")
    return numbers
