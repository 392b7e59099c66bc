"""Lion: steps by the sign of a mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array
from anyback.optimizers._base import Arrays, Cast, Optimizer, Rate, Rule

__all__ = ["Lion"]


@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of one size for all parameters: only the sign of a mean gradient counts.

    Equation::

        w = (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g

    There is no epsilon. Source: Chen et al., "Symbolic discovery of optimization algorithms" (2023).

    Parameters
    ----------
    lr : float or schedule
        Learning rate: the size of every step. A tenth of Adam's is usual.
    betas : two floats in [0, 1)
        Weight of the mean in the step, and its decay.
    weight_decay : float
        Decoupled weight decay, per unit of learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = Lion(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w
    array([0.9, 2.1])
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The mean m of the gradient."""
        return ("m",)

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, lr)."""
        t, lr = self._now(t, lr)
        return lr * self.weight_decay, lr

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, m, mask, decay, lr)."""
        beta1, beta2 = self.betas
        b1, c1, b2, c2, one = real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2), real(1.0)
        decoupled = self.weight_decay != 0

        def f(w: Array, g: Array, m: Array, mask: Array, decay: Array, lr: Array) -> Arrays:
            if decoupled:
                w = (one - decay * mask) * w
            step = b1 * m
            step += c1 * g
            m = b2 * m
            m += c2 * g
            return w - lr * xp.sign(step), m

        return f
