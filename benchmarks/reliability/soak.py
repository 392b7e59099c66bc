"""Long and concurrent runs: memory, open files, threads, and processes with other hash seeds.

In 20,000 steps after 3,000, with checkpoints, logs, evaluation and prediction, Python's memory (tracemalloc,
which includes NumPy's arrays) may grow by 64 KB, history included, and no more files may be open. Eight
trainers in threads, which share model, optimizer and data, give the same bits as one after the
other; so do the predictions of eight threads with one trainer. Four processes with other values of
PYTHONHASHSEED write the same bytes into checkpoint and history as a fifth.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier
from typing import Any
from unittest.mock import patch

import numpy as np

import anyback as ab
from anyback.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, JSONLog
from anyback.engine import replay
from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._runs import CHECKPOINT, OPTIONS, Run
from benchmarks.reliability.descriptors import PLACES

BACKENDS, STEPS = ("numpy", "torch", "jax"), 20_000
LIMIT = 64 * 1024
THREADS = 8
MODEL = ab.MLP([24, 16], 3, dropout=0.2, norm="batch")
OPTIMIZER = ab.AdamW(lr=ab.schedules.Cosine(0.01, 500))


def run(settings: Settings) -> list[dict[str, Any]]:
    rows = []
    for backend in BACKENDS:
        if not find_spec(backend):
            rows.append(outcome(f"steps and threads, {backend}", 0, 0, skipped=f"{backend} is not installed"))
            continue
        rows.append(soaked(backend, STEPS, settings.folder))
        settings.say(f"soaked {backend}: {rows[-1]['details']}")
        times = 5 if backend == "numpy" else 1
        rows.append(together(f"trainers in {THREADS} threads, {backend}", [trained(backend)] * times))
        rows.append(together(f"predictions in {THREADS} threads, {backend}", [predicted(backend)] * times))
    return [*rows, hashed(settings.folder, 5)]


def soaked(backend: str, steps: int, folder: Path) -> dict[str, Any]:
    """Train for a number of steps in 20 epochs, after three for warm-up, and watch memory and files."""
    size = steps // 20
    x, y = data(8 * size - 3)
    watch = Watch(x[:9], y[:9])
    callbacks = [
        Checkpoint(folder / f"{backend}.safetensors", keep=2),
        CSVLog(folder / f"{backend}.csv"),
        JSONLog(folder / f"{backend}.jsonl"),
        EarlyStopping(monitor="loss", patience=1000, restore_best=True),
        watch,
    ]
    gc.collect()
    gc.freeze()  # existing objects are not collected after each epoch
    tracemalloc.start()
    try:
        with patch.object(replay, "PATIENCE", 0.0):  # LLVM is loaded now, not in the middle
            trainer = trainer_of(backend, 0)
            trainer.fit(x, y, epochs=23, batch_size=8, callbacks=callbacks, verbose=0)
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    memory, files = zip(*watch.seen[2:], strict=True)
    grown = max(memory) - memory[0]
    good = int(grown < LIMIT and len(set(files)) == 1)
    open_files = f"{min(files)} to {max(files)}" if max(files) else "not listed by this system"
    found = {"grown by, KB": grown / 1024, "open": open_files}
    return outcome(f"{steps:,} steps, {backend}", good, 1 - good, **found)


class Watch(Callback):
    """Use the trainer after each epoch, and record memory and the number of open files."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.data = x, y
        self.seen: list[tuple[int, int]] = []

    def on_epoch_end(self, trainer: ab.Trainer, logs: dict[str, float]) -> None:
        trainer.predict(self.data[0])
        trainer.evaluate(*self.data)
        gc.collect()
        place = next((place for place in PLACES if os.path.isdir(place)), None)
        self.seen.append((tracemalloc.get_traced_memory()[0], len(os.listdir(place)) if place else 0))


def together(name: str, works: list[Callable[[int], bytes]]) -> dict[str, Any]:
    """Run each task in eight threads at once and in one, and compare the results for the numbers 0 to 7."""
    same = []
    for work in works:
        begin = Barrier(THREADS)

        def at_once(k: int, work: Callable[[int], bytes] = work, begin: Barrier = begin) -> bytes:
            begin.wait()
            return work(k)

        with ThreadPoolExecutor(THREADS) as pool:
            given = list(pool.map(at_once, range(THREADS)))  # first, before anything is compiled
        same += [work(k) == by_thread for k, by_thread in enumerate(given)]
    return outcome(name, sum(same), len(same) - sum(same))


def trained(backend: str) -> Callable[[int], bytes]:
    """Return a function that trains the trainer of a seed and returns its weights."""
    x, y = data(300)

    def work(k: int) -> bytes:
        trainer = trainer_of(backend, k)
        trainer.fit(x, y, epochs=5, batch_size=16, validation_split=0.1, verbose=0)
        weights = np.concatenate([w.ravel() for w in trainer.parameters().values()])
        return weights.tobytes() + repr(trainer.history.rows).encode()

    return work


def predicted(backend: str) -> Callable[[int], bytes]:
    """Return a function that predicts with one shared trainer; its number sets the rows and their count."""
    x, y = data(300)
    trainer = trainer_of(backend, 0)
    trainer.fit(x, y, epochs=1, verbose=0)

    def work(k: int) -> bytes:
        own = np.random.default_rng(k).normal(size=(20, 1 + k // 2, x.shape[1]))
        return b"".join(trainer.predict(part).tobytes() for part in own)

    return work


def hashed(folder: Path, processes: int) -> dict[str, Any]:
    """Train in processes with other values of PYTHONHASHSEED, and compare their files."""
    seen = []
    for seed in range(processes):
        before = f"import os; os.environ['PYTHONHASHSEED'] = '{seed}'"
        trial = Run(folder / f"hash{seed}", 2, (*OPTIONS, "--dropout", "0.2"), before)
        code, err = trial.finish()
        if code:
            raise RuntimeError(f"the run with hash seed {seed} failed: {err.strip()}")
        seen.append([(trial.folder / name).read_bytes() for name in (CHECKPOINT, "history.csv")])
    same = sum(files == seen[0] for files in seen[1:])
    return outcome("processes with other hash seeds than the first", same, processes - 1 - same)


def trainer_of(backend: str, seed: int) -> ab.Trainer:
    return ab.Trainer(
        MODEL, "softmax_cross_entropy", OPTIMIZER, backend=backend, seed=seed, metrics=["accuracy", "f1"]
    )


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (n, 12) and labels of three classes."""
    rng = np.random.default_rng(n)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 12)) + 2.0 * np.eye(3, 12)[y], y
