"""Lion: steps in the direction of the sign of a mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from anyback.arrays import Array, namespace
from anyback.optimizers._base import Arrays, Optimizer, Rate

__all__ = ["Lion"]


@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of the same size for all parameters, in the direction of the sign of a mean gradient.

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
    decoupled: ClassVar[bool] = True

    @property
    def slots(self) -> tuple[str, ...]:
        """The mean m of the gradient."""
        return ("m",)

    def _update(self, w: Array, g: Array, m: Array, lr: Array) -> Arrays:
        beta1, beta2 = self.betas
        mean = beta1 * m
        mean += (1.0 - beta1) * g
        m = beta2 * m
        m += (1.0 - beta2) * g
        return w - lr * namespace(w).sign(mean), m
