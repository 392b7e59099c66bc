"""Optimizers: update rules written once, for arrays, compiled loops and fused kernels.

An optimizer is a frozen dataclass that holds options and no arrays. Its memory, the *slots*, belongs to
the caller::

    slots = opt.init(w)
    w, slots = opt.step(w, g, slots, t)         # t = 1, 2, 3, ...

A step has two halves. `Optimizer.at` does on the host, in double precision, whatever depends on the number
of the update: bias corrections, schedules, NAdam's running product. `Optimizer.rule` makes the
elementwise function `f` that touches the arrays. In `f` stand only operators, ``xp.sqrt``, ``xp.abs``,
``xp.sign`` and ``xp.maximum``, and every constant has been derived outside: a float literal would turn a
compiled single-precision loop into a double one, and ``1 - 0.999`` in single precision is off by 1e-5.
Options are closed over as bools, so what is switched off is compiled away and costs arrays no pass.

Defaults and the places of epsilon are PyTorch's. Two kinds of weight decay are told apart: *coupled*, which
adds ``decay * w`` to the gradient (the derivative of an l2 penalty), and *decoupled*, which shrinks the
weights beside the step (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, ClassVar

from anyback.arrays import Array, namespace
from anyback.optimizer import Arrays, Cast, Optimizer, Rate, Rule

__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "RAdam",
    "RMSProp",
]


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


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start from zero.

    Equation::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        w = w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    With `amsgrad`, the largest v so far stands under the root. The rule computes the same as
    size m / (sqrt(v) + eps sqrt(1 - beta2^t)), one pass fewer.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015); AMSGrad: Reddi, Kale and
    Kumar, "On the convergence of Adam and beyond" (2018).

    Parameters
    ----------
    lr : float or schedule
        Learning rate: about the size of a step.
    betas : two floats in [0, 1)
        Decay of the two means.
    eps : float
        Added outside the root of the corrected mean square.
    amsgrad : bool
        Never let a parameter's rate grow again.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = Adam(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False
    weight_decay: float = 0.0
    _decoupled: ClassVar[bool] = False

    @property
    def slots(self) -> tuple[str, ...]:
        """The means m of g and v of g^2, and the largest v of all where amsgrad."""
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, size, eps), both corrected for the start from zero."""
        t, lr = self._now(t, lr)
        root = math.sqrt(1.0 - self.betas[1] ** t)
        decay = lr * self.weight_decay if self._decoupled else self.weight_decay
        return decay, lr * (root / (1.0 - self.betas[0] ** t)), self.eps * root

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, m, v, [v_max,] mask, decay, size, eps)."""
        beta1, beta2 = self.betas
        b1, c1, b2, c2, one = real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2), real(1.0)
        amsgrad = self.amsgrad
        coupled = self.weight_decay != 0 and not self._decoupled
        decoupled = self.weight_decay != 0 and self._decoupled

        def f(w: Array, g: Array, m: Array, v: Array, *rest: Array) -> Arrays:
            mask, decay, size, eps = rest[-4:]
            if coupled:
                g = g + decay * mask * w
            if decoupled:
                w = (one - decay * mask) * w
            m = b1 * m
            m += c1 * g
            v = b2 * v
            v += c2 * g * g
            largest = xp.maximum(rest[0], v) if amsgrad else v
            s = xp.sqrt(largest)
            s += eps
            step = size * m
            step /= s
            return (w - step, m, v, largest) if amsgrad else (w - step, m, v)

        return f


@dataclass(frozen=True)
class AdamW(Adam):
    """`Adam` with decoupled weight decay: the weights shrink beside the step.

    Equation::

        w = (1 - lr weight_decay) w                 then as Adam

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).

    Parameters
    ----------
    lr, betas, eps, amsgrad
        As for `Adam`.
    weight_decay : float
        Decoupled weight decay, per unit of learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = AdamW(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.899, 2.098])
    """

    weight_decay: float = 1e-2
    _decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which warms up.

    Equation::

        mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2),    M(t) = mu(1) mu(2) ... mu(t)
        m, v as Adam
        n = mu(t + 1) m / (1 - M(t + 1)) + (1 - mu(t)) g / (1 - M(t))
        w = w - lr n / (sqrt(v / (1 - beta2^t)) + eps)

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (2016).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    betas : two floats in [0, 1)
        Decay of the two means.
    eps : float
        Added outside the root of the corrected mean square.
    momentum_decay : float
        How fast the momentum warms up.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = NAdam(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.894355, 2.105645])
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum_decay: float = 4e-3
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The means m of g and v of g^2."""
        return ("m", "v")

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, size of g, size of m, eps)."""
        t, lr = self._now(t, lr)
        beta1, beta2 = self.betas
        root = math.sqrt(1.0 - beta2**t)
        mu, ahead = _mu(beta1, self.momentum_decay, t), _mu(beta1, self.momentum_decay, t + 1)
        of_g = root * (1.0 - mu) / (1.0 - _product(beta1, self.momentum_decay, t))
        of_m = root * ahead / (1.0 - _product(beta1, self.momentum_decay, t + 1))
        return self.weight_decay, lr * of_g, lr * of_m, self.eps * root

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, m, v, mask, decay, of_g, of_m, eps)."""
        beta1, beta2 = self.betas
        b1, c1, b2, c2 = real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2)
        coupled = self.weight_decay != 0

        def f(
            w: Array,
            g: Array,
            m: Array,
            v: Array,
            mask: Array,
            decay: Array,
            of_g: Array,
            of_m: Array,
            eps: Array,
        ) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            m = b1 * m
            m += c1 * g
            v = b2 * v
            v += c2 * g * g
            s = xp.sqrt(v)
            s += eps
            step = of_g * g
            step += of_m * m
            step /= s
            return w - step, m, v

        return f


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam that takes steps of momentum until the mean square can be trusted.

    Equation::

        m, v as Adam,    rho = 2 / (1 - beta2) - 1
        rho(t) = rho - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho(t) - 4) (rho(t) - 2) rho / ((rho - 4) (rho - 2) rho(t)))
        w = w - lr m / (1 - beta1^t)                                                    rho(t) <= 5
        w = w - lr r m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps)              later

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond" (2020).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    betas : two floats in [0, 1)
        Decay of the two means.
    eps : float
        Added to the root of the mean square before its correction.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = RAdam(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.5 , 2.05])
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The means m of g and v of g^2."""
        return ("m", "v")

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, plain, adaptive): the sizes of the two kinds of step, one of them 0."""
        t, lr = self._now(t, lr)
        size = lr / (1.0 - self.betas[0] ** t)
        power = self.betas[1] ** t
        longest = 2.0 / (1.0 - self.betas[1]) - 1.0
        length = longest - 2.0 * t * power / (1.0 - power)
        if length <= 5.0:
            return self.weight_decay, size, size * 0.0
        known = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
        return self.weight_decay, size * 0.0, size * math.sqrt(known * (1.0 - power))

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, m, v, mask, decay, plain, adaptive)."""
        beta1, beta2 = self.betas
        b1, c1, b2, c2 = real(beta1), real(1.0 - beta1), real(beta2), real(1.0 - beta2)
        eps, coupled = real(self.eps), self.weight_decay != 0

        def f(
            w: Array, g: Array, m: Array, v: Array, mask: Array, decay: Array, plain: Array, adaptive: Array
        ) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            m = b1 * m
            m += c1 * g
            v = b2 * v
            v += c2 * g * g
            step = adaptive / (xp.sqrt(v) + eps)
            step += plain
            step *= m
            return w - step, m, v

        return f


@dataclass(frozen=True)
class AdaMax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square.

    Equation::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        w = w - lr / (1 - beta1^t) m / u

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", section 7.1 (2015).

    Parameters
    ----------
    lr : float or schedule
        Learning rate.
    betas : two floats in [0, 1)
        Decay of the mean and of the maximum.
    eps : float
        Added to the size of the gradient.
    weight_decay : float
        Coupled weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> opt, w = AdaMax(lr=0.1), np.asarray([1.0, 2.0])
    >>> w, slots = opt.step(w, np.asarray([5.0, -0.5]), opt.init(w), 1)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The mean m and the decaying maximum u."""
        return ("m", "u")

    def at(self, t: int, lr: Any = None) -> tuple[Any, ...]:
        """Return (decay, size)."""
        t, lr = self._now(t, lr)
        return self.weight_decay, lr / (1.0 - self.betas[0] ** t)

    def rule(self, xp: Any, real: Cast = float) -> Rule:
        """Return f(w, g, m, u, mask, decay, size)."""
        beta1, beta2 = self.betas
        b1, c1, b2, eps = real(beta1), real(1.0 - beta1), real(beta2), real(self.eps)
        coupled = self.weight_decay != 0

        def f(w: Array, g: Array, m: Array, u: Array, mask: Array, decay: Array, size: Array) -> Arrays:
            if coupled:
                g = g + decay * mask * w
            m = b1 * m
            m += c1 * g
            u = xp.maximum(b2 * u, xp.abs(g) + eps)
            step = size * m
            step /= u
            return w - step, m, u

        return f


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


def _mu(beta1: float, momentum_decay: float, t: int) -> float:
    return beta1 * (1.0 - 0.5 * math.pow(0.96, t * momentum_decay))


def _product(beta1: float, momentum_decay: float, t: int) -> float:
    """Return mu(1) ... mu(t) from a table whose length is a power of two."""
    if beta1 == 0:
        return 0.0
    # As no mu exceeds beta1, 1 - product is exactly 1 in double from here on: the table stays short.
    t = min(t, math.ceil(math.log(2.0**-60) / math.log(beta1)))
    return _products(beta1, momentum_decay, 1 << t.bit_length())[t]


@lru_cache(maxsize=64)
def _products(beta1: float, momentum_decay: float, length: int) -> tuple[float, ...]:
    factors = (_mu(beta1, momentum_decay, t) for t in range(1, length))
    return tuple(accumulate(factors, operator.mul, initial=1.0))
