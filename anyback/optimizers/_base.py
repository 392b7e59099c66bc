"""The base class of optimizers: options, slots, weight decay, and the update of one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, TypeAlias

from anyback.arrays import Array, follows, namespace
from anyback.validation import Range, boolean, integer, number

__all__ = ["Arrays", "Optimizer", "Rate"]

Rate: TypeAlias = float | Callable[[int], float]
Arrays: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base class of optimizers: a subclass adds its options, `slots`, `_scalars` and `_update`.

    Equation, with the weight decay d and a mask of 0 and 1::

        g = g + d mask w                            coupled: the gradient of an l2 penalty of d / 2
        w = (1 - lr d mask) w                       decoupled
        w, slots = the subclass's update of w, g, slots

    Source of the decoupled form: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule: a function from the number of updates already made to a rate.

    Attributes
    ----------
    weight_decay : float
        An option of subclasses with weight decay, and 0 in others.
    decoupled : bool
        Whether weight decay shrinks the weights directly instead of adding to the gradient.

    Raises
    ------
    ValueError
        If an option is outside its range.
    TypeError
        If a truth value is neither True nor False, or a subclass defines methods of earlier versions.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from anyback.optimizers import Optimizer
    >>> @dataclass(frozen=True)
    ... class SignSGD(Optimizer):
    ...     weight_decay: float = 0.0
    ...     def _update(self, w, g, lr):
    ...         return (w - lr * np.sign(g),)
    >>> opt = SignSGD(lr=0.5)
    >>> opt.step(np.asarray([1.0, 2.0]), np.asarray([5.0, -0.1]), (), t=1)
    (array([0.5, 2.5]), ())
    """

    lr: Rate
    weight_decay = 0.0  # without an annotation, so that it is no option of every optimizer
    decoupled: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for old, new in (("at", "_scalars(t, lr)"), ("rule", "_update(w, g, *slots, *scalars)")):
            if old in vars(cls):
                raise TypeError(f"{cls.__name__} must define {new}, got {old}, its form in earlier versions")

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays that each update takes from the one before, such as the momentum."""
        return ()

    def init(self, w: Array) -> Arrays:
        """Return the slots before the first update: zeros like `w`, (P,) or (K, P)."""
        xp = namespace(w)
        return tuple(xp.zeros_like(w) for _ in self.slots)

    def step(
        self, w: Array, g: Array, slots: Sequence[Array], t: int, lr: Any = None, mask: Any = 1.0
    ) -> tuple[Array, Arrays]:
        """Make update number `t`, without changing the arguments.

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
            1 where weight decay applies, 0 elsewhere.

        Returns
        -------
        w : array like `w`
            The new parameters.
        slots : tuple of arrays
            The new slots.

        Raises
        ------
        TypeError
            If an argument is no array of the library of `w`.
        ValueError
            If `t` is no integer or less than 1, or `slots` has another length.
        """
        xp = follows("w", w)
        follows("g", g, "w", xp)
        if len(slots) != len(self.slots):
            expected = ", ".join(self.slots) or "none"
            raise ValueError(f"slots must be those of {type(self).__name__} ({expected}), got {len(slots)}")
        for i, slot in enumerate(slots):
            follows(f"slot {i}", slot, "w", xp)
        w, *slots = self.update(w, g, *slots, mask, *self.scalars(t, lr))
        return w, tuple(slots)

    def scalars(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Compute, on the host in double precision, the numbers of update `t` that `update` takes.

        Parameters
        ----------
        t : int
            Number of the update, counted from 1.
        lr : float or array (K, 1), optional
            Learning rate, or one for each of K networks; by default the optimizer's own.

        Returns
        -------
        tuple
            The weight decay, then the scalars of the subclass: Python floats, or arrays (K, 1) if they
            depend on such an `lr`.

        Raises
        ------
        ValueError
            If `t` is no integer or less than 1.
        """
        t = integer("t", t, expected="be an integer from 1")
        if lr is None:
            lr = self.lr(t - 1) if callable(self.lr) else self.lr
        lr = float(lr) if isinstance(lr, Real) else lr  # NumPy's scalars would promote float32 arrays
        return (lr * self.weight_decay if self.decoupled else self.weight_decay, *self._scalars(t, lr))

    def update(self, w: Array, g: Array, *rest: Any) -> Arrays:
        """Apply weight decay and the subclass's update: one elementwise function, which is traced.

        Parameters
        ----------
        w, g : array (P,) or (K, P)
            Parameters and gradient.
        *rest
            ``*slots, mask, *scalars``, as in `step` and from `scalars`.

        Returns
        -------
        tuple of arrays
            ``(w, *slots)`` after the update.
        """
        n = len(self.slots)
        slots, (mask, decay, *scalars) = rest[:n], rest[n:]
        if self.weight_decay and self.decoupled:
            w = (1.0 - decay * mask) * w
        elif self.weight_decay:
            g = g + decay * mask * w
        return self._update(w, g, *slots, *scalars)

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return the scalars of `_update`; by default the learning rate."""
        return (lr,)

    @abstractmethod
    def _update(self, *args: Any, **kwargs: Any) -> Arrays:
        """Return ``(w, *slots)`` from ``w, g, *slots, *scalars``, after weight decay."""


_RANGES: dict[str, Range] = {
    # An epsilon of 0 would give 0/0 wherever a gradient is always 0.
    "eps": "positive and finite",
    **dict.fromkeys(("momentum", "dampening", "rho", "alpha"), "in [0, 1)"),
    **dict.fromkeys(
        ("weight_decay", "lr_decay", "initial_accumulator_value", "momentum_decay"), "finite and not negative"
    ),
}


def _checked(name: str, value: Any) -> Any:
    """Return an option as plain Python numbers, or raise an error that names it."""
    if name == "lr" and not callable(value):
        return number(name, value, "positive and finite", "be positive and finite or a schedule")
    if name == "betas":
        try:
            beta1, beta2 = (number(name, beta, "in [0, 1)") for beta in value)
        except (TypeError, ValueError):
            raise ValueError(f"betas must be two numbers in [0, 1), got {value!r}") from None
        return beta1, beta2
    if name in ("nesterov", "amsgrad", "centered", "eps_inside_sqrt"):
        return boolean(name, value)
    return number(name, value, _RANGES[name]) if name in _RANGES else value
