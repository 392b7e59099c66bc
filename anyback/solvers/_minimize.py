"""SciPy's minimisers for functions of arrays of any library, and for trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from anyback.arrays import Array, namespace
from anyback.backends import to_host
from anyback.layers import Dropout, Layer
from anyback.solvers._gradient import with_slope
from anyback.solvers._numbers import finite, flat, function, like, real
from anyback.solvers._scipy import Minimum, run, solver
from anyback.training.full_batch import full_batch
from anyback.training.trainer import Trainer
from anyback.validation import number

__all__ = ["minimize"]


def minimize(
    target: Trainer | Callable[[Array], Any],
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    method: str = "L-BFGS-B",
    max_iter: int | None = 200,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[..., Any] | None = None,
    h: float = 1e-4,
) -> Minimum:
    """Minimise a function, or a trainer's loss over all its samples, by a method of SciPy.

    L-BFGS keeps its last few steps d and the changes c of the gradient, and searches along ``-H g``, where H
    approximates the inverse Hessian::

        H = (I - r d c^T) H (I - r c d^T) + r d d^T,    r = 1 / c^T d,    once for each pair

    Source: Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization"
    (1995); Nocedal and Wright, "Numerical optimization", 2nd edition (2006), section 7.2.

    Parameters
    ----------
    target : callable or Trainer
        A function as for `gradient_descent`, or a trainer: its loss over all samples with its penalties l1
        and l2, by its own vjp, on its backend.
    x : array
        The start, any shape, any library; with a trainer, the inputs (n, ...), as for `Trainer.fit`.
    y, sample_weight : array, optional
        With a trainer, targets and weights of samples, as for `Trainer.fit`.
    method : str
        One of `scipy.optimize.minimize` that asks for no Hessian.
    max_iter : int or None
        Most iterations; None leaves it to the method.
    tol : float, optional
        When to stop; what it means depends on the method.
    options : mapping, optional
        Further options of the method, such as ``{"maxcor": 20}``.
    callback : callable, optional
        Called after each iteration: ``callback(x, value)``, or ``callback(trainer)``. If it raises
        StopIteration, that ends it.
    h : float
        Step of a numerical gradient.

    Returns
    -------
    Minimum
        The result; its point is the last one whose value is finite. A trainer resumes from there.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    TypeError, ValueError
        For bad input, as in `Trainer.fit` and `gradient_descent`; for a trainer that clips its gradients,
        and for layers that train otherwise than they predict (dropout, batch normalisation).
    RuntimeError
        If the trainer is within a fit, or half through an epoch.

    Notes
    -----
    SciPy works on the host in float64: each evaluation sends the flat vector there and back. A trainer in
    float32 ends where rounding hides the slope, earlier than one in float64. The penalty l1 has no slope
    at 0, which these methods do not expect.

    Each iteration on a trainer counts as an epoch and adds a row to the history: loss and metrics of all
    samples at its weights. Inputs are standardised as in `fit`. The trainer's optimizer is not used: its
    weight decay does not count (l2 does), its slots and the number of its updates stay the same.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback import MLP
    >>> def valley(x):  # of Rosenbrock (1960)
    ...     return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2
    >>> [round(float(x), 3) for x in minimize(valley, np.asarray([-1.2, 1.0]), h=1e-5).x]
    [1.0, 1.0]
    >>> x = np.linspace(-1, 1, 32)[:, None]
    >>> trainer = Trainer(MLP([8], 1, activation="tanh"), "mean_squared_error", backend="numpy")
    >>> minimum = minimize(trainer, x, x[:, 0] ** 2, max_iter=50)
    >>> trainer.history.last["loss"] < 1e-3, trainer.epoch == minimum.iterations
    (True, True)
    """
    solve, h = solver(method, max_iter, tol, options), number("h", h)
    tell = None if callback is None else function("callback", callback)
    if isinstance(target, Trainer):
        if y is None:
            raise TypeError("y must be given with a Trainer, got None")
        return _of_trainer(solve, target, (x, y, sample_weight), tell)
    if y is not None or sample_weight is not None:
        raise TypeError("y and sample_weight must go with a Trainer, got them with a function")
    return _of_function(solve, function("target", target), finite("x", real("x", x)), tell, h)


def _of_trainer(solve: partial[Any], trainer: Trainer, data: tuple[Any, Any, Any], tell: Any) -> Minimum:
    _require_plain(trainer)
    with full_batch(trainer, *data) as (loss, w, accept):

        def after(w: Any, value: float) -> None:
            accept(w)
            if tell is not None:
                tell(trainer)

        found = run(solve, loss, w, after)
    return replace(found, x=trainer.weights)


def _of_function(
    solve: partial[Any], f: Callable[[Array], Any], start: Array, tell: Any, h: float
) -> Minimum:
    ask = with_slope(f, h=h)

    def on_host(x: Array) -> Any:
        return flat(to_host(x)).astype(np.float64)

    def place(w: Any) -> Array:
        return namespace(start).reshape(like(w, start), tuple(start.shape))

    def at(w: Any) -> tuple[float, Any]:
        value, slope = ask(place(w))
        return float(value), on_host(slope()) if solve.keywords["jac"] else None

    def after(w: Any, value: float) -> None:
        if tell is not None:
            tell(place(w), value)

    found = run(solve, at, on_host(start), after)
    return replace(found, x=place(found.x))


def _require_plain(trainer: Trainer) -> None:
    """Raise ValueError if the trainer's gradients are not those of its loss."""
    for name in ("clip_norm", "clip_value"):
        if trainer.limits[name] is not None:
            raise ValueError(
                f"minimize needs true gradients, got a trainer with {name}={trainer.limits[name]}"
            )
    for layer in _innermost(trainer.model):
        drops_nothing = isinstance(layer, Dropout) and layer.rate == 0
        if type(layer).train is not Layer.train and not drops_nothing:
            raise ValueError(
                f"minimize needs layers that train as they predict, got {type(layer).__name__}: "
                "its loss is not a function of the weights alone"
            )


def _innermost(layer: Layer) -> list[Layer]:
    """Return the layers without inner layers."""
    values = [value if isinstance(value, tuple) else (value,) for value in vars(layer).values()]
    held = [part for parts in values for part in parts if isinstance(part, Layer)]
    return [leaf for part in held for leaf in _innermost(part)] if held else [layer]
