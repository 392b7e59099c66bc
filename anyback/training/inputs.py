"""Inputs, targets and weights of any kind as host arrays: checked, standardised and cast.

Everything here happens on the host, once, before training starts: a GPU would silently accept a label out
of range, and (n, 1) minus (n,) is silently (n, n).

Inputs may fill most of the memory. They are checked in pieces of a few rows, and arrays that need no
conversion are not copied: training only reads the user's own array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.backends import to_host
from anyback.backends.base import first_line

__all__ = [
    "Scaler",
    "as_inputs",
    "as_targets",
    "as_weights",
    "cast",
    "class_weights",
    "fingerprint",
    "fits",
    "host_inputs",
    "one_class",
    "some_weight",
]

# Elements of a piece: so few that what is computed of them stays in a core's own cache.
_PIECE = 1 << 16

# What targets of a kind must fulfil, and how it is said.
_ALLOWED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "signs": (lambda y: np.abs(y) == 1, "-1 or 1"),
    "unit interval": (lambda y: (y >= 0) & (y <= 1), "in [0, 1]"),
    "counts": (lambda y: y >= 0, "counts, not negative"),
}


def as_inputs(
    x: Any, name: str = "x", sample_shape: tuple[int, ...] | None = None, *, first_row: int = 0
) -> np.ndarray:
    """Return `x` as a host array (n, ...) of real numbers, all finite, n >= 1.

    A NumPy array is not copied, whatever its dtype and order.

    Parameters
    ----------
    x : array of any library, nested list or data frame
        Samples along the first axis.
    name : str
        Its name in errors.
    sample_shape : tuple of int, optional
        The required shape of one sample.
    first_row : int
        The row number of the first row if `x` is a piece of larger data, for errors.

    Raises
    ------
    TypeError
        If the elements are not real numbers.
    ValueError
        If there are no samples, the shape differs, or a value is NaN or infinite.

    Examples
    --------
    >>> as_inputs([[1.0, 2.0], [3.0, float("nan")]])
    Traceback (most recent call last):
    ...
    ValueError: x must be finite, got nan at (1, 1)
    """
    return _finite(host_inputs(x, name, sample_shape), name, first_row)


def host_inputs(x: Any, name: str = "x", sample_shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return `x` as `as_inputs` does, without checking its values.

    Examples
    --------
    >>> host_inputs([[1.0, 2.0], [3.0, float("nan")]]).shape
    (2, 2)
    """
    array = _real(x, name)
    if array.ndim < 2:
        hint = "one sample is x[None, :]" if array.shape == sample_shape else "one feature is x[:, None]"
        raise ValueError(f"{name} must have shape (samples, features), got {array.shape}: {hint}")
    if sample_shape is not None and array.shape[1:] != sample_shape:
        raise ValueError(f"{name} must have samples of shape {sample_shape}, got {array.shape[1:]}")
    if not array.size:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def as_targets(
    y: Any, kind: str, outputs: int, samples: int, *, soft: bool = False, name: str = "y"
) -> np.ndarray:
    """Return `y` as the host array that a loss expects.

    Parameters
    ----------
    y : array of any library or list
        Labels (n,); for the other kinds (n, outputs), or (n,) where there is one output.
    kind : {"labels", "signs", "unit interval", "counts", "reals"}
        The kind of the loss's targets.
    outputs : int
        Number of outputs of the model; of classes, for labels.
    samples : int
        Number of rows of x.
    soft : bool
        Whether labels may be given as probabilities (n, outputs), and values in the unit interval must be
        probabilities, with rows that sum to 1.
    name : str
        Its name in errors.

    Returns
    -------
    ndarray
        int64 (n,) for labels, else float64 (n, outputs).

    Raises
    ------
    TypeError
        If labels are not integers, or other targets not real numbers.
    ValueError
        If shape, length or values are invalid.

    Examples
    --------
    >>> as_targets([0, 12], "labels", outputs=10, samples=2)
    Traceback (most recent call last):
    ...
    ValueError: y: labels must be integers in [0, 10), got 12 at row 1
    """
    array = _real(y, name)
    if array.shape[:1] != (samples,):
        raise ValueError(
            f"x and {name} must have the same number of rows, got {samples} and shape {array.shape}"
        )
    if kind == "labels":
        if soft and array.ndim == 2 and array.shape[1] == outputs > 1:
            return _probabilities(_finite(array, name).astype(np.float64), name)
        return _labels(array, outputs, name)
    shape = array.shape
    if array.ndim == 1:
        array = array[:, None]
    if array.shape != (samples, outputs):
        raise ValueError(f"{name} must have shape ({samples}, {outputs}) for {outputs} outputs, got {shape}")
    array = _finite(array, name).astype(np.float64)
    if soft and kind == "unit interval":
        return _probabilities(array, name)
    if kind in _ALLOWED:
        fits, words = _ALLOWED[kind]
        _require(fits, array, f"{name} must be {words}")
    return array


def as_weights(sample_weight: Any, samples: int, name: str = "sample_weight") -> np.ndarray | None:
    """Return the weight of each sample, float64 (n,), or None.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, all are zero, or there are more or fewer than samples.
    """
    if sample_weight is None:
        return None
    weight = _finite(_real(sample_weight, name), name).astype(np.float64)
    if weight.shape != (samples,):
        raise ValueError(f"{name} must have shape ({samples},), got {weight.shape}")
    _require(lambda w: w >= 0, weight, f"{name} must not be negative")
    return some_weight(weight, name)


def some_weight(weight: np.ndarray, name: str) -> np.ndarray:
    """Scale weights by a power of two that brings the largest to [1, 2); ValueError if all are zero.

    Only ratios of weights matter, and the product is exact. Sums of very small or large ones would leave
    the range of float32.
    """
    if not weight.any():
        raise ValueError(f"{name} must be above 0 somewhere, got {len(weight)} weights of 0")
    _, exponent = np.frexp(weight.max())
    scaled: np.ndarray = np.ldexp(weight, 1 - exponent)
    return scaled


def class_weights(given: Mapping[int, float] | Sequence[float], y: np.ndarray, outputs: int) -> np.ndarray:
    """Return the weight of each sample's class, float64 (n,).

    Parameters
    ----------
    given : mapping or sequence
        Weight of each class; 1 for classes that a mapping lacks.
    y : ndarray
        Labels (n,), or targets (n, k) whose largest column is the class, or binary targets (n, 1).
    outputs : int
        Number of outputs of the model.

    Raises
    ------
    TypeError, ValueError
        If classes or values are invalid.

    Examples
    --------
    >>> import numpy as np
    >>> class_weights({1: 5.0}, np.array([0, 1]), 2)
    array([1., 5.])
    """
    classes = outputs if y.ndim == 1 else max(outputs, 2)
    factor = np.ones(classes)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"class_weight must be a mapping or a sequence of numbers, got {given!r}")
    for label, value in given.items() if isinstance(given, Mapping) else enumerate(given):
        if not isinstance(label, int | np.integer) or not 0 <= label < classes:
            raise ValueError(f"class_weight names class {label!r}, expected one of 0 to {classes - 1}")
        try:
            factor[int(label)] = float(value)
        except (TypeError, ValueError):
            factor[int(label)] = np.nan
        if not 0 <= factor[int(label)] < np.inf:
            raise ValueError(f"class_weight must be finite and not negative, got {value!r} for class {label}")
    if not isinstance(given, Mapping) and len(given) != classes:
        raise ValueError(f"class_weight must give {classes} values, got {len(given)}")
    labels = y if y.ndim == 1 else (y[:, 0] > 0).astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    own: np.ndarray = factor[labels]
    return own


@dataclass(frozen=True)
class Scaler:
    """Standardization: (x - mean) / scale, in float64, before the cast to the training dtype.

    After the cast it would be too late: time stamps with a small spread become a single float32 value.
    Constant columns keep their scale.

    Attributes
    ----------
    mean, scale : ndarray (features,)
        float64, of the shape of a sample; None for no standardization.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> Scaler.fit(x)(x, "float32").tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def fit(cls, x: np.ndarray) -> Scaler:
        """Learn mean and standard deviation of each column of `x` (n, ...)."""
        with np.errstate(over="ignore"):
            mean = np.asarray(np.mean(x, axis=0, dtype=np.float64))
            var = np.zeros_like(mean)
            constant = np.ones(mean.shape, bool)
            for _, part in _pieces(x):
                var += np.sum((part - mean) ** 2, axis=0) / len(x)
                constant &= np.all(part == x[0], axis=0)
        if not np.isfinite(var).all():
            column: tuple[Any, ...] = tuple(int(i) for i in np.argwhere(~np.isfinite(var))[0])
            place = (int(np.argmax(np.abs(x[:, *column]))), *column)
            raise ValueError(f"x is too large to be standardised, got {x[place]!s} at {place}")
        # A constant column of large numbers has the rounding of its mean for a variance: it shall become 0.
        mean = np.where(constant, np.asarray(x[0], np.float64), mean)
        return cls(mean, np.where(constant | (var == 0), 1.0, np.sqrt(var)))

    def __call__(self, x: np.ndarray, dtype: str, name: str = "x", *, first_row: int = 0) -> np.ndarray:
        """Return `x` standardised and cast; raise ValueError if a value exceeds the range of `dtype`.

        Without a mean it is `cast`, which does not copy an array of that dtype.
        """
        mean, scale = self.mean, self.scale
        if mean is None or scale is None:
            return cast(x, dtype, name, first_row=first_row)
        return _converted(x, dtype, name, lambda part: (part - mean) / scale, first_row)


def cast(x: np.ndarray, dtype: str, name: str, *, first_row: int = 0) -> np.ndarray:
    """Return finite numbers as `dtype`; raise ValueError if a value exceeds its range.

    An array of that dtype is not copied, whatever its order, unless it is unaligned, which some consumers
    cannot read.

    Examples
    --------
    >>> import numpy as np
    >>> cast(np.array([1.0, 1e300]), "float32", "y")
    Traceback (most recent call last):
    ...
    ValueError: y must fit into float32, got 1e+300 at row 1
    """
    if x.dtype == dtype and x.flags.aligned:
        return x
    return _converted(x, dtype, name, lambda part: part, first_row)


def fits(x: np.ndarray, dtype: str, name: str) -> None:
    """Raise ValueError if a finite number of `x` exceeds the range of `dtype`.

    Examples
    --------
    >>> import numpy as np
    >>> fits(np.array([1.0, 1e300]), "float64", "y")
    """
    if x.dtype.kind == "f" and x.dtype.itemsize > np.dtype(dtype).itemsize:
        with np.errstate(over="ignore"):
            _require(lambda part: np.isfinite(part.astype(dtype)), x, f"{name} must fit into {dtype}")


def fingerprint(*arrays: np.ndarray | None) -> str:
    """Return a short hash of arrays: their shapes, dtypes and bytes.

    Examples
    --------
    >>> import numpy as np
    >>> two = fingerprint(np.zeros(2))
    >>> two == fingerprint(np.zeros(2)), two == fingerprint(np.zeros(3))
    (True, False)
    """
    import hashlib

    digest = hashlib.sha256()  # most processors have instructions for it
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for _, part in _pieces(array):
                digest.update(np.ascontiguousarray(part).data if part.size else b"")
    return digest.hexdigest()[:32]


def one_class(y: np.ndarray, name: str) -> None:
    """Raise ValueError if a row of binary targets (n, k) does not have exactly one 1."""
    count = (y > 0.5).sum(axis=1)
    _require(lambda c: c == 1, count, f"{name}: metrics of classes take one class a sample")


def _real(x: Any, name: str) -> np.ndarray:
    array: np.ndarray = x if type(x) is np.ndarray else _host(x, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}{_odd(array, name)}")
    return array


def _odd(array: np.ndarray, name: str) -> str:
    """Describe the first element that is not a real number, with a remedy."""
    for place, value in np.ndenumerate(array):
        try:
            real = not isinstance(value, complex | np.complexfloating) or value.imag == 0
            if real and array.dtype.kind != "c":
                float(value)
        except (TypeError, ValueError, OverflowError):
            real = False
        if not real:
            plain = value.item() if isinstance(value, np.generic) else value
            names = ": np.unique(y, return_inverse=True) makes numbers of names"
            hint = names if name.endswith("y") and isinstance(value, str | bytes) else ""
            return f", {plain!r:.60}{_at(place)}{hint}"
    first = next(iter(array.ravel().tolist()), None)
    return f" such as {first!r:.60}: astype(float) makes real numbers of them" if array.size else ""


def _at(place: tuple[int, ...]) -> str:
    """Return the place of an element as part of a message."""
    return f" at {f'row {place[0]}' if len(place) == 1 else place}" if place else ""


def _host(x: Any, name: str) -> np.ndarray:
    if np.ma.is_masked(x):
        raise ValueError(f"{name} must have no masked elements, got {np.sum(np.ma.getmaskarray(x))} of them")
    try:
        return to_host(x)
    except Exception as error:  # every library refuses in its own way what is no array
        raise TypeError(
            f"{name} must be an array or a nested list of numbers, "
            f"got {type(x).__name__} ({_uneven(x) or first_line(error)})"
        ) from error


def _uneven(rows: Any) -> str:
    """Describe the first row of a ragged list that differs in length from row 0."""
    listed = rows if isinstance(rows, list | tuple) else []
    sizes = [len(row) if isinstance(row, Sequence) else -1 for row in listed]
    i = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    return "" if i is None else f"row {i} is {rows[i]!s:.40}, of another length than row 0 with {sizes[0]}"


def _pieces(array: np.ndarray) -> Sequence[tuple[int, np.ndarray]]:
    """Return an array in pieces of rows, each with the number of its first row."""
    if array.size <= _PIECE:
        return ((0, array),)
    rows = max(1, _PIECE * len(array) // array.size)
    return [(row, array[row : row + rows]) for row in range(0, len(array), rows)]


def _finite(array: np.ndarray, name: str, first_row: int = 0) -> np.ndarray:
    if array.dtype.kind == "f":
        # One row is predicted time and again: pieces and a message would take as long as the look itself.
        if array.size <= _PIECE and np.count_nonzero(np.isfinite(array)) == array.size:
            return array
        _require(np.isfinite, array, f"{name} must be finite", first_row)
    return array


def _require(
    fits: Callable[[np.ndarray], np.ndarray], array: np.ndarray, message: str, first_row: int = 0
) -> None:
    """Raise ValueError for the first element that is invalid."""
    for row, part in _pieces(array):
        good = fits(part)
        if np.count_nonzero(good) < good.size:  # takes a third of the time of `not good.all()`
            raise _misfit(good, part, message, first_row + row)


def _misfit(good: np.ndarray, array: np.ndarray, message: str, first_row: int) -> ValueError:
    """Return the error for the first invalid element, counting rows from `first_row`."""
    place = tuple(int(i) for i in np.argwhere(~good)[0])
    value = array[place]
    if place:
        place = (first_row + place[0], *place[1:])
    return ValueError(f"{message}, got {value!s}{_at(place)}")  # formatted, a long double would be a double


def _converted(
    x: np.ndarray,
    dtype: str,
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    first_row: int = 0,
) -> np.ndarray:
    """Return ``change(x)`` as `dtype`; ValueError if a value exceeds its range."""
    out = np.empty(x.shape, dtype)
    with np.errstate(over="ignore"):
        for (row, part), (_, own) in zip(_pieces(x), _pieces(out), strict=True):
            own[...] = change(part)
            good = np.isfinite(own)
            if np.count_nonzero(good) < good.size:
                raise _misfit(good, part, f"{name} must fit into {dtype}", first_row + row)
    return out


def _labels(array: np.ndarray, classes: int, name: str) -> np.ndarray:
    if array.shape[1:] == (1,):
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name}: labels must have shape ({len(array)},), got {array.shape}")
    if array.dtype.kind == "f":
        whole = np.floor(array) == array
        odd = int(np.argmin(whole))
        hint = ": astype(int) makes labels of them" if whole.all() else f" at row {odd}"
        raise TypeError(
            f"{name}: labels must be integers in [0, {classes}), "
            f"got {array.dtype} values such as {array[odd]}{hint}"
        )
    _require(lambda y: (y >= 0) & (y < classes), array, f"{name}: labels must be integers in [0, {classes})")
    return array.astype(np.int64)


def _probabilities(array: np.ndarray, name: str) -> np.ndarray:
    _require(_ALLOWED["unit interval"][0], array, f"{name}: probabilities must lie in [0, 1]")
    total = array.sum(axis=1)
    _require(lambda t: np.abs(t - 1) < 1e-3, total, f"{name}: probabilities of a row must sum to 1")
    return array
