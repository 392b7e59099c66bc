"""Adam and its relatives: AdamW, NAdam, RAdam and AdaMax."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, ClassVar

from anyback.arrays import Array
from anyback.optimizers._base import Arrays, Cast, Optimizer, Rate, Rule

__all__ = ["Adam", "AdamW", "NAdam", "RAdam", "AdaMax"]


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
