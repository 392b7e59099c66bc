"""Initial values of parameters: ``f(shape, draw) -> array`` of float64 on the host.

Weights have the shape (out, in), so that fan_in = shape[-1] and fan_out = shape[-2]; a vector of n
has both fans n. Draws come from `anyback.random`, and so are the same on every backend.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from anyback.random import Stream
from anyback.validation import number

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "uniform",
    "zeros",
]

Shape: TypeAlias = tuple[int, ...]
Values: TypeAlias = NDArray[np.float64]


def zeros(shape: Shape, draw: Stream) -> Values:
    """Return zeros: w = 0.

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    draw : Stream
        Not used.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> zeros((2,), Stream(0, "example")).tolist()
    [0.0, 0.0]
    """
    return np.zeros(shape)


def ones(shape: Shape, draw: Stream) -> Values:
    """Return ones: w = 1.

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    draw : Stream
        Not used.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> ones((2,), Stream(0, "example")).tolist()
    [1.0, 1.0]
    """
    return np.ones(shape)


def constant(shape: Shape, draw: Stream, *, value: float = 0.0) -> Values:
    """Return one number everywhere: w = value.

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    draw : Stream
        Not used.
    value : float
        The number.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> constant((2,), Stream(0, "example"), value=0.1).tolist()
    [0.1, 0.1]
    """
    return np.full(shape, float(value))


def uniform(shape: Shape, draw: Stream, *, low: float = -0.05, high: float = 0.05) -> Values:
    """Return uniform numbers: w ~ U[low, high).

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    draw : Stream
        Where the numbers come from.
    low, high : float
        Ends of the interval, low <= high.

    Returns
    -------
    array of float64
        Of `shape`.

    Raises
    ------
    ValueError
        If the ends are not finite and in order.

    Examples
    --------
    >>> uniform((2,), Stream(0, "example"), low=2.0, high=2.0).tolist()
    [2.0, 2.0]
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"low and high must be finite with low <= high, got {low}, {high}")
    return low + (high - low) * draw.uniform(shape)


def normal(shape: Shape, draw: Stream, *, std: float = 0.05, mean: float = 0.0) -> Values:
    """Return normal numbers: w ~ N(mean, std^2).

    Parameters
    ----------
    shape : tuple of int
        Shape of the parameter.
    draw : Stream
        Where the numbers come from.
    std : float
        Standard deviation, at least 0.
    mean : float
        Mean.

    Returns
    -------
    array of float64
        Of `shape`.

    Raises
    ------
    ValueError
        If `std` is negative or not finite.

    Examples
    --------
    >>> normal((2,), Stream(0, "example"), std=0.0, mean=3.0).tolist()
    [3.0, 3.0]
    """
    std = number("std", std, "finite and not negative", "be finite and at least 0")
    return mean + std * draw.normal(shape)


def lecun_uniform(shape: Shape, draw: Stream) -> Values:
    """Return uniform numbers of variance 1 / fan_in: w ~ U[-a, a) with a = sqrt(3 / fan_in).

    Keeps the variance of a linear layer's outputs at that of its inputs: LeCun, Bottou, Orr and
    Müller, "Efficient BackProp", 1998.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> bool((abs(lecun_uniform((8, 3), Stream(0, "example"))) <= 1.0).all())
    True
    """
    return _uniform(shape, draw, 1.0 / _fans(shape)[0])


def lecun_normal(shape: Shape, draw: Stream) -> Values:
    """Return normal numbers of variance 1 / fan_in: w ~ N(0, 1 / fan_in).

    LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998. For `selu`: Klambauer et al.,
    "Self-normalizing neural networks", 2017.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> lecun_normal((8, 3), Stream(0, "example")).shape
    (8, 3)
    """
    return _normal(shape, draw, 1.0 / _fans(shape)[0])


def glorot_uniform(shape: Shape, draw: Stream) -> Values:
    """Return uniform numbers of variance 2 / (fan_in + fan_out): U[-a, a), a = sqrt(6 / (fan_in + fan_out)).

    A compromise between keeping the variance of outputs and of gradients: Glorot and Bengio,
    "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 16.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> bool((abs(glorot_uniform((4, 2), Stream(0, "example"))) <= 1.0).all())
    True
    """
    return _uniform(shape, draw, 2.0 / sum(_fans(shape)))


def glorot_normal(shape: Shape, draw: Stream) -> Values:
    """Return normal numbers of variance 2 / (fan_in + fan_out).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, eq. 12.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> glorot_normal((4, 2), Stream(0, "example")).shape
    (4, 2)
    """
    return _normal(shape, draw, 2.0 / sum(_fans(shape)))


def he_uniform(shape: Shape, draw: Stream) -> Values:
    """Return uniform numbers of variance 2 / fan_in: w ~ U[-a, a) with a = sqrt(6 / fan_in).

    For `relu`, which halves the second moment of its input: He, Zhang, Ren and Sun, "Delving deep
    into rectifiers", 2015, eq. 10.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> bool((abs(he_uniform((2, 6), Stream(0, "example"))) <= 1.0).all())
    True
    """
    return _uniform(shape, draw, 2.0 / _fans(shape)[0])


def he_normal(shape: Shape, draw: Stream) -> Values:
    """Return normal numbers of variance 2 / fan_in: w ~ N(0, 2 / fan_in).

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015, eq. 10.

    Parameters
    ----------
    shape : tuple of int
        (out, in), or (n,).
    draw : Stream
        Where the numbers come from.

    Returns
    -------
    array of float64
        Of `shape`.

    Examples
    --------
    >>> he_normal((2, 6), Stream(0, "example")).shape
    (2, 6)
    """
    return _normal(shape, draw, 2.0 / _fans(shape)[0])


def orthogonal(shape: Shape, draw: Stream, *, gain: float = 1.0) -> Values:
    """Return a random orthogonal matrix: W W^T = gain^2 I, or W^T W where there are more rows than columns.

    Q of the QR decomposition of a normal matrix, with the columns' signs set by those of R's
    diagonal, which makes it uniform over all orthogonal matrices (Mezzadri, 2007). As initial
    weights: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", 2014.

    Parameters
    ----------
    shape : tuple of int
        (out, in); (n,) gives a random vector of length `gain`; (K, out, in) K matrices.
    draw : Stream
        Where the numbers come from.
    gain : float
        Factor of the result.

    Returns
    -------
    array of float64
        Of `shape`.

    Raises
    ------
    ValueError
        If the shape has no axis or an empty one.

    Examples
    --------
    >>> w = orthogonal((2, 3), Stream(0, "example"))
    >>> (w @ w.T).round(12).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _fans(shape)
    matrices = shape if len(shape) > 1 else (1, *shape)
    wide = matrices[-2] < matrices[-1]
    z = draw.normal(matrices)
    q, r = np.linalg.qr(z.mT if wide else z)
    q *= np.copysign(1.0, np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    w: Values = np.ascontiguousarray(q.mT if wide else q).reshape(shape)
    return gain * w


def _fans(shape: Shape) -> tuple[int, int]:
    """Return fan_in and fan_out."""
    if not shape or 0 in shape:
        raise ValueError(f"shape must have at least one axis and no empty one, got {shape}")
    return shape[-1], shape[-2] if len(shape) > 1 else shape[-1]


def _uniform(shape: Shape, draw: Stream, variance: float) -> Values:
    limit = math.sqrt(3.0 * variance)
    return uniform(shape, draw, low=-limit, high=limit)


def _normal(shape: Shape, draw: Stream, variance: float) -> Values:
    return normal(shape, draw, std=math.sqrt(variance))
