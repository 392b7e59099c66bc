"""What a checkpoint describes: layers, losses, optimizers, schedules and own parts."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import initializers, layers, losses, metrics, optimizers, schedules
from anyback.callbacks import Lambda
from anyback.checkpoint import CheckpointError, config
from tests.checkpoint.trainers import FIT, X, Y, assert_same, make
from tests.conftest import require

require("safetensors")


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
    assert back == (thing.func.bind(**thing.keywords) if isinstance(thing, partial) else thing)
    assert config.to_config(back) == config.to_config(thing)


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
