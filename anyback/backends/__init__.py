"""Backends: the only modules that name an array library, one module for each."""

from __future__ import annotations

import os
from copy import copy
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from anyback.backends.base import Backend, BackendError, first_line
from anyback.lookup import suggestion

__all__ = ["Backend", "BackendError", "available_backends", "backend", "to_host"]

LIBRARIES = ("numpy", "cupy", "torch", "jax", "array_api_strict")


def backend(name: str | Backend | None = None) -> Backend:
    """Return the backend called `name`.

    Parameters
    ----------
    name : str, Backend or None
        A library, with an optional device after a colon: ``"numpy"``, ``"cupy"``,
        ``"cupy:1"``, ``"torch"``, ``"torch:cuda"``, ``"torch:compile"`` (the step
        is compiled by ``torch.compile``), ``"jax"``, ``"array_api_strict"``. ``"auto"`` is a
        working GPU, else NumPy. None is the value of the environment variable ``ANYBACK_BACKEND``,
        else ``"auto"``. A Backend is returned unchanged.

    Returns
    -------
    Backend
        The library on its device; the same object for the same name.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such library.
    BackendError
        If the library is not installed, or its device cannot be had.

    Examples
    --------
    >>> backend("numpy").name
    'numpy'
    """
    if isinstance(name, Backend):
        return name
    if not isinstance(name, str | None):
        raise TypeError(f"backend must be a name such as 'numpy' or 'torch:cuda', got {name!r}")
    variable = os.environ.get("ANYBACK_BACKEND")
    try:
        chosen = name or variable or "auto"
        return _auto() if chosen == "auto" else _connect(chosen)
    except (ValueError, BackendError) as error:
        if name is None and variable:
            raise type(error)(f"ANYBACK_BACKEND: {error}") from error
        raise


@cache
def _connect(name: str) -> Backend:
    library, _, device = name.partition(":")
    if library not in LIBRARIES:
        known = [*LIBRARIES, "auto"]
        raise ValueError(
            f"backend must be one of {', '.join(known)}, got {name!r}{suggestion(library, known)}"
        )
    found: Backend = import_module(f"anyback.backends.{library}").connect(device or None)
    return found


@cache
def _auto() -> Backend:
    """Return CuPy if a GPU works, else NumPy, and print once which one and why."""
    try:
        found, reason = _connect("cupy"), "a CUDA GPU works"
        found.namespace.ones(1, device=found.device).sum()
    except Exception as error:  # whatever a broken driver raises, NumPy still works
        found, reason = _connect("numpy"), first_line(error).partition(": install")[0]
    found = copy(found)  # a caller that names the library gets no note about `auto`
    found.reason = f"auto: {reason}"
    return found


def available_backends() -> dict[str, str]:
    """Try every library and report which ones work.

    Returns
    -------
    dict of str to str
        For each library ``"works: VERSION on DEVICE"``, or the reason why it does not, in one line.

    Examples
    --------
    >>> available_backends()["numpy"].startswith("works: ")
    True
    """
    return {library: _trial(library) for library in LIBRARIES}


def _trial(library: str) -> str:
    try:
        found = _connect(library)
        found.to_numpy(found.asarray(np.ones(2, "float32")) * 2.0)
        version = import_module(library).__version__
    except Exception as error:  # the point is to tell of any failure at all
        return first_line(error)
    return f"works: {version} on {found.device}" + (f", {found.note}" if found.note else "")


def to_host(x: Any) -> np.ndarray:
    """Return `x` (an array of any library, a nested list, a data frame) as a NumPy array.

    Raises
    ------
    TypeError, ValueError
        If NumPy cannot convert `x` to an array.
    """
    if isinstance(x, np.ndarray):
        return np.asarray(x)  # a matrix would stay two-dimensional where a row is taken
    library = type(x).__module__.partition(".")[0].removesuffix("lib")
    if library in LIBRARIES and library != "numpy":
        return _connect(library).to_numpy(x)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        try:
            host: np.ndarray = np.from_dlpack(x, device="cpu")
        except TypeError:  # of before DLPack 1.0: it cannot be asked to move its data
            host = np.from_dlpack(x)
        return host
    return np.asarray(x)
