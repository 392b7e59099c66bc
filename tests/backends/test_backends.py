"""Choosing a library and a device, and what is said where there is none."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest

import anyback as ab
from anyback import backends
from anyback.backends import BackendError, available_backends, backend, to_host
from anyback.backends.base import Backend, first_line
from tests.conftest import LIBRARIES, _gpu, require

without_gpu = pytest.mark.skipif(_gpu(), reason="there is a GPU")


@pytest.fixture
def fresh():
    """Forget which libraries were connected, before and after."""
    caches = backends._connect, backends._auto
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_same_name_is_the_same_object(backend_name):
    found = backend(backend_name)
    assert backend(backend_name) is found
    assert backend(found) is found
    assert found.name == backend_name
    assert repr(found) == f"<anyback backend {backend_name}>"
    assert found.reason == "asked for"


def test_the_environment_sets_the_default(monkeypatch):
    require("torch")
    monkeypatch.setenv("ANYBACK_BACKEND", "torch")
    assert backend().name == "torch"
    assert ab.Trainer(ab.MLP([], 1), "huber").backend.name == "torch"
    assert backend("numpy").name == "numpy", "what is asked for goes before"
    monkeypatch.setenv("ANYBACK_BACKEND", "")
    assert backend() is backend("auto")
    monkeypatch.setenv("ANYBACK_BACKEND", "nympy")
    with pytest.raises(ValueError, match="did you mean 'numpy'"):
        backend()


@without_gpu
def test_auto_without_a_gpu_is_numpy_and_says_why(fresh, monkeypatch):
    monkeypatch.delenv("ANYBACK_BACKEND", raising=False)
    found = backend()
    assert found.name == "numpy"
    assert found.reason.startswith("auto: backend 'cupy'")
    assert "\n" not in found.reason
    assert backend("numpy").reason == "asked for"


def fake_cupy(monkeypatch, count):
    """Put a CuPy into the place of the real one that finds `count` devices, or raises it."""

    def get_device_count():
        if isinstance(count, Exception):
            raise count
        return count

    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.0.0"
    cupy.ndarray = type("ndarray", (), {})
    runtime = types.SimpleNamespace(getDeviceCount=get_device_count)
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda index: f"device {index}")
    compat = types.ModuleType("array_api_compat.cupy")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", compat)
    monkeypatch.setattr(importlib.import_module("array_api_compat"), "cupy", compat, raising=False)


@pytest.mark.parametrize(
    "error", [RuntimeError("cudaErrorNoDevice: none\nsecond line"), OSError("libcuda"), ValueError()]
)
def test_cupy_without_a_driver_says_what_to_install(fresh, monkeypatch, error):
    fake_cupy(monkeypatch, error)
    with pytest.raises(
        BackendError, match=r"CuPy 14\.0\.0 found no CUDA GPU \(no driver; .*\): run on a machine with a GPU"
    ) as raised:
        backend("cupy")
    assert "\n" not in str(raised.value)
    assert backend("auto").name == "numpy"


@pytest.mark.parametrize(
    "version, words", [(0, r"\(no driver; "), (11040, r"\(the driver is for CUDA 11\.4; ")]
)
def test_cupy_without_a_gpu_tells_of_the_driver(fresh, monkeypatch, version, words):
    fake_cupy(monkeypatch, RuntimeError("cudaErrorInsufficientDriver"))
    sys.modules["cupy"].cuda.runtime.driverGetVersion = lambda: version
    with pytest.raises(BackendError, match=words + "cudaErrorInsufficientDriver"):
        backend("cupy")


def test_cupy_of_a_number_that_does_not_exist(fresh, monkeypatch):
    fake_cupy(monkeypatch, 2)
    assert backend("cupy:1").name == "cupy:1"
    assert backend("cupy").name == "cupy"
    assert backend("cupy:tf32").machine.precision == "tf32" and backend("cupy").machine.precision == "float32"
    assert backend("cupy:0:tf32").name == "cupy:tf32"
    assert backend("cupy:1:bfloat16").name == "cupy:1:bfloat16"
    assert [backend(f"cupy{p}").machine.half for p in ("", ":tf32", ":float16")] == [None, None, "float16"]
    for name in "cupy:2", "cupy:2:tf32":
        with pytest.raises(BackendError, match=r"takes the number of a GPU in \[0, 2\), got"):
            backend(name)
    for name in "cupy:-1", "cupy:gpu", "cupy:1:float8", "cupy:tf32:1":
        with pytest.raises(
            BackendError, match="the number of a GPU and one of float32, tf32, bfloat16, float16"
        ):
            backend(name)
    fake_cupy(monkeypatch, 0)
    with pytest.raises(BackendError, match="no CUDA GPU.*or use 'numpy'"):
        backend("cupy:0")


@pytest.mark.parametrize("library, install", [
    ("cupy", "install anyback[cuda12] or anyback[cuda13]"), ("torch", "install anyback[torch]"),
    ("jax", "install anyback[jax]"), ("array_api_strict", "pip install array-api-strict"),
])  # fmt: skip
def test_what_is_not_installed_says_so(fresh, monkeypatch, library, install):
    available_backends()  # libraries that look for one another are loaded while nothing is hidden
    backends._connect.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BackendError) as error:
        backend(library)
    assert f"backend '{library}' needs" in str(error.value)
    assert install in str(error.value)
    assert "\n" not in str(error.value)
    assert available_backends()[library] == str(error.value)
    with pytest.raises(BackendError):
        ab.Trainer(ab.MLP([], 1), "huber", backend=library)


@pytest.mark.parametrize("name", [
    "torch:cuda:99", "torch:nowhere", "jax:tpu", "jax:cpu:99", "jax:cpu:x", "array_api_strict:gpu", "numpy:1",
])  # fmt: skip
def test_devices_that_do_not_exist(name):
    require(name.partition(":")[0])
    with pytest.raises(BackendError) as error:
        backend(name)
    assert name.partition(":")[0] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, nearest", [("nunpy", "numpy"), ("pytorch", "torch"), ("Jax", "jax"), ("CuPy:1", "cupy")]
)
def test_unknown_names_have_a_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"got {name!r}: did you mean {nearest!r}?"):
        backend(name)


def test_an_assertion_of_jax_is_told_in_one_line(monkeypatch):
    """As where JAX_PLATFORMS names a GPU that is not there."""
    jax = pytest.importorskip("jax")

    def devices(platform):
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(BackendError, match="^backend 'jax' cannot run with JAX .*: AssertionError$"):
        importlib.import_module("anyback.backends.jax").connect(None)


@pytest.mark.parametrize("name", [3, np, ["numpy"]])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match="backend must be a name such as"):
        backend(name)


def test_available_backends_tells_of_each():
    found = available_backends()
    assert list(found) == list(backends.LIBRARIES)
    with_llvm = "with LLVM" if find_spec("llvmlite") else "without LLVM (the extra fast)"
    assert found["numpy"] == f"works: {np.__version__} on cpu, {with_llvm}"
    assert all("\n" not in line and line for line in found.values())
    assert not {library.module for library in LIBRARIES} - set(found)


def test_a_backend_moves_arrays_there_and_back(backend_name):
    found = backend(backend_name)
    for array in (
        np.arange(6.0).reshape(2, 3).T,
        np.arange(3),
        np.float64(2.0) * np.ones(()),
        np.zeros((0, 2)),
    ):
        there = found.asarray(array)
        assert tuple(there.shape) == array.shape
        back = found.to_numpy(there)
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype
        assert back.flags.writeable
        np.testing.assert_array_equal(to_host(there), array)
    assert found.to_numpy(found.asarray(np.ones(2), "float32")).dtype == np.float32
    assert found.wide == "float64"
    found.synchronize()


def test_both_ways_are_copies(backend_name):
    found = backend(backend_name)
    source = np.zeros(3)
    there = found.asarray(source)
    source[0] = 1.0
    back = found.to_numpy(there)
    back[1] = 1.0
    assert found.to_numpy(there).tolist() == [0.0, 0.0, 0.0]


def test_rows_are_sliced_and_taken(backend_name):
    found = backend(backend_name)
    x = found.asarray(np.arange(5.0))
    rows = found.indices(np.array([3, 1, 4]))
    assert found.to_numpy(found.namespace.take(x, rows[1:3], axis=0)).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("device", ["cpu", "cpu:1"])
def test_jax_trains_on_the_device_asked_for(device):
    jax = require("jax")
    if len(jax.devices("cpu")) < 2:
        pytest.skip("JAX was started with one device")
    trainer = ab.Trainer(ab.MLP([4], 1, dropout=0.2), "huber", backend=f"jax:{device}")
    trainer.fit(np.ones((9, 2)), np.ones(9), batch_size=4, verbose=0, validation_split=0.3)
    assert trainer.weights.devices() == {backend(f"jax:{device}").device}


@pytest.mark.parametrize("device", ["no_x64", "no_float64"])
def test_strict_devices_without_wide_dtypes(device):
    require("array_api_strict")
    x, y = np.random.default_rng(0).normal(size=(9, 4)), np.arange(9) % 3
    name = f"array_api_strict:{device}"
    runs = [ab.Trainer(ab.MLP([4], 3), "softmax_cross_entropy", backend=b) for b in ("numpy", name)]
    for run in runs:
        run.fit(x, y, batch_size=4, verbose=0)
    np.testing.assert_allclose(runs[1].predict(x), runs[0].predict(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(BackendError, match="has no float64: use dtype='float32'"):
        ab.Trainer(ab.MLP([4], 3), "softmax_cross_entropy", backend=name, dtype="float64")


def test_torch_records_nothing_and_leaves_autograd_alone():
    torch = require("torch")
    trainer = ab.Trainer(ab.MLP([4], 1), "huber", backend="torch")
    x = torch.ones(9, 2, requires_grad=True)
    trainer.fit(x, np.ones(9), batch_size=4, verbose=0)
    assert not trainer.weights.requires_grad
    assert torch.is_grad_enabled()
    assert x.grad is None


def test_importing_anyback_imports_no_other_library():
    others = ["torch", "jax", "cupy", "array_api_strict", "tqdm", "safetensors", "matplotlib", "typer"]
    code = f"import anyback, sys; print([name for name in {others} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_small_functions():
    assert first_line(ValueError("a\nb")) == "a"
    assert first_line(ImportError("\n====\n  No library\n====")) == "No library"
    assert first_line(NotImplementedError()) == "NotImplementedError"
    assert to_host([1, 2]).tolist() == [1, 2]
    assert type(to_host(np.ones((1, 1)).view(np.matrix))) is np.ndarray
    assert Backend.compile(backend("numpy"), len) is len


def test_cupy_clips_in_one_kernel(fresh, monkeypatch):
    fake_cupy(monkeypatch, 1)
    sys.modules["cupy"].maximum, sys.modules["cupy"].minimum = np.maximum, np.minimum
    xp = backend("cupy").namespace
    x = np.array([-2.0, np.nan, 0.5, 3.0])
    np.testing.assert_array_equal(xp.clip(x, min=0.0), [0.0, np.nan, 0.5, 3.0])
    np.testing.assert_array_equal(xp.clip(x, -1.0, 1.0), [-1.0, np.nan, 0.5, 1.0])
