"""Checks of arguments: arrays of any library, and functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from anyback.arrays import Array, device, namespace
from anyback.backends import to_host
from anyback.backends.base import first_line

__all__ = ["finite", "flat", "function", "like", "real"]


def real(name: str, given: Any) -> Array:
    """Return `given` as an array of floating-point numbers, of its own library if it has one."""
    if np.ma.is_masked(given):
        raise ValueError(
            f"{name} must have no masked elements, got {np.sum(np.ma.getmaskarray(given))} of them"
        )
    x = given
    if isinstance(given, np.ndarray) or not is_array_api_obj(given):
        try:
            x = to_host(given)
        except Exception as error:  # every library refuses in its own way what is no array
            got = f"{type(given).__name__} ({first_line(error)})"
            raise TypeError(f"{name} must be an array of real numbers, got {got}") from error
    if hasattr(x, "detach"):  # from a graph of autograd, where every number read would warn
        x = x.detach()
    xp = namespace(x)
    if xp.isdtype(x.dtype, "integral"):
        x = xp.astype(x, xp.__array_namespace_info__().default_dtypes(device=device(x))["real floating"])
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")
    return x


def finite(name: str, x: Array) -> Array:
    """Return `x` if all elements are finite."""
    xp = namespace(x)
    if not bool(xp.all(xp.isfinite(x))):
        host = to_host(x)
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
        raise ValueError(f"{name} must be finite, got {host[place]} at {place} as {x.dtype}")
    return x


def function(name: str, given: Any) -> Any:
    """Return `given` if it is callable."""
    if not callable(given):
        raise TypeError(f"{name} must be a function, got {given!r}")
    return given


def like(given: Any, x: Array) -> Array:
    """Return a number or an array as an array of the library, device and dtype of `x`."""
    if is_array_api_obj(given) and namespace(given) is not namespace(x):
        given = np.array(to_host(given))  # no library minds a NumPy array that can be written to
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, as on every other library
        return namespace(x).asarray(given, dtype=x.dtype, device=device(x))


def flat(x: Array) -> Array:
    """Return `x` as a vector."""
    return namespace(x).reshape(x, (-1,))
