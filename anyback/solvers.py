"""Solvers beside training: differences and descent, least squares, and SciPy's minimisers.

`numerical_gradient` and `gradient_descent` are the teaching forms of what a trainer does; `least_squares`
needs no descent at all; `minimize` goes down with all samples at once, as quasi-Newton methods do. They
are tools of the host: unlike a training step they read numbers back, and each docstring says how often.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, TypeAlias

from array_api_compat import is_array_api_obj

from anyback.arrays import Array, device, namespace
from anyback.backends import to_host
from anyback.data import positive
from anyback.layers import Dropout, Layer
from anyback.optimizer import Optimizer, Rate
from anyback.optimizers import SGD
from anyback.trainer import Trainer

__all__ = [
    "Descent",
    "LeastSquares",
    "Minimum",
    "gradient_descent",
    "least_squares",
    "minimize",
    "numerical_gradient",
]

Slope: TypeAlias = Callable[[], Array]
"""Gives the gradient where a function has just been evaluated."""

# SciPy's methods that compare values only: with a gradient they would warn.
_WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")


def numerical_gradient(f: Callable[[Array], Any], x: Any, h: float = 1e-4) -> Array:
    """Return the gradient of a function by central differences, one element at a time.

    Equation::

        g_i = (f(x + h e_i) - f(x - h e_i)) / 2h

    Source: Nocedal and Wright, "Numerical optimization", 2nd edition (2006), section 8.1. The error is
    that of the third derivative, f''' h^2 / 6, and that of rounding, about eps abs(f) / h.

    Parameters
    ----------
    f : callable
        ``f(x)`` gives one number: a Python float or an array (). A function of the house that gives
        ``(value, vjp)`` does too; its vjp is not asked. It is called twice for each element.
    x : array
        Where: any shape, any library. Integers become the library's floats.
    h : float
        The step, the same for every element. 1e-4 suits float64 and x about 1; float32 wants 1e-2.

    Returns
    -------
    array like x
        The gradient. `x` itself is read once, to see that it is finite, and is not changed.

    Raises
    ------
    TypeError
        If `x` holds no real numbers.
    ValueError
        If `x` is empty or not finite, `h` is not positive, or the value of `f` is no single number.

    Examples
    --------
    >>> import numpy as np
    >>> g = numerical_gradient(lambda x: np.sum(x**2), np.asarray([3.0, 4.0]))
    >>> [round(float(slope), 9) for slope in g]
    [6.0, 8.0]
    """
    return _differences(f, _finite("x", _real("x", x)), _above_zero("h", h))


@dataclass(frozen=True)
class Descent:
    """What `gradient_descent` did.

    Attributes
    ----------
    x : array
        The last point.
    path : array (steps + 1, ...)
        All points from the start on; fewer where it diverged.
    values : array (steps + 1,)
        The function at each of them.
    gradient : array like x
        At the last point.
    diverged : bool
        Whether it ran away. To have come to no minimum yet is no divergence.
    message : str
        How it ended, in one line.

    Examples
    --------
    >>> import numpy as np
    >>> run = gradient_descent(lambda x: np.sum(x**2), np.asarray([1.0]), lr=0.25, steps=2)
    >>> [round(float(x), 6) for x in run.path[:, 0]], run.diverged
    ([1.0, 0.5, 0.25], False)
    """

    x: Array
    path: Array
    values: Array
    gradient: Array
    diverged: bool
    message: str


def gradient_descent(
    f: Callable[[Array], Any],
    x: Any,
    *,
    lr: Rate | None = None,
    steps: int = 100,
    optimizer: Optimizer | None = None,
    gradient: Callable[[Array], Any] | None = None,
    h: float = 1e-4,
    bound: float = 1e8,
) -> Descent:
    """Go down a function step by step, against its gradient.

    Equation::

        x = x - lr f'(x)

    Source: Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées" (1847);
    Nocedal and Wright, "Numerical optimization", 2nd edition (2006), section 2.2.

    Parameters
    ----------
    f : callable
        ``f(x)`` gives one number, and the gradient is found by `numerical_gradient`; or it gives
        ``(value, vjp)``, and ``vjp`` is asked for the gradient.
    x : array
        The start: any shape, any library. Integers become the library's floats.
    lr : float or schedule
        Learning rate; 0.1 where neither it nor an optimizer is given.
    steps : int
        How many. There is no other reason to stop but divergence.
    optimizer : Optimizer, optional
        Any of `anyback.optimizers` instead of plain descent; it has a learning rate of its own.
    gradient : callable, optional
        ``gradient(x)`` like x, where it is known.
    h : float
        Step of the numerical gradient.
    bound : float
        How far is too far: the descent diverged once an element of x is larger than `bound` times the
        largest at the start (than `bound` itself where that is below 1). At the default, float64 has lost
        half its digits for a step of 1.

    Returns
    -------
    Descent
        The path, the values, and whether it diverged: an x beyond the bound, or an x or value that is not
        finite. The path then ends at the last point where all was finite.

    Raises
    ------
    TypeError
        If `x` holds no real numbers, or `optimizer` is no Optimizer.
    ValueError
        If the start, the value there or an option is out of range, both `lr` and `optimizer` are given, or
        `f` or a gradient gives something of another shape.

    Notes
    -----
    Each step reads back two numbers, the value and the size of x.

    Examples
    --------
    >>> import numpy as np
    >>> def bowl(x):
    ...     return np.sum(x**2), lambda dy: 2.0 * x * dy
    >>> gradient_descent(bowl, np.asarray([-3.0, 4.0]), lr=0.25, steps=20).message
    '20 steps, value 2.27e-11, largest slope 7.63e-06'
    >>> gradient_descent(bowl, np.asarray([-3.0, 4.0]), lr=10.0).message
    'diverged at step 7: x grew to 3.58e+09, beyond the bound of 4e+08'
    """
    steps, h, bound = positive("steps", steps), _above_zero("h", h), _above_zero("bound", bound)
    optimizer = _optimizer(optimizer, lr)
    x = _finite("x", _real("x", x))
    xp, ask = namespace(x), _with_slope(f, gradient, h)
    limit = bound * max(1.0, _largest(x))
    value, slope = ask(x)
    if not math.isfinite(float(value)):
        raise ValueError(f"f must be finite at the start, got {float(value)}")
    path, values, slots, ended = [x], [value], optimizer.init(_flat(x)), ""
    for t in range(1, steps + 1):
        w, slots = optimizer.step(_flat(x), _flat(slope()), slots, t)
        ahead = xp.reshape(w, tuple(x.shape))
        size = _largest(ahead)
        if not math.isfinite(size):
            ended = f"diverged at step {t}: x is no longer finite"
            break
        value, slope_ahead = ask(ahead)
        if not math.isfinite(float(value)):
            ended = f"diverged at step {t}: f is {float(value)}"
            break
        x, slope = ahead, slope_ahead
        path.append(x)
        values.append(value)
        if size > limit:
            ended = f"diverged at step {t}: x grew to {size:.3g}, beyond the bound of {limit:.3g}"
            break
    g = slope()
    message = ended or f"{steps} steps, value {float(value):.3g}, largest slope {_largest(g):.3g}"
    return Descent(x, xp.stack(path), xp.stack([_like(v, x) for v in values]), g, bool(ended), message)


@dataclass(frozen=True)
class LeastSquares:
    """What `least_squares` found.

    Attributes
    ----------
    weight : array (d,) or (k, d)
        Of each feature, for targets (n,) or (n, k).
    bias : array () or (k,)
        The intercept; zero where there is none.
    rank : int
        How many directions of the d features the samples tell apart.
    singular : array (min(n, d),)
        Singular values from large to small, of x less its means, weighted; the first by the last says how
        much errors may grow.
    message : str
        The rank, and what follows from it, in one line.

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
    """Solve the normal equation of linear regression, without forming it.

    Equation::

        minimize  sum_i s_i |W x_i + b - y_i|^2          plain: the normal equation x^T x W^T = x^T y
        sqrt(s) (x - mean x) = U S V^T                   singular value decomposition
        W^T = V S^-1 U^T sqrt(s) (y - mean y)            0 for 1 / S where S is only rounding
        b = mean y - W mean x

    Source: Golub and Van Loan, "Matrix computations", 4th edition (2013), section 5.5. The condition of
    x^T x is the square of that of x: formed, it would cost twice the digits.

    Parameters
    ----------
    x : array (n, d)
        Samples. Integers become the library's floats.
    y : array (n,) or (n, k)
        Targets.
    intercept : bool
        Whether there is a bias.
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
    x = _finite("x", _real("x", x))
    xp = namespace(x)
    y = _like(_finite("y", _real("y", y)), x)
    if x.ndim != 2:
        raise ValueError(
            f"x must have shape (samples, features), got {tuple(x.shape)}: one feature is x[:, None]"
        )
    n, d = x.shape
    if y.ndim not in (1, 2) or y.shape[0] != n:
        raise ValueError(f"y must have shape ({n},) or ({n}, k) for x of {n} rows, got {tuple(y.shape)}")
    least = float(xp.finfo(x.dtype).eps) * max(n, d) if rcond is None else _above_zero("rcond", rcond)
    s, t = _weights(sample_weight, x), xp.reshape(y, (n, -1))
    (x, mean_x), (t, mean_t) = (_centred(a, s) if intercept else (a, 0.0 * a[:1, :]) for a in (x, t))
    if s is not None:
        x, t = xp.sqrt(s) * x, xp.sqrt(s) * t
    u, singular, vt = xp.linalg.svd(x, full_matrices=False)
    kept = singular > least * singular[0]
    inverse = xp.where(kept, 1.0 / xp.where(kept, singular, 1.0), 0.0)
    weight = xp.matmul(vt.T, inverse[:, None] * xp.matmul(u.T, t)).T
    bias = mean_t[0, :] - xp.matmul(weight, mean_x[0, :])
    rank = int(xp.sum(xp.astype(kept, x.dtype)))
    message = f"x has rank {rank} of {d}{' beside the intercept' if intercept else ''}"
    if rank < d:
        message += ": of infinitely many solutions that of smallest norm is given"
        if warn:
            warnings.warn(message, stacklevel=2)
    weight, bias = (weight[0, :], bias[0]) if y.ndim == 1 else (weight, bias)
    return LeastSquares(weight, bias, rank, singular, message)


@dataclass(frozen=True)
class Minimum:
    """What `minimize` found.

    Attributes
    ----------
    x : array
        The point: like the start, or a trainer's flat weights (P,).
    value : float
        The function there, or the loss with its penalties.
    iterations, evaluations : int
        Steps taken, and points at which the function was asked.
    converged : bool
        Whether the method says that it came to a minimum.
    message : str
        Why it ended, in the method's words.

    Examples
    --------
    >>> import numpy as np
    >>> minimize(lambda x: np.sum((x - 1.0) ** 2), np.zeros(2)).converged
    True
    """

    x: Array
    value: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


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

    L-BFGS keeps its last few steps d and the changes of gradient c that they made, and goes along ``-H g``,
    with H the inverse of the curvature that they show::

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
        One of `scipy.optimize.minimize`.
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
        Where it ended. A trainer goes on from there.

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

    Each iteration on a trainer counts as an epoch, and has its row in the history: the figures of all
    samples at the weights it came to. Inputs are standardised as in `fit`. The optimizer is not asked: its
    weight decay does not count (l2 does), its slots and the number of its updates stay.

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
    if not isinstance(method, str):
        raise TypeError(f"method must be a name such as 'L-BFGS-B', got {method!r}")
    name = "maxfun" if method.lower() == "tnc" else "maxiter"  # the first counts evaluations
    limit = {} if max_iter is None else {name: positive("max_iter", max_iter)}
    solve = partial(_solve, _scipy_optimize(), method=method, tol=tol, options=limit | dict(options or {}))
    if isinstance(target, Trainer):
        return _minimize_trainer(solve, target, (x, y, sample_weight), callback)
    if y is not None or sample_weight is not None:
        raise TypeError("y and sample_weight must go with a Trainer, got them with a function")
    return _minimize_function(solve, _with_slope(target, None, _above_zero("h", h)), x, callback)


# --- parts of descent ---------------------------------------------------------------------------------


def _differences(f: Callable[[Array], Any], x: Array, h: float) -> Array:
    """Return central differences; the other elements of x stay as they are to the last bit."""
    xp, shape, flat = namespace(x), tuple(x.shape), _flat(x)
    places = xp.arange(flat.shape[0], device=device(x))

    def slope(i: int) -> Any:
        above, below = (xp.reshape(xp.where(places == i, flat + d, flat), shape) for d in (h, -h))
        return (_value(f(above), x) - _value(f(below), x)) / (2.0 * h)

    return xp.reshape(xp.stack([_like(slope(i), x) for i in range(flat.shape[0])]), shape)


def _with_slope(
    f: Callable[[Array], Any], gradient: Callable[[Array], Any] | None, h: float
) -> Callable[[Array], tuple[Any, Slope]]:
    """Return ``ask(x) -> (value, slope)``, with the gradient from wherever it is best had."""

    def ask(x: Array) -> tuple[Any, Slope]:
        result = f(x)
        value = _value(result, x)
        if gradient is not None:
            return value, lambda: _like_all(gradient(x), x)
        if _is_pair(result):
            one = namespace(result[0]).ones_like(result[0]) if is_array_api_obj(result[0]) else 1.0
            return value, lambda: _like_all(result[1](one), x)
        return value, lambda: _differences(f, x, h)

    return ask


def _optimizer(given: Optimizer | None, lr: Rate | None) -> Optimizer:
    if given is None:
        return SGD(0.1 if lr is None else lr)
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer such as anyback.Adam(), got {given!r}")
    if lr is not None:
        raise ValueError(f"lr and optimizer exclude each other, got lr {lr!r} and {given!r}")
    return given


# --- parts of least squares ---------------------------------------------------------------------------


def _centred(x: Array, s: Array | None) -> tuple[Array, Array]:
    """Return x (n, d) less its weighted means, and these (1, d)."""
    xp = namespace(x)
    first = x[:1, :]
    x = x - first
    if s is None:
        mean = xp.sum(x, axis=0, keepdims=True) / x.shape[0]
    else:
        mean = xp.sum(s * x, axis=0, keepdims=True) / xp.sum(s)
    return x - mean, first + mean


def _weights(sample_weight: Any, x: Array) -> Array | None:
    """Return the weights of samples (n, 1), where there are any."""
    if sample_weight is None:
        return None
    s = _like(_finite("sample_weight", _real("sample_weight", sample_weight)), x)
    xp, n = namespace(s), x.shape[0]
    if tuple(s.shape) != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {tuple(s.shape)}")
    smallest, largest = float(xp.min(s)), float(xp.max(s))
    if smallest < 0.0 or largest == 0.0:
        raise ValueError(
            f"sample_weight must not be negative, and above 0 somewhere, got {smallest:g} to {largest:g}"
        )
    return s[:, None]


# --- parts of minimize --------------------------------------------------------------------------------


class _Memory:
    """Asks a function of a flat host vector once for each point, as often as SciPy wants to know."""

    def __init__(self, f: Callable[[Any], tuple[float, Slope, Any]]) -> None:
        self.f, self.evaluations, self.w = f, 0, None

    def __call__(self, w: Any) -> tuple[float, Slope, Any]:
        if self.w is None or not (self.w == w).all():
            self.w, self.found = w.copy(), self.f(w)
            self.evaluations += 1
        return self.found

    def value(self, w: Any) -> float:
        return self(w)[0]

    def value_and_slope(self, w: Any) -> tuple[float, Any]:
        value, slope, _ = self(w)
        return value, slope()


def _minimize_trainer(
    solve: Callable[..., Minimum], trainer: Trainer, data: tuple[Any, Any, Any], callback: Any
) -> Minimum:
    _require_plain(trainer)
    tell = None if callback is None else lambda w, figures: callback(trainer)
    found: Minimum = trainer.hand_over(partial(solve, tell), *data)
    return replace(found, x=trainer.weights)


def _minimize_function(
    solve: Callable[..., Minimum], ask: Callable[[Array], tuple[Any, Slope]], x: Any, callback: Any
) -> Minimum:
    start = _finite("x", _real("x", x))

    def place(w: Any) -> Array:
        return namespace(start).reshape(_like(w.copy(), start), tuple(start.shape))

    def f(w: Any) -> tuple[float, Slope, float]:
        value, slope = ask(place(w))
        return float(value), lambda: _on_host(slope()), float(value)

    tell = None if callback is None else lambda w, value: callback(place(w), value)
    found = solve(tell, f, _on_host(start), lambda w, value: None)
    return replace(found, x=place(found.x))


def _solve(
    optimize: Any,
    tell: Callable[[Any, Any], Any] | None,
    f: Callable[[Any], tuple[float, Slope, Any]],
    start: Any,
    accept: Callable[[Any, Any], None],
    **options: Any,
) -> Minimum:
    """Run SciPy on ``f(w) -> (value, slope, figures)``; `accept` and `tell` hear of w and figures."""
    ask, accepted = _Memory(f), [start.copy()]

    def take(w: Any) -> Any:
        _, _, figures = ask(w)
        accept(w, figures)
        accepted.append(w.copy())
        return figures

    def after(w: Any, *_: Any) -> None:
        figures = take(w)
        if tell is not None:
            tell(w, figures)

    with_slope = options["method"].lower() not in _WITHOUT_GRADIENT
    found = optimize.minimize(
        ask.value_and_slope if with_slope else ask.value, start, jac=with_slope, callback=after, **options
    )
    if not (accepted[-1] == found.x).all():  # some methods end where they called nobody
        take(found.x)
    value = ask.value(found.x)
    return Minimum(
        found.x, value, len(accepted) - 1, ask.evaluations, bool(found.success), str(found.message)
    )


def _require_plain(trainer: Trainer) -> None:
    """Raise ValueError where the loss of a trainer is not what its gradients go down."""
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


def _innermost(layer: Layer) -> Iterator[Layer]:
    """Yield the layers that hold no others."""
    held = [
        part for value in vars(layer).values() for part in (value if isinstance(value, tuple) else (value,))
    ]
    inner = [part for part in held if isinstance(part, Layer)]
    for part in inner:
        yield from _innermost(part)
    if not inner:
        yield layer


def _scipy_optimize() -> Any:
    try:
        import scipy.optimize
    except ModuleNotFoundError:
        raise ImportError("minimize needs SciPy: pip install 'anyback[scipy]'") from None
    return scipy.optimize


# --- parts of all -------------------------------------------------------------------------------------


def _real(name: str, x: Any) -> Array:
    """Return `x` as an array of floating-point numbers, of its own library."""
    x = x if is_array_api_obj(x) else to_host(x)
    xp = namespace(x)
    if xp.isdtype(x.dtype, "integral"):
        x = xp.astype(x, xp.__array_namespace_info__().default_dtypes(device=device(x))["real floating"])
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")
    return x


def _finite(name: str, x: Array) -> Array:
    xp = namespace(x)
    if not bool(xp.all(xp.isfinite(x))):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def _above_zero(name: str, value: Any) -> float:
    if not (isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def _is_pair(result: Any) -> bool:
    """Whether a function gave a value and its vjp."""
    return isinstance(result, tuple) and len(result) > 1 and callable(result[1])


def _value(result: Any, x: Array) -> Any:
    """Return the one number that a function of `x` gave: a Python float or an array () of floats."""
    value = result[0] if _is_pair(result) else result
    if isinstance(value, Real):  # NumPy's scalars too
        return float(value)
    if not is_array_api_obj(value) or tuple(value.shape):
        got = f"shape {tuple(value.shape)}" if is_array_api_obj(value) else type(value).__name__
        raise ValueError(f"f must give one number, got {got}")
    xp = namespace(value)
    return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, x.dtype)


def _like(value: Any, x: Array) -> Array:
    """Return a number or an array where `x` is, in its dtype."""
    return namespace(x).asarray(value, dtype=x.dtype, device=device(x))


def _like_all(g: Any, x: Array) -> Array:
    """Return a gradient of `x`, which must have its shape."""
    g = _like(g, x)
    if tuple(g.shape) != tuple(x.shape):
        raise ValueError(f"gradient must have the shape of x, {tuple(x.shape)}, got {tuple(g.shape)}")
    return g


def _flat(x: Array) -> Array:
    return namespace(x).reshape(x, (-1,))


def _largest(x: Array) -> float:
    """Return the size of the largest element, on the host."""
    xp = namespace(x)
    return float(xp.max(xp.abs(x)))


def _on_host(x: Array) -> Any:
    """Return a flat copy on the host, in float64."""
    return to_host(x).astype("float64").reshape(-1)
