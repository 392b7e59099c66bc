"""Every array library the tests know; what is not installed skips, or fails where all is required."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported; tests of float32 ask for float32
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import importlib
import pkgutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

# Helper modules assert as tests do.
for _, folder, is_package in pkgutil.iter_modules([os.path.dirname(__file__)]):
    if is_package:
        pytest.register_assert_rewrite(f"tests.{folder}")

# A shell's background job ignores Ctrl-C, and so would the processes that tests start and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRED = os.environ.get("ANYBACK_REQUIRE_ALL") == "1"


def require(module: str) -> Any:
    """Import `module`, else skip the test; with ANYBACK_REQUIRE_ALL=1 fail instead."""
    try:
        return importlib.import_module(module)
    except ImportError:
        if REQUIRED and module != "cupy":
            pytest.fail(f"{module} is required here but is not installed")
        pytest.skip(f"{module} is not installed", allow_module_level=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """On a borrowed machine there may be nothing but NumPy, array-api-compat and pytest."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if REQUIRED or error.name not in ("safetensors", "safetensors.numpy", "tqdm"):
            raise
        pytest.skip(f"{error.name} is not installed")


def require_backend(name: str) -> None:
    """Skip the test where the library of a backend is not installed, or finds no GPU that it is to run on."""
    library, _, device = name.partition(":")
    module = require(library)
    if library == "cupy" and not _gpu():
        pytest.skip("no CUDA GPU with CuPy")
    if device == "cuda" and not module.cuda.is_available():
        pytest.skip("no CUDA GPU with PyTorch")


@dataclass(frozen=True)
class Library:
    """An array library on one of its devices, as tests use it."""

    name: str
    module: str
    device: str | None = None

    def array(self, x: Any, dtype: Any = None) -> Any:
        """Return the host array `x` as one of this library."""
        x = np.array(x, dtype=dtype)
        if not self.has_float64 and x.dtype.itemsize == 8:
            x = x.astype(f"{x.dtype.name[:-2]}32")
        if self.module == "numpy":
            x.flags.writeable = self.name != "numpy read-only"
            return x
        module = require(self.module)
        if self.module == "torch":
            return module.tensor(x, device=self.device)
        if self.module == "array_api_strict":
            return module.asarray(x, device=module.Device(self.device))
        return module.numpy.asarray(x) if self.module == "jax" else module.asarray(x)

    def host(self, x: Any) -> np.ndarray:
        """Return an array of this library on the host."""
        if self.module == "array_api_strict":
            x = x.to_device(require(self.module).Device("CPU_DEVICE"))
        if self.module == "cupy":
            x = x.get()
        return np.asarray(x.cpu() if self.device == "cuda" else x)

    @property
    def has_float64(self) -> bool:
        return self.device != "no_x64"

    @property
    def has_values(self) -> bool:
        """Whether values can be read at all."""
        return self.device != "meta"


LIBRARIES = [
    Library("numpy", "numpy"),
    Library("numpy read-only", "numpy"),
    Library("strict", "array_api_strict", "CPU_DEVICE"),
    Library("strict device1", "array_api_strict", "device1"),
    Library("strict no_x64", "array_api_strict", "no_x64"),
    Library("torch", "torch", "cpu"),
    Library("torch meta", "torch", "meta"),
    Library("torch cuda", "torch", "cuda"),
    Library("jax", "jax"),
    Library("cupy", "cupy"),
]


def _gpu() -> bool:
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceCount() > 0
    except Exception:  # not installed, no driver, no device: all mean no GPU
        return False


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name.replace(" ", "-"))
def library(request: pytest.FixtureRequest) -> Library:
    """Each array library in turn."""
    found: Library = request.param
    require_backend(f"{found.module}:{found.device}")
    return found


@pytest.fixture(params=["numpy", "array_api_strict", "torch", "jax", "cupy", "torch:cuda"])
def backend_name(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn."""
    require_backend(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three well separated classes of four features, (96, 4) and labels (96,)."""
    rng = np.random.default_rng(0)
    y = np.arange(96) % 3
    return rng.normal(size=(96, 4)) + 3.0 * np.eye(3, 4)[y], y
