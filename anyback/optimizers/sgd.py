"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array
from anyback.optimizers._base import Arrays, Optimizer, Rate

__all__ = ["SGD", "Momentum", "Nesterov"]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, plain or with momentum.

    Equation::

        v = momentum v + (1 - dampening) g          (the first time, v = g)
        w = w - lr v                                plain, without momentum: w - lr g
        w = w - lr (g + momentum v)                 nesterov

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Nesterov's
    momentum in the form of Sutskever et al., "On the importance of initialization and momentum" (2013).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    momentum : float in [0, 1)
        Factor of the last momentum in the next; with 0 there is no slot.
    dampening : float in [0, 1)
        Fraction of the gradient that is not added to the momentum.
    nesterov : bool
        Use Nesterov momentum, which needs momentum > 0 and no dampening.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt = SGD(lr=0.1)
    >>> w = np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -5.0]), opt.init(w), 1)
    >>> w, slots
    (array([0.5, 2.5]), ())
    """

    lr: Rate = 1e-2
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov must go with momentum > 0 and dampening 0, "
                f"got momentum {self.momentum} and dampening {self.dampening}"
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The momentum v, if there is one."""
        return ("v",) if self.momentum else ()

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return (lr,), with momentum (lr, c), where c is the factor of the gradient in v."""
        return (lr, 1.0 if t == 1 else 1.0 - self.dampening) if self.momentum else (lr,)

    def _update(self, w: Array, g: Array, *rest: Array) -> Arrays:
        if not self.momentum:
            (lr,) = rest
            return (w - lr * g,)
        v, lr, c = rest
        v = self.momentum * v
        v += c * g if self.dampening else g
        return w - lr * (g + self.momentum * v if self.nesterov else v), v


@dataclass(frozen=True)
class Momentum(SGD):
    """`SGD` with a momentum of 0.9.

    Equation::

        v = momentum v + g
        w = w - lr v

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Examples
    --------
    >>> import numpy as np
    >>> opt, w, g = Momentum(lr=0.1), np.asarray([1.0]), np.asarray([1.0])
    >>> w, slots = opt.step(w, g, opt.init(w), 1)
    >>> w, slots = opt.step(w, g, slots, 2)
    >>> w.round(6), slots[0]
    (array([0.71]), array([1.9]))
    """

    momentum: float = 0.9


@dataclass(frozen=True)
class Nesterov(SGD):
    """`SGD` with a Nesterov momentum of 0.9, whose gradient is taken one step ahead.

    Equation::

        v = momentum v + g
        w = w - lr (g + momentum v)

    Source: Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k^2)"
    (1983), in the form of Sutskever et al., "On the importance of initialization and momentum" (2013).

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = Nesterov(lr=0.1), np.asarray([1.0])
    >>> w, slots = opt.step(w, np.asarray([1.0]), opt.init(w), 1)
    >>> w.round(6)
    array([0.81])
    """

    momentum: float = 0.9
    nesterov: bool = True
