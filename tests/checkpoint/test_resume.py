"""Interrupted, loaded and resumed is as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback import optimizers
from anyback.callbacks import Checkpoint, EarlyStopping
from tests.checkpoint.trainers import FIT, X, Y, assert_same, make, watchers
from tests.conftest import require

require("safetensors")


RESUMES = (
    [("numpy", name) for name in optimizers.__all__]
    + [(backend, name) for backend in ("torch", "array_api_strict") for name in ("Adam", "Momentum")]
    + [("jax", "Adam")]
)


@pytest.mark.parametrize("backend, optimizer", RESUMES)
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, backend, optimizer):
    require(backend)
    whole = make(optimizer, backend)
    # 24 samples, five batches, three updates an epoch: every second one ends within an epoch or at its end.
    saves = [
        Checkpoint(tmp_path / "u{update}", updates=2, every=99),
        Checkpoint(tmp_path / "e{epoch}", every=2),
    ]
    whole.fit(X, Y, epochs=4, callbacks=[*watchers(), *saves], **FIT)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["e2", "e4", "u10", "u12", "u2", "u4", "u6", "u8"]
    for name in files if (backend, optimizer) == ("numpy", "Adam") else ["u4"]:
        resumed = ab.Trainer.load(tmp_path / name, backend=backend)
        resumed.fit(X, Y, epochs=4, callbacks=watchers(), **FIT)
        assert_same(whole, resumed)


@pytest.mark.parametrize(
    "options", [{"dtype": "float64"}, {"clip_norm": None, "clip_value": 0.1, "l1": 1e-3}]
)
def test_resumed_with_other_settings(tmp_path, options):
    optimizers = [
        ab.RMSProp(centered=True, momentum=0.5),
        ab.Adam(amsgrad=True, weight_decay=0.1),
        ab.SGD(momentum=0.9, dampening=0.5),
    ]
    for optimizer in optimizers:
        whole = make(optimizer, **options)
        saves = Checkpoint(tmp_path / "u{update}", updates=4, every=99)
        whole.fit(X, Y, epochs=3, callbacks=[*watchers(), saves], **FIT)
        resumed = ab.Trainer.load(tmp_path / "u4", backend="numpy")
        assert resumed.updates == 4
        resumed.fit(X, Y, epochs=3, callbacks=watchers(), **FIT)
        assert_same(whole, resumed)


def test_half_an_accumulation_is_saved_too(tmp_path):
    whole, broken = make(), make().build(4)
    whole.fit(X, Y, epochs=2, callbacks=watchers(), **FIT)
    gather, calls = broken.bound.accumulate, []

    def interrupt(*arguments):
        calls.append(None)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return gather(*arguments)

    broken.bound.accumulate = interrupt
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, epochs=2, callbacks=watchers(), **FIT)
    assert broken.batch == 3, "one of two batches is gathered"
    broken.save(tmp_path / "run")
    resumed = ab.Trainer.load(tmp_path / "run", backend="numpy")
    assert_same(broken, resumed)
    resumed.fit(X, Y, epochs=2, callbacks=watchers(), **FIT)
    assert_same(whole, resumed)


def test_best_weights_are_shown_after_loading_and_the_last_gone_on_from(tmp_path):
    trainer = make(optimizer=ab.SGD(0.5))
    trainer.fit(X, Y, epochs=6, callbacks=[EarlyStopping(patience=50)], **FIT)
    trainer.save(tmp_path / "run")
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy")
    np.testing.assert_array_equal(loaded.weights, trainer.weights)
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    assert loaded.evaluate(X, Y) == trainer.evaluate(X, Y)
    for each in trainer, loaded:
        each.fit(X, Y, epochs=8, callbacks=[EarlyStopping(patience=50)], **FIT)
    assert_same(trainer, loaded)


def test_loaded_is_what_was_saved(tmp_path):
    trainer = make(l1=0.01, clip_value=2.0)
    trainer.fit(X, Y, epochs=2, callbacks=watchers(), **FIT)
    trainer.save(str(tmp_path / "run"))
    loaded = ab.Trainer.load(str(tmp_path / "run"), backend="numpy")
    assert_same(trainer, loaded)
    for name in (
        "model",
        "loss",
        "optimizer",
        "metrics",
        "limits",
        "seed",
        "dtype",
        "standardize",
        "in_shape",
    ):
        assert getattr(loaded, name) == getattr(trainer, name), name
    np.testing.assert_array_equal(loaded.train_state.scaler.scale, trainer.train_state.scaler.scale)
    for name, value in trainer.statistics().items():
        np.testing.assert_array_equal(loaded.statistics()[name], value)
    assert loaded.lr == trainer.lr


@pytest.mark.parametrize("save_on, load_on", [
    ("numpy", "torch"), ("numpy", "jax"), ("torch", "numpy"), ("jax", "array_api_strict:device1"),
    ("array_api_strict:device1", "numpy"),
])  # fmt: skip
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_a_file_opens_on_every_backend(tmp_path, save_on, load_on, dtype, tolerance):
    require(save_on.partition(":")[0])
    require(load_on.partition(":")[0])
    trainer = make(backend=save_on, dtype=dtype)
    trainer.fit(X, Y, epochs=1, **FIT)
    trainer.save(tmp_path / "run")
    loaded = ab.Trainer.load(tmp_path / "run", backend=load_on)
    assert loaded.backend.name == load_on
    np.testing.assert_allclose(loaded.predict(X), trainer.predict(X), rtol=tolerance, atol=tolerance)
    if "jax" not in (save_on, load_on):  # its compiler would take most of the time of this file
        loaded.fit(X, Y, epochs=2, **FIT)
        trainer.fit(X, Y, epochs=2, **FIT)
        np.testing.assert_allclose(loaded.predict(X), trainer.predict(X), rtol=0, atol=100 * tolerance)


def test_other_data_within_an_epoch_is_refused(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path / "u{update}", updates=2, every=9)], **FIT)
    for changed, what in (
        ({"x": X + 1.0}, "data"),
        ({"y": np.roll(Y, 1)}, "data"),
        ({"sample_weight": None}, "data"),
        ({"class_weight": {0: 2.0}}, "class_weight"),
        ({"batch_size": 6}, "batch_size"),
        ({"accumulate": 1}, "accumulate"),
        ({"shuffle": False}, "shuffle"),
        ({"validation_split": 0.3}, "validation_split"),
    ):
        loaded = ab.Trainer.load(tmp_path / "u4", backend="numpy")
        with pytest.raises(ValueError, match=f"needs what it had before; other now: {what} .restart"):
            loaded.fit(**({"x": X, "y": Y, "epochs": 2} | FIT | changed))
        assert loaded.updates == 4
    between = ab.Trainer.load(
        tmp_path / "u6", backend="numpy"
    )  # saved after the last update, before the epoch's end
    assert between.batch == 5
