"""Adam and its variants: AdamW, NAdam, RAdam and AdaMax."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, ClassVar

from anyback.arrays import Array, namespace
from anyback.optimizers._base import Arrays, Optimizer, Rate

__all__ = ["Adam", "AdamW", "NAdam", "RAdam", "AdaMax"]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square, with bias correction.

    Equation::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        w = w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    With `amsgrad`, v under the root is the largest so far. The update is computed as
    lr(t) m / (sqrt(v) + eps(t)), which is the same with one pass fewer: eps(t) = eps sqrt(1 - beta2^t) and
    lr(t) = lr sqrt(1 - beta2^t) / (1 - beta1^t).

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015); AMSGrad: Reddi, Kale and
    Kumar, "On the convergence of Adam and beyond" (2018).

    Parameters
    ----------
    lr : float or schedule
        Learning rate: about the size of a step.
    betas : two floats in [0, 1)
        Decay of the two means.
    eps : float
        Added to the root of the corrected mean square.
    amsgrad : bool
        Use the largest mean square so far, so that a parameter's effective rate never grows.
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

    @property
    def slots(self) -> tuple[str, ...]:
        """The means m of g and v of g^2, with amsgrad also the largest v so far."""
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return (lr, eps) with bias correction."""
        root = math.sqrt(1.0 - self.betas[1] ** t)
        return lr * (root / (1.0 - self.betas[0] ** t)), self.eps * root

    def _update(self, w: Array, g: Array, m: Array, v: Array, *rest: Array) -> Arrays:
        *v_max, lr, eps = rest
        xp, (m, v) = namespace(w), _means(self.betas, m, v, g)
        if self.amsgrad:
            v_max = [xp.maximum(v_max[0], v)]
        s = xp.sqrt(v_max[0] if self.amsgrad else v)
        s += eps
        step = lr * m
        step /= s
        return w - step, m, v, *v_max


@dataclass(frozen=True)
class AdamW(Adam):
    """`Adam` with decoupled weight decay.

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
    decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov momentum, whose factor increases over time.

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
        Added to the root of the corrected mean square.
    momentum_decay : float
        How fast the momentum increases.
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

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return (lr of g, lr of m, eps) with bias correction."""
        beta1, beta2 = self.betas
        root = math.sqrt(1.0 - beta2**t)
        mu, ahead = _mu(beta1, self.momentum_decay, t), _mu(beta1, self.momentum_decay, t + 1)
        of_g = root * (1.0 - mu) / (1.0 - _product(beta1, self.momentum_decay, t))
        of_m = root * ahead / (1.0 - _product(beta1, self.momentum_decay, t + 1))
        return lr * of_g, lr * of_m, self.eps * root

    def _update(self, w: Array, g: Array, m: Array, v: Array, lr_g: Array, lr_m: Array, eps: Array) -> Arrays:
        m, v = _means(self.betas, m, v, g)
        s = namespace(w).sqrt(v)
        s += eps
        step = lr_g * g
        step += lr_m * m
        step /= s
        return w - step, m, v


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam that uses momentum alone until the variance of the mean square is small enough.

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

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return the learning rates of the momentum step and of the adaptive step; one of them is 0."""
        lr = lr / (1.0 - self.betas[0] ** t)
        power = self.betas[1] ** t
        longest = 2.0 / (1.0 - self.betas[1]) - 1.0
        length = longest - 2.0 * t * power / (1.0 - power)
        if length <= 5.0:
            return lr, lr * 0.0
        known = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
        return lr * 0.0, lr * math.sqrt(known * (1.0 - power))

    def _update(self, w: Array, g: Array, m: Array, v: Array, plain: Array, adaptive: Array) -> Arrays:
        m, v = _means(self.betas, m, v, g)
        step = adaptive / (namespace(w).sqrt(v) + self.eps)
        step += plain
        step *= m
        return w - step, m, v


@dataclass(frozen=True)
class AdaMax(Optimizer):
    """Adam with an exponentially decayed maximum in place of the root mean square.

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
        Added to the absolute value of the gradient.
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

    def _scalars(self, t: int, lr: Any) -> tuple[Any, ...]:
        """Return the learning rate with bias correction."""
        return (lr / (1.0 - self.betas[0] ** t),)

    def _update(self, w: Array, g: Array, m: Array, u: Array, lr: Array) -> Arrays:
        xp, (beta1, beta2) = namespace(w), self.betas
        m = beta1 * m
        m += (1.0 - beta1) * g
        u = xp.maximum(beta2 * u, xp.abs(g) + self.eps)
        step = lr * m
        step /= u
        return w - step, m, u


def _means(betas: tuple[float, float], m: Array, v: Array, g: Array) -> Arrays:
    """Return the running means of g and of g^2."""
    beta1, beta2 = betas
    m = beta1 * m
    m += (1.0 - beta1) * g
    v = beta2 * v
    v += (1.0 - beta2) * g * g
    return m, v


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
