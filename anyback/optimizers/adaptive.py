"""Learning rates adapted to each parameter's past gradients: AdaGrad, AdaDelta and RMSProp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array, namespace
from anyback.optimizers._base import Arrays, Optimizer, Rate

__all__ = ["AdaGrad", "AdaDelta", "RMSProp"]


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Learning rates that fall with the sum of squared gradients of each parameter.

    Equation::

        v = v + g^2
        w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization" (2011).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    lr_decay : float
        Decay of the learning rate per update.
    initial_accumulator_value : float
        Initial value of v.
    eps : float
        Added to the root.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = AdaGrad(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The sum of squares v."""
        return ("v",)

    def init(self, w: Array) -> Arrays:
        """Return v, like `w`, filled with `initial_accumulator_value`."""
        return (namespace(w).full_like(w, self.initial_accumulator_value),)

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return the learning rate after its decay."""
        return (lr / (1.0 + (t - 1) * self.lr_decay),)

    def _update(self, w: Array, g: Array, v: Array, lr: Array) -> Arrays:
        v = v + g * g
        s = namespace(w).sqrt(v)
        s += self.eps
        return w - lr * g / s, v


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """Steps scaled by the root mean square of past steps, so that they have the unit of the weights.

    Equation::

        v = rho v + (1 - rho) g^2
        d = sqrt((u + eps) / (v + eps)) g
        u = rho u + (1 - rho) d^2
        w = w - lr d

    Source: Zeiler, "ADADELTA: an adaptive learning rate method" (2012).

    Parameters
    ----------
    lr : float or schedule
        Factor of the step, 1 in the paper.
    rho : float in [0, 1)
        Decay of both means.
    eps : float
        Added under both roots; it sets the size of the first step.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = AdaDelta(), np.asarray([1.0])
    >>> w, slots = opt.step(w, np.asarray([1.0]), opt.init(w), 1)
    >>> w.round(6)
    array([0.996838])
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The mean squares v of gradients and u of steps."""
        return ("v", "u")

    def _update(self, w: Array, g: Array, v: Array, u: Array, lr: Array) -> Arrays:
        v = self.rho * v
        v += (1.0 - self.rho) * g * g
        d = u + self.eps
        d /= v + self.eps
        d = namespace(w).sqrt(d)
        d *= g
        u = self.rho * u
        u += (1.0 - self.rho) * d * d
        return w - lr * d, v, u


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """The gradient divided by the root of its mean square.

    Equation::

        v = alpha v + (1 - alpha) g^2
        m = alpha m + (1 - alpha) g                 centered
        s = sqrt(v) + eps                           centered: sqrt(|v - m^2|) + eps
        b = momentum b + g / s                      without momentum: b = g / s
        w = w - lr b

    With `eps_inside_sqrt`, ``s = sqrt(v + eps)``, centered: ``sqrt(|v - m^2| + eps)``. v - m^2 is a variance;
    the absolute value is taken because rounding can make it negative.

    Source: Tieleman and Hinton, "Lecture 6.5: RMSProp" (2012); centered: Graves, "Generating sequences with
    recurrent neural networks" (2013).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    alpha : float in [0, 1)
        Decay of the means.
    eps : float
        Added to the root, or under it.
    momentum : float in [0, 1)
        Factor of the last step that is added to the next; with 0 there is no slot for it.
    centered : bool
        Divide by the standard deviation instead of the root mean square.
    eps_inside_sqrt : bool
        Add epsilon under the root.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = RMSProp(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0., 3.])
    """

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    eps_inside_sqrt: bool = False
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The mean square v, with `centered` the mean m, with `momentum` the step b."""
        return ("v", *(["m"] if self.centered else []), *(["b"] if self.momentum else []))

    def _update(self, w: Array, g: Array, v: Array, *rest: Array) -> Arrays:
        xp, (*slots, lr) = namespace(w), rest
        v = self.alpha * v
        v += (1.0 - self.alpha) * g * g
        s = v
        if self.centered:
            m = self.alpha * slots[0]
            m += (1.0 - self.alpha) * g
            s, slots[0] = xp.abs(v - m * m), m
        b = g / (xp.sqrt(s + self.eps) if self.eps_inside_sqrt else xp.sqrt(s) + self.eps)
        if self.momentum:
            b += self.momentum * slots[-1]
            slots[-1] = b
        return w - lr * b, v, *slots
