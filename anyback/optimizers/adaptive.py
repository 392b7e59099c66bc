"""A learning rate for each parameter, from its past gradients: AdaGrad, AdaDelta and RMSProp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array, namespace
from anyback.optimizers._base import Arrays, Cast, Optimizer, Rate, Rule

__all__ = ["AdaGrad", "AdaDelta", "RMSProp"]


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Each parameter's rate falls with the squares of all its gradients.

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
        How fast the learning rate falls by itself.
    initial_accumulator_value : float
        What v starts from.
    eps : float
        Added outside the root.
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
        """Return v = `initial_accumulator_value` everywhere, like `w`."""
        return (namespace(w).full_like(w, self.initial_accumulator_value),)

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, size): the learning rate as far as it has fallen."""
        t, lr = self._now(t, lr)
        return self.weight_decay, lr / (1.0 + (t - 1) * self.lr_decay)

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, v, mask, decay, size)."""
        eps, coupled = real(self.eps), self.weight_decay != 0

        def f(w: Array, g: Array, v: Array, mask: Array, decay: Array, size: Array) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            v = v + g * g
            s = xp.sqrt(v)
            s += eps
            return w - size * g / s, v

        return f


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """Steps as large as the last steps were, so that they carry the unit of the weights.

    Equation::

        v = rho v + (1 - rho) g^2
        d = sqrt((u + eps) / (v + eps)) g
        u = rho u + (1 - rho) d^2
        w = w - lr d

    Source: Zeiler, "ADADELTA: an adaptive learning rate method" (2012).

    Parameters
    ----------
    lr : float or schedule
        Factor of the step; the paper's is 1.
    rho : float in [0, 1)
        Decay of both averages.
    eps : float
        Added inside both roots; it sets the size of the first step.
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

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, lr)."""
        return self.weight_decay, self._now(t, lr)[1]

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, v, u, mask, decay, lr)."""
        keep, new, eps = real(self.rho), real(1.0 - self.rho), real(self.eps)
        coupled = self.weight_decay != 0

        def f(w: Array, g: Array, v: Array, u: Array, mask: Array, decay: Array, lr: Array) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            v = keep * v
            v += new * g * g
            d = u + eps
            d /= v + eps
            d = xp.sqrt(d)
            d *= g
            u = keep * u
            u += new * d * d
            return w - lr * d, v, u

        return f


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """The gradient divided by the root of its mean square.

    Equation::

        v = alpha v + (1 - alpha) g^2
        m = alpha m + (1 - alpha) g                 centered
        s = sqrt(v) + eps                           centered: sqrt(|v - m^2|) + eps
        b = momentum b + g / s                      without momentum: b = g / s
        w = w - lr b

    With `eps_inside_sqrt`, s = sqrt(v + eps). v - m^2 is a variance; its size is taken, for rounding can make
    it negative.

    Source: Tieleman and Hinton, "Lecture 6.5: RMSProp" (2012); centered: Graves, "Generating sequences with
    recurrent neural networks" (2013).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    alpha : float in [0, 1)
        Decay of the averages.
    eps : float
        Added outside the root, or inside.
    momentum : float in [0, 1)
        How much of the last step is kept.
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
        """The mean square v, the mean m where centered, the step b where there is momentum."""
        return ("v", *(["m"] if self.centered else []), *(["b"] if self.momentum else []))

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, lr)."""
        return self.weight_decay, self._now(t, lr)[1]

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, v, [m,] [b,] mask, decay, lr)."""
        keep, new = real(self.alpha), real(1.0 - self.alpha)
        eps, roll, inside = real(self.eps), real(self.momentum), self.eps_inside_sqrt
        coupled, centered, heavy = self.weight_decay != 0, self.centered, self.momentum != 0
        both = centered and heavy

        def f(w: Array, g: Array, v: Array, *rest: Array) -> Arrays:
            mask, decay, lr = rest[-3:]
            if coupled:
                g = g + decay * mask * w
            v = keep * v
            v += new * g * g
            s = v
            if centered:
                m = keep * rest[0]
                m += new * g
                s = xp.abs(v - m * m)
            s = xp.sqrt(s + eps) if inside else xp.sqrt(s) + eps
            step = g / s
            if heavy:
                b = roll * rest[-4]
                b += step
                step = b
            w = w - lr * step
            if both:
                return w, v, m, b
            if heavy:
                return w, v, b
            return (w, v, m) if centered else (w, v)

        return f
