"""Runs of SciPy's minimisers on flat host vectors, and their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.lookup import suggestion
from anyback.validation import integer, number

__all__ = ["Minimum", "run", "solver"]

# The methods that ask for no Hessian, and whether they ask for a gradient.
_METHODS = {
    **dict.fromkeys(("L-BFGS-B", "BFGS", "CG", "Newton-CG", "TNC", "SLSQP", "trust-constr"), True),
    **dict.fromkeys(("Nelder-Mead", "Powell", "COBYLA", "COBYQA"), False),
}


@dataclass(frozen=True)
class Minimum:
    """The result of `minimize`.

    Attributes
    ----------
    x : array
        The point: like the start, or a trainer's flat weights (P,).
    value : float
        The value of the function, or the loss with its penalties.
    iterations, evaluations : int
        Numbers of steps and of evaluations of the function.
    converged : bool
        Whether the method reports a minimum.
    message : str
        Why it ended, in the words of the method.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback.solvers import minimize
    >>> minimize(lambda x: np.sum((x - 1.0) ** 2), np.zeros(2)).converged
    True
    """

    x: Array
    value: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


class _Stop(Exception):
    """Ends SciPy's loop: some methods treat StopIteration itself as an error, others as success."""


def solver(
    method: str, max_iter: int | None, tol: float | None, options: Mapping[str, Any] | None
) -> partial[Any]:
    """Return `scipy.optimize.minimize` with its options, checked."""
    if not isinstance(method, str):
        raise TypeError(f"method must be a name such as 'L-BFGS-B', got {method!r}")
    names = {name.lower(): name for name in _METHODS}
    if method.lower() not in names:
        known = ", ".join(_METHODS)
        raise ValueError(f"method must be one of {known}, got {method!r}{suggestion(method, [*_METHODS])}")
    method = names[method.lower()]
    if not isinstance(options, Mapping | None):
        raise TypeError(f"options must be a mapping such as {{'maxcor': 20}}, got {options!r}")
    if max_iter is not None:
        limit = "maxfun" if method == "TNC" else "maxiter"  # the first counts evaluations
        options = {limit: integer("max_iter", max_iter), **(options or {})}
    if tol is not None and tol != 0:
        number("tol", tol)
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError:
        raise ImportError("minimize needs SciPy: pip install 'anyback[scipy]'") from None
    return partial(minimize, method=method, tol=tol, options=options, jac=_METHODS[method])


def run(
    solve: partial[Any],
    f: Callable[[Any], tuple[float, Any]],
    start: Any,
    after: Callable[[Any, float], Any],
) -> Minimum:
    """Minimise ``f(w) -> (value, gradient)`` from `start`, and call ``after(w, value)`` on each iterate.

    Some methods try points whose value is not finite, and recover: these are no iterates.
    """

    @lru_cache(maxsize=1)  # SciPy asks for a point, and `take` for the same one after it
    def at(point: bytes) -> tuple[float, Any]:
        return f(np.frombuffer(point).copy())

    def ask(w: Any) -> Any:
        value, gradient = at(w.tobytes())
        return (value, gradient) if solve.keywords["jac"] else value

    value = at(start.tobytes())[0]
    if not math.isfinite(value):
        raise ValueError(f"target must be finite at the start, got {value}")
    reached = Minimum(start, value, 0, 1, False, "")

    def take(w: Any, *_: Any) -> None:
        nonlocal reached
        value = at(w.tobytes())[0] if np.isfinite(w).all() else math.nan
        if not math.isfinite(value):
            return
        reached = replace(reached, x=w.copy(), value=value, iterations=reached.iterations + 1)
        try:
            after(reached.x, value)
        except StopIteration:
            raise _Stop from None

    try:
        found = solve(ask, start, callback=take)
        if not (found.x == reached.x).all():  # some methods end where they called nobody
            take(found.x)
        converged, message = bool(found.success), str(found.message)
        if not math.isfinite(found.fun):
            converged, message = False, f"the function became {float(found.fun)}: {message}"
    except _Stop:
        converged, message = False, "`callback` raised `StopIteration`."
    return replace(reached, evaluations=at.cache_info().misses, converged=converged, message=message)
