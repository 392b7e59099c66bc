"""A step reads nothing back, and an epoch a few numbers whatever the count of its batches (law 8)."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import optimizers
from anyback.backends import backend
from anyback.callbacks import EarlyStopping, NaNGuard, ReduceOnPlateau
from tests.conftest import require

BACK = ["__float__", "__int__", "__bool__", "__complex__", "__index__"]
BACK += ["__array__", "__dlpack__", "__len__", "to_device"]
rng = np.random.default_rng(0)
X = rng.normal(size=(64, 4))
Y = np.arange(64) % 3


class Counter:
    """How often a value left the device, or came to it."""

    def __init__(self):
        self.reads, self.uploads = [], 0


@pytest.fixture
def counted(monkeypatch):
    """Count every road from an array of array-api-strict back to the host, and uploads to it."""
    strict = require("array_api_strict")
    kind, counter = type(strict.ones(1)), Counter()

    def wrap(name):
        original = getattr(kind, name)

        def method(self, *arguments, **options):
            if self.device == strict.Device("device1"):
                counter.reads.append(name)
            return original(self, *arguments, **options)

        monkeypatch.setattr(kind, name, method)

    for name in BACK:
        if hasattr(kind, name):
            wrap(name)
    connected = type(backend("array_api_strict"))
    upload = connected.asarray

    def asarray(self, *arguments, **options):
        counter.uploads += 1
        return upload(self, *arguments, **options)

    monkeypatch.setattr(connected, "asarray", asarray)
    return counter


def epoch_counts(counter, make, batch_size, **fit):
    """Reads and uploads of one epoch in the middle of a fit, after everything has been set up."""
    trainer, marks = make(), []

    class Mark(ab.callbacks.Callback):
        order = 1000

        def on_epoch_end(self, trainer, logs):
            marks.append((len(counter.reads), counter.uploads))

    callbacks = [*fit.pop("callbacks", []), Mark()]
    trainer.fit(X, Y, batch_size=batch_size, epochs=3, verbose=0, callbacks=callbacks, **fit)
    assert trainer.updates
    (reads, uploads), (more_reads, more_uploads) = marks[1:]
    assert len(counter.reads) > 0, "the guard must see that something is read"
    return more_reads - reads, more_uploads - uploads


def make(optimizer="Adam", **options):
    settings = {"norm": "layer", "dropout": 0.2, **options.pop("mlp", {})}
    return partial(
        ab.Trainer,
        ab.MLP([5], 3, **settings),
        options.pop("loss", "softmax_cross_entropy"),
        optimizer,
        backend="array_api_strict:device1",
        **options,
    )


METRICS = ["accuracy", "f1", "precision", partial(ab.metrics.top_k_accuracy, k=2)]
CASES = {
    **{name: (make(name), {}, 2) for name in optimizers.__all__},
    "batch norm": (make(mlp={"norm": "batch"}), {}, 2),
    "clip_norm": (make(clip_norm=0.1), {}, 2),
    "clip_value": (make(clip_value=0.1), {}, 2),
    "schedule": (make(ab.Adam(ab.schedules.Cosine(0.1, period=50))), {}, 2),
    "penalties": (make(l1=0.1, l2=0.1), {}, 3),
    "weights": (make(), {"sample_weight": np.linspace(0, 2, 64), "class_weight": {0: 2.0}}, 2),
    "class_weight of the loss": (
        make(loss=partial(ab.losses.softmax_cross_entropy, class_weight=[1.0, 2.0, 3.0])), {}, 2,
    ),
    "metrics": (make(metrics=METRICS), {}, 7),
    "accumulate": (make(), {"accumulate": 2}, 2),
    "accumulated weights": (make(clip_norm=1.0), {"accumulate": 3, "sample_weight": np.ones(64)}, 2),
    "validation": (make(metrics=["accuracy"]), {"validation_data": (X, Y)}, 8),
    "callbacks": (make(), {
        "validation_data": (X, Y), "callbacks": [EarlyStopping(), ReduceOnPlateau(), NaNGuard()],
    }, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_reads_the_same_few_numbers_whatever_its_batches(counted, name):
    made, fit, expected = CASES[name]
    few = epoch_counts(counted, made, 16, **fit)
    many = epoch_counts(counted, made, 4, **fit)
    assert few == many, "reads and uploads must not grow with the batches"
    assert few[0] == expected, (
        "loss, weight, samples for metrics, each metric and penalty; as many for validation"
    )
    assert few[1] <= 12


def test_a_step_reads_nothing(counted):
    trainer = make(metrics=METRICS, clip_norm=1.0, l1=0.1)().build(4)
    put = trainer.backend.asarray
    data = put(X, "float32"), put(Y), put(np.ones(64), "float32")
    rows = trainer.backend.indices(np.arange(16))
    counted.reads.clear()
    state = (
        trainer.train_state.w,
        trainer.train_state.slots,
        trainer.train_state.stats,
        trainer.train_state.sums,
    )
    state = trainer.bound.steps(
        state, (trainer.bound.mask, data), [(rows, trainer.optimizer.scalars(t), 123) for t in (1, 2, 3)]
    )
    total = trainer.train_state.w * 0.0, trainer.bound.sums.zeros()["weight"]
    total, stats, tally = trainer.bound.accumulate(total, *state[2:], state[0], data, rows, 5)
    trainer.bound.finish(state[0], state[1], total, trainer.bound.mask, trainer.optimizer.scalars(4))
    trainer.bound.measure(tally, state[0], stats, data, rows)
    assert counted.reads == []


def test_the_guard_sees_every_road_back(counted):
    strict = require("array_api_strict")
    x = strict.ones((), dtype=strict.float32, device=strict.Device("device1"))
    i = strict.ones((), dtype=strict.int64, device=strict.Device("device1"))
    float(x), bool(i), int(i), complex(x), range(3)[i], x.to_device(strict.Device("CPU_DEVICE"))
    assert counted.reads[:3] == ["__float__", "__bool__", "__int__"]
    assert {"__complex__", "__index__", "to_device"} <= set(counted.reads)


@pytest.mark.parametrize("optimizer", optimizers.__all__)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_needs_no_value(optimizer, weighted):
    """On PyTorch's device `meta` there are no values to read."""
    torch = require("torch")
    trainer = ab.Trainer(
        ab.MLP([5], 3, norm="batch", dropout=0.2),
        "softmax_cross_entropy",
        optimizer,
        backend="torch:meta",
        metrics=METRICS,
        clip_norm=1.0,
        clip_value=1.0,
        l1=0.1,
        l2=0.1,
    ).build(4)
    put = trainer.backend.asarray
    data = put(X, "float32"), put(Y), put(np.ones(64), "float32") if weighted else None
    rows = trainer.backend.indices(np.arange(16))
    state = (
        trainer.train_state.w,
        trainer.train_state.slots,
        trainer.train_state.stats,
        trainer.train_state.sums,
    )
    batch = rows, trainer.optimizer.scalars(1), 77
    w, slots, stats, tally = trainer.bound.steps(state, (trainer.bound.mask, data), [batch])
    assert w.device == torch.device("meta")
    assert w.shape == trainer.weights.shape
    assert len(slots) == len(trainer.optimizer.slots)
    assert tally["loss"].shape == ()
    total, _, tally = trainer.bound.accumulate((w * 0.0, tally["weight"]), stats, tally, w, data, rows, 78)
    trainer.bound.finish(w, slots, total, trainer.bound.mask, trainer.optimizer.scalars(2))
    trainer.bound.measure(tally, w, stats, data, rows)
    trainer.bound.forward(w, stats, data[0])


def test_jax_compiles_a_step_once_for_each_size_of_batch():
    require("jax")
    trainer = ab.Trainer(
        ab.MLP([5], 3, dropout=0.2),
        "softmax_cross_entropy",
        ab.Adam(ab.schedules.Cosine(0.1, period=20)),
        backend="jax",
    )
    trainer.fit(X, Y, batch_size=20, epochs=4, verbose=0, callbacks=[ReduceOnPlateau("loss", patience=0)])
    (compiled,) = trainer.bound.steps.args
    assert compiled._cache_size() == 2, "batches of 20 and of the 4 that are left"


def test_class_weights_are_uploaded_once(monkeypatch):
    strict = require("array_api_strict")
    loss = partial(ab.losses.softmax_cross_entropy, class_weight=[1.0, 2.0, 3.0])
    trainer = ab.Trainer(ab.MLP([5], 3), loss, backend="array_api_strict:device1").build(X.shape[1])

    def never(*arguments, **options):
        raise AssertionError("an upload within a step")

    held = trainer.bound.step.loss.__self__.bound["class_weight"]
    assert held.device == strict.Device("device1")
    data = trainer.bound.input_spec(trainer.train_state.scaler).put(
        *trainer.bound.input_spec(trainer.train_state.scaler).check(X, Y)
    )
    monkeypatch.setattr(strict, "asarray", never)
    state = (
        trainer.train_state.w,
        trainer.train_state.slots,
        trainer.train_state.stats,
        trainer.train_state.sums,
    )
    trainer.bound.steps(state, (1.0, data), [(None, trainer.optimizer.scalars(1), 1)])
