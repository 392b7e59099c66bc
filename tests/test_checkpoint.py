"""Interrupted, loaded and resumed is as if nothing had happened; what is no whole checkpoint is refused."""

from __future__ import annotations

import json
import os
import pickle
import stat
import zipfile
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from conftest import require

import anyback as ab
from anyback import initializers, layers, losses, metrics, optimizers, schedules
from anyback.callbacks import Checkpoint, EarlyStopping, Lambda, ReduceOnPlateau
from anyback.checkpoint import CheckpointError, config, files

require("safetensors")

rng = np.random.default_rng(0)
Y = np.arange(30) % 3
X = rng.normal(size=(30, 4)) + np.eye(3, 4)[Y]
WEIGHT = rng.uniform(0.5, 1.5, 30)


def make(optimizer="Adam", backend="numpy", **options):
    """A trainer with everything that has a state."""
    if isinstance(optimizer, str):
        optimizer = getattr(ab, optimizer)()
    lr = optimizer.lr
    optimizer = replace(optimizer, lr=schedules.Warmup(schedules.Cosine(lr, period=9), steps=3))
    model = ab.MLP([5], 3, activation="tanh", norm="batch", dropout=0.3)
    settings = {"clip_norm": 1.0, "l2": 1e-3, "standardize": True, "metrics": ["accuracy"], "seed": 5}
    return ab.Trainer(model, "softmax_cross_entropy", optimizer, backend=backend, **(settings | options))


FIT = {"validation_split": 0.2, "batch_size": 5, "accumulate": 2, "sample_weight": WEIGHT, "verbose": 0}


def watchers():
    return [EarlyStopping(patience=50), ReduceOnPlateau("val_accuracy", factor=0.5, patience=0)]


def everything(trainer):
    """All that a run is: arrays, figures, position."""
    arrays = {name: trainer.backend.to_numpy(value) for name, value in trainer.state().items()}
    place = (
        trainer.epoch,
        trainer.batch,
        trainer.updates,
        trainer.train_state.micro_batches,
        trainer.lr_factor,
    )
    states = [state for name, state in trainer.train_state.callback_states if name != "Checkpoint"]
    return arrays, (
        place,
        trainer.history.rows,
        states,
        trainer.train_state.showing_best,
        trainer.train_state.fit_config,
    )


def assert_same(a, b):
    (arrays, rest), (others, other_rest) = everything(a), everything(b)
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        assert value.dtype == others[name].dtype
        np.testing.assert_array_equal(value, others[name], name)
    assert rest == other_rest


# --- resuming ------------------------------------------------------------------------------------

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


# --- what cannot be stored -----------------------------------------------------------------------


@losses.loss(targets="labels", link="softmax")
def own_loss(pred, target):
    return losses.softmax_cross_entropy.__wrapped__(pred, target)


def halves(t):
    return 0.5**t


@pytest.mark.parametrize("part, thing", [("loss", own_loss), ("optimizer", ab.SGD(halves))])
def test_own_parts_are_given_again(tmp_path, part, thing):
    options = {"loss": "softmax_cross_entropy", "optimizer": "Adam", part: thing}
    trainer = ab.Trainer(ab.MLP([5], 3), backend="numpy", **options)
    trainer.fit(X, Y, verbose=0)
    trainer.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=f"{part}: .* pass it to Trainer.load again"):
        ab.Trainer.load(tmp_path / "run", backend="numpy")
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy", **{part: thing})
    for each in trainer, loaded:
        each.fit(X, Y, epochs=2, verbose=0)
    assert_same(trainer, loaded)


def test_what_is_given_must_fit_the_file(tmp_path):
    trainer = make()
    trainer.fit(X, Y, **FIT)
    trainer.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="shape"):
        ab.Trainer.load(tmp_path / "run", backend="numpy", model=ab.MLP([6], 3, norm="batch"))
    with pytest.raises(CheckpointError, match=r"the file lacks slots\.2"):
        ab.Trainer.load(tmp_path / "run", backend="numpy", optimizer=ab.Adam(amsgrad=True))
    with pytest.raises(ValueError, match="did you mean 'numpy'") as error:
        ab.Trainer.load(tmp_path / "run", backend="nunpy")
    assert not isinstance(error.value, CheckpointError), "the file is not to blame"


def test_arguments_of_numpy_types_can_be_stored(tmp_path):
    trainer = make(seed=np.int64(3), l1=np.float32(0.5), dtype=np.dtype("float32"), standardize=np.True_)
    fit = {**FIT, "batch_size": np.int64(5), "accumulate": np.int32(2), "validation_split": np.float32(0.2)}
    add = Lambda(on_epoch_end=lambda _, logs: logs.update(extra=np.float32(1.5)))
    trainer.fit(X, Y, epochs=np.int64(1), shuffle=np.True_, callbacks=[add], **fit)
    trainer.save(tmp_path / "run")
    assert ab.Trainer.load(tmp_path / "run", backend="numpy").history["extra"] == [1.5]


def test_a_run_that_left_the_numbers_is_stored_as_it_is(tmp_path):
    trainer = ab.Trainer(ab.MLP([], 1), "mean_squared_error", backend="numpy").build(4)
    trainer.set_state({**trainer.state(), "w": np.array([np.nan, np.inf, -np.inf, 1.0, 0.0], "float32")})
    trainer.history.rows.append({"epoch": 1, "loss": np.inf, "lr": np.nan})
    trainer.save(tmp_path / "run")
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy")
    np.testing.assert_array_equal(loaded.weights, trainer.weights)
    np.testing.assert_array_equal(loaded.history["loss"], trainer.history["loss"])


# --- files that are refused ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    trainer = make()
    trainer.fit(X, Y, callbacks=watchers(), **FIT)
    path = tmp_path_factory.mktemp("saved") / "run"
    trainer.save(path)
    return path.read_bytes()


def refused(path, match="."):
    with pytest.raises(CheckpointError, match=match) as error:
        ab.Trainer.load(path, backend="numpy")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.9, 0.9999])
def test_truncated_is_refused(tmp_path, saved, share):
    path = tmp_path / "run"
    path.write_bytes(saved[: int(share * len(saved))])
    refused(path)
    path.write_bytes(saved + b"\0")
    refused(path)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_a_flipped_byte_is_refused_wherever_it_is(tmp_path, saved, flip):
    path = tmp_path / "run"
    header = 8 + int.from_bytes(saved[:8], "little")
    draw = np.random.default_rng(flip)
    for place in [*range(12), *draw.integers(12, header, 60), *draw.integers(header, len(saved), 60), -1]:
        altered = bytearray(saved)
        altered[place] ^= flip
        path.write_bytes(altered)
        refused(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "run"
    refused(path, "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"w": np.ones(3)}, protocol))
        refused(path, "pickle or an archive, which could run code: refused")
    path.write_bytes(pickle.dumps({"w": [1.0]}, 0))
    refused(path)
    np.savez(tmp_path / "w.npz", w=np.ones(3))
    refused(tmp_path / "w.npz", "pickle or an archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"")
    refused(path, "pickle or an archive")
    for content in (b"", b"\n", b'{"w": 1}', b"[" * 100_000, b"\xff" * 100, b"\0" * 100, b"\x93NUMPY"):
        path.write_bytes(content)
        refused(path, "truncated, altered, or not of anyback")


def with_header(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_other_safetensors_are_refused(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "run"
    for content in (
        save({"w": np.ones(3)}),
        save({"w": np.ones(3)}, {"anyback": "{}"}),
        save({"w": np.ones(3)}, {"anyback": "{}", "sha256": "0"}),
        with_header({"__metadata__": {"anyback": "{}", "sha256": "0"}}),
        with_header({"__metadata__": {"anyback": 1, "sha256": 2}}),
        with_header({"__metadata__": []}),
        with_header([1, 2]),
    ):
        path.write_bytes(content)
        refused(path)


def test_files_with_a_right_sum_but_a_wrong_description_are_refused(tmp_path, saved):
    path = tmp_path / "run"
    path.write_bytes(saved)
    arrays, described = files.read(path)
    described.pop("format")
    files.write(path, arrays, described)
    ab.Trainer.load(path, backend="numpy")
    unknown = {**described["model"], "layers": [{"is": "layers.Convolution"}]}
    outside = {**described["model"], "layers": [{"is": "os.system", "command": "true"}]}
    for change, match in (
        ({"format": files.FORMAT + 1}, "has format 2, this anyback reads up to 1"),
        ({"model": unknown}, "description names layers.Convolution, which anyback does not have"),
        ({"model": outside}, "description names os.system, which anyback does not have"),
        ({"loss": {"is": "losses.own_loss"}}, "names losses.own_loss"),
        ({"optimizer": {"is": "optimizers.Adam", "rate": 1}}, "does not describe a trainer"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"in_shape": [5]}, "does not describe a trainer"),
        ({"position": None}, "does not describe a trainer"),
        ({"limits": {"l3": 1}}, "does not describe a trainer"),
        ({"limits": {**described["limits"], "l1": 10**400}}, "does not describe a trainer"),
        ({"position": [1, 2, -3, 4]}, "position must be four counts, got .1, 2, -3, 4"),
        ({"lr_factor": "1"}, "lr_factor must be a number, not negative, got '1'"),
        ({"showing_best": 1}, "showing_best must be true or false, got 1"),
        ({"history": [{"loss": 1.0}]}, "history must be rows of numbers with an epoch, got"),
        ({"callbacks": [["EarlyStopping", []]]}, "callbacks must be names with states, got"),
        ({"fit": {}}, "fit must be what a fit began with, got {}"),
    ):
        files.write(path, arrays, {**described, **change})
        refused(path, match)
    files.write(path, arrays, {name: value for name, value in described.items() if name != "seed"})
    refused(path, "does not describe a trainer: 'seed'")
    files.write(path, {name: a for name, a in arrays.items() if name != "w"}, described)
    refused(path, "the file lacks w")
    files.write(path, {**arrays, "w": arrays["w"][:-1]}, described)
    refused(path, "w has shape .* where the model needs")
    files.write(path, {**arrays, "w": arrays["w"].astype("int32")}, described)
    refused(path, "w is int32 of shape .* where the model needs float32")
    files.write(path, {**arrays, "../w": np.ones(1)}, described)
    refused(path, "the file has '../w' beside it")
    files.write(path, {**arrays, "scaler.mean": np.ones(1)}, described)
    refused(path, "scaler.mean must have shape")
    files.write(path, {name: a for name, a in arrays.items() if name != "scaler.mean"}, described)
    refused(path, "the file lacks scaler.mean")


# --- writing -------------------------------------------------------------------------------------


def test_a_header_of_any_length_is_read(tmp_path):
    """A header of 640 or 1,152 bytes begins as a pickle does, one of 19,280 as an archive."""
    path = tmp_path / "run"
    seen = set()
    files.write(path, {"w": np.ones(2)}, {"padding": ""})
    shortest = int.from_bytes(path.read_bytes()[:8], "little")
    for length in (640, 896, 1152, 1408, 19280):
        padding = "x" * (length - shortest)
        files.write(path, {"w": np.ones(2)}, {"padding": padding})
        seen.add(path.read_bytes()[:2])
        assert files.read(path)[1]["padding"] == padding
    assert seen == {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"}


@pytest.mark.parametrize("array", [
    np.arange(12.0).reshape(3, 4).T, np.arange(12)[::-2], np.float32(3.0), np.zeros((0, 3)),
    np.arange(24, dtype="float32").reshape(2, 3, 4).swapaxes(0, 2), np.array([np.nan, -0.0, np.inf]),
    np.asfortranarray(np.arange(6, dtype="int32").reshape(2, 3)),
])  # fmt: skip
def test_arrays_of_any_layout_come_back(tmp_path, array):
    files.write(tmp_path / "run", {"a": array}, {"x": [1, None, "é"]})
    arrays, described = files.read(tmp_path / "run")
    np.testing.assert_array_equal(arrays["a"], array)
    assert arrays["a"].shape == np.shape(array)
    assert described == {"format": files.FORMAT, "x": [1, None, "é"]}


def test_nothing_is_left_and_the_umask_rules(tmp_path):
    old = os.umask(0o027)
    try:
        files.write(tmp_path / "run", {"a": np.ones(2)}, {})
    finally:
        os.umask(old)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o640


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_old_file_survives_a_failure(tmp_path, monkeypatch, failing):
    trainer = make()
    trainer.fit(X, Y, **FIT)
    trainer.save(tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    trainer.fit(X, Y, epochs=2, **FIT)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        trainer.save(tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r".*run needs the folder .*nowhere, which is not"):
        make().build(4).save(tmp_path / "nowhere" / "run")


# --- descriptions --------------------------------------------------------------------------------

SCHEDULES = {
    "Constant": schedules.Constant(0.1),
    "Cosine": schedules.Cosine(0.1, period=7, multiplier=2, floor=0.01),
    "Cyclic": schedules.Cyclic(0.1, 0.2, up=3, down=4, mode="triangular2"),
    "Exponential": schedules.Exponential(0.1, 0.9, every=2),
    "InverseTime": schedules.InverseTime(0.1, 0.5),
    "OneCycle": schedules.OneCycle(0.1, steps=9, anneal="linear"),
    "Piecewise": schedules.Piecewise([3, 5], [0.1, 0.2, 0.3]),
    "Polynomial": schedules.Polynomial(0.1, steps=5, power=2.0),
    "Step": schedules.Step(0.1, every=3),
    "Warmup": schedules.Warmup(schedules.Cosine(0.1, period=7), steps=3),
}
LAYERS = {
    "Layer": layers.Layer(),
    "Activation": ab.Activation(partial(ab.activations.leaky_relu, **{})),
    "BatchNorm": ab.BatchNorm(momentum=0.2, eps=1e-3),
    "Dense": ab.Dense(3, bias=False, initializer=initializers.orthogonal),
    "Dropout": ab.Dropout(0.25),
    "Flatten": ab.Flatten(),
    "LayerNorm": ab.LayerNorm(eps=1e-6),
    "MLP": ab.MLP([3], 2, activation="gelu", norm="layer", dropout=0.1),
    "Residual": ab.Residual([ab.Dense(4), ab.Activation("tanh"), ab.Dense(4)]),
    "Sequential": ab.Sequential([ab.Flatten(), ab.Dense(4), ab.Residual(ab.Dense(4))]),
}


def round_trip(thing):
    return config.from_config(json.loads(json.dumps(config.to_config(thing))))


def test_all_that_can_be_described_is_listed_here():
    assert set(SCHEDULES) == set(schedules.__all__)
    assert set(LAYERS) == set(layers.__all__)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_come_back(name):
    schedule = SCHEDULES[name]
    back = round_trip(schedule)
    assert type(back) is type(schedule)
    assert [back(t) for t in range(20)] == [schedule(t) for t in range(20)]
    optimizer = ab.AdamW(lr=schedule, betas=(0.8, 0.9))
    assert [round_trip(optimizer).scalars(t) for t in range(1, 9)] == [
        optimizer.scalars(t) for t in range(1, 9)
    ]


@pytest.mark.parametrize("name", optimizers.__all__)
def test_optimizers_come_back(name):
    optimizer = getattr(optimizers, name)(lr=0.123)
    assert round_trip(optimizer) == optimizer
    assert all(hasattr(round_trip(optimizer), field.name) for field in fields(optimizer))


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back(name, bound):
    layer = LAYERS[name].bind((4,))[0] if bound else LAYERS[name]
    back = round_trip(layer)
    assert config.to_config(back) == config.to_config(layer)
    if name not in ("Layer", "Activation"):
        assert back == layer
    if bound:
        assert back.specs() == layer.specs()


@pytest.mark.parametrize("thing", [
    losses.huber, partial(losses.huber, delta=2.0), metrics.accuracy, partial(metrics.top_k_accuracy, k=2),
    "huber", None, partial(losses.softmax_cross_entropy, class_weight=[1.0, 2.0], label_smoothing=0.1),
])  # fmt: skip
def test_formulas_come_back(thing):
    back = round_trip(thing)
    if isinstance(thing, partial):
        assert back.func is thing.func
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in back.keywords.items()} == thing.keywords
    else:
        assert back is thing or back == thing


@pytest.mark.parametrize("described", [
    {"is": "layers.Convolution"}, {"is": "os.system"}, {"is": "layers"}, {"is": "layers.replace"}, {},
    {"is": "layers.__builtins__"}, {"is": "losses.namespace"}, [{"is": "builtins.eval"}],
])  # fmt: skip
def test_unknown_names_are_refused(described):
    with pytest.raises(ValueError, match="which anyback does not have"):
        config.from_config(described)


@pytest.mark.parametrize(
    "thing", [own_loss, halves, partial(own_loss), partial(losses.huber, 1), np.ones(2), object()]
)
def test_what_is_not_of_anyback_is_not_described(thing):
    with pytest.raises(TypeError):
        config.to_config(thing)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"format": "x"}', "not JSON", "[" * 100_000])
def test_a_right_sum_over_a_wrong_description_is_refused(tmp_path, text):
    from safetensors.numpy import save

    arrays = {"w": np.ones(2)}
    data = save(arrays, {"anyback": text, "sha256": files._digest(arrays, text)})
    (tmp_path / "run").write_bytes(data)
    refused(tmp_path / "run", "truncated, altered, or not of anyback")


def test_metrics_that_are_given_take_the_place_of_those_of_the_file(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(24, 3)), np.arange(24) % 2
    options = {"backend": "numpy", "metrics": ["accuracy"]}
    trainer = ab.Trainer(ab.MLP([4], 2), "softmax_cross_entropy", **options)
    trainer.fit(x, y, epochs=2, verbose=0)
    trainer.save(path := tmp_path / "run")
    for names in ([], ["accuracy"], ["top_k_accuracy", "accuracy"]):
        loaded = ab.Trainer.load(path, backend="numpy", metrics=names)
        loaded.fit(x, y, epochs=3, verbose=0)
        assert set(loaded.history.last) == {"epoch", "loss", "lr", *names}
    trainer.fit(x, y, epochs=3, verbose=0)
    np.testing.assert_array_equal(loaded.weights, trainer.weights)
    stop = Lambda(on_update=lambda t: setattr(t, "stop", True))
    trainer.fit(x, y, epochs=4, batch_size=8, callbacks=[stop], verbose=0)
    trainer.save(path)
    with pytest.raises(CheckpointError, match="'tally.accuracy'"):  # half an epoch's sums are of the old ones
        ab.Trainer.load(path, backend="numpy", metrics=[])


def test_what_is_wrong_with_what_is_given_is_not_the_files_fault(tmp_path):
    trainer = ab.Trainer(ab.MLP([4], 1), "huber", backend="numpy").build(3)
    trainer.save(path := tmp_path / "run")
    for given, message in (
        ({"optimizer": "Adamm"}, "^optimizer must be one of .*did you mean 'Adam'"),
        ({"optimizer": 3}, "^optimizer must be a name or an Optimizer"),
        ({"metrics": ["acuracy"]}, "^metric must be one of .*did you mean 'accuracy'"),
        ({"metrics": "r2"}, "^metrics must be a sequence"),
        ({"model": "mlp"}, "^model must be a Layer"),
    ):
        with pytest.raises((TypeError, ValueError), match=message) as error:
            ab.Trainer.load(path, **given)
        assert not isinstance(error.value, CheckpointError)
