"""Validation, metrics and predictions against figures computed by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Lambda
from anyback.random import Purpose, Stream
from tests.training.trainers import assert_same_weights, classifier, quiet, regressor

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
    order = Stream(0, Purpose.SPLIT).permutation(len(x))[: len(x) // 4]
    assert history["val_loss"][0] == pytest.approx(trainer.evaluate(x[order], y[order])["loss"])


def test_weights_of_zero_in_one_part_are_refused(blobs):
    x, y = blobs
    weight = np.ones(len(x))
    weight[Stream(0, Purpose.SPLIT).permutation(len(x))[: len(x) // 4]] = 0.0
    with pytest.raises(ValueError, match="sample_weight of the validation part"):
        quiet(classifier(), x, y, epochs=1, validation_split=0.25, sample_weight=weight)


def test_metrics_of_classes_refuse_several_labels_a_sample():
    x, y = np.eye(3), np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    trainer = ab.Trainer(ab.MLP([4], 3), "binary_cross_entropy", backend="numpy", metrics=["accuracy"])
    with pytest.raises(ValueError, match="y: metrics of classes take one class a sample, got 2 at row 0"):
        trainer.fit(x, y, verbose=0)
    ab.Trainer(ab.MLP([4], 3), "binary_cross_entropy", backend="numpy").fit(x, y, verbose=0)
