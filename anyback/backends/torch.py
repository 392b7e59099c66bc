"""PyTorch: only its arrays are used; gradients are anyback's own, so autograd is off."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from anyback.arrays import Array, prefer
from anyback.backends.base import Backend, BackendError, first_line
from anyback.pytree import tree_map

__all__ = ["connect"]


class _Namespace:
    """PyTorch's standard namespace, with a `take` of one call.

    That of array-api-compat handles negative indices, by three more calls.
    """

    def __init__(self, torch: Any, compatible: Any) -> None:
        self._torch, self._compatible = torch, compatible

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._compatible, name)
        setattr(self, name, found)
        return found

    def take(self, x: Array, indices: Array, /, *, axis: int) -> Array:
        return self._torch.index_select(x, axis, indices)


class TorchBackend(Backend):
    """Tensors of PyTorch, on one of its devices; `compiled` uses ``torch.compile`` for the training step."""

    def __init__(self, torch: Any, namespace: Any, device: str, compiled: bool = False) -> None:
        self.torch, self.namespace, self.device = torch, namespace, torch.device(device)
        self.compiled = compiled
        parts = ["torch"] + [device] * (device != "cpu") + ["compile"] * compiled
        self.name = ":".join(parts)

    def asarray(self, x: np.ndarray, dtype: str | None = None) -> Array:
        """Return a copy of `x` as a tensor on the device."""
        return self.torch.tensor(np.asarray(x, dtype=dtype, order="C"), device=self.device)

    def share(self, x: np.ndarray) -> Array:
        """Return a tensor on the memory of `x` on the CPU; a copy on other devices or if it is read-only."""
        alike = self.device.type == "cpu" and x.flags.writeable and all(step > 0 for step in x.strides)
        return self.torch.from_numpy(x).contiguous() if alike else self.asarray(x)

    def fits(self, size: int) -> bool:
        """Whether half of the GPU's free memory is enough."""
        free = self.torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 2 * size
        return bool(2 * size <= free)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a copy of `x` on the host."""
        return np.array(x.detach().cpu().numpy())

    @property
    def wide(self) -> str:
        """float64; float32 on Apple's MPS."""
        return "float32" if self.device.type == "mps" else "float64"

    def compile(self, step: Callable[..., Any], donate: int = 0, fresh: int = 0) -> Callable[..., Any]:
        """Run `step` in inference mode, without autograd."""
        bare: Callable[..., Any] = self.torch.inference_mode()(step)
        return bare

    def repeat(self, step: Callable[..., Any], donate: int) -> Callable[..., Any]:
        """Run steps without autograd, which is switched off once for all of them."""
        made: dict[Any, Callable[..., Any]] = {}

        def steps(state: Any, fixed: Any, batches: Any) -> Any:
            one = step
            if self.compiled:
                batches = self._on_device(batches)
                look = tree_map(self._look, (fixed, batches[0]))
                if look not in made:
                    made[look] = self._made(step, *state, *fixed, *batches[0])
                one = made[look]
            for batch in batches:
                state = one(*state, *fixed, *batch)
            return state

        bare: Callable[..., Any] = self.torch.inference_mode()(steps)
        return bare

    def _on_device(self, batches: Sequence[Any]) -> Sequence[Any]:
        """Return batches whose numbers are tensors: ``torch.compile`` treats Python numbers as constants."""
        rows, scalars, words = zip(*batches, strict=True)
        real = getattr(self.torch, self.wide)
        table = self.torch.tensor(scalars, dtype=real, device=self.device)
        words = self.torch.tensor(words, dtype=self.torch.int32, device=self.device)
        return list(zip(rows, (row.unbind() for row in table), words.unbind(), strict=True))

    def _look(self, x: Any) -> Any:
        return (x.shape, x.dtype) if isinstance(x, self.torch.Tensor) else x

    def _made(self, step: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        """Return `step` compiled for such arguments and tried once; `step` itself if that fails."""
        try:
            from torch.fx.experimental.proxy_tensor import make_fx

            # What is compiled is a plain list of operations: formulas need not suit the compiler of Python.
            listed = make_fx(lambda *args: step(*args))(*args)
            compiled: Callable[..., Any] = self.torch.compile(listed, dynamic=False, fullgraph=True)
            with warnings.catch_warnings(action="ignore"):  # PyTorch warns of what it calls itself
                compiled(*args)
        except Exception as error:  # of Dynamo, Inductor, Triton or a C++ compiler that is not there
            reason = first_line(getattr(error, "inner_exception", error))
            warnings.warn(f"steps run without torch.compile, which failed: {reason}", stacklevel=4)
            return step
        return compiled

    def synchronize(self, *arrays: Array) -> None:
        """Wait for the device if it is asynchronous."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            self.torch.mps.synchronize()


def connect(device: str | None) -> Backend:
    """Return the backend on ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or raise BackendError with the reason.

    ``compile`` at the end, as in ``cuda:compile`` or alone, trains by ``torch.compile``: that costs seconds
    at the start, and halves the time of small networks.
    """
    try:
        import torch
        from array_api_compat import torch as namespace
    except ImportError as error:
        raise BackendError(
            f"backend 'torch' needs PyTorch ({first_line(error)}): install anyback[torch]"
        ) from error
    try:
        place, _, last = (device or "cpu").rpartition(":")
        compiled = last == "compile"
        where = (place or "cpu") if compiled else (device or "cpu")
        backend = TorchBackend(torch, _preferred(torch, namespace), where, compiled)
        torch.zeros(1, device=backend.device)
    except (
        Exception
    ) as error:  # PyTorch raises RuntimeError, AssertionError and NotImplementedError for devices
        raise BackendError(
            f"backend 'torch:{device}' cannot run with PyTorch {torch.__version__}: {first_line(error)}"
        ) from error
    return backend


@cache
def _preferred(torch: Any, compatible: Any) -> _Namespace:
    """Return the namespace, and make `anyback.arrays.namespace` return it."""
    namespace = _Namespace(torch, compatible)
    prefer(torch.Tensor, namespace)
    return namespace
