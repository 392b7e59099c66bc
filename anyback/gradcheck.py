"""Check gradients: compare vector-Jacobian products with central differences."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from array_api_compat import is_array_api_obj

from anyback.arrays import Array, device, namespace
from anyback.random import Purpose, Stream

__all__ = ["GradientError", "GradientReport", "gradcheck"]

Path: TypeAlias = tuple[Any, ...]
"""Where an array is among the arguments: its position, then keys of nested dicts."""

# Steps are tried from left to right, in units of eps times the size of an element: smaller ones for
# strong curvature, larger ones for values that lose digits.
_STEPS = (1.0, 0.1, 10.0)
_ROUNDING = 2.0**-51


class GradientError(AssertionError):
    """A vector-Jacobian product is not the derivative of its function.

    Examples
    --------
    >>> issubclass(GradientError, AssertionError)
    True
    """


@dataclass(frozen=True)
class GradientReport:
    """The result of a successful check.

    Attributes
    ----------
    max_error : float
        Largest relative error, of a direction or of a coordinate.
    worst : str
        Its place, such as "argument 1 ('target') at (2, 3)".
    evaluations : int
        Number of calls of the function.
    unchecked : tuple of str
        Floating-point arguments for which the vjp gave no gradient.

    Examples
    --------
    >>> GradientReport(1e-9, "argument 0 ('x') at (0,)", 9, ()).unchecked
    ()
    """

    max_error: float
    worst: str
    evaluations: int
    unchecked: tuple[str, ...]


def gradcheck(
    f: Callable[..., Any], *arrays: Any, eps: float = 1e-5, tol: float = 1e-6, seed: int = 0, samples: int = 3
) -> GradientReport:
    """Check that ``f(*arrays) -> (value, vjp)`` gives the true gradient, in float64.

    For a random cotangent c the function L = sum(c * value) is differentiated in two ways: by the
    vjp, and by the central difference (L(x + h v) - L(x - h v)) / 2h along one random direction v
    of each array, in which all coordinates count about equally, then along some single
    coordinates. If they disagree, bisection over the coordinates finds the wrong one.

    Parameters
    ----------
    f : callable
        A formula, loss, gate, layer, or any function that returns its value, an array of any
        shape, and a vjp (further results are ignored). Bind options with `functools.partial`.
    *arrays : array or dict
        Arguments: arrays, nested dicts of arrays such as a layer's parameters, or anything else,
        which is passed on. Floating-point arrays are cast to float64. Arrays of integers and
        booleans are not differentiated. Stay away from kinks.
    eps : float
        Step of the differences, relative to each element, or to a hundredth of the largest.
    tol : float
        Largest relative error allowed.
    seed : int
        Of the cotangent, the directions and the samples.
    samples : int
        Coordinates of each array that are also checked one by one, drawn at random.

    Returns
    -------
    GradientReport
        The largest error and where it was.

    Raises
    ------
    GradientError
        If a gradient is wrong: the argument, the coordinate and both values are named; or if it has
        the wrong shape or dtype.
    ValueError
        If nothing can be checked: no floating-point array, a value that is not finite or not float64,
        a library or device without float64 (JAX needs ``jax_enable_x64``), a function that is not
        deterministic or that changes its arguments.

    Notes
    -----
    The gradients belong to the floating-point arguments in order, or to all arguments if there is
    one for each. A vjp may give fewer (that of a loss gives none for the targets), None, or dicts
    without some keys (running statistics): these are listed as `unchecked`. The values in an error
    are derivatives of L; if the function's value is one number, of that number.

    What the rounding of the value hides cannot be seen: in 1e6 a^2 + 1e-3 b^2 a small error in the
    gradient of b is lost.

    Examples
    --------
    >>> import numpy as np
    >>> def square(x):
    ...     return x * x, lambda dy: 2.0 * x * dy
    >>> gradcheck(square, np.asarray([1.0, 2.0])).max_error < 1e-6
    True
    >>> def cubes(x):
    ...     return np.sum(x**3), lambda dy: dy * np.where(x < 2.0, 3.0 * x**2, 10.0)
    >>> gradcheck(cubes, np.asarray([1.0, 2.0]))
    Traceback (most recent call last):
        ...
    anyback.gradcheck.GradientError: gradient of argument 0 ('x') at (1,) is 10, \
central difference gives 12 (relative error 1.7e-01 > 1e-06)
    """
    if not (eps > 0.0 and tol > 0.0):
        raise ValueError(f"eps and tol must be positive, got {eps}, {tol}")
    check = _Check(f, arrays, eps, tol, seed)
    for leaf in check.leaves:
        check.direction(leaf)
        for i in check.draw(leaf, "samples").permutation(leaf.size)[: max(samples, 0)].tolist():
            check.coordinate(leaf, i)
    return GradientReport(check.max_error, check.worst, check.evaluations, check.unchecked)


@dataclass(frozen=True)
class _Leaf:
    """An array to check: its path, its value and its gradient, both float64."""

    name: str
    path: Path
    x: Array
    g: Array

    @property
    def xp(self) -> Any:
        return namespace(self.x)

    @property
    def size(self) -> int:
        return math.prod(self.x.shape)

    @property
    def largest(self) -> float:
        return float(self.xp.max(self.xp.abs(self.x))) or 1.0

    @property
    def scale(self) -> Array:
        """Size of each element, those near zero having a hundredth of the largest."""
        return self.xp.clip(self.xp.abs(self.x), min=0.01 * self.largest)


@dataclass(frozen=True)
class _Difference:
    """A derivative along one direction, by the vjp and by a central difference."""

    analytic: float
    numeric: float
    error: float
    step: float


class _Check:
    """One run of `gradcheck`: evaluates the function and keeps the worst error."""

    def __init__(
        self, f: Callable[..., Any], arrays: tuple[Any, ...], eps: float, tol: float, seed: int
    ) -> None:
        self.f, self.eps, self.tol, self.seed = f, eps, tol, seed
        self.evaluations, self.max_error, self.worst = 0, -1.0, ""
        names = _names(f, len(arrays))
        leaves = {path: _float64(_label(names, path), x) for path, x in _floats(arrays)}
        if not any(math.prod(x.shape) for x in leaves.values()):
            raise ValueError("arguments must contain an array of floating-point numbers, got none")
        self.args: tuple[Any, ...] = arrays
        for path, x in leaves.items():
            self.args = _replaced(self.args, path, x * 1.0)
        self.value, vjp = self._call(self.args)
        self._validate(next(iter(leaves.values())))
        self.c = self._cotangent()
        gradients = _by_argument(vjp(self.c), self.args)
        for (path, x), (_, after) in zip(leaves.items(), _floats(self.args), strict=True):
            if float(_total(abs(after - x))) != 0.0:
                raise ValueError(
                    f"f and its vjp must leave arguments as they are, {_label(names, path)} changed"
                )
        self.leaves, unchecked = [], []
        for path, x in leaves.items():
            g = _found(gradients, path)
            if g is None:
                unchecked.append(_label(names, path))
            elif math.prod(x.shape):
                self.leaves.append(_Leaf(_label(names, path), path, x, _same_kind(_label(names, path), g, x)))
        self.unchecked = tuple(unchecked)
        if not self.leaves:
            raise ValueError(f"vjp must give a gradient, got none of {', '.join(unchecked)}")

    def draw(self, leaf: _Leaf, what: str) -> Stream:
        return Stream(self.seed, Purpose.CHECK, what, *leaf.path)

    def direction(self, leaf: _Leaf) -> None:
        """Check one random direction; on failure find the coordinate and raise."""
        xp = leaf.xp
        u = self.draw(leaf, "direction").uniform((2, *leaf.x.shape))
        v = _like((u[0] + 0.5) * (1 - 2 * (u[1] < 0.5)), leaf.x) * leaf.scale
        # Coordinates of small derivatives get larger steps, or an error in them would go unseen.
        size = xp.abs(leaf.g * leaf.scale)
        least = 1e-3 * float(xp.max(size))
        if 0.0 < least < math.inf:
            v = v * least / xp.where(size < least, least, size)
        difference = self._derivative(leaf, v)
        if difference.error <= self.tol:
            self._remember(difference.error, leaf.name)
        else:
            self._locate(leaf, v, difference)

    def coordinate(self, leaf: _Leaf, i: int) -> None:
        """Check element i in row-major order, and raise if it is wrong."""
        at = _coordinate(i, tuple(leaf.x.shape))
        v = _mask(leaf.x, i, i + 1, float) * leaf.scale
        difference = self._derivative(leaf, v)
        if not difference.error <= self.tol:
            unit = float(_total(v))
            # Of a single value the derivative itself is shown, without the factor of the cotangent.
            if math.prod(getattr(self.value, "shape", ())) == 1:
                unit *= float(_total(self.c))
            analytic, numeric = difference.analytic / unit, difference.numeric / unit
            error = abs(analytic - numeric) / max(abs(numeric), abs(analytic))
            raise GradientError(
                f"gradient of {leaf.name} at {at} is {analytic:.6g}, central difference gives {numeric:.6g} "
                f"(relative error {error:.1e} > {self.tol:.0e})"
            )
        self._remember(difference.error, f"{leaf.name} at {at}")

    def _locate(self, leaf: _Leaf, v: Array, whole: _Difference) -> None:
        """Raise the error for the coordinate with the largest share of a wrong derivative."""
        again, _ = self._call(self.args)
        if float(_total(abs(again - self.value))) != 0.0:
            raise ValueError("f must be deterministic, got two values for the same arguments")
        first, last = 0, leaf.size
        while last - first > 1:
            middle = (first + last) // 2
            halves = (first, middle), (middle, last)
            gaps = [self._gap(leaf, v, a, b, whole.step) for a, b in halves]
            first, last = halves[gaps[1] > gaps[0]]
        self.coordinate(leaf, first)
        raise GradientError(
            f"gradient of {leaf.name} along a random direction is {whole.analytic:.6g}, central difference "
            f"gives {whole.numeric:.6g} (relative error {whole.error:.1e} > {self.tol:.0e}), but no single "
            "coordinate is wrong: is there a kink nearby?"
        )

    def _gap(self, leaf: _Leaf, v: Array, first: int, last: int, step: float) -> float:
        """Return the disagreement of the elements [first, last) alone."""
        inside = _mask(leaf.x, first, last, bool)
        difference = self._difference(leaf, leaf.xp.where(inside, v, 0.0), step)
        gap = abs(difference.analytic - difference.numeric)
        return gap if gap == gap else math.inf

    def _derivative(self, leaf: _Leaf, v: Array) -> _Difference:
        """Return the derivative along v with the first step that agrees, or with the best."""
        steps = [self.eps * factor for factor in _STEPS]
        # What varies over distances of 1 far from zero, as sines do, needs an absolute step.
        if leaf.largest > 1.0:
            steps.append(self.eps / leaf.largest)
        best = None
        for step in steps:
            difference = self._difference(leaf, v, step)
            if difference.error <= self.tol:
                return difference
            if best is None or difference.error < best.error:
                best = difference
        assert best is not None
        return best

    def _difference(self, leaf: _Leaf, v: Array, step: float) -> _Difference:
        above, _ = self._call(_replaced(self.args, leaf.path, leaf.x + step * v))
        below, _ = self._call(_replaced(self.args, leaf.path, leaf.x - step * v))
        numeric = float(_total(self.c * (above - below))) / (2.0 * step)
        noise = _ROUNDING * float(_total(abs(self.c) * (abs(above) + abs(below)))) / (2.0 * step)
        # where, as a gradient of NaN must not spoil the directions that leave it out
        terms = leaf.xp.where(v == 0.0, 0.0, leaf.g * v)
        analytic = float(_total(terms))
        # The signs of a direction are random: its derivative is about the root of the sum of squares,
        # and a single wrong coordinate among n shows up as 1 / sqrt(n) of its error. What rounding
        # alone can make counts as an error of tol.
        size = max(math.sqrt(float(_total(terms * terms))), abs(numeric), noise / self.tol)
        gap = abs(analytic - numeric)
        error = gap / (size or 1.0) if math.isfinite(gap) else math.inf
        return _Difference(analytic, numeric, error, step)

    def _remember(self, error: float, where: str) -> None:
        if error > self.max_error:
            self.max_error, self.worst = error, where

    def _call(self, args: tuple[Any, ...]) -> tuple[Any, Callable[[Any], Any]]:
        self.evaluations += 1
        result = self.f(*args)
        if not isinstance(result, tuple) or len(result) < 2 or not callable(result[1]):
            raise ValueError(f"f must return (value, vjp), got {type(result).__name__}")
        return result[0], result[1]

    def _validate(self, x: Array) -> None:
        """Raise ValueError unless the value is made of finite numbers in double precision."""
        if not isinstance(self.value, float):
            got = getattr(self.value, "dtype", type(self.value).__name__)
            if got != x.dtype:
                raise ValueError(f"f must return a value of float64 for arguments of float64, got {got}")
        if not math.isfinite(float(_total(abs(self.value)))):
            raise ValueError("f must have a finite value at these arguments, got NaN or infinity")

    def _cotangent(self) -> Any:
        """Return random weights of the values, none close to zero."""
        draw = Stream(self.seed, Purpose.CHECK, "cotangent")
        if isinstance(self.value, float) and not hasattr(self.value, "shape"):
            return 0.5 + float(draw.uniform(1)[0])
        u = draw.uniform((2, *self.value.shape))
        return _like((u[0] + 0.5) * (1 - 2 * (u[1] < 0.5)), self.value)


def _names(f: Callable[..., Any], n: int) -> list[str | None]:
    """Return the names of the first n arguments of f, as far as they are known."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in positional][:n]
    return [*names, *[None] * (n - len(names))]


def _label(names: list[str | None], path: Path) -> str:
    """Return the name of an array in errors: "argument 0 ('params') '0.weight'"."""
    name = names[path[0]]
    label = f"argument {path[0]}" + (f" ({name!r})" if name else "")
    return f"{label} {'.'.join(str(key) for key in path[1:])!r}" if path[1:] else label


def _floats(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Array]]:
    """Yield the floating-point arrays among the arguments and in their dicts."""
    if isinstance(tree, dict) or not path:
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _floats(part, (*path, key))
    elif is_array_api_obj(tree):
        xp = namespace(tree)
        if xp.isdtype(tree.dtype, "complex floating"):
            raise ValueError(f"arrays must be real, got dtype {tree.dtype}")
        if xp.isdtype(tree.dtype, "real floating"):
            yield path, tree


def _float64(label: str, x: Array) -> Array:
    """Return a copy in float64; refuse libraries and devices that have none."""
    xp = namespace(x)
    if "float64" not in xp.__array_namespace_info__().dtypes(kind="real floating", device=device(x)):
        hint = " (set jax_enable_x64)" if "jax" in xp.__name__ else ""
        raise ValueError(f"{label} must be on a device with float64{hint}, got {xp.__name__} on {device(x)}")
    return xp.zeros(x.shape, dtype=xp.float64, device=device(x)) + x


def _replaced(tree: Any, path: Path, x: Array) -> Any:
    """Return the arguments with another array at `path`; nothing is changed in place."""
    if not path:
        return x
    key, rest = path[0], path[1:]
    if isinstance(tree, dict):
        return {**tree, key: _replaced(tree[key], rest, x)}
    return (*tree[:key], _replaced(tree[key], rest, x), *tree[key + 1 :])


def _by_argument(gradients: Any, args: tuple[Any, ...]) -> dict[int, Any]:
    """Return the gradients by the position of their argument."""
    given = gradients if isinstance(gradients, tuple) else (gradients,)
    if len(given) > len(args):
        raise GradientError(f"vjp must give at most {len(args)} gradients, got {len(given)}")
    positions = {path[0] for path, _ in _floats(args)}
    order = range(len(args)) if len(given) == len(args) else sorted(positions)
    # A gradient too many, of a number that is no array, has nobody to belong to.
    return {position: g for position, g in zip(order, given, strict=False) if position in positions}


def _found(gradients: Any, path: Path) -> Any:
    """Return the gradient at `path`, None if there is none."""
    for key in path:
        gradients = gradients.get(key) if isinstance(gradients, dict) else None
    return gradients


def _same_kind(label: str, g: Any, x: Array) -> Array:
    """Return the gradient, which must look like its argument."""
    if not is_array_api_obj(g):
        raise GradientError(f"gradient of {label} must be an array, got {type(g).__name__}")
    if tuple(g.shape) != tuple(x.shape):
        raise GradientError(f"gradient of {label} must have shape {tuple(x.shape)}, got {tuple(g.shape)}")
    if g.dtype != x.dtype:
        raise GradientError(f"gradient of {label} must have dtype {x.dtype}, got {g.dtype}")
    return g


def _like(host: Any, x: Array) -> Array:
    """Return host numbers as an array of the library, device and dtype of `x`."""
    xp = namespace(x)
    return xp.asarray(host, dtype=x.dtype, device=device(x))


def _mask(x: Array, first: int, last: int, kind: type) -> Array:
    """Return 1 for the elements [first, last) of `x` in row-major order, 0 elsewhere, as bool or float64."""
    xp = namespace(x)
    i = xp.reshape(xp.arange(math.prod(x.shape), device=device(x)), tuple(x.shape))
    inside = (i >= first) & (i < last)
    return inside if kind is bool else xp.astype(inside, x.dtype)


def _total(x: Any) -> Any:
    """Return the sum of all elements of an array, or the number itself."""
    return namespace(x).sum(x) if hasattr(x, "shape") else x


def _coordinate(i: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of element i in row-major order."""
    at: list[int] = []
    for n in reversed(shape):
        i, rest = divmod(i, n)
        at.append(rest)
    return tuple(reversed(at))
