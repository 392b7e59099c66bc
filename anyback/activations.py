"""Activations: each takes `x` and returns its value with the vector-Jacobian product.

``y, vjp = tanh(x)`` evaluates the function, and ``vjp(dy)`` turns the gradient with respect to `y`
into the gradient with respect to `x`. All are elementwise except `softmax`, `log_softmax` and `maxout`,
which act on the last axis. All keep the array library, dtype and device of `x`, propagate NaN, and are finite
with finite gradients at +-1e4 in single precision.
"""

from __future__ import annotations

import math

from anyback.arrays import Array, Vjp, namespace
from anyback.docstrings import complete

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "identity",
    "leaky_relu",
    "log_softmax",
    "maxout",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717
_GELU_SLOPE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def identity(x: Array) -> tuple[Array, Vjp]:
    """Return `x` itself, not a copy: y = x, y' = 1, the output of a linear layer.

    Parameters
    ----------
    x : array (...)
        Input.

    Returns
    -------
    y : array (...)
        Value.
    vjp : callable
        ``vjp(dy) -> dx``, both (...).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = identity(np.asarray([-2.0, 3.0]))
    >>> y
    array([-2.,  3.])
    """
    return x, lambda dy: dy


def sigmoid(x: Array) -> tuple[Array, Vjp]:
    """Return the logistic function, y = 1 / (1 + exp(-x)) in [0, 1], y' = y (1 - y).

    It is computed from exp(-abs(x)), which does not overflow and keeps small values exact on both sides.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = sigmoid(np.asarray([-1000.0, 0.0, 1000.0]))
    >>> y
    array([0. , 0.5, 1. ])
    >>> vjp(np.ones(3))
    array([0.  , 0.25, 0.  ])
    """
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    d = 1.0 + e
    y = xp.where(x >= 0.0, 1.0, e) / d
    # e / d^2 is y (1 - y) on either side, without the cancellation of 1 - y.
    return y, lambda dy: dy * (e / (d * d))


def hard_sigmoid(x: Array) -> tuple[Array, Vjp]:
    """Return the piecewise linear sigmoid, y = min(max(x / 6 + 1 / 2, 0), 1), y' = 1 / 6 where abs(x) < 3.

    The slope 1/6 is that of PyTorch and Keras 3 (Howard et al., "Searching for MobileNetV3", 2019).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = hard_sigmoid(np.asarray([-4.0, 0.0, 1.5, 4.0]))
    >>> y
    array([0.  , 0.5 , 0.75, 1.  ])
    >>> vjp(np.full(4, 6.0))
    array([0., 1., 1., 0.])
    """
    xp = namespace(x)
    y = xp.clip(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)
    return y, lambda dy: xp.where(xp.abs(x) >= 3.0, 0.0, dy * (1.0 / 6.0))


def tanh(x: Array) -> tuple[Array, Vjp]:
    """Return the hyperbolic tangent, y = tanh(x) in [-1, 1], y' = 1 - y^2.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = tanh(np.asarray([-1000.0, 0.0]))
    >>> y
    array([-1.,  0.])
    >>> vjp(np.ones(2))
    array([0., 1.])
    """
    y = namespace(x).tanh(x)
    return y, lambda dy: dy * (1.0 - y * y)


def relu(x: Array) -> tuple[Array, Vjp]:
    """Return the rectifier, y = max(x, 0), with the derivative 0 at 0.

    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = relu(np.asarray([-2.0, 0.0, 3.0]))
    >>> y
    array([0., 0., 3.])
    >>> vjp(np.ones(3))
    array([0., 0., 1.])
    """
    xp = namespace(x)
    y = xp.clip(x, min=0.0)
    # A product is faster than `where`, whose branches processors predict wrongly on new data.
    return y, lambda dy: dy * xp.astype(y > 0.0, y.dtype)


def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> tuple[Array, Vjp]:
    """Return the leaky rectifier, y = x where x > 0, else y = negative_slope x.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    Parameters
    ----------
    negative_slope : float
        Slope for negative x.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = leaky_relu(np.asarray([-2.0, 3.0]), negative_slope=0.5)
    >>> y
    array([-1.,  3.])
    >>> vjp(np.ones(2))
    array([0.5, 1. ])
    """
    xp = namespace(x)
    below = x <= 0.0
    y = xp.where(below, x * negative_slope, x)
    return y, lambda dy: xp.where(below, dy * negative_slope, dy)


def elu(x: Array, *, alpha: float = 1.0) -> tuple[Array, Vjp]:
    """Return the exponential linear unit, y = x where x > 0, else alpha (exp(x) - 1).

    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units" (2016). The derivative for negative x is y + alpha.

    Parameters
    ----------
    alpha : float
        Negative of the limit for x to minus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = elu(np.asarray([-1000.0, 3.0]), alpha=2.0)
    >>> y
    array([-2.,  3.])
    >>> vjp(np.ones(2))
    array([0., 1.])
    """
    xp = namespace(x)
    above = x > 0.0
    # expm1 would overflow for large positive x.
    y = xp.where(above, x, alpha * xp.expm1(xp.where(above, 0.0, x)))
    return y, lambda dy: dy * xp.where(above, 1.0, y + alpha)


def selu(x: Array) -> tuple[Array, Vjp]:
    """Return the self-normalising unit, y = scale elu(x, alpha), with fixed scale and alpha.

    scale = 1.0507009873554805 and alpha = 1.6732632423543772 preserve mean 0 and variance 1 from layer to
    layer (Klambauer et al., "Self-normalizing neural networks", 2017).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = selu(np.asarray([0.0, 1.0]))
    >>> print(y.round(6))
    [0.       1.050701]
    """
    y, vjp = elu(x, alpha=_SELU_ALPHA)
    return _SELU_SCALE * y, lambda dy: vjp(_SELU_SCALE * dy)


def celu(x: Array, *, alpha: float = 1.0) -> tuple[Array, Vjp]:
    """Return the smooth exponential unit, y = x where x > 0, else alpha (exp(x / alpha) - 1).

    Barron, "Continuously differentiable exponential linear units" (2017).

    Parameters
    ----------
    alpha : float
        Negative of the limit for x to minus infinity, not 0.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = celu(np.asarray([-1000.0, 0.0, 3.0]), alpha=2.0)
    >>> y
    array([-2.,  0.,  3.])
    >>> vjp(np.ones(3))
    array([0., 1., 1.])
    """
    y, vjp = elu(x / alpha)
    return alpha * y, vjp  # the factors alpha and 1 / alpha cancel in the derivative


def softplus(x: Array) -> tuple[Array, Vjp]:
    """Return the smooth rectifier, y = log(1 + exp(x)), y' = 1 - exp(-y).

    Dugas et al., "Incorporating second-order functional knowledge for better option pricing" (2001).
    It is accurate for every x, whereas PyTorch returns x above 20.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = softplus(np.asarray([-1000.0, 0.0, 1000.0]))
    >>> print(y.round(4))
    [0.000e+00 6.931e-01 1.000e+03]
    >>> vjp(np.ones(3))
    array([0. , 0.5, 1. ])
    """
    xp = namespace(x)
    y = xp.log1p(xp.exp(-xp.abs(x))) + xp.where(x <= 0.0, 0.0, x)
    return y, lambda dy: dy * -xp.expm1(-y)


def softsign(x: Array) -> tuple[Array, Vjp]:
    """Return the softsign, y = x / (1 + abs(x)) in [-1, 1], y' = 1 / (1 + abs(x))^2.

    Bergstra et al., "Quadratic polynomials learn better image features" (2009).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = softsign(np.asarray([-1.0, 0.0, 3.0]))
    >>> y
    array([-0.5 ,  0.  ,  0.75])
    >>> vjp(np.ones(3))
    array([0.25  , 1.    , 0.0625])
    """
    d = 1.0 + namespace(x).abs(x)
    return x / d, lambda dy: dy / (d * d)


def gelu(x: Array) -> tuple[Array, Vjp]:
    """Return the Gaussian error linear unit in its tanh form.

    y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, PyTorch's ``gelu(x, approximate="tanh")``
    (Hendrycks and Gimpel, "Gaussian error linear units", 2016). The exact form x Phi(x) needs erf, which the
    array API standard does not have; the two differ by less than 5e-4.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = gelu(np.asarray([-1000.0, 0.0, 1000.0]))
    >>> print(y)
    [  -0.    0. 1000.]
    >>> vjp(np.ones(3))
    array([0. , 0.5, 1. ])
    """
    xp = namespace(x)
    s = x * x
    h = 0.5 + 0.5 * xp.tanh(x * (_GELU_SLOPE + (_GELU_SLOPE * _GELU_CUBIC) * s))
    y = x * h

    def vjp(dy: Array) -> Array:
        # With h = (1 + tanh(u)) / 2, dh/du is 2 h (1 - h) and the factor x h is y.
        du = 2.0 * _GELU_SLOPE + (6.0 * _GELU_SLOPE * _GELU_CUBIC) * s
        return dy * (h + y * (1.0 - h) * du)

    return y, vjp


def silu(x: Array) -> tuple[Array, Vjp]:
    """Return the sigmoid linear unit (swish), y = x sigmoid(x).

    Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning" (2018).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = silu(np.asarray([-1000.0, 0.0, 1000.0]))
    >>> print(y)
    [  -0.    0. 1000.]
    >>> vjp(np.ones(3))
    array([0. , 0.5, 1. ])
    """
    s, _ = sigmoid(x)
    y = x * s
    return y, lambda dy: dy * (s + y * (1.0 - s))


def mish(x: Array) -> tuple[Array, Vjp]:
    """Return the mish function, y = x tanh(softplus(x)).

    Misra, "Mish: a self regularized non-monotonic activation function" (2020).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = mish(np.asarray([-1000.0, 0.0, 1000.0]))
    >>> print(y)
    [  -0.    0. 1000.]
    >>> vjp(np.ones(3))
    array([0. , 0.6, 1. ])
    """
    s, softplus_vjp = softplus(x)
    t, tanh_vjp = tanh(s)
    return x * t, lambda dy: dy * t + softplus_vjp(tanh_vjp(dy * x))


def softmax(x: Array) -> tuple[Array, Vjp]:
    """Return the softmax over the last axis, y_i = exp(x_i) / sum_j exp(x_j).

    Parameters
    ----------
    x : array (..., k)
        Logits.

    Returns
    -------
    y : array (..., k)
        Probabilities: non-negative, the last axis sums to 1.
    vjp : callable
        ``vjp(dy) -> dx``, both (..., k): dx = y (dy - sum_j y_j dy_j).

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = softmax(np.asarray([[0.0, 0.0], [1e4, -1e4]]))
    >>> y
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    xp = namespace(x)
    y = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    y /= xp.sum(y, axis=-1, keepdims=True)
    return y, lambda dy: y * (dy - xp.sum(y * dy, axis=-1, keepdims=True))


def log_softmax(x: Array) -> tuple[Array, Vjp]:
    """Return the logarithm of the softmax over the last axis, y_i = x_i - log sum_j exp(x_j).

    Parameters
    ----------
    x : array (..., k)
        Logits.

    Returns
    -------
    y : array (..., k)
        Log-probabilities.
    vjp : callable
        ``vjp(dy) -> dx``, both (..., k): dx = dy - exp(y) sum_j dy_j.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = log_softmax(np.asarray([1e4, -1e4]))
    >>> y
    array([     0., -20000.])
    """
    xp = namespace(x)
    y = x - xp.max(x, axis=-1, keepdims=True)
    y -= xp.log(xp.sum(xp.exp(y), axis=-1, keepdims=True))
    return y, lambda dy: dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True)


def maxout(x: Array, *, pieces: int = 2) -> tuple[Array, Vjp]:
    """Return the maximum of each group of `pieces` consecutive elements of the last axis.

    Goodfellow et al., "Maxout networks" (2013). Of equal maxima the first one receives the gradient.

    Parameters
    ----------
    x : array (..., k * pieces)
        Input; output i is the maximum of x[..., i * pieces : (i + 1) * pieces].
    pieces : int
        Number of inputs of each output.

    Returns
    -------
    y : array (..., k)
        Values.
    vjp : callable
        ``vjp(dy) -> dx``, dy (..., k) and dx (..., k * pieces).

    Raises
    ------
    ValueError
        If the length of the last axis is not a multiple of `pieces`.

    Examples
    --------
    >>> import numpy as np
    >>> y, vjp = maxout(np.asarray([1.0, 5.0, 2.0, 2.0]))
    >>> y
    array([5., 2.])
    >>> vjp(np.asarray([10.0, 20.0]))
    array([ 0., 10., 20.,  0.])
    """
    xp = namespace(x)
    shape = tuple(x.shape)
    if pieces < 1 or not shape or shape[-1] % pieces:
        raise ValueError(f"the last axis of x must be a multiple of pieces={pieces}, got shape {shape}")
    x = xp.reshape(x, (*shape[:-1], shape[-1] // pieces, pieces))
    z = [x[..., i] for i in range(pieces)]  # a few operations on long arrays: maxima over short rows are slow
    y = z[0]
    for z_i in z[1:]:
        y = xp.maximum(y, z_i)

    def vjp(dy: Array) -> Array:
        dz = []
        for z_i in z:
            below = z_i < y
            dz.append(xp.where(below, 0.0, dy))
            dy = xp.where(below, dy, 0.0)  # the rest for the pieces that follow
        return xp.reshape(xp.stack(dz, axis=-1), shape)

    return y, vjp


for _name in __all__:  # `identity` documents what all have in common
    globals()[_name].__doc__ = complete(globals()[_name].__doc__, identity.__doc__)
