"""The trainer: its parameters, its state, its errors, and how it describes the model's outputs."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback.metrics._base import metric as make_metric
from tests.conftest import require
from tests.training.trainers import assert_same_weights, classifier, quiet


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
