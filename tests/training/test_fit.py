"""Epochs, batches, reported losses and learning rates against figures computed by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Callback, ReduceOnPlateau
from anyback.schedules import Cosine, OneCycle, Step
from tests.training.trainers import assert_same_weights, classifier, quiet, regressor

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
