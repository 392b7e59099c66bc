"""Arrays: anything that follows the Python array API standard."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

__all__ = ["Array", "Vjp", "device", "follows", "namespace", "prefer"]

Array: TypeAlias = Any
Vjp: TypeAlias = Callable[..., Any]


# Their stubs know no array of any kind.
_add: Any = np.add
_maximum: Any = np.maximum
_minimum: Any = np.minimum


class _Remembered:
    """NumPy's answers about its dtypes, which never change, cached."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self.dtypes = cache(info.dtypes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._info, name)


class _BareNumPy:
    """NumPy, which follows the standard by itself, without the Python wrappers around a few of its functions.

    On the small arrays of small networks a wrapper costs as much as the sum inside it.
    """

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        setattr(self, name, found)
        return found

    def __repr__(self) -> str:
        return repr(np)

    @staticmethod
    @cache
    def __array_namespace_info__() -> Any:
        return _Remembered(np.__array_namespace_info__())

    @staticmethod
    def sum(x: Array, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
        return _add.reduce(x, axis, dtype, keepdims=keepdims)

    @staticmethod
    def max(x: Array, *, axis: Any = None, keepdims: bool = False) -> Array:
        return _maximum.reduce(x, axis, keepdims=keepdims)

    @staticmethod
    def min(x: Array, *, axis: Any = None, keepdims: bool = False) -> Array:
        return _minimum.reduce(x, axis, keepdims=keepdims)

    @staticmethod
    def reshape(x: Array, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    @staticmethod
    def take(x: Array, indices: Array, *, axis: int) -> Array:
        if isinstance(indices, np.ndarray):
            return x.take(indices, axis)
        return namespace(indices).take(x, indices, axis=axis)  # of arrays that are being recorded

    @staticmethod
    def astype(x: Array, dtype: Any, copy: bool = True) -> Array:
        return x.astype(dtype, copy=copy)

    @staticmethod
    def clip(x: Array, min: Any = None, max: Any = None) -> Array:
        y = x if min is None else np.maximum(x, min)
        return y if max is None else np.minimum(y, max)


numpy_namespace: Any = _BareNumPy()
_namespaces: dict[type, Any] = {}


def prefer(kind: type, xp: Any) -> None:
    """Let `namespace` return `xp` for arrays of type `kind`; for backends that know a better one."""
    _namespaces[kind] = xp


def namespace(x: Array) -> Any:
    """Return the array namespace of `x`, cached by its type.

    Looking the namespace up anew for every formula costs a quarter of a small training step.

    Parameters
    ----------
    x : array
        An array of any shape and dtype, of any library that array-api-compat knows.

    Returns
    -------
    module
        The namespace whose functions take and return arrays such as `x`.

    Raises
    ------
    TypeError
        If `x` is no array: a list or a Python number has no namespace.

    Examples
    --------
    >>> import numpy as np
    >>> namespace(np.zeros(3)).exp is np.exp
    True
    """
    kind = type(x)
    xp = _namespaces.get(kind)
    if xp is None:
        xp = numpy_namespace if issubclass(kind, np.ndarray | np.generic) else array_namespace(x)
        _namespaces[kind] = xp
    return xp


def follows(name: str, x: Array, whom: str = "", xp: Any = None) -> Any:
    """Return the namespace of `x`; raise TypeError if it is no array, or not of the library `xp` of `whom`.

    Examples
    --------
    >>> follows("pred", [1.0])
    Traceback (most recent call last):
    ...
    TypeError: pred must be an array, got builtins.list
    """
    try:
        own = namespace(x)
    except TypeError:
        own = None
    if own is None or (xp is not None and own.__name__ != xp.__name__):
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        of = f" of the library of {whom}, {xp.__name__}" if whom else ""
        raise TypeError(f"{name} must be an array{of}, got {kind}")
    return own
