"""What kernels are started with: cuBLAS, CuPy's streams and graphs, NVIDIA's compiler; all without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from anyback.backends.cuda import Blas, CudaMachine
from anyback.engine import device
from tests.engine.emulated_gpu import COMPILER, Emulated
from tests.engine.programs import MODELS, trained

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the emulator needs a C++ compiler")

rng = np.random.default_rng(6)

# --- cuBLAS ---------------------------------------------------------------------------------------------

BLAS = r"""
#include <cstddef>
#include <cstring>
typedef const void* In;
typedef long long Step;
static char order[1000];
extern "C" {
const char* called() { return order; }
int cublasCreate_v2(void** handle) { *handle = order; return 0; }
int cublasSetStream_v2(void*, void*) { strcat(order, "stream "); return 0; }
int mode;
int cublasSetPointerMode_v2(void*, int m) { mode = m; return 0; }
int cublasSetWorkspace_v2(void*, void*, size_t) { strcat(order, "workspace "); return 0; }
}
template <class T>
static void gemm(int ta, int tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb,
                 T beta, T* c, int ldc) {
  // columns first, as the documentation of cublas<t>gemm() has it
  for (Step i = 0; i < m; i++)
    for (Step j = 0; j < n; j++) {
      T sum = 0;
      for (Step l = 0; l < k; l++)
        sum += a[ta ? l + i * lda : i + l * lda] * b[tb ? j + l * ldb : l + j * ldb];
      c[i + j * ldc] = alpha * sum + (beta != 0 ? beta * c[i + j * ldc] : 0);
    }
}
template <class T>
static void stack(int ta, int tb, int m, int n, int k, In alpha, In a, int lda, Step sa, In b, int ldb,
                  Step sb, In beta, void* c, int ldc, Step sc, int count) {
  for (Step q = 0; q < count; q++)
    gemm<T>(ta, tb, m, n, k, *(T*)alpha, (T*)a + q * sa, lda, (T*)b + q * sb, ldb, *(T*)beta,
            (T*)c + q * sc, ldc);
}
extern "C" int cublasGemmStridedBatchedEx(
    void*, int ta, int tb, int m, int n, int k, In alpha, In a, int at, int lda, Step sa, In b, int bt,
    int ldb, Step sb, In beta, void* c, int ct, int ldc, Step sc, int count, int compute, int algorithm) {
  if (at != bt || bt != ct || algorithm != -1) return 7;
  if (at == 1 && compute == 70)
    stack<double>(ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count);
  else if (at == 0 && (compute == 68 || compute == 77))
    stack<float>(ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count);
  else
    return 15;
  return 0;
}
extern "C" int cublasGemmEx(
    void* h, int ta, int tb, int m, int n, int k, In alpha, In a, int at, int lda, In b, int bt, int ldb,
    In beta, void* c, int ct, int ldc, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(
      h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1, compute, algorithm);
}
"""


@pytest.fixture(scope="module")
def blas(tmp_path_factory):
    """A library with the functions of cuBLAS that are called, which multiplies on the host."""
    folder = tmp_path_factory.mktemp("blas")
    (folder / "blas.cpp").write_text(BLAS)
    library = folder / "libblas.so"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", library, folder / "blas.cpp"], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.called.restype = ctypes.c_char_p
    return loaded


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3, 4), (4, 5)),
        ((1, 4), (4, 1)),
        ((3, 1), (1, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (2, 6, 4, 5)),
    ],
)
def test_products_by_cublas(blas, x, y, dtype):
    x, y = rng.normal(size=x).astype(dtype), rng.normal(size=y).astype(dtype)
    for a in (x, np.ascontiguousarray(x.mT).mT, np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 2)])[..., :-2]):
        for b in (y, np.ascontiguousarray(y.mT).mT):
            out = np.full(
                (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), 9, dtype
            )
            if a.ndim == 4 or b.ndim == 4:  # two axes of a stack of which one is broadcast
                a, b = (
                    np.ascontiguousarray(np.broadcast_to(z, (*out.shape[:-2], *z.shape[-2:]))) for z in (a, b)
                )
            Blas(blas).product(a, b, out, lambda z: z.ctypes.data)()
            np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)


def test_factors_on_the_device(blas):
    x, y, out = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), np.ones((3, 2))
    scales = np.array(0.5), np.array(2.0)
    Blas(blas).product(x, y, out, lambda z: z.ctypes.data, scales)()
    np.testing.assert_allclose(out, 0.5 * (x @ y) + 2.0)
    assert ctypes.c_int.in_dll(blas, "mode").value == 1
    Blas(blas).product(x, y, out, lambda z: z.ctypes.data)()
    np.testing.assert_allclose(out, x @ y)
    assert ctypes.c_int.in_dll(blas, "mode").value == 0


def test_an_error_of_cublas_is_told(blas):
    x = np.ones((2, 2), np.uint16)
    with pytest.raises(RuntimeError, match=r"cublasGemmEx of \(2, 2\) and \(2, 2\) failed with status 7"):
        Blas(blas, "bfloat16").product(x, x, np.ones((2, 2), "f4"), lambda z: z.ctypes.data)()


# --- CuPy, as far as it can be played ---------------------------------------------------------------------


class Stream:
    """A stream of a library that was never told of a GPU."""

    current: Stream

    def __init__(self, non_blocking=False, ptr=5):
        self.ptr, self.log = ptr, []

    def __enter__(self):
        self.before, Stream.current = Stream.current, self

    def __exit__(self, *_):
        Stream.current = self.before

    def synchronize(self):
        self.log.append("synchronize")

    def begin_capture(self):
        self.log.append("begin")

    def end_capture(self):
        self.log.append("end")
        return SimpleNamespace(launch=lambda: self.log.append("launch"))


@pytest.fixture
def machine(blas, monkeypatch):
    """CuPy's part of it, on NumPy's arrays."""
    Stream.current = Stream(ptr=0)
    cuda = SimpleNamespace(
        Stream=Stream,
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=lambda malloc: Stream(),
        get_current_stream=lambda: Stream.current,
    )

    def empty(shape, dtype):
        return np.empty(shape, dtype).view(Placed)

    cupy = SimpleNamespace(cuda=cuda, empty=empty, zeros=empty, copyto=np.copyto, asnumpy=np.array)
    monkeypatch.setattr("anyback.backends.cuda._library", lambda cupy: blas)
    ctypes.memset(blas.called(), 0, 0)
    return CudaMachine(cupy, None)


class Placed(np.ndarray):
    """An array that tells where it is as CuPy's do."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def test_cublas_follows_the_stream_and_gets_its_workspace_after(machine, blas):
    x = rng.normal(size=(4, 3)).view(Placed)
    y, out = rng.normal(size=(3, 2, 2)).view(Placed)[..., 0], np.zeros((4, 2)).view(Placed)
    before = len(blas.called())
    product = machine.product(x, y, out, None)  # y is neither in C order nor transposed
    product()
    product()
    assert blas.called()[before:] == b"stream workspace "
    with Stream(ptr=8):
        product()
    assert blas.called()[before:] == b"stream workspace " * 2
    np.testing.assert_allclose(out, x @ y)


def test_stacks_that_are_partly_the_same_are_copied(machine):
    x, y = rng.normal(size=(2, 1, 3, 4)).view(Placed), rng.normal(size=(2, 6, 4, 5)).view(Placed)
    out = np.zeros((2, 6, 3, 5)).view(Placed)
    machine.product(x, y, out, None)()
    np.testing.assert_allclose(out, x @ y)


def test_a_step_is_captured_and_launched(machine):
    calls = []
    launch = machine.graph([lambda: calls.append(Stream.current.ptr)])
    assert calls == [5], "captured on a stream of its own"
    stream = launch.__defaults__[0][0]
    launch()
    assert stream.log == ["begin", "end", "launch"]


def test_a_step_that_cannot_be_captured_runs_call_by_call(machine):
    calls = []

    def refused():
        if Stream.current.ptr:
            raise NotImplementedError("not during stream capture\nat all")
        calls.append("called")

    with pytest.warns(UserWarning, match="a step runs without a CUDA graph: not during stream capture"):
        launch = machine.graph([refused])
    launch()
    assert calls == ["called"]


# --- NVIDIA's compiler ------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
@pytest.mark.parametrize(
    ("name", "dtype", "half"),
    [
        *((name, "float32", None) for name in MODELS),
        ("batch", "float64", None),
        ("residual", "float32", "bfloat16"),
        ("weighted", "float32", "float16"),
    ],
)
def test_sources_are_cuda(name, dtype, half, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "PLAIN", 1)
    model, options = MODELS[name]
    gpu = Emulated(half)
    trained(model, gpu, dtype, **options)
    assert gpu.machine.sources
    for source in gpu.machine.sources:
        (tmp_path / "kernels.cu").write_text(source)
        command = ["nvcc", "-std=c++17", "-ptx", "-arch=sm_80", "-o", tmp_path / "kernels.ptx"]
        ended = subprocess.run([*command, tmp_path / "kernels.cu"], capture_output=True, text=True)
        assert not ended.returncode, ended.stderr
        assert ".entry step0" in (tmp_path / "kernels.ptx").read_text()
