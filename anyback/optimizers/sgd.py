"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array
from anyback.optimizers._base import Arrays, Cast, Optimizer, Rate, Rule

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
        How much of the last step is kept; with 0 there is no slot.
    dampening : float in [0, 1)
        Part of the gradient that is held back from the momentum.
    nesterov : bool
        Look ahead; needs momentum and no dampening.
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
        """The momentum v, where there is one."""
        return ("v",) if self.momentum else ()

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, lr), and with momentum (decay, lr, fresh): the share of the gradient in v."""
        t, lr = self._now(t, lr)
        if not self.momentum:
            return self.weight_decay, lr
        return self.weight_decay, lr, 1.0 if t == 1 else 1.0 - self.dampening

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, mask, decay, lr), or with momentum f(w, g, v, mask, decay, lr, fresh)."""
        keep, damped = real(self.momentum), self.dampening != 0
        coupled, nesterov = self.weight_decay != 0, self.nesterov

        def plain(w: Array, g: Array, mask: Array, decay: Array, lr: Array) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            return (w - lr * g,)

        def heavy(w: Array, g: Array, v: Array, mask: Array, decay: Array, lr: Array, fresh: Array) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            v = keep * v
            v += fresh * g if damped else g
            step = g + keep * v if nesterov else v
            return w - lr * step, v

        return heavy if self.momentum else plain


@dataclass(frozen=True)
class Momentum(SGD):
    """`SGD` with a momentum of 0.9: a heavy ball.

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
    """`SGD` with Nesterov's momentum of 0.9: the gradient counts as if taken one step ahead.

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
