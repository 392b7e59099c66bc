"""Data for which a device has no room: brought there batch by batch, in the same order."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import anyback as ab
from anyback.backends import backend
from anyback.backends.cupy import CupyBackend
from anyback.engine import device
from anyback.training.full_batch import full_batch
from tests.conftest import require_backend
from tests.engine.emulated_gpu import COMPILER, Emulated

rng = np.random.default_rng(1)
X = rng.normal(size=(90, 5))
Y = np.arange(90) % 3
WEIGHT = rng.uniform(0.5, 1.5, 90)
EVERYWHERE = ["numpy", "array_api_strict:device1", "torch", "jax", "cupy", "torch:cuda"]


def trained(where, epochs=3, **options):
    trainer = ab.Trainer(
        ab.MLP([8], 3, dropout=0.2, norm="batch"),
        "softmax_cross_entropy",
        backend=where,
        seed=4,
        metrics=["accuracy"],
    )
    trainer.fit(
        X,
        Y,
        **{"sample_weight": WEIGHT, "batch_size": 16, "validation_split": 0.2, "verbose": 0} | options,
        epochs=epochs,
    )
    return trainer


def no_room(where, monkeypatch):
    monkeypatch.setattr(type(where), "fits", lambda self, size: False)
    return where


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"shuffle": False}, {"batch_size": None}])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_fed_batches_train_as_data_on_the_device_do(name, options, monkeypatch):
    require_backend(name)
    where = backend(name)
    resident = trained(where, **options)
    fed = trained(no_room(where, monkeypatch), **options)
    np.testing.assert_allclose(fed.parameters()["0.weight"], resident.parameters()["0.weight"], rtol=1e-6)
    for row, other in zip(fed.history, resident.history, strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    monkeypatch.undo()
    expected = fed.evaluate(X, Y)
    no_room(where, monkeypatch)
    assert fed.evaluate(X, Y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(COMPILER is None, reason="the emulator needs a C++ compiler")
def test_fed_batches_run_in_kernels(monkeypatch):
    monkeypatch.setattr(device, "PLAIN", 1)
    resident, gpu = trained("numpy"), no_room(Emulated(), monkeypatch)
    fed = trained(gpu)
    assert gpu.machine.launched
    np.testing.assert_allclose(fed.weights, resident.weights, rtol=0, atol=1e-6)


def test_an_epoch_goes_on_where_it_was_left(monkeypatch):
    where = no_room(backend("numpy"), monkeypatch)
    whole = trained(where)

    class Leave(ab.callbacks.Callback):
        def on_update(self, trainer):
            trainer.stop = trainer.updates == 7

    part = trained(where, callbacks=[Leave()])
    assert part.batch
    options = {"sample_weight": WEIGHT, "batch_size": 16, "validation_split": 0.2, "verbose": 0}
    part.fit(X, Y, epochs=3, **options)
    np.testing.assert_array_equal(part.weights, whole.weights)
    assert list(part.history) == list(whole.history)


def test_gradients_of_samples_and_minimize(monkeypatch):
    where, seen = backend("numpy"), []
    callback = ab.callbacks.Lambda(on_epoch_end=lambda trainer, logs: seen.append(trainer.loop.gradient(9)))
    trained(where, epochs=1, callbacks=[callback])
    trained(no_room(where, monkeypatch), epochs=1, callbacks=[callback])
    for name, g in seen[0].items():
        np.testing.assert_allclose(seen[1][name], g, rtol=1e-6, err_msg=name)
    trainer = ab.Trainer(ab.MLP([4], 3), "softmax_cross_entropy", backend=where)
    refused = pytest.raises(MemoryError, match="minimize needs all samples on numpy, where they do not fit")
    with refused, full_batch(trainer, X, Y):
        pass


# --- two buffers and two streams ----------------------------------------------------------------------------


class Played:
    """What CuPy is asked for, noted in order; copies happen when the host waits, as late as they may."""

    def __init__(self):
        self.log, self.waiting, self.streams = [], [], 0
        self.cuda = SimpleNamespace(
            Device=lambda index: self,
            Stream=self.stream,
            Event=self.event,
            alloc_pinned_memory=bytearray,
            get_current_stream=lambda: self.computing,
        )
        self.computing = self.stream()

    mem_info = (1000, 5000)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: 24)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def stream(self, non_blocking=False):
        name = ("computing", "copying")[min(self.streams, 1)]
        self.streams += 1
        return SimpleNamespace(
            name=name,
            wait_event=lambda event: self.log.append((name, "waits for", event.name)),
            synchronize=self.finish,
        )

    def event(self, disable_timing=False):
        event = SimpleNamespace(name=None, synchronize=self.finish)

        def record(stream):
            event.name = f"event {len(self.log)}"
            self.log.append((stream.name, "records", event.name))

        event.record = record
        return event

    def empty(self, shape, dtype):
        array = np.zeros(shape, dtype).view(OnGPU)
        array.played = self
        return array

    def finish(self):
        for copy in self.waiting:
            copy()
        self.waiting.clear()


class OnGPU(np.ndarray):
    def __array_finalize__(self, other):
        self.played = getattr(other, "played", None)

    @property
    def data(self):
        def copy_from_host_async(source, size, stream):
            assert stream.name == "copying"
            self.played.log.append(("copying", "copies", size))
            self.played.waiting.append(lambda: ctypes.memmove(self.ctypes.data, source, size))

        return SimpleNamespace(copy_from_host_async=copy_from_host_async)


def test_copies_go_beside_the_computing_and_never_over_what_is_in_use():
    played = Played()
    gpu = CupyBackend(played, None, 0)
    assert gpu.fits(512) and not gpu.fits(513)
    x, y = np.arange(40.0).reshape(10, 4), np.arange(10)
    rows = [np.array([3, 1, 2]), np.array([0, 9, 8]), np.array([7, 7, 6]), np.array([5])]
    for batch, (fed_x, fed_y, nothing) in zip(rows, gpu.feed((x, y, None), rows), strict=True):
        played.finish()
        np.testing.assert_array_equal(fed_x, x[batch])
        np.testing.assert_array_equal(fed_y, y[batch])
        assert nothing is None
    done = "computing", "records"
    order = [entry[:2] for entry in played.log if entry[1] != "copies"]
    ready = [("copying", "waits for"), ("copying", "records"), ("computing", "waits for")]
    first, again = [done, *ready, done], [*ready, done]
    assert order == first * 2 + again * 2
    used = [name for stream, what, name in played.log if (stream, what) == ("computing", "records")]
    waited = [name for stream, what, name in played.log if (stream, what) == ("copying", "waits for")]
    assert waited == [used[0], used[2], used[1], used[3]], "a buffer is filled after what used its memory"
    assert played.log[2] == ("copying", "copies", 3 * 4 * 8)
