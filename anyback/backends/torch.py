"""PyTorch: its arrays only; gradients are anyback's own, so autograd stays off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.backends.base import Backend, BackendError, first_line

__all__ = ["connect"]


class TorchBackend(Backend):
    """Tensors of PyTorch, on one of its devices."""

    def __init__(self, torch: Any, namespace: Any, device: str) -> None:
        self.torch, self.namespace, self.device = torch, namespace, torch.device(device)
        self.name = "torch" if device == "cpu" else f"torch:{device}"

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` as a tensor on the device."""
        return self.torch.tensor(np.asarray(x, dtype=dtype, order="C"), device=self.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy of `x` on the host."""
        return np.array(x.detach().cpu().numpy())

    @property
    def wide(self) -> str:
        """float64, but on Apple's MPS float32."""
        return "float32" if self.device.type == "mps" else "float64"

    def compile(self, step: Callable[..., Any], donate: int = 0) -> Callable[..., Any]:
        """Run `step` without recording for autograd."""
        recorded: Callable[..., Any] = self.torch.no_grad()(step)
        return recorded

    def synchronize(self, *arrays: Array) -> None:
        """Wait for the device where it works on its own."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            self.torch.mps.synchronize()


def connect(device: str | None) -> Backend:
    """Return the backend on ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or say why it cannot be had."""
    try:
        import torch
        from array_api_compat import torch as namespace
    except ImportError as error:
        raise BackendError(
            f"backend 'torch' needs PyTorch ({first_line(error)}): install anyback[torch]"
        ) from error
    try:
        backend = TorchBackend(torch, namespace, device or "cpu")
        torch.zeros(1, device=backend.device)
    except (
        Exception
    ) as error:  # PyTorch raises RuntimeError, AssertionError and NotImplementedError for devices
        raise BackendError(
            f"backend 'torch:{device}' cannot run with PyTorch {torch.__version__}: {first_line(error)}"
        ) from error
    return backend
