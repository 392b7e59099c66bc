"""Bad data, options and shapes are refused by name and place, before training."""

# ruff: noqa: E501 - in the tables a case is a line

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.callbacks import Checkpoint, EarlyStopping, Lambda, NaNGuard, ReduceOnPlateau
from tests.conftest import require
from tests.training.small_data import LABELS, REALS, X, changed, trainer

# --- refused by fit: name: (loss, x, y, arguments, the error) -------------------------------------

FITS = {
    "label too large": (3, X, changed(LABELS, 7, 3), {}, "y: labels must be integers in [0, 3), got 3 at row 7"),
    "label negative": (3, X, changed(LABELS, 2, -1), {}, "y: labels must be integers in [0, 3), got -1 at row 2"),
    "labels float": (3, X, LABELS + 0.5, {}, "labels must be integers in [0, 3), got float64 values such as 0.5"),
    "labels float but whole": (3, X, LABELS + 0.0, {}, "got float64 values such as 0.0: astype(int) makes labels of them"),
    "labels in columns": (3, X, np.stack([LABELS] * 2, axis=1), {}, "labels must have shape (12,), got (12, 2)"),
    "labels are words": (3, X, np.array(["a", "b", "c"] * 4), {}, "y must hold real numbers, got dtype <U1"),
    "probabilities do not sum": (3, X, np.full((12, 3), 0.5), {}, "probabilities of a row must sum to 1, got 1.5 at row 0"),
    "probabilities out of range": (3, X, np.tile([2.0, -1.0, 0.0], (12, 1)), {}, "must lie in [0, 1], got 2.0 at (0, 0)"),
    "x NaN": (3, changed(X, (5, 2), np.nan), LABELS, {}, "x must be finite, got nan at (5, 2)"),
    "x infinite": (3, changed(X, (0, 1), -np.inf), LABELS, {}, "x must be finite, got -inf at (0, 1)"),
    "x too large": (3, changed(X, (4, 3), 1e39), LABELS, {}, "x must fit into float32, got 1e+39 at (4, 3)"),
    "x empty": (3, X[:0], LABELS[:0], {}, "x must not be empty, got shape (0, 4)"),
    "x an empty list": (3, [], [], {}, "x must have shape (samples, features), got (0,)"),
    "x without features": (3, X[:, :0], LABELS, {}, "x must have samples of shape (4,), got (0,)"),
    "x of one axis": (3, X[:, 0], LABELS, {}, "x must have shape (samples, features), got (12,): one feature is x[:, None]"),
    "x a number": (3, 3.0, LABELS, {}, "x must have shape (samples, features), got ()"),
    "x objects": (3, X.astype(object), LABELS, {}, "x must hold real numbers, got dtype object"),
    "x words": (3, X.astype(str), LABELS, {}, "x must hold real numbers, got dtype <U"),
    "x complex": (3, X * 1j, LABELS, {}, "x must hold real numbers, got dtype complex128"),
    "x dates": (3, X.astype("M8[s]"), LABELS, {}, "x must hold real numbers, got dtype datetime64[s]"),
    "x ragged": (3, [[1.0], [2.0, 3.0]], LABELS, {}, "x must be an array or a nested list of numbers, got list"),
    "x None": (3, None, LABELS, {}, "x must hold real numbers, got dtype object"),
    "x masked": (3, np.ma.masked_array(X, X > 1), LABELS, {}, "x must have no masked elements, got"),
    "lengths differ": (3, X, LABELS[:-1], {}, "x and y must have the same number of rows, got 12 and shape (11,)"),
    "y a number": (1, X, 1.0, {}, "x and y must have the same number of rows, got 12 and shape ()"),
    "y NaN": (1, X, changed(REALS, 3, np.nan), {}, "y must be finite, got nan at (3, 0)"),
    "y too large": (1, X, changed(REALS, 3, 1e39), {}, "y must fit into float32, got 1e+39 at (3, 0)"),
    "y too wide": (1, X, X[:, :2], {}, "y must have shape (12, 1) for 1 outputs, got (12, 2)"),
    "y too narrow": (2, X, REALS, {}, "y must have shape (12, 2) for 2 outputs, got (12,)"),
    "y of three axes": (1, X, X[:, :1, None], {}, "y must have shape (12, 1) for 1 outputs, got (12, 1, 1)"),
    "y objects": (1, X, REALS.astype(object), {}, "y must hold real numbers, got dtype object"),
    "weight NaN": (3, X, LABELS, {"sample_weight": [np.nan] * 12}, "sample_weight must be finite, got nan at row 0"),
    "weight negative": (3, X, LABELS, {"sample_weight": [1.0] * 11 + [-2.0]}, "sample_weight must not be negative, got -2.0 at row 11"),
    "weights of another length": (3, X, LABELS, {"sample_weight": [1.0]}, "sample_weight must have shape (12,), got (1,)"),
    "weights in a column": (3, X, LABELS, {"sample_weight": np.ones((12, 1))}, "sample_weight must have shape (12,), got (12, 1)"),
    "weights all zero": (3, X, LABELS, {"sample_weight": np.zeros(12)}, "sample_weight must be above 0 somewhere, got 12 weights of 0"),
    "class unknown": (3, X, LABELS, {"class_weight": {3: 1.0}}, "class_weight names class 3, expected one of 0 to 2"),
    "class a word": (3, X, LABELS, {"class_weight": {"a": 1.0}}, "class_weight names class 'a', expected one of 0 to 2"),
    "class a fraction": (3, X, LABELS, {"class_weight": {1.5: 1.0}}, "class_weight names class 1.5"),
    "class weight negative": (3, X, LABELS, {"class_weight": {0: -1}}, "must be finite and not negative, got -1 for class 0"),
    "class weight a word": (3, X, LABELS, {"class_weight": {0: "x"}}, "must be finite and not negative, got 'x' for class 0"),
    "class weights too few": (3, X, LABELS, {"class_weight": [1, 2]}, "class_weight must give 3 values, got 2"),
    "class weights balanced": (3, X, LABELS, {"class_weight": "balanced"}, "class_weight must be a mapping or a sequence of numbers, got 'balanced'"),
    "class weights of numbers": (1, X, REALS, {"class_weight": {0: 1}}, "class_weight needs one class a sample, got it with loss 'mean_squared_error'"),
    "class weights of many labels": ("bce", X, X[:, :3] > 0, {"class_weight": {0: 1}}, "class_weight needs one class a sample, got it with loss 'binary_cross_entropy'"),
    "outside the unit interval": ("bce", X, changed(np.ones((12, 3)), (1, 2), 1.5), {}, "y must be in [0, 1], got 1.5 at (1, 2)"),
    "no sign": ("hinge", X, changed(np.ones(12), 4, 0.0), {}, "y must be -1 or 1, got 0.0 at (4, 0)"),
    "no count": ("poisson", X, changed(np.ones(12), 4, -1.0), {}, "y must be counts, not negative, got -1.0 at (4, 0)"),
    "epochs 0": (3, X, LABELS, {"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    "epochs 1.5": (3, X, LABELS, {"epochs": 1.5}, "epochs must be an integer of at least 1, got 1.5"),
    "batch_size 0": (3, X, LABELS, {"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    "batch_size -1": (3, X, LABELS, {"batch_size": -1}, "batch_size must be an integer of at least 1, got -1"),
    "batch_size 2.5": (3, X, LABELS, {"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
    "batch_size True": (3, X, LABELS, {"batch_size": True}, "batch_size must be an integer of at least 1, got True"),
    "batch_size a word": (3, X, LABELS, {"batch_size": "8"}, "batch_size must be an integer of at least 1, got '8'"),
    "accumulate 0": (3, X, LABELS, {"accumulate": 0}, "accumulate must be an integer of at least 1, got 0"),
    "verbose 3": (3, X, LABELS, {"verbose": 3}, "verbose must be 0, 1 or 2, got 3"),
    "split 1.0": (3, X, LABELS, {"validation_split": 1.0}, "validation_split must lie in [0, 1), got 1.0"),
    "split negative": (3, X, LABELS, {"validation_split": -0.1}, "validation_split must lie in [0, 1), got -0.1"),
    "split NaN": (3, X, LABELS, {"validation_split": np.nan}, "validation_split must lie in [0, 1), got nan"),
    "split a word": (3, X, LABELS, {"validation_split": "0.1"}, "validation_split must lie in [0, 1), got '0.1'"),
    "split too small": (3, X, LABELS, {"validation_split": 0.01}, "validation_split=0.01 of 12 samples leaves one part empty"),
    "both validations": (3, X, LABELS, {"validation_split": 0.1, "validation_data": (X, LABELS)}, "validation_split and validation_data exclude each other"),
    "validation x alone": (3, X, LABELS, {"validation_data": (X,)}, "validation_data must be (x, y) or (x, y, sample_weight), got 1 items"),
    "validation an array": (3, X, LABELS, {"validation_data": X[:2]}, "validation_data must be (x, y) or (x, y, sample_weight), got ndarray"),
    "validation NaN": (3, X, LABELS, {"validation_data": (X * np.nan, LABELS)}, "validation x must be finite, got nan at (0, 0)"),
    "validation label": (3, X, LABELS, {"validation_data": (X, LABELS + 1)}, "validation y: labels must be integers in [0, 3), got 3 at row 2"),
    "validation too wide": (3, X, LABELS, {"validation_data": (X[:, :2], LABELS)}, "validation x must have samples of shape (4,), got (2,)"),
    "callback's class": (3, X, LABELS, {"callbacks": [NaNGuard]}, "callbacks must be Callback objects such as EarlyStopping(), got <class"),
    "callback alone": (3, X, LABELS, {"callbacks": NaNGuard()}, "callbacks must be a sequence of Callback objects, got"),
    "monitor without data": (3, X, LABELS, {"callbacks": [EarlyStopping()]}, "monitor 'val_loss' needs validation_split or validation_data"),
    "outputs without an axis": ("image", X.reshape(12, 2, 2), LABELS, {}, "must give one row of outputs a sample, got shape (2, 3): add a Flatten"),
    "one output for labels": ("one", X, LABELS, {}, "model must have an output for each class, two at least"),
}  # fmt: skip
LOSSES = {
    1: ("mean_squared_error", 1),
    2: ("mean_squared_error", 2),
    3: ("softmax_cross_entropy", 3),
    "bce": ("binary_cross_entropy", 3),
    "hinge": ("hinge", 1),
    "poisson": ("poisson", 1),
    "image": ("softmax_cross_entropy", 3),
    "one": ("softmax_cross_entropy", 1),
}


def one_line(error, expected):
    message = str(error.value)
    assert expected in message, message
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize("name", FITS)
def test_fit_refuses_and_names(name):
    kind, x, y, arguments, expected = FITS[name]
    made = trainer(*LOSSES[kind])
    if kind not in ("image", "one"):
        made.build(4)
    before = None if made.in_shape is None else np.array(made.weights)
    with pytest.raises((TypeError, ValueError)) as error:
        made.fit(x, y, **{"verbose": 0, **arguments})
    one_line(error, expected)
    assert made.updates == made.epoch == 0
    assert len(made.history) == 0
    if before is not None:
        np.testing.assert_array_equal(made.weights, before)


def test_data_that_was_refused_does_not_settle_the_width():
    made = trainer()
    with pytest.raises(ValueError, match="labels"):
        made.fit(X[:, :2], LABELS + 5, verbose=0)
    with pytest.raises(RuntimeError, match="no weights yet"):
        made.weights  # noqa: B018 - the property raises
    made.fit(X, LABELS, verbose=0)
    assert made.predict(X).shape == (12, 3)


# --- refused by the trainer itself ---------------------------------------------------------------


@ab.metrics.metric(targets="reals")
def loss(pred, target, weight):
    return pred[..., 0].sum(axis=-1)


OPTIONS = {
    "loss half named": ({"loss": "cross_entropy"}, "did you mean 'binary_cross_entropy' or 'softmax_cross_entropy'?"),
    "loss unknown": ({"loss": "softmax_crossentropy"}, "did you mean 'softmax_cross_entropy'?"),
    "loss a function": ({"loss": abs}, "loss must be a name, or made by the decorator anyback.losses.loss"),
    "loss option": ({"loss": partial(ab.losses.huber, detla=1.0)}, "loss 'huber' has options ['delta'], got ['detla']"),
    "optimizer unknown": ({"optimizer": "adams"}, "optimizer must be one of SGD"),
    "optimizer class": ({"optimizer": ab.Adam}, "optimizer must be a name or an Optimizer such as anyback.Adam()"),
    "metric unknown": ({"metrics": ["acuracy"]}, "did you mean 'accuracy'?"),
    "metrics a word": ({"metrics": "accuracy"}, "metrics must be a sequence such as ['accuracy']"),
    "metric of reals": ({"metrics": ["r2"]}, "metric 'r2' compares with reals, but the targets of loss 'softmax_cross_entropy' are labels"),
    "metric of labels": ({"loss": "huber", "metrics": ["accuracy"]}, "metric 'accuracy' compares with labels, but the targets of loss 'huber' are reals"),
    "metric of many numbers": ({"metrics": ["confusion_matrix"]}, "metric 'confusion_matrix' is no single number"),
    "metric twice": ({"metrics": ["accuracy", "accuracy"]}, "metrics must have names of their own in the history, got 'accuracy' again"),
    "metric called loss": ({"loss": "huber", "metrics": [loss]}, "metrics must have names of their own in the history, got 'loss' again"),
    "backend unknown": ({"backend": "pytorch"}, "did you mean 'torch'?"),
    "backend a module": ({"backend": np}, "backend must be a name such as 'numpy' or 'torch:cuda'"),
    "dtype": ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
    "dtype a number": ({"dtype": 32}, "dtype must be 'float32' or 'float64', got 32"),
    "seed": ({"seed": -1}, "seed must be an integer in [0, 2**64), got -1"),
    "seed a fraction": ({"seed": 1.5}, "seed must be an integer in [0, 2**64), got 1.5"),
    "l1": ({"l1": -1.0}, "l1 must be finite and at least 0, got -1.0"),
    "l2 a word": ({"l2": "1e-3"}, "l2 must be finite and at least 0, got '1e-3'"),
    "clip_norm": ({"clip_norm": 0}, "clip_norm must be positive and finite, got 0"),
    "clip_value": ({"clip_value": np.inf}, "clip_value must be positive and finite, got inf"),
    "model": ({"model": [ab.Dense(3)]}, "model must be a Layer such as anyback.MLP"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_a_trainer_refuses_and_names(name):
    options, expected = OPTIONS[name]
    arguments = {"model": ab.MLP([5], 3), "loss": "softmax_cross_entropy", "backend": "numpy", **options}
    with pytest.raises((TypeError, ValueError)) as error:
        ab.Trainer(**arguments).build(4)
    message = str(error.value)
    assert expected in message, message
    assert "\n" not in message


@pytest.mark.parametrize("in_shape", [0, -1, 2.5, (2, 0), "4", None])
def test_build_refuses_shapes(in_shape):
    with pytest.raises(ValueError, match="in_shape must be an integer of at least 1, got"):
        trainer().build(in_shape)


@pytest.mark.parametrize("make, expected", {
    "activation": (lambda: ab.MLP([4], 2, activation="rellu"), "did you mean 'relu'?"),
    "norm": (lambda: ab.MLP([4], 2, norm="group"), "norm must be None, 'batch' or 'layer', got 'group'"),
    "initializer": (lambda: ab.Trainer(ab.Sequential([ab.Dense(3, initializer="he_norml")]), "huber", backend="numpy").build(4), "did you mean 'he_normal'?"),
    "units": (lambda: ab.Dense(0), "units must be a positive integer, got 0"),
    "rate": (lambda: ab.Dropout(1.0), "dropout rate must lie in [0, 1), got 1.0"),
    "lr": (lambda: ab.SGD(-1.0), "lr must be positive and finite or a schedule, got -1.0"),
    "mode": (lambda: EarlyStopping(mode="low"), "mode must be 'auto', 'min' or 'max', got 'low'"),
    "patience": (lambda: EarlyStopping(patience=-1), "patience must not be negative, got -1"),
    "factor": (lambda: ReduceOnPlateau(factor=2.0), "factor must lie in (0, 1), got 2.0"),
    "every": (lambda: Checkpoint("x", every=0), "every and updates must be at least 1, got 0 and None"),
    "lambda": (lambda: Lambda(on_epoch=print), "got 'on_epoch'"),
}.values())  # fmt: skip
def test_parts_refuse_and_name(make, expected):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_predict_and_evaluate_refuse_and_name():
    made = trainer().build(4)
    for x, expected in (
        (X[:, :3], r"x must have samples of shape \(4,\), got \(3,\)"),
        (X[:0], r"x must not be empty, got shape \(0, 4\)"),
        (changed(X, (1, 1), np.nan), r"x must be finite, got nan at \(1, 1\)"),
        (X[0], r"x must have shape \(samples, features\), got \(4,\): one sample is x\[None, :\]"),
    ):
        for use in made.predict, made.predict_proba, partial(made.evaluate, y=LABELS):
            with pytest.raises(ValueError, match=expected):
                use(x)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        made.predict(X, batch_size=0)
    with pytest.raises(ValueError, match=r"got 3 at row 2"):
        made.evaluate(X, LABELS + 1)


def test_float64_holds_what_float32_does_not():
    made = trainer("mean_squared_error", 1, dtype="float64")
    made.fit(changed(X, (0, 0), 1e39), REALS, verbose=0, epochs=1)
    with pytest.raises(ValueError, match="too large to be standardised"):
        trainer(standardize=True).fit(1e200 * X, LABELS, verbose=0)


def test_float64_on_jax_must_be_switched_on():
    require("jax")
    code = (
        "import anyback as ab, numpy as np\n"
        "try: ab.Trainer(ab.MLP([2], 1), 'huber', backend='jax', dtype='float64')\n"
        "except ab.BackendError as error: print(error)\n"
        "t = ab.Trainer(ab.MLP([4], 3, norm='batch', dropout=0.1), 'softmax_cross_entropy', backend='jax',\n"
        "               metrics=['accuracy', 'f1'])\n"
        "x = np.eye(9, 4)\n"
        "t.fit(x, np.arange(9) % 3, sample_weight=np.ones(9), batch_size=4, validation_split=0.3, verbose=0)\n"
        "print(t.predict(x).dtype, np.isfinite(t.history['val_f1'][0]))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "dtype='float64' on backend 'jax' needs JAX_ENABLE_X64=1 in the environment",
        "float32 True",
    ]
