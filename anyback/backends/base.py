"""The protocol of a backend, and an implementation that works on any array library of the standard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from anyback.arrays import Array

__all__ = ["Backend", "BackendError", "first_line"]


class BackendError(RuntimeError):
    """The requested array library cannot run here; the message says why and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that has words, or the error's type."""
    lines = (line.strip() for line in str(error).splitlines() if any(map(str.isalnum, line)))
    return next(lines, type(error).__name__)


class Backend:
    """An array library on one device.

    Subclasses set the attributes and override what their library does differently; the methods here
    work on any library that follows the standard.

    Attributes
    ----------
    name : str
        The name that `anyback.backend` takes: ``"numpy"``, ``"torch:cuda"``.
    namespace : module
        The library's array namespace.
    device : object
        The device on which `asarray` puts arrays.
    reason : str
        Why it was chosen.
    """

    name: str
    namespace: Any
    device: Any
    reason: str = "asked for"

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of the host array `x` on the device, as `dtype` (a name) if given.

        It is always a copy: some libraries would alias the memory of a NumPy array, and training
        writes to its own arrays in place.
        """
        return self.namespace.asarray(np.array(x, dtype=dtype, order="C"), device=self.device)

    def share(self, x: np.ndarray) -> Array:
        """Return the host array `x` on the device, without a copy if possible: it is only read."""
        return self.asarray(x)

    def fits(self, size: int) -> bool:
        """Whether `size` bytes of data can stay on the device beside training."""
        return True

    def feed(self, arrays: Sequence[Any], batches: Iterable[np.ndarray]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of each batch of arrays that stay on the host; an array may be None.

        A batch may be overwritten as soon as the next one is requested.
        """
        for rows in batches:
            yield tuple(None if x is None else self.asarray(x[rows]) for x in arrays)

    @property
    def note(self) -> str:
        """A further remark for `available_backends`."""
        return ""

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy of `x` on the host."""
        return np.array(x)

    def indices(self, rows: np.ndarray) -> Array:
        """Return row numbers in the form whose slices a compiled step takes fastest."""
        return self.asarray(rows)

    def synchronize(self, *arrays: Array) -> None:
        """Wait until `arrays` are computed; some libraries wait for the whole device."""

    def check(self, dtype: str) -> None:
        """Raise `BackendError` if the library cannot train in `dtype` as it is set up."""
        if dtype == "float64" and self.wide != "float64":
            raise BackendError(f"backend {self.name!r} has no float64: use dtype='float32'")

    @property
    def wide(self) -> str:
        """Name of the widest real dtype of the device, for sums over many samples."""
        info = self.namespace.__array_namespace_info__()
        return "float64" if "float64" in info.dtypes(device=self.device, kind="real floating") else "float32"

    def call(self, f: Callable[..., Any], *arguments: Any) -> Any:
        """Call `f` once, with new arrays made on the device."""
        return f(*arguments)

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Return a fast form of the pure `step`.

        Its first `donate` arguments may be overwritten; its last `fresh` ones differ in each call.
        """
        return step

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Return ``steps(state, fixed, batches)``: one `step` per batch, each from the state before it.

        A step is ``state = step(*state, *fixed, *batch)``, and `donate` the length of `state`, which may be
        overwritten. There is at least one batch, and all have the same shapes.
        """
        one = self.compile(step, donate)

        def steps(state: Any, fixed: Any, batches: Sequence[Any]) -> Any:
            for batch in batches:
                state = one(*state, *fixed, *batch)
            return state

        return steps

    def release(self, *compiled: Callable[..., Any]) -> None:
        """Drop the data that compiled functions were called with."""

    def __repr__(self) -> str:
        return f"<anyback backend {self.name}>"
