"""The peers: each library is a module here with one function ``train(case, x, y, laps, **options)``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

OWN, OWN_ON_GPU = "anyback-numpy", "anyback-cupy"
# A million rows are predicted in pieces whose activations fit the caches; a divisor of a million.
CHUNK = 10_000
USES = ("fit", "cold", "predict", "memory")
TRAINING = ("step", "fit", "cold", "memory")


@dataclass(frozen=True)
class Peer:
    """A way to train.

    `label` is its name in tables, `module` the module of its `train`, `kinds` the cases that it enters,
    `needs` the required packages, `hides` packages to treat as missing, `backend` the backend of anyback
    that must work, if a GPU is needed.
    """

    label: str
    module: str
    kinds: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    backend: str = ""

    def train(self) -> Callable[..., Any]:
        sys.modules.update(dict.fromkeys(self.hides))  # None makes an import fail
        return partial(import_module(f"{__name__}.{self.module}").train, **self.options)

    def absence(self) -> str | None:
        """Why this peer cannot race here, or None."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            return f"{' and '.join(missing)} not installed"
        if self.backend:
            from anyback.backends import BackendError, backend

            try:
                backend(self.backend)
            except BackendError as error:
                return str(error)
        return None


def _own(name: str, *kinds: str, label: str = "", **more: Any) -> Peer:
    return Peer(label or f"anyback, {name}", "anyback", kinds, {"backend": name}, **more)


def _torch(label: str, *kinds: str, **options: bool) -> Peer:
    return Peer(f"PyTorch, {label}", "torch", kinds, options, needs=("torch",))


def _on_gpu(label: str, module: str, needs: str, where: str, **options: Any) -> Peer:
    return Peer(label, module, ("gpu",), options, needs=(needs,), backend=where)


def _torch_graph(label: str = "", **options: Any) -> Peer:
    label = f"PyTorch, CUDA graph{', ' * bool(label)}{label}"
    options |= {"device": "cuda", "fused": True, "graph": True}
    return _on_gpu(label, "torch", "torch", "torch:cuda", **options)


def own(kind: str) -> str:
    """The peer that ratios refer to."""
    return OWN_ON_GPU if kind == "gpu" else OWN


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "products": Peer("NumPy's matrix products alone", "products", ("step", "growth")),
        OWN: _own("numpy", "step", *USES, "growth"),
        "anyback-numpy-plain": _own(
            "numpy", "step", *USES, label="anyback, numpy, no fast", needs=("llvmlite",), hides=("llvmlite",)
        ),
        "anyback-jax": _own("jax", "step", *USES, needs=("jax",)),
        "anyback-torch": _own("torch", "step", *USES, needs=("torch",)),
        "anyback-torch-compile": _own("torch:compile", "step", needs=("torch",)),
        OWN_ON_GPU: _own("cupy", "step", *USES, "gpu", needs=("cupy",), backend="cupy"),
        "jax-ahead": Peer("JAX jit, ahead", "jax", ("step", *USES, "growth"), needs=("jax",)),
        "jax-wait": Peer("JAX jit, waiting", "jax", ("step",), {"wait": True}, needs=("jax",)),
        "torch-adam": _torch("Adam", *TRAINING),
        "torch-fused": _torch("fused Adam", "step", *USES, "growth", fused=True),
        "torch-compile": _torch("compiled, fused", "step", fused=True, compiled=True),
        "torch-loader": _torch("DataLoader", "fit", "cold", loader=True),
        "sklearn": Peer("scikit-learn", "sklearn", ("step", *USES), needs=("sklearn",)),
        "keras": Peer("Keras", "keras", ("step", *USES), needs=("keras",)),
        "mygrad": Peer("MyGrad", "mygrad", ("step", *USES), needs=("mygrad",)),
        "thinc": Peer("Thinc", "thinc", ("step", *USES), needs=("thinc",)),
        "gpu-products": _on_gpu("CuPy's matrix products alone", "products", "cupy", "cupy", library="cupy"),
        "anyback-cupy-tf32": _own("cupy:tf32", "gpu", needs=("cupy",), backend="cupy:tf32"),
        "anyback-cupy-bfloat16": _own("cupy:bfloat16", "gpu", needs=("cupy",), backend="cupy:bfloat16"),
        "anyback-cupy-plain": _on_gpu(
            "anyback, cupy, formulas as they stand", "anyback", "cupy", "cupy", plain=True
        ),
        "anyback-torch-gpu": _own("torch:cuda", "gpu", needs=("torch",), backend="torch:cuda"),
        "anyback-jax-gpu": _own("jax:gpu", "gpu", needs=("jax",), backend="jax:gpu"),
        "torch-gpu": _on_gpu("PyTorch, Adam", "torch", "torch", "torch:cuda", device="cuda"),
        "torch-gpu-fused": _on_gpu(
            "PyTorch, fused Adam", "torch", "torch", "torch:cuda", device="cuda", fused=True
        ),
        "torch-gpu-graph": _torch_graph(),
        "torch-gpu-tf32": _torch_graph("TF32", precision="tf32"),
        "torch-gpu-bfloat16": _torch_graph("bfloat16", precision="bfloat16"),
        "jax-gpu": _on_gpu("JAX jit, ahead", "jax", "jax", "jax:gpu", precision="highest"),
        "jax-gpu-tf32": _on_gpu("JAX jit, TF32", "jax", "jax", "jax:gpu", precision="tensorfloat32"),
        "jax-gpu-bfloat16": _on_gpu("JAX jit, bfloat16", "jax", "jax", "jax:gpu", precision="BF16_BF16_F32"),
    }
)


def chosen_peers(patterns: list[str]) -> list[str]:
    """The names that match one of the patterns, such as ``torch-*``."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in PEERS):
            raise ValueError(f"--peers must be of {', '.join(PEERS)}, or a pattern, got {pattern!r}")
    return [name for name in PEERS if any(fnmatchcase(name, pattern) for pattern in patterns)]


def batches(samples: int, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Row numbers of an epoch's batches, in a new order; the last batch may be smaller."""
    order = rng.permutation(samples).astype(np.int32)
    return [order[start : start + batch] for start in range(0, samples, batch)]


def weights(case: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """He-normal weights (n, k) and zero biases (k,) in float32, for libraries without initializers."""
    rng = np.random.default_rng(1)
    return [
        ((rng.normal(size=(n, k)) * (2 / n) ** 0.5).astype(np.float32), np.zeros(k, np.float32))
        for n, k in pairwise(case.sizes)
    ]


def in_chunks(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`forward` of rows on the host, which processes many rows in pieces."""

    def predict(x: Any) -> Any:
        if len(x) <= CHUNK:
            return forward(x)
        return np.concatenate([forward(x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)])

    return predict
