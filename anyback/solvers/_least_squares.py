"""Least squares: linear regression by a direct method."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from anyback.arrays import Array, namespace
from anyback.solvers._numbers import finite, like, real
from anyback.validation import number

__all__ = ["LeastSquares", "least_squares"]


@dataclass(frozen=True)
class LeastSquares:
    """The result of `least_squares`.

    Attributes
    ----------
    weight : array (d,) or (k, d)
        The weight of each feature, for targets (n,) or (n, k).
    bias : array () or (k,)
        The intercept; zero without one.
    rank : int
        Rank of the samples: the number of linearly independent directions among the d features.
    singular : array (min(n, d),)
        Singular values in descending order, of the centred and weighted x; the ratio of the first to the
        last is the condition number.
    message : str
        The rank and its consequences, in one line.

    Examples
    --------
    >>> import numpy as np
    >>> fit = least_squares(np.asarray([[0.0], [1.0]]), np.asarray([1.0, 3.0]))
    >>> [round(float(y), 6) for y in fit.predict(np.asarray([[2.0], [3.0]]))]
    [5.0, 7.0]
    """

    weight: Array
    bias: Array
    rank: int
    singular: Array
    message: str

    def predict(self, x: Array) -> Array:
        """Return the values (n,) or (n, k) of the line or plane at `x` (n, d)."""
        x = like(real("x", x), self.weight)
        if x.ndim != 2 or x.shape[1] != self.weight.shape[-1]:
            raise ValueError(f"x must have shape (n, {self.weight.shape[-1]}), got {tuple(x.shape)}")
        return namespace(x).matmul(x, self.weight.T if self.weight.ndim == 2 else self.weight) + self.bias


def least_squares(
    x: Any,
    y: Any,
    *,
    intercept: bool = True,
    sample_weight: Any = None,
    rcond: float | None = None,
    warn: bool = True,
) -> LeastSquares:
    """Solve linear regression by the singular value decomposition, without forming the normal equation.

    Equation::

        minimize  sum_i s_i |W x_i + b - y_i|^2          plain: the normal equation x^T x W^T = x^T y
        sqrt(s) (x - mean x) = U S V^T                   singular value decomposition
        W^T = V S^-1 U^T sqrt(s) (y - mean y)            1 / S = 0 where S is only rounding
        b = mean y - W mean x

    Source: Golub and Van Loan, "Matrix computations", 4th edition (2013), section 5.5. The condition of
    x^T x is the square of that of x: forming it would lose twice the digits.

    Parameters
    ----------
    x : array (n, d)
        Samples. Integers become the library's floats.
    y : array (n,) or (n, k)
        Targets.
    intercept : bool
        Whether to fit a bias.
    sample_weight : array (n,), optional
        Weights s of the samples.
    rcond : float, optional
        Singular values up to `rcond` times the largest count as zero; by default the machine's epsilon
        times max(n, d).
    warn : bool
        Whether to warn where the rank is below d; the result tells of it in any case.

    Returns
    -------
    LeastSquares
        In the library and dtype and on the device of `x`. Where the samples do not settle all d weights,
        the smallest ones that solve it.

    Raises
    ------
    TypeError
        If something holds no real numbers.
    ValueError
        If shapes do not fit, a number is not finite, or weights are negative or all zero.

    Warns
    -----
    UserWarning
        If x is rank deficient.

    Notes
    -----
    Read back are the rank, and for each array whether all is finite. Means are taken relative to the first
    row, so that a column that is constant becomes exactly zero, and large offsets cost no digits.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.asarray([[-2.0], [-1.0], [0.0], [1.0], [2.0]]), np.asarray([-4.0, -1.0, 2.0, 5.0, 8.0])
    >>> fit = least_squares(x, y)
    >>> round(float(fit.weight[0]), 9), round(float(fit.bias), 9), fit.rank
    (3.0, 2.0, 1)
    >>> least_squares(np.concat([x, 2.0 * x], axis=1), y, warn=False).message
    'x has rank 1 of 2 beside the intercept: of infinitely many solutions that of smallest norm is given'
    """
    x = finite("x", real("x", x))
    xp = namespace(x)
    y = finite("y", like(real("y", y), x))
    if x.ndim != 2:
        raise ValueError(
            f"x must have shape (samples, features), got {tuple(x.shape)}: one feature is x[:, None]"
        )
    n, d = x.shape
    if y.ndim not in (1, 2) or y.shape[0] != n:
        raise ValueError(f"y must have shape ({n},) or ({n}, k) for x of {n} rows, got {tuple(y.shape)}")
    least = float(xp.finfo(x.dtype).eps) * max(n, d) if rcond is None else number("rcond", rcond)
    s = xp.ones_like(x[:, :1]) if sample_weight is None else _weights(sample_weight, x)
    largest = xp.max(s)
    s = s / largest  # sums of very large or small weights would leave the range of the dtype

    def centred(a: Array) -> tuple[Array, Array]:
        """Return a (n, k) less its weighted means, and these (1, k)."""
        if not intercept:
            return a, 0.0 * a[:1, :]
        first = a[:1, :]
        mean = xp.sum(s * (a - first), axis=0, keepdims=True) / xp.sum(s)
        return a - first - mean, first + mean

    (x, mean_x), (t, mean_t) = centred(x), centred(xp.reshape(y, (n, -1)))
    u, singular, vt = xp.linalg.svd(xp.sqrt(s) * x, full_matrices=False)
    kept = singular > least * singular[0]
    inverse = xp.where(kept, 1.0 / xp.where(kept, singular, 1.0), 0.0)
    weight = xp.matmul(vt.T, inverse[:, None] * xp.matmul(u.T, xp.sqrt(s) * t)).T
    bias = mean_t[0, :] - xp.matmul(weight, mean_x[0, :])
    rank = int(xp.sum(xp.astype(kept, x.dtype)))
    message = f"x has rank {rank} of {d}{' beside the intercept' if intercept else ''}"
    if rank < d:
        message += ": of infinitely many solutions that of smallest norm is given"
        if warn:
            warnings.warn(message, stacklevel=2)
    weight, bias = (weight[0, :], bias[0]) if y.ndim == 1 else (weight, bias)
    return LeastSquares(weight, bias, rank, xp.sqrt(largest) * singular, message)


def _weights(sample_weight: Any, x: Array) -> Array:
    """Return the weights of samples (n, 1)."""
    s = finite("sample_weight", like(real("sample_weight", sample_weight), x))
    xp, n = namespace(s), x.shape[0]
    if tuple(s.shape) != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {tuple(s.shape)}")
    smallest, largest = float(xp.min(s)), float(xp.max(s))
    if smallest < 0.0 or largest == 0.0:
        raise ValueError(
            f"sample_weight must not be negative, and above 0 somewhere, got {smallest:g} to {largest:g}"
        )
    return s[:, None]
