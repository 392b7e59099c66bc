"""Metrics: values by hand, weights, batches, populations, digits, libraries."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import partial

import numpy as np
import pytest

from anyback import metrics
from anyback.arrays import device, namespace
from anyback.metrics._base import Metric, metric
from anyback.random import Purpose, Stream
from tests.conftest import require

CLASSES = [name for name in metrics.__all__ if getattr(metrics, name).targets == "labels"]
REALS = [name for name in metrics.__all__ if getattr(metrics, name).targets == "reals"]

# Predicted classes 0 0 1 2 2 1, true ones 0 1 1 2 0 1.
PRED = np.asarray(
    [[3.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [0.0, 1.0, 2.0], [1.0, 2.0, 0.0]]
)
LABELS = np.asarray([0, 1, 1, 2, 0, 1])
WEIGHT = np.asarray([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def data(name, shape, seed=0):
    """Predictions, targets and weights for a metric, of random numbers."""
    *more, n, k = shape
    draw = partial(Stream, seed, Purpose.CHECK)
    pred, weight = draw("pred").normal(shape), 0.5 + draw("weight").uniform((*more, n))
    if name in REALS:
        return pred, draw("target").normal(shape) + 0.5 * pred, weight
    if k == 1:
        return pred, np.where(draw("target").uniform(shape) < 0.5, -1.0, 1.0), weight
    return pred, (draw("target").uniform((*more, n)) * k).astype(np.int64), weight


def test_all_lists_every_metric_here():
    assert {name for name, m in vars(metrics).items() if isinstance(m, Metric)} == set(metrics.__all__)


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plain", "weighted"),
    [
        ("accuracy", 4 / 6, 14 / 21),
        ("precision", (1 / 2 + 1 + 1 / 2) / 3, (1 / 3 + 1 + 4 / 9) / 3),
        ("recall", (1 / 2 + 2 / 3 + 1) / 3, (1 / 6 + 9 / 11 + 1) / 3),
        ("f1", (2 / 4 + 4 / 5 + 2 / 3) / 3, (2 / 9 + 18 / 20 + 8 / 13) / 3),
        ("confusion_matrix", [[1, 0, 1], [1, 2, 0], [0, 0, 1]], [[1, 0, 5], [2, 9, 0], [0, 0, 4]]),
    ],
)
def test_metrics_of_three_classes(name, plain, weighted):
    f = getattr(metrics, name)
    np.testing.assert_allclose(f(PRED, LABELS), plain, rtol=1e-15)
    np.testing.assert_allclose(f(PRED, LABELS, sample_weight=WEIGHT), weighted, rtol=1e-15)
    probabilities = 0.1 + 0.7 * np.eye(3)[LABELS]
    np.testing.assert_allclose(f(PRED, probabilities, sample_weight=WEIGHT), weighted, rtol=1e-15)


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize(
    ("name", "plain", "weighted"),
    [
        ("accuracy", 3 / 5, 8 / 15),
        ("precision", 2 / 3, 5 / 8),
        ("recall", 2 / 3, 5 / 9),
        ("f1", 4 / 6, 10 / 17),
        ("confusion_matrix", [[1, 1], [1, 2]], [[3, 3], [4, 5]]),
    ],
)
def test_metrics_of_one_output(name, plain, weighted, low):
    pred = np.asarray([[0.1], [2.0], [-0.3], [0.0], [5.0]])
    target = np.asarray([[1.0], [low], [low], [1.0], [1.0]])
    weight = np.asarray([1.0, 3.0, 3.0, 4.0, 4.0])
    f = getattr(metrics, name)
    for kind in (np.float32, np.int64) if low else (np.float64, np.int32, bool):
        np.testing.assert_allclose(f(pred, target.astype(kind)), plain, rtol=1e-15)
        np.testing.assert_allclose(f(pred, target.astype(kind), sample_weight=weight), weighted, rtol=1e-15)


def test_classes_that_do_not_occur_do_not_count():
    pred, labels = np.eye(5)[[0, 0, 3]], np.asarray([0, 3, 3])
    assert float(metrics.precision(pred, labels)) == pytest.approx((1 / 2 + 1) / 2)
    assert float(metrics.recall(pred, labels)) == pytest.approx((1 + 1 / 2) / 2)
    # predicted and never true, true and never predicted: both count 0
    pred, labels = np.eye(3)[[0, 1, 1]], np.asarray([0, 0, 2])
    assert float(metrics.f1(pred, labels)) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert float(metrics.precision(pred, labels)) == pytest.approx((1 + 0 + 0) / 3)
    assert float(metrics.recall(pred, labels)) == pytest.approx((1 / 2 + 0 + 0) / 3)
    # samples without weight are as good as absent
    weight = np.asarray([1.0, 1.0, 0.0])
    assert float(metrics.f1(pred, labels, sample_weight=weight)) == pytest.approx((2 / 3 + 0) / 2)


def test_two_outputs_are_two_classes_and_one_is_the_positive_one():
    pred, labels = np.eye(2)[[0, 0, 1, 1, 1]], np.asarray([0, 1, 1, 1, 0])
    assert float(metrics.precision(pred, labels)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.precision.sums(pred, labels).shape == (3, 2)
    assert metrics.precision.sums(np.stack([pred] * 4), labels).shape == (4, 3, 2)
    one = metrics.precision.sums(np.ones((5, 1)), labels[:, None])
    assert one.tolist() == [[3.0], [5.0], [3.0]]


def test_no_positives_anywhere_is_zero_without_a_warning():
    pred, target = -np.ones((3, 1)), np.zeros((3, 1))
    for name in ("precision", "recall", "f1"):
        assert str(float(getattr(metrics, name)(pred, target))) == "0.0"  # and not -0.0


def test_top_k_accuracy():
    for k, expected in ((1, 4 / 6), (2, 5 / 6), (3, 1.0), (9, 1.0)):
        assert float(metrics.top_k_accuracy(PRED, LABELS, k=k)) == pytest.approx(expected)
        bound = partial(metrics.top_k_accuracy, k=k)
        assert float(bound(PRED, LABELS)) == pytest.approx(expected)
    weighted = metrics.top_k_accuracy(PRED, LABELS, k=2, sample_weight=WEIGHT)
    assert float(weighted) == pytest.approx(16 / 21)


def test_top_k_accuracy_of_ties_infinities_and_one_output():
    labels = np.arange(4)
    constant = np.zeros((4, 4))
    assert [float(metrics.top_k_accuracy(constant, labels, k=k)) for k in (1, 2, 4)] == [0.25, 0.5, 1.0]
    infinite = np.where(np.eye(4) == 1.0, np.inf, -np.inf)
    assert float(metrics.top_k_accuracy(infinite, labels, k=1)) == 1.0
    assert float(metrics.top_k_accuracy(np.full((4, 4), np.nan), labels, k=4)) == 0.0
    pred, target = np.asarray([[1.0], [-1.0], [0.0]]), np.asarray([[1.0], [1.0], [0.0]])
    assert float(metrics.top_k_accuracy(pred, target, k=1)) == float(metrics.accuracy(pred, target))
    assert float(metrics.top_k_accuracy(pred, target, k=2)) == 1.0
    pred, target = np.asarray([[1.0], [2.0], [-1.0], [0.0]]), np.asarray([[1.0], [1.0], [1.0], [0.0]])
    assert float(metrics.top_k_accuracy(pred, target, k=1)) == 0.75


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_a_bad_k_is_named(k):
    with pytest.raises(ValueError, match=f"k must be an integer of at least 1, got {k}"):
        metrics.top_k_accuracy(PRED, LABELS, k=k)


# Two outputs: errors squared sum to 6 and 32, targets about their means to 17 and 76; with the
# weights to 5 and 48 of a total of 4, and 9 and 12.
TARGET = np.asarray([[1.0, 0.0], [2.0, 4.0], [5.0, 4.0], [6.0, 12.0]])
ERROR = np.asarray([[2.0, 0.0], [0.0, 4.0], [1.0, 4.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "plain", "weighted"),
    [
        ("mean_absolute_error", (1 + 2) / 2, (3 / 4 + 3) / 2),
        ("mean_squared_error", (6 / 4 + 32 / 4) / 2, (5 / 4 + 48 / 4) / 2),
        ("root_mean_squared_error", (1.5**0.5 + 8**0.5) / 2, (1.25**0.5 + 12**0.5) / 2),
        ("r2", 1 - (6 / 17 + 32 / 76) / 2, 1 - (5 / 9 + 48 / 12) / 2),
    ],
)
def test_metrics_of_reals(name, plain, weighted):
    f = getattr(metrics, name)
    assert float(f(TARGET + ERROR, TARGET)) == pytest.approx(plain, rel=1e-14)
    weight = np.asarray([1.0, 2.0, 1.0, 0.0])
    assert float(f(TARGET + ERROR, TARGET, sample_weight=weight)) == pytest.approx(weighted, rel=1e-14)


# --- digits --------------------------------------------------------------------------------------


def far_targets(dtype):
    """Targets 1e4 +- 1 in `dtype`, predictions, and their R2 computed in double precision."""
    draw = partial(Stream, 1, Purpose.CHECK)
    target = (1e4 + draw("target").normal((500, 1))).astype(dtype)
    pred = (target + 0.5 * draw("error").normal((500, 1))).astype(dtype)
    t, e = target.astype(np.float64), pred.astype(np.float64) - target
    return pred, target, 1.0 - np.sum(e**2) / np.sum((t - t.mean()) ** 2)


def test_r2_of_float32_targets_far_from_zero():
    pred, target, expected = far_targets(np.float32)
    assert 0.7 < expected < 0.8
    assert metrics.r2(pred, target).dtype == np.float64
    assert float(metrics.r2(pred, target)) == pytest.approx(expected, rel=1e-9)
    sums = sum(metrics.r2.sums(pred[i : i + 50], target[i : i + 50]) for i in range(0, 500, 50))
    assert float(metrics.r2.finish(sums, 500)) == pytest.approx(expected, rel=1e-6)


def test_r2_where_there_is_only_float32():
    pred, target, expected = far_targets(np.float32)
    jax = require("jax")
    with jax.enable_x64(False):
        pred, target = jax.numpy.asarray(pred), jax.numpy.asarray(target)
        value = metrics.r2(pred, target)
        assert value.dtype == np.float32
        assert float(value) == pytest.approx(expected, rel=1e-5)
        # sums of squares cannot hold the spread there, and say so
        assert np.isnan(metrics.r2.finish(metrics.r2.sums(pred, target), 500))


def test_r2_of_constants_is_undefined():
    for value in (0.0, 0.1, 1e4):
        assert np.isnan(metrics.r2(np.full((7, 1), value + 1.0), np.full((7, 1), value)))


@pytest.mark.parametrize("name", REALS)
def test_not_a_number_stays_one(name):
    for spoiled in ((np.nan, 0.0), (0.0, np.nan)):
        pred, target = TARGET + ERROR, TARGET.copy()
        pred[0, 0] += spoiled[0]
        target[0, 0] += spoiled[1]
        assert np.isnan(getattr(metrics, name)(pred, target))


def test_counts_in_float32_do_not_stop_at_2_to_the_24():
    sums = metrics.accuracy.sums(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32))
    assert sums.dtype == np.float64 and float(2.0**24 + sums) == 2**24 + 3


# --- what holds for every metric -----------------------------------------------------------------


def cases():
    return [(name, k) for name in metrics.__all__ for k in (1, 4)]


@pytest.mark.parametrize(("name", "k"), cases())
def test_batches_add_up(name, k):
    f = getattr(metrics, name)
    pred, target, weight = data(name, (30, k))
    for w in (None, weight):
        pieces = [slice(0, 7), slice(7, 8), slice(8, 30)]
        sums = sum(f.sums(pred[p], target[p], None if w is None else w[p]) for p in pieces)
        total = 30 if w is None else np.sum(w)
        np.testing.assert_allclose(f.finish(sums, total), f(pred, target, sample_weight=w), rtol=1e-12)


@pytest.mark.parametrize(("name", "k"), cases())
def test_a_whole_weight_is_a_repeated_sample(name, k):
    f = getattr(metrics, name)
    pred, target, _ = data(name, (8, k))
    weight = np.asarray([0, 1, 2, 3, 1, 1, 0, 2])
    repeated = f(np.repeat(pred, weight, axis=0), np.repeat(target, weight, axis=0))
    np.testing.assert_allclose(f(pred, target, sample_weight=weight.astype(float)), repeated, rtol=1e-12)


@pytest.mark.parametrize(("name", "k"), cases())
def test_a_population_equals_its_members(name, k):
    f = partial(getattr(metrics, name), **({"k": 1} if name == "top_k_accuracy" else {}))
    pred, target, weight = data(name, (5, 5, k))  # as many networks as samples: a wrong axis shows
    for t, w in ((target, weight), (target[0], weight[0]), (target[0], None), (target, None)):
        value = f(pred, t, sample_weight=w)
        for i in range(5):
            own = f(pred[i], t if t is target[0] or t.ndim < target.ndim else t[i],
                    sample_weight=w if w is None or w.ndim == 1 else w[i])  # fmt: skip
            np.testing.assert_allclose(value[i], own, rtol=1e-12)


@pytest.mark.parametrize("name", CLASSES)
def test_a_population_may_have_probabilities_as_targets(name):
    f = getattr(metrics, name)
    pred, labels, _ = data(name, (5, 5, 4))
    np.testing.assert_array_equal(f(pred, 0.1 + 0.6 * np.eye(4)[labels]), f(pred, labels))


@pytest.mark.parametrize(("name", "k"), cases())
def test_every_library_gives_the_values_of_numpy(name, k, library):
    f = getattr(metrics, name)
    if library.device == "no_x64" and name in CLASSES and k > 1:
        pytest.skip("array-api-strict's own argmax gives int64 on its device without it")
    pred, target, weight = (x.astype(np.float32) if x.dtype == np.float64 else x for x in data(name, (9, k)))
    if target.dtype == np.int64:
        target = target.astype(np.int32)
    arrays = [library.array(x) for x in (pred, target, weight)]
    xp = namespace(arrays[0])
    widest = xp.float64 if library.has_float64 else xp.float32
    for w, host in ((None, None), (arrays[2], weight)):
        value = f(arrays[0], arrays[1], sample_weight=w)
        expected = f(pred, target, sample_weight=host)
        assert value.dtype == widest and device(value) == device(arrays[0])
        assert tuple(value.shape) == np.shape(expected)
        if library.has_values:
            np.testing.assert_allclose(
                library.host(value), expected, rtol=1e-12 if library.has_float64 else 1e-5
            )


@pytest.mark.parametrize(("name", "k"), cases())
def test_jit_gives_the_values_of_numpy(name, k):
    jax = require("jax")
    f = getattr(metrics, name)
    pred, target, weight = data(name, (9, k))
    value = jax.jit(lambda p, t, w: f(p, t, sample_weight=w))(pred, target, weight)
    np.testing.assert_allclose(value, f(pred, target, sample_weight=weight), rtol=1e-12)


@pytest.mark.parametrize("name", metrics.__all__)
def test_bad_shapes_are_named(name):
    f = getattr(metrics, name)
    with pytest.raises(ValueError, match=r"pred must have shape \(..., B, k\), got \(3,\)"):
        f(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"target must have shape .* for pred \(5, 1\), got \(5,\)"):
        f(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match=r"target must have shape .* for pred \(5, 3\), got \(4, 3\)"):
        f(np.zeros((5, 3)), np.zeros((4, 3)))
    pred, target, weight = data(name, (5, 3))
    for wrong in (weight[:4], weight[:, None]):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(..., 5\), got"):
            f(pred, target, sample_weight=wrong)
    with pytest.raises(TypeError):
        f(pred, target, unheard_of=1)


@pytest.mark.parametrize("name", metrics.__all__)
def test_metrics_are_named_values_with_signatures(name):
    f = getattr(metrics, name)
    assert f.__name__ == name and repr(f) == f"anyback.metrics.{name}" and f.__doc__
    assert pickle.loads(pickle.dumps(f)) is f and copy.deepcopy(f) is f
    parameters = inspect.signature(f).parameters
    assert [*parameters] == ["pred", "target", "sample_weight", *f.options]
    assert all(parameters[option].kind is inspect.Parameter.KEYWORD_ONLY for option in f.options)


def test_a_metric_of_ones_own():
    @metric(targets="reals", finish=lambda sums, total: sums[..., 0] / sums[..., 1])
    def ratio(pred, target, weight, *, power=1):
        xp = namespace(pred)
        return xp.stack([xp.sum(x[..., 0] ** power, axis=-1) for x in (pred, target)], axis=-1)

    pred = np.asarray([[2.0], [4.0]])
    assert float(ratio(pred, np.ones((2, 1)))) == 3.0
    assert float(ratio(pred, np.ones((2, 1)), power=2)) == 10.0
    assert ratio.options == {"power": 1} and ratio.targets == "reals"
    with pytest.raises(ValueError, match="targets must be one of 'labels', .*, got 'colours'"):
        metric(targets="colours")(lambda pred, target, weight: pred)
