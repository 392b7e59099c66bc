"""array-api-strict: the standard and nothing more, with devices that behave like a GPU, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends.base import Backend, BackendError, first_line

__all__ = ["connect"]


class StrictBackend(Backend):
    """Arrays of array-api-strict, on one of its simulated devices."""

    def __init__(self, namespace: Any, device: Any, name: str) -> None:
        self.namespace, self.device, self.name = namespace, device, name
        self.host = namespace.Device("CPU_DEVICE")

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` on the device; integers in the widest dtype of the device."""
        if dtype is None and x.dtype.kind == "i":
            x = x.astype(self._integer)
        return super().asarray(x, dtype)

    @property
    def _integer(self) -> str:
        info = self.namespace.__array_namespace_info__()
        return "int64" if "int64" in info.dtypes(device=self.device, kind="signed integer") else "int32"

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy of `x` on the host, by the standard's `to_device`."""
        return np.array(x.to_device(self.host))


def connect(device: str | None) -> Backend:
    """Return the backend on ``CPU_DEVICE``, ``device1``, ``no_float64``..., or raise BackendError."""
    try:
        import array_api_strict as namespace
    except ImportError as error:
        raise BackendError(
            f"backend 'array_api_strict' needs array-api-strict ({first_line(error)}): "
            "pip install array-api-strict"
        ) from error
    try:
        found = namespace.Device(device or "CPU_DEVICE")
    except ValueError as error:
        raise BackendError(f"backend 'array_api_strict:{device}': {first_line(error)}") from error
    return StrictBackend(namespace, found, f"array_api_strict:{device}" if device else "array_api_strict")
