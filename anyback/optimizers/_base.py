"""What an optimizer is: options, slots, numbers of the host for each update, and an elementwise rule."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, TypeAlias

from anyback.arrays import Array, follows, namespace

__all__ = ["Arrays", "Cast", "Optimizer", "Rate", "Rule"]

Rate: TypeAlias = float | Callable[[int], float]
Arrays: TypeAlias = tuple[Array, ...]
Rule: TypeAlias = Callable[..., Arrays]
Cast: TypeAlias = Callable[[float], Any]


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers share; a new one adds options, `slots`, `at` and `rule`.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule: a function from the number of updates already made to a rate.

    Attributes
    ----------
    elementwise : bool
        Whether each parameter's update reads that parameter's numbers only, so that all parameters can
        be updated as one flat vector.

    Raises
    ------
    ValueError
        If an option is outside its range.
    """

    lr: Rate
    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays that are carried from update to update."""
        return ()

    @abstractmethod
    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return what the rule needs to know of update number `t`.

        Parameters
        ----------
        t : int
            Number of the update, counted from 1.
        lr : float or array (K, 1), optional
            Learning rate, or one for each of K networks; by default the optimizer's own.

        Returns
        -------
        tuple
            ``(decay, *scalars)``, Python floats, or arrays (K, 1) where they depend on such an `lr`.

        Raises
        ------
        ValueError
            If `t` is no integer or less than 1.
        """

    @abstractmethod
    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return the elementwise update.

        Parameters
        ----------
        xp : module
            Where ``sqrt``, ``abs``, ``sign`` and ``maximum`` come from.
        real : callable
            Turns a constant into the type that the update computes in.

        Returns
        -------
        callable
            Pure ``f(w, g, *slots, mask, decay, *scalars) -> (w, *slots)``.
        """

    def init(self, w: Array) -> Arrays:
        """Return the slots before the first update: zeros like `w`, (P,) or (K, P)."""
        xp = namespace(w)
        return tuple(xp.zeros_like(w) for _ in self.slots)

    def step(
        self, w: Array, g: Array, slots: Sequence[Array], t: int, lr: Any = None, mask: Any = 1.0
    ) -> tuple[Array, Arrays]:
        """Make update number `t`; nothing that is passed is changed.

        Parameters
        ----------
        w, g : array (P,) or (K, P)
            Parameters and gradient.
        slots : sequence of arrays like `w`
            From `init` or from the update before.
        t : int
            Number of the update, counted from 1.
        lr : float or array (K, 1), optional
            Learning rate; by default the optimizer's own.
        mask : float or array like `w`
            1 where a parameter decays, 0 where it is spared.

        Returns
        -------
        w : array like `w`
            The new parameters.
        slots : tuple of arrays
            The new slots.
        """
        xp = follows("w", w)
        follows("g", g, "w", xp)
        for i, slot in enumerate(slots):
            follows(f"slot {i}", slot, "w", xp)
        w, *slots = self.rule(xp)(w, g, *slots, mask, *self.at(t, lr))
        return w, tuple(slots)

    def _now(self, t: int, lr: Any) -> tuple[int, Any]:
        """Return `t` and the learning rate as Python numbers: NumPy's would promote float32 arrays."""
        try:
            t = operator.index(t)
        except TypeError:
            raise ValueError(f"t must be an integer from 1, got {t!r}") from None
        if t < 1:
            raise ValueError(f"t must be an integer from 1, got {t}")
        if lr is None:
            lr = self.lr(t - 1) if callable(self.lr) else self.lr
        return t, float(lr) if isinstance(lr, Real) else lr


_Range: TypeAlias = tuple[str, Callable[[float], bool]]

_POSITIVE: _Range = ("positive and finite", lambda x: 0 < x < math.inf)
_NOT_NEGATIVE: _Range = ("finite and not negative", lambda x: 0 <= x < math.inf)
_FRACTION: _Range = ("in [0, 1)", lambda x: 0 <= x < 1)
_RANGES: dict[str, _Range] = {
    # An epsilon of 0 would give 0/0 wherever a gradient is always 0.
    **dict.fromkeys(("lr", "eps"), _POSITIVE),
    **dict.fromkeys(("momentum", "dampening", "rho", "alpha"), _FRACTION),
    **dict.fromkeys(
        ("weight_decay", "lr_decay", "initial_accumulator_value", "momentum_decay"), _NOT_NEGATIVE
    ),
}


def _checked(name: str, value: Any) -> Any:
    """Return an option as plain Python numbers, or raise an error that names it."""
    if name == "lr" and callable(value):
        return value
    if name == "betas":
        expected, inside = _FRACTION
        numbers = value if isinstance(value, Sequence) else ()
        if len(numbers) != 2 or not all(_is_number(beta) and inside(beta) for beta in numbers):
            raise ValueError(f"betas must be two numbers {expected}, got {value!r}")
        return tuple(float(beta) for beta in numbers)
    if name in ("nesterov", "amsgrad", "centered", "eps_inside_sqrt"):
        if value is not True and value is not False:
            raise ValueError(f"{name} must be True or False, got {value!r}")
        return value
    if name not in _RANGES:
        return value
    expected, inside = _RANGES[name]
    if not _is_number(value) or not inside(value):
        or_schedule = " or a schedule" if name == "lr" else ""
        raise ValueError(f"{name} must be {expected}{or_schedule}, got {value!r}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
