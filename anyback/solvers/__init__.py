"""Solvers: numerical gradients, gradient descent, least squares, and SciPy's minimisers.

`numerical_gradient` and `gradient_descent` show in the simplest form what a trainer does; `least_squares`
is direct; `minimize` uses all samples at once, as quasi-Newton methods do. They run on the host: unlike a
training step they read numbers back from the device, and each docstring says how often.
"""

from __future__ import annotations

from anyback.solvers._descent import Descent, gradient_descent
from anyback.solvers._gradient import numerical_gradient
from anyback.solvers._least_squares import LeastSquares, least_squares
from anyback.solvers._minimize import minimize
from anyback.solvers._scipy import Minimum

__all__ = [
    "Descent",
    "LeastSquares",
    "Minimum",
    "gradient_descent",
    "least_squares",
    "minimize",
    "numerical_gradient",
]
