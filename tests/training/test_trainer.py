"""What fit, predict and evaluate mean: every figure against one computed by hand or by another road."""

from __future__ import annotations

import re
import signal
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Callback, EarlyStopping, Lambda, ReduceOnPlateau
from anyback.metrics._base import metric as make_metric
from anyback.random import Draw, Purpose
from anyback.schedules import Cosine, OneCycle, Step
from tests.conftest import require


def classifier(loss="softmax_cross_entropy", optimizer="Adam", model=None, **options):
    options = {"backend": "numpy", "dtype": "float64", **options}
    return ab.Trainer(model or ab.MLP([6], 3, activation="tanh"), loss, optimizer, **options)


def regressor(optimizer="Adam", hidden=(6,), loss="mean_squared_error", **options):
    return classifier(loss, optimizer, ab.MLP(hidden, 1, activation="tanh"), **options)


@pytest.fixture
def line():
    """A linear problem with noise: x (40, 3), y (40,)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    return x, x @ [1.0, -2.0, 0.5] + 0.3 + 0.1 * rng.normal(size=40)


def quiet(trainer, *data, **options):
    return trainer.fit(*data, **{"verbose": 0, **options})


def assert_same_weights(a, b, **tolerance):
    for name, w in a.parameters().items():
        np.testing.assert_allclose(w, b.parameters()[name], **({"rtol": 0, "atol": 0} | tolerance))


# --- epochs and batches --------------------------------------------------------------------------


def test_epochs_is_the_total_and_a_second_fit_continues(blobs):
    whole, parts = classifier(), classifier()
    quiet(whole, *blobs, epochs=4)
    assert len(quiet(parts, *blobs, epochs=1)) == 1
    assert len(quiet(parts, *blobs, epochs=4)) == 4
    assert len(quiet(parts, *blobs, epochs=3)) == 4, "there is nothing left to do"
    assert_same_weights(whole, parts)
    assert parts.history.rows == whole.history.rows
    assert parts.history["epoch"] == [1, 2, 3, 4]
    assert (parts.epoch, parts.batch, parts.updates) == (4, 0, 12)


@pytest.mark.parametrize(
    "batch_size, updates",
    [(None, 1), (1, 96), (32, 3), (40, 3), (95, 2), (96, 1), (1000, 1), (np.int64(48), 2)],
)
def test_every_batch_size_goes_once_through_the_data(blobs, batch_size, updates):
    trainer = classifier(optimizer=ab.SGD(1e-12))
    history = quiet(trainer, *blobs, batch_size=batch_size)
    assert trainer.updates == updates
    # With a rate of next to nothing the epoch's loss is that of the initial weights, partial batches or not.
    assert history.last["loss"] == pytest.approx(trainer.evaluate(*blobs)["loss"], abs=1e-9)


def test_full_batch_is_one_step_of_gradient_descent(line):
    x, y = line
    trainer = regressor(ab.SGD(0.1), hidden=()).build(3)
    w, b = (trainer.parameters()[name].copy() for name in ("0.weight", "0.bias"))
    quiet(trainer, x, y, batch_size=None)
    error = x @ w[0] + b - y
    np.testing.assert_allclose(
        trainer.parameters()["0.weight"][0], w[0] - 0.1 * 2 * error @ x / 40, rtol=1e-13
    )
    np.testing.assert_allclose(trainer.parameters()["0.bias"], b - 0.1 * 2 * error.mean(), rtol=1e-13)
    assert trainer.history.last["loss"] == pytest.approx((error**2).mean(), rel=1e-13)


def test_shuffle_false_takes_the_samples_in_order(line):
    x, y = line
    fitted = regressor(ab.SGD(0.05), hidden=()).build(3)
    w, b = (fitted.parameters()[name].copy() for name in ("0.weight", "0.bias"))
    quiet(fitted, x, y, batch_size=16, shuffle=False)
    for rows in (slice(0, 16), slice(16, 32), slice(32, 40)):
        error = x[rows] @ w[0] + b - y[rows]
        w, b = w - 0.05 * 2 * error @ x[rows] / len(error), b - 0.05 * 2 * error.mean()
    np.testing.assert_allclose(fitted.parameters()["0.weight"], w, rtol=1e-12)
    shuffled = regressor(ab.SGD(0.05), hidden=())
    quiet(shuffled, x, y, batch_size=16)
    assert np.abs(shuffled.parameters()["0.weight"] - w).max() > 1e-6


def test_each_epoch_has_its_own_order_and_a_seed_its_own_run(blobs):
    runs = [classifier(seed=seed) for seed in (0, 0, 1)]
    for run in runs:
        quiet(run, *blobs)
    assert_same_weights(runs[0], runs[1])
    assert np.abs(runs[0].parameters()["0.weight"] - runs[2].parameters()["0.weight"]).max() > 1e-3


# --- the loss that is reported -------------------------------------------------------------------


class Steps(Callback):
    """Remember the weights after every update."""

    def __init__(self):
        self.seen = []

    def on_update(self, trainer):
        self.seen.append(trainer.parameters())


@pytest.mark.parametrize("batch_size", [16, 40])
def test_epoch_loss_is_the_weighted_mean_over_the_epoch(line, batch_size):
    x, y = line
    weight = np.random.default_rng(2).uniform(0, 3, 40)
    steps = Steps()
    trainer = regressor(ab.SGD(0.05), hidden=()).build(3)
    before = [trainer.parameters()]
    quiet(trainer, x, y, batch_size=batch_size, shuffle=False, sample_weight=weight, callbacks=[steps])
    total = 0.0
    for i, parameters in enumerate(before + steps.seen[:-1]):
        rows = slice(i * batch_size, min((i + 1) * batch_size, 40))
        error = x[rows] @ parameters["0.weight"][0] + parameters["0.bias"] - y[rows]
        total += weight[rows] @ error**2
    assert trainer.history.last["loss"] == pytest.approx(total / weight.sum(), rel=1e-12)


def test_weight_two_is_the_sample_twice_and_weight_zero_none(line):
    x, y = line
    weight = np.ones(40)
    weight[3], weight[7] = 2.0, 0.0
    rows = np.array([*(i for i in range(40) if i != 7), 3])
    weighted, repeated = regressor(), regressor()
    quiet(weighted, x, y, sample_weight=weight, batch_size=None, epochs=5)
    quiet(repeated, x[rows], y[rows], batch_size=None, epochs=5)
    assert_same_weights(weighted, repeated, atol=1e-12)
    np.testing.assert_allclose(weighted.history["loss"], repeated.history["loss"], rtol=1e-12)
    assert weighted.evaluate(x, y, sample_weight=weight)["loss"] == pytest.approx(
        repeated.evaluate(x[rows], y[rows])["loss"], rel=1e-12
    )


def test_a_batch_without_weight_changes_nothing(line):
    x, y = line
    weight = np.repeat([0.0, 1.0], 20)
    trainer = regressor(ab.SGD(0.1)).build(3)
    before, steps = trainer.parameters(), Steps()
    quiet(trainer, x, y, sample_weight=weight, batch_size=20, shuffle=False, callbacks=[steps])
    for name, w in steps.seen[0].items():
        np.testing.assert_array_equal(w, before[name])
    assert np.isfinite(trainer.history.last["loss"])


@pytest.mark.parametrize("given", [{0: 2.0, 2: 0.5}, [2.0, 1.0, 0.5], np.array([2.0, 1.0, 0.5])])
def test_class_weight_weighs_the_samples_of_a_class(blobs, given):
    x, y = blobs
    by_class, by_sample = classifier(metrics=["accuracy"]), classifier(metrics=["accuracy"])
    extra = np.linspace(0.5, 1.5, 96)
    quiet(by_class, x, y, class_weight=given, sample_weight=extra, epochs=2)
    quiet(by_sample, x, y, sample_weight=np.array([2.0, 1.0, 0.5])[y] * extra, epochs=2)
    assert_same_weights(by_class, by_sample)
    assert by_class.history.rows == by_sample.history.rows


def test_class_weight_of_two_classes_with_one_output(blobs):
    x, y = blobs[0], (blobs[1] > 0) * 1.0
    runs = [regressor(loss="binary_cross_entropy") for _ in range(2)]
    quiet(runs[0], x, y, class_weight={1: 3.0})
    quiet(runs[1], x, y, sample_weight=1.0 + 2.0 * y)
    assert_same_weights(*runs)


def test_a_loss_with_class_weight_as_option_reports_its_own_mean(blobs):
    x, y = blobs
    option = classifier(partial(ab.losses.softmax_cross_entropy, class_weight=[2.0, 1.0, 0.5]))
    argument = classifier()
    quiet(option, x, y, batch_size=40, epochs=2)
    quiet(argument, x, y, batch_size=40, epochs=2, class_weight=[2.0, 1.0, 0.5])
    assert_same_weights(option, argument, atol=1e-12)
    np.testing.assert_allclose(option.history["loss"], argument.history["loss"], rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_accumulated_batches_equal_one_large_batch(line, optimizer, weighted):
    x, y = line
    weight = np.random.default_rng(0).uniform(0, 2, 40) if weighted else None
    options = {"l2": 0.01, "clip_norm": 0.5}
    large, small = regressor(optimizer, **options), regressor(optimizer, **options)
    quiet(large, x, y, batch_size=15, epochs=3, sample_weight=weight)  # 15, 15, 10
    quiet(small, x, y, batch_size=5, accumulate=3, epochs=3, sample_weight=weight)  # 5 5 5, 5 5 5, 5 5
    assert_same_weights(large, small, atol=1e-12)
    assert small.updates == large.updates == 9
    np.testing.assert_allclose(large.history["loss"], small.history["loss"], rtol=1e-12)
    np.testing.assert_allclose(large.history["penalty"], small.history["penalty"], rtol=1e-12)


@pytest.mark.parametrize("penalty", [{"l1": 0.03}, {"l2": 0.07}, {"l1": 0.02, "l2": 0.05}])
def test_penalties_are_in_the_gradient_and_in_the_history(line, penalty):
    x, y = line
    trainer = regressor(ab.SGD(1.0), **penalty).build(3)
    before = trainer.parameters()

    def value(parameters):
        weights = [w for name, w in parameters.items() if name.endswith("weight")]
        sizes = sum(np.abs(w).sum() for w in weights), sum((w**2).sum() for w in weights)
        return penalty.get("l1", 0) * sizes[0] + penalty.get("l2", 0) * sizes[1]

    def objective(parameters):
        h = np.tanh(x @ parameters["0.weight"].T + parameters["0.bias"])
        out = h @ parameters["2.weight"].T + parameters["2.bias"]
        return np.mean((out[:, 0] - y) ** 2) + value(parameters)

    quiet(trainer, x, y, batch_size=None)
    after, eps = trainer.parameters(), 1e-6
    for name, w in before.items():
        for place in np.ndindex(w.shape):
            there, back = ({**before, name: w.copy()} for _ in range(2))
            there[name][place] += eps
            back[name][place] -= eps
            slope = (objective(there) - objective(back)) / (2 * eps)
            assert w[place] - after[name][place] == pytest.approx(slope, abs=1e-7)
    assert trainer.history.last["penalty"] == pytest.approx(value(after), rel=1e-12)
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(objective(after) - value(after), rel=1e-12)


def test_clipping_bounds_the_step(line):
    x, y = line
    for options, norm in ({"clip_norm": 0.1}, 2), ({"clip_value": 0.1}, np.inf):
        trainer = regressor(ab.SGD(1.0), **options).build(3)
        before = np.array(trainer.weights)
        quiet(trainer, x, 100 * y, batch_size=None)
        assert np.linalg.norm(trainer.weights - before, norm) == pytest.approx(0.1, rel=1e-12)


# --- learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule", [Cosine(0.1, period=10), Step(0.1, every=4, factor=0.5), OneCycle(0.1, steps=12)]
)
def test_a_schedule_counts_updates(line, schedule):
    x, y = line
    scheduled, steps = regressor(ab.SGD(schedule), hidden=()), Steps()
    quiet(scheduled, x, y, batch_size=10, epochs=3, shuffle=False, callbacks=[steps])
    assert scheduled.history["lr"] == [schedule(4), schedule(8), schedule(12)]
    w = regressor(hidden=()).build(3).parameters()
    for t, seen in enumerate(steps.seen):
        rows = slice(t % 4 * 10, t % 4 * 10 + 10)
        error = x[rows] @ w["0.weight"][0] + w["0.bias"] - y[rows]
        np.testing.assert_allclose(
            seen["0.weight"][0], w["0.weight"][0] - schedule(t) * 2 * error @ x[rows] / 10, rtol=1e-12
        )
        w = seen


@pytest.mark.parametrize("lr", [0.1, Step(0.1, every=1, factor=0.5)])
def test_reduce_on_plateau_multiplies_whatever_the_rate_is(line, lr):
    plateau = ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=1e9, floor=0.2)
    trainer = regressor(ab.SGD(lr))
    quiet(trainer, *line, batch_size=None, epochs=10, callbacks=[plateau])
    rate = lr if callable(lr) else lambda t: lr
    # The first epoch counts as better than nothing, then every second one has waited too long.
    factors = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert trainer.history["lr"] == pytest.approx([f * rate(t + 1) for t, f in enumerate(factors)])
    assert trainer.lr_factor == 0.2


# --- validation ----------------------------------------------------------------------------------


def test_validation_split_is_drawn_by_the_seed_and_never_trained_on(line):
    x, y = line
    trainer = regressor(metrics=["mean_absolute_error"])
    seen = []

    def look(trainer, logs):
        data, held = trainer.loop.data.data, trainer.loop.data.validation
        seen.append((np.array(data[0]), np.array(held[0])))
        assert logs["val_loss"] == pytest.approx(
            np.mean((trainer.predict(held[0]) - held[1]) ** 2), rel=1e-12
        )
        assert logs["val_mean_absolute_error"] == pytest.approx(
            np.abs(trainer.predict(held[0]) - held[1]).mean(), rel=1e-12
        )

    quiet(trainer, x, y, validation_split=0.25, epochs=2, callbacks=[Lambda(on_epoch_end=look)])
    train, held = seen[0]
    assert (len(train), len(held)) == (30, 10)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held]), axis=0), np.sort(x, axis=0))
    np.testing.assert_array_equal(held, seen[1][1])
    other = regressor(seed=1)
    quiet(
        other,
        x,
        y,
        validation_split=0.25,
        callbacks=[Lambda(on_epoch_end=lambda t, _: seen.append(t.loop.data))],
    )
    assert not np.array_equal(held, seen[-1].validation[0])


def test_standardising_is_fitted_on_the_training_part_alone(line):
    x, y = 1e9 + 3.0 * line[0], line[1]
    trainer, seen = regressor(standardize=True, dtype="float32"), []
    watch = Lambda(on_fit_start=lambda t: seen.append(t.loop.data))
    quiet(trainer, x, y, validation_split=0.25, epochs=2, callbacks=[watch])
    inputs = np.array(seen[0].data[0])
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=0), 1, rtol=1e-6)
    assert np.abs(np.array(seen[0].validation[0]).mean(axis=0)).max() > 1e-3
    own = (x - trainer.train_state.scaler.mean) / trainer.train_state.scaler.scale
    direct = regressor(dtype="float32")
    direct.build(3).set_state(trainer.state())
    np.testing.assert_array_equal(trainer.predict(x), direct.predict(own))
    mean = trainer.train_state.scaler.mean
    quiet(trainer, x + 100.0, y, epochs=3)
    assert trainer.train_state.scaler.mean is mean, (
        "a second fit keeps the scale that its weights were made for"
    )


def test_validation_data_and_its_weights(line):
    x, y = line
    weight = np.linspace(0, 2, 10)
    trainer = regressor()
    quiet(trainer, x[:30], y[:30], validation_data=(x[30:], y[30:], weight))
    error = (trainer.predict(x[30:])[:, 0] - y[30:]) ** 2
    assert trainer.history.last["val_loss"] == pytest.approx(weight @ error / weight.sum(), rel=1e-12)
    quiet(trainer, x[:30], y[:30], validation_data=[x[30:], y[30:]], epochs=2)
    error = (trainer.predict(x[30:])[:, 0] - y[30:]) ** 2
    assert trainer.history.last["val_loss"] == pytest.approx(error.mean(), rel=1e-12)


def test_validation_changes_no_weight(blobs):
    x, y = blobs
    model = ab.MLP([6], 3, norm="batch", dropout=0.3)
    runs = [classifier(model=model) for _ in range(2)]
    quiet(runs[0], x, y, epochs=3)
    quiet(runs[1], x, y, epochs=3, validation_data=(x + 1.0, y))
    assert_same_weights(*runs)
    for name, value in runs[0].statistics().items():
        np.testing.assert_array_equal(value, runs[1].statistics()[name])


# --- metrics, predictions ------------------------------------------------------------------------

CLASS_METRICS = ["accuracy", "precision", "recall", "f1", partial(ab.metrics.top_k_accuracy, k=2)]


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_in_the_history_are_those_of_predictions(blobs, weighted):
    x, y = blobs
    weight = np.random.default_rng(0).uniform(0, 2, 96) if weighted else None
    trainer = classifier(metrics=CLASS_METRICS)
    held = (x, y) if weight is None else (x, y, weight)
    quiet(trainer, x, y, validation_data=held, epochs=2)
    pred = trainer.predict(x)
    figures = trainer.evaluate(x, y, sample_weight=weight, batch_size=17)
    for metric in CLASS_METRICS:
        function = metric if callable(metric) else getattr(ab.metrics, metric)
        name = getattr(function, "__name__", "top_k_accuracy")
        expected = function(pred, y, sample_weight=weight)
        assert trainer.history.last[f"val_{name}"] == pytest.approx(expected, rel=1e-12)
        assert figures[name] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "metric", ["r2", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error"]
)
def test_metrics_of_regression_match_predictions(line, metric):
    x, y = line
    trainer = regressor(metrics=[metric])
    quiet(trainer, x, y, epochs=2)
    expected = getattr(ab.metrics, metric)(trainer.predict(x), y[:, None])
    assert trainer.evaluate(x, y, batch_size=7)[metric] == pytest.approx(expected, rel=1e-10)
    assert np.isfinite(trainer.history.last[metric])


def test_accuracy_of_signs_and_of_one_output(blobs):
    x, y = blobs
    signs = np.where(y > 0, 1.0, -1.0)
    for loss, target in ("hinge", signs), ("binary_cross_entropy", (signs + 1) / 2):
        trainer = regressor(loss=loss, metrics=["accuracy"])
        quiet(trainer, x, target, epochs=3)
        right = np.mean((trainer.predict(x)[:, 0] > 0) == (signs > 0))
        assert trainer.evaluate(x, target)["accuracy"] == pytest.approx(right)


def test_shapes_and_dtypes_of_predictions(blobs, line):
    trainer = classifier(dtype="float32")
    quiet(trainer, *blobs)
    pred = trainer.predict(blobs[0], batch_size=7)
    assert (pred.shape, pred.dtype) == ((96, 3), np.float32)
    np.testing.assert_allclose(trainer.predict(blobs[0]), pred, rtol=1e-5, atol=1e-6)
    proba = trainer.predict_proba(blobs[0])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(proba.argmax(axis=1), pred.argmax(axis=1))
    one = regressor()
    quiet(one, *line)
    assert one.predict(line[0]).shape == (40, 1)
    assert one.predict(line[0]).dtype == np.float64
    assert one.predict(line[0][:1]).shape == (1, 1)
    with pytest.raises(
        ValueError, match="predict_proba needs a loss whose link is .* got 'mean_squared_error'"
    ):
        one.predict_proba(line[0])


def test_probabilities_of_one_output_are_sigmoids(blobs):
    trainer = regressor(loss="binary_cross_entropy")
    quiet(trainer, blobs[0], blobs[1] > 0)
    z = trainer.predict(blobs[0])
    np.testing.assert_allclose(trainer.predict_proba(blobs[0]), 1 / (1 + np.exp(-z)), rtol=1e-12)


def test_dropout_is_off_and_running_statistics_are_used_outside_training(blobs):
    trainer = classifier(model=ab.MLP([6], 3, norm="batch", dropout=0.5))
    quiet(trainer, *blobs, epochs=2)
    np.testing.assert_array_equal(trainer.predict(blobs[0]), trainer.predict(blobs[0]))
    np.testing.assert_allclose(trainer.predict(blobs[0])[:5], trainer.predict(blobs[0][:5]), rtol=1e-12)
    assert set(trainer.statistics()) == {"1.running_mean", "1.running_var"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_of_the_dtype_asked_for(blobs, dtype):
    trainer = classifier(dtype=dtype, model=ab.MLP([6], 3, norm="batch", dropout=0.1), clip_norm=1.0, l2=0.01)
    weight = np.ones(96)
    quiet(trainer, *blobs, sample_weight=weight, accumulate=2, validation_split=0.2)
    assert {v.dtype.name for k, v in trainer.state().items() if not k.startswith("t")} == {dtype}
    assert trainer.predict(blobs[0]).dtype == dtype


# --- problems that must be learned ---------------------------------------------------------------


def test_learns_regression(line):
    trainer = regressor(ab.SGD(0.1), hidden=(), metrics=["r2"])
    quiet(trainer, *line, epochs=40, batch_size=8)
    x = np.c_[line[0], np.ones(40)]
    best = np.linalg.lstsq(x, line[1], rcond=None)[0]
    np.testing.assert_allclose(trainer.parameters()["0.weight"][0], best[:3], atol=0.05)
    assert trainer.evaluate(*line)["r2"] > 0.99


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "multiclass_hinge", partial(ab.losses.multiclass_hinge, squared=True)]
)
def test_learns_classes(blobs, loss):
    trainer = classifier(loss, ab.Adam(0.03), metrics=["accuracy"])
    quiet(trainer, *blobs, epochs=15)
    assert trainer.evaluate(*blobs)["accuracy"] > 0.95
    assert trainer.history["loss"][-1] < 0.5 * trainer.history["loss"][0]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge", "focal"])
def test_learns_two_classes(blobs, loss):
    x, y = blobs
    target = np.where(y == 0, 1.0, -1.0 if loss == "hinge" else 0.0)
    trainer = regressor(ab.Adam(0.03), loss=loss, metrics=["accuracy"])
    quiet(trainer, x, target, epochs=15)
    assert trainer.evaluate(x, target)["accuracy"] > 0.95


def test_learns_several_labels_at_once(blobs):
    x, y = blobs
    target = np.stack([y == 0, y == 1, y != 2], axis=1)
    trainer = classifier("binary_cross_entropy", ab.Adam(0.03))
    quiet(trainer, x, target, epochs=20)
    assert np.mean((trainer.predict_proba(x) > 0.5) == target) > 0.95


def test_learns_probabilities_as_targets(blobs):
    x, y = blobs
    soft = 0.9 * np.eye(3)[y] + 0.1 / 3
    trainer = classifier("softmax_cross_entropy", ab.Adam(0.03), metrics=["accuracy"])
    quiet(trainer, x, soft, epochs=15)
    assert trainer.evaluate(x, soft)["accuracy"] > 0.95


def test_samples_of_several_axes(blobs):
    x, y = blobs[0].reshape(96, 2, 2), blobs[1]
    model = ab.Sequential([ab.Flatten(), ab.Dense(6), ab.Activation("tanh"), ab.Dense(3)])
    trainer = classifier(optimizer=ab.Adam(0.03), model=model, metrics=["accuracy"])
    quiet(trainer, x, y, epochs=15)
    assert trainer.predict(x).shape == (96, 3)
    assert trainer.evaluate(x, y)["accuracy"] > 0.95


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
def test_a_backend_trains_as_numpy_does(blobs, name):
    require(name)
    runs = [
        classifier(
            backend=backend, model=ab.MLP([6], 3, activation="tanh", norm="layer", dropout=0.2), clip_norm=1.0
        )
        for backend in ("numpy", name)
    ]
    for run in runs:
        quiet(
            run,
            *blobs,
            epochs=2,
            validation_split=0.2,
            accumulate=2,
            batch_size=10,
            sample_weight=np.ones(96),
        )
    assert_same_weights(*runs, atol=1e-10)
    for a, b in zip(runs[0].history, runs[1].history, strict=True):
        assert a == pytest.approx(b, abs=1e-10)


# --- History and what is shown -------------------------------------------------------------------


def test_history_reads_like_a_table(blobs):
    trainer = classifier(metrics=["accuracy"], l2=1e-3)
    history = quiet(trainer, *blobs, epochs=2, validation_split=0.2)
    assert history is trainer.history
    assert history.names == ["epoch", "loss", "accuracy", "penalty", "val_loss", "val_accuracy", "lr"]
    assert [row["loss"] for row in history] == history["loss"]
    assert history.last == history.rows[-1]
    assert all(type(v) is (int if k == "epoch" else float) for row in history for k, v in row.items())
    with pytest.raises(KeyError, match="val_loss"):
        history["f1"]
    assert ab.History().last == {} and repr(ab.History()) == "<History of 0 epochs>"
    assert re.fullmatch(r"<History of 2 epochs, the last: loss .*, lr \S+>", repr(history))


def test_verbose_is_silent_a_bar_or_a_line_an_epoch(blobs, capsys):
    quiet(classifier(), *blobs, epochs=2)
    assert capsys.readouterr() == ("", "")
    trainer = classifier(metrics=["accuracy"])
    trainer.fit(*blobs, epochs=2, verbose=2)
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(":")[0] for line in out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert f"loss {trainer.history.last['loss']:.4g}, accuracy" in out
    trainer.fit(*blobs, epochs=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "numpy float64" in err and "9/9" in err and "accuracy=" in err
    trainer.fit(*blobs, epochs=3)
    assert capsys.readouterr() == ("", "epochs=3 is the total: 3 are done already\n")


def test_figures_that_a_callback_adds_enter_the_history(blobs):
    quiet(
        trainer := classifier(),
        *blobs,
        callbacks=[Lambda(on_epoch_end=lambda _, logs: logs.update(extra=1.5))],
    )
    assert trainer.history["extra"] == [1.5]


# --- early stopping: the best weights at every exit ----------------------------------------------


class Stop(Exception):
    pass


def raising(error, epoch):
    def function(trainer, logs):
        if trainer.epoch == epoch:
            raise error

    callback = Lambda(on_epoch_end=function)
    callback.order = 10
    return callback


class Record(Callback):
    """Weights after each epoch."""

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, trainer, logs):
        self.weights.append(np.array(trainer.backend.to_numpy(trainer.train_state.w)))


def overfitting(line, **options):
    """A run whose validation loss rises: it learns the wrong line."""
    x, y = line
    trainer = regressor(ab.SGD(0.05), hidden=(), **options)
    return trainer, (x, -y), (x + 0.1, y + 3.0 * x[:, 0])


EXITS = {"end": None, "stopped": None, "exception": Stop, "interrupt": KeyboardInterrupt}


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("leave", EXITS)
def test_best_weights_at_every_exit_and_the_last_to_go_on_from(line, backend, leave):
    require(backend)
    options = {"backend": backend, "dtype": "float64"}
    trainer, data, held = overfitting(line, **options)
    record, error = Record(), EXITS[leave]
    patience = 2 if leave == "stopped" else 100
    callbacks = [EarlyStopping(patience=patience), record]
    if error:
        with pytest.raises(error):
            quiet(trainer, *data, validation_data=held, epochs=9, callbacks=[*callbacks, raising(error, 7)])
    else:
        quiet(trainer, *data, validation_data=held, epochs=9, callbacks=callbacks)
    losses = trainer.history["val_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 2, "this run must get worse"
    assert len(losses) == {"end": 9, "stopped": best + 4}.get(leave, 7)
    np.testing.assert_array_equal(trainer.backend.to_numpy(trainer.weights), record.weights[best])
    assert trainer.evaluate(*held)["loss"] == pytest.approx(losses[best], rel=1e-12)
    # A fit that trains nothing leaves the best in their place; one that trains goes on from the last.
    quiet(trainer, *data, validation_data=held, epochs=1)
    assert trainer.evaluate(*held)["loss"] == pytest.approx(losses[best], rel=1e-12)
    quiet(trainer, *data, validation_data=held, epochs=12)
    plain, data, held = overfitting(line, **options)
    quiet(plain, *data, validation_data=held, epochs=12)
    np.testing.assert_array_equal(
        trainer.backend.to_numpy(trainer.weights), plain.backend.to_numpy(plain.weights)
    )
    assert trainer.history.rows == plain.history.rows


def test_interrupt_within_an_epoch_goes_on_within_it(line):
    def interrupt(trainer):
        if trainer.updates == 6 and not fired:
            fired.append(True)
            raise KeyboardInterrupt

    fired = []
    trainer, plain = regressor(), regressor()
    with pytest.raises(KeyboardInterrupt):
        quiet(trainer, *line, batch_size=10, epochs=3, callbacks=[Lambda(on_update=interrupt)])
    assert (trainer.epoch, trainer.batch) == (1, 2)
    with pytest.raises(
        ValueError, match="within an epoch, fit needs what it had before; other now: batch_size"
    ):
        quiet(trainer, *line, batch_size=20, epochs=3)
    quiet(trainer, *line, batch_size=10, epochs=3)
    quiet(plain, *line, batch_size=10, epochs=3)
    assert_same_weights(trainer, plain)
    assert trainer.history.rows == plain.history.rows


def test_parameters_are_copies(blobs):
    trainer = classifier()
    quiet(trainer, *blobs)
    before = trainer.predict(blobs[0])
    for value in trainer.parameters().values():
        value[...] = 0.0
    np.testing.assert_array_equal(trainer.predict(blobs[0]), before)
    kept = trainer.parameters()["0.weight"].copy()
    parameters = trainer.parameters()
    quiet(trainer, *blobs, epochs=3)
    np.testing.assert_array_equal(parameters["0.weight"], kept)


def test_two_trainers_share_a_model_and_nothing_else(blobs):
    model = ab.MLP([6], 3)
    first, second = classifier(model=model), classifier(model=model, seed=1)
    quiet(first, *blobs)
    kept = first.predict(blobs[0])
    quiet(second, blobs[0][:, :2], blobs[1])
    np.testing.assert_array_equal(first.predict(blobs[0]), kept)


@pytest.mark.parametrize(
    "use", ["weights", "parameters", "statistics", "predict", "predict_proba", "evaluate", "save", "state"]
)
def test_before_the_first_fit_an_error_says_what_to_do(use, blobs, tmp_path):
    arguments = {
        "predict": blobs[:1],
        "predict_proba": blobs[:1],
        "evaluate": blobs,
        "save": (tmp_path / "x",),
    }
    with pytest.raises(RuntimeError, match="no weights yet: call fit"):
        found = getattr(classifier(), use)
        found(*arguments.get(use, ()))
    assert not list(tmp_path.iterdir())


def test_metrics_do_not_take_the_class_weights_of_the_loss(blobs):
    x, y = blobs
    loss = partial(ab.losses.softmax_cross_entropy, class_weight=[0.2, 0.1, 0.3])
    trainer = ab.Trainer(ab.MLP([8], 3), loss, backend="numpy", metrics=["accuracy"])
    trainer.fit(x, y, epochs=2, verbose=0)
    right = np.mean(trainer.predict(x).argmax(axis=1) == y)
    assert trainer.evaluate(x, y)["accuracy"] == pytest.approx(right)


def test_class_weights_do_not_enter_validation(blobs):
    x, y = blobs
    weights = {0: 10.0, 1: 0.1, 2: 1.0}
    trainer = classifier()
    history = quiet(trainer, x, y, epochs=1, validation_split=0.25, class_weight=weights)
    order = Draw(0, Purpose.SPLIT).permutation(len(x))[: len(x) // 4]
    assert history["val_loss"][0] == pytest.approx(trainer.evaluate(x[order], y[order])["loss"])


def test_weights_of_zero_in_one_part_are_refused(blobs):
    x, y = blobs
    weight = np.ones(len(x))
    weight[Draw(0, Purpose.SPLIT).permutation(len(x))[: len(x) // 4]] = 0.0
    with pytest.raises(ValueError, match="sample_weight of the validation part"):
        quiet(classifier(), x, y, epochs=1, validation_split=0.25, sample_weight=weight)


def test_metrics_of_classes_refuse_several_labels_a_sample():
    x, y = np.eye(3), np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    trainer = ab.Trainer(ab.MLP([4], 3), "binary_cross_entropy", backend="numpy", metrics=["accuracy"])
    with pytest.raises(ValueError, match="y: metrics of classes take one class a sample, got 2 at row 0"):
        trainer.fit(x, y, verbose=0)
    ab.Trainer(ab.MLP([4], 3), "binary_cross_entropy", backend="numpy").fit(x, y, verbose=0)


def test_new_callbacks_begin_anew_and_old_best_weights_go(blobs):
    trainer = classifier()
    quiet(trainer, *blobs, epochs=3, validation_split=0.25, callbacks=[EarlyStopping()])
    quiet(trainer, *blobs, epochs=9, validation_split=0.25)
    late = trainer.evaluate(*blobs)
    quiet(trainer, *blobs, epochs=9, validation_split=0.25, callbacks=[EarlyStopping()])
    assert trainer.evaluate(*blobs) == late


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_weights_are_a_copy(blobs, library):
    require(library)
    trainer = classifier(backend=library).build(4)
    before = trainer.weights
    kept = np.array(before)
    quiet(trainer, *blobs, epochs=1)
    np.testing.assert_array_equal(before, kept)


def test_a_model_that_cannot_be_built_leaves_nothing_behind(blobs):
    trainer = classifier(metrics=["confusion_matrix"])
    for _ in range(2):
        with pytest.raises(ValueError, match="'confusion_matrix' is no single number"):
            quiet(trainer, *blobs, epochs=1)
    with pytest.raises(RuntimeError, match="call fit, or build"):
        trainer.predict(blobs[0])


def test_another_split_of_the_same_data_warns(blobs):
    trainer = classifier()
    quiet(trainer, *blobs, epochs=1, validation_split=0.25)
    with pytest.warns(UserWarning, match="validation now has rows that were trained on"):
        quiet(trainer, *blobs, epochs=2, validation_split=0.5)
    quiet(trainer, *blobs, epochs=3)  # without validation there is nothing to warn of


def test_stop_ends_training_after_the_batch_and_can_go_on(blobs):
    def stop(trainer):
        trainer.stop = trainer.updates == 2

    whole, trainer = classifier(), classifier()
    quiet(whole, *blobs, epochs=2)
    quiet(trainer, *blobs, epochs=2, callbacks=[Lambda(on_update=stop)])
    assert (trainer.epoch, trainer.batch) == (0, 2)
    quiet(trainer, *blobs, epochs=2)
    np.testing.assert_array_equal(trainer.weights, whole.weights)
    assert trainer.history.rows == whole.history.rows


def test_an_interrupted_epoch_can_be_given_up(blobs):
    x, y = blobs
    trainer = classifier()
    quiet(trainer, x, y, epochs=1, callbacks=[Lambda(on_update=lambda t: setattr(t, "stop", True))])
    with pytest.raises(ValueError, match="restart_epoch"):
        quiet(trainer, x, y, epochs=1, batch_size=8)
    trainer.restart_epoch()
    quiet(trainer, x, y, epochs=1, batch_size=8)
    assert (trainer.epoch, trainer.batch) == (1, 0)


def test_ctrl_c_finishes_the_batch(blobs):
    def press(trainer):
        if trainer.updates == 2:
            signal.raise_signal(signal.SIGINT)

    whole, trainer = classifier(), classifier()
    quiet(whole, *blobs, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        quiet(trainer, *blobs, epochs=2, callbacks=[Lambda(on_update=press)])
    assert trainer.batch == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    quiet(trainer, *blobs, epochs=2)
    np.testing.assert_array_equal(trainer.weights, whole.weights)


def test_fit_within_fit_is_refused(blobs):
    def again(trainer):
        trainer.fit(*blobs, epochs=9, verbose=0)

    with pytest.raises(RuntimeError, match="fit is running already"):
        quiet(classifier(), *blobs, epochs=1, callbacks=[Lambda(on_update=again)])


@pytest.mark.parametrize("value", [1e-44, 1e-20, 1e30, 3e38])
def test_only_ratios_of_weights_count(blobs, value):
    x, y = blobs
    plain, weighted = classifier(dtype="float32"), classifier(dtype="float32")
    quiet(plain, x, y, epochs=2, sample_weight=np.ones(len(y)))
    quiet(weighted, x, y, epochs=2, sample_weight=np.full(len(y), value))
    assert_same_weights(plain, weighted, atol=1e-5)
    assert weighted.history["loss"] == pytest.approx(plain.history["loss"], rel=1e-5)


def test_targets_of_a_divergence_are_distributions():
    trainer = ab.Trainer(ab.MLP([4], 3), "kl_divergence", backend="numpy")
    with pytest.raises(ValueError, match="y: probabilities of a row must sum to 1, got 0.3"):
        trainer.fit(np.eye(2), np.full((2, 3), 0.1), verbose=0)


def test_numpy_numbers_in_a_model_are_stored(blobs, tmp_path):
    trainer = classifier(model=ab.MLP([8], 3, dropout=np.float32(0.25)))
    quiet(trainer, *blobs, epochs=1)
    trainer.save(tmp_path / "run")
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy")
    np.testing.assert_array_equal(loaded.predict(blobs[0]), trainer.predict(blobs[0]))


def test_a_metric_cannot_take_the_name_of_a_sum_of_the_trainers_own(blobs):
    @make_metric(targets="labels")
    def samples(pred, target, weight):
        return np.sum(pred[..., 0], axis=-1)

    with pytest.raises(ValueError, match="names of their own in the history, got 'samples' again"):
        classifier(metrics=[samples])


def test_a_state_that_is_taken_up_stays_the_caller_s():
    trainer = ab.Trainer(ab.MLP([4], 2), "softmax_cross_entropy", backend="numpy")
    x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
    trainer.fit(x, y, epochs=3, verbose=0)
    state = {name: np.array(array) for name, array in trainer.state().items()}
    kept = {name: array.copy() for name, array in state.items()}
    trainer.set_state(state)
    trainer.fit(x, y, epochs=6, verbose=0)
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


@pytest.mark.parametrize("loss, last, units", [
    ("softmax_cross_entropy", ab.Activation("softmax"), 3),
    ("softmax_cross_entropy", ab.Sequential([ab.Activation(ab.activations.softmax)]), 3),
    ("binary_cross_entropy", ab.Activation("sigmoid"), 1),
])  # fmt: skip
def test_what_a_loss_applies_by_itself_is_said_at_the_end_of_a_model(loss, last, units):
    """Twice applied it trains, worse, and without a word."""
    trainer = ab.Trainer(ab.Sequential([ab.Dense(units), last]), loss, backend="numpy")
    with pytest.warns(UserWarning, match=f"model ends in .*, which loss '{loss}' applies by itself"):
        trainer.build(4)


def test_what_no_loss_applies_ends_a_model_without_a_word():
    model = ab.Sequential([ab.Dense(3), ab.Activation("softmax")])
    ab.Trainer(model, "mean_squared_error", backend="numpy").build(4)
    ab.Trainer(ab.Sequential([model, ab.Dense(3)]), "softmax_cross_entropy", backend="numpy").build(4)
