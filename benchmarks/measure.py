"""Measurements of each kind of case, in a process that has imported one library and nothing else.

A library is its function ``train(case, x, y, laps) -> predict``: train until `laps` has enough, then return
``predict(x) -> outputs (n, k)`` on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.cases import EPOCHS, Case, digits
from benchmarks.laps import Laps

Train = Callable[..., Any]
MILLION = 1_000_000


def step(train: Train, case: Case, warm: float, seconds: float) -> dict[str, float]:
    """Seconds per training step, including everything that an epoch does."""
    laps = Laps(warm=warm, seconds=seconds)
    train(case, *case.data(), laps)
    return {"step": laps.median() / case.steps}


def fit(train: Train, case: Case, warm: float, seconds: float) -> dict[str, float]:
    """Seconds of the first training in a process, and its accuracy on the held-out digits."""
    (x, y), (x_test, y_test) = digits()
    began = perf_counter()
    predict = train(case, x, y, Laps(EPOCHS[case.kind]))
    ended = perf_counter()
    right = np.argmax(predict(x_test), axis=1) == y_test
    return {"fit": ended - began, "accuracy": float(np.sum(right)) / len(y_test)}


def predict(train: Train, case: Case, warm: float, seconds: float) -> dict[str, float]:
    """Seconds for one row, and for a million in one call."""
    x, y = case.data()
    predict = train(case, x, y, Laps(1))
    row = _repeated(lambda: predict(x[:1]), warm, seconds)
    many = Case(case.kind, case.sizes, case.batch, MILLION).data()[0]
    return {"row": row, "million": _repeated(lambda: predict(many), 0.0, seconds)}


def memory(train: Train, case: Case, warm: float, seconds: float) -> dict[str, float]:
    """Peak bytes: after the imports, and the increase in an epoch of training, data included."""
    imported = peak_memory()
    train(case, *case.data(), Laps(1))
    return {"import": imported, "training": peak_memory() - imported}


MEASURES = {
    **dict.fromkeys(("step", "growth", "gpu"), step),
    **dict.fromkeys(("fit", "cold"), fit),
    "predict": predict,
    "memory": memory,
}


def peak_memory() -> int:
    """The peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss starts at the peak of the parent process
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _repeated(call: Callable[[], Any], warm: float, seconds: float) -> float:
    """Median seconds of the calls in `seconds`, after the first one and `warm` seconds more."""
    call()
    laps = Laps(warm=warm, seconds=seconds)
    for _ in laps:
        call()
    return laps.median()
