"""The two executors of the NumPy engine, and a GPU or its emulator."""

from __future__ import annotations

import pytest

from anyback.backends import backend
from anyback.engine import device, replay
from tests.conftest import require, require_backend
from tests.engine.emulated_gpu import COMPILER, Emulated


@pytest.fixture(params=["replayed", "loops"])
def executor(request, monkeypatch):
    """With NumPy's functions, and with its loops; from the first step that is recorded."""
    if request.param == "loops":
        require("llvmlite")
        monkeypatch.setattr(replay, "PATIENCE", -1.0)
    else:
        monkeypatch.setattr(replay, "PATIENCE", float("inf"))
        monkeypatch.setattr(replay, "_table", lambda: None)
    return request.param


@pytest.fixture
def at_once(monkeypatch):
    """Compile with the first call."""
    monkeypatch.setattr(device, "PLAIN", 1)


@pytest.fixture(params=["emulated", "cupy"])
def gpu(request):
    """A backend whose steps run in kernels."""
    if request.param == "cupy":
        require_backend("cupy")
        return backend("cupy")
    if COMPILER is None:
        pytest.skip("the emulator needs a C++ compiler")
    return Emulated()
