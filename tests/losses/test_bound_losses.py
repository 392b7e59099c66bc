"""Losses and metrics with bound options: equal, hashable, copied and stored by what they are bound to."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import losses, metrics
from anyback.checkpoint import config
from anyback.criterion import distinct, resolve
from anyback.losses import Loss, loss
from tests.conftest import require

Z = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 2, 1, 1, 0, 2])
WEIGHTS = [0.5, 2.0, 1.0]
# Each criterion with options that change its value.
BOUND = {
    "huber": (losses.huber, {"delta": 0.3}, Z + 0.5 * Z[::-1]),
    "quantile": (losses.quantile, {"quantile": 0.9}, Z[::-1]),
    "focal": (losses.focal, {"gamma": 3.0, "alpha": 0.25}, np.abs(np.tanh(Z))),
    "hinge": (losses.hinge, {"squared": True}, np.sign(Z[::-1])),
    "multiclass_hinge": (losses.multiclass_hinge, {"margin": 0.5, "class_weight": WEIGHTS}, Y),
    "top_k_accuracy": (metrics.top_k_accuracy, {"k": 2}, Y),
}  # fmt: skip


def numbers(result):
    """The value of a loss or metric, a gradient instead of a vjp, and sums."""
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part() if callable(part) else part).tolist() for part in parts]


@pytest.mark.parametrize("name", BOUND)
def test_bound_options_are_the_defaults_of_a_call(name):
    base, options, target = BOUND[name]
    bound = base.bind(**options)
    weight = np.arange(1.0, 7.0)
    assert numbers(bound(Z, target, sample_weight=weight)) == numbers(
        base(Z, target, sample_weight=weight, **options)
    )
    assert numbers(bound.sums(Z, target, weight)) == numbers(base.sums(Z, target, weight, **options))
    assert numbers(bound(Z, target)) != numbers(base(Z, target)) == numbers(bound(Z, target, **base.options))


@pytest.mark.parametrize("name", BOUND)
def test_it_describes_itself(name):
    base, options, _ = BOUND[name]
    bound = base.bind(**options)
    assert type(bound) is type(base) and bound.base is base and bound.bound == options and base.bound == {}
    for attribute in (
        "name",
        "__name__",
        "__module__",
        "__doc__",
        "targets",
        "finish",
        "link",
        "probabilities",
    ):
        assert getattr(bound, attribute, None) == getattr(base, attribute, None)
    parameters = inspect.signature(bound).parameters
    assert list(parameters) == list(inspect.signature(base).parameters)
    assert {k: p.default for k, p in parameters.items() if k in options} == options
    assert bound.options == {**base.options, **options}
    shown = ", ".join(f"{k}={v!r}" for k, v in options.items())
    assert repr(bound) == f"{base!r}({shown})" and repr(base).endswith(f".{name}")
    assert pydoc.plain(pydoc.render_doc(bound)).splitlines()[2].startswith(f"{name}(pred")


@pytest.mark.parametrize("name", BOUND)
def test_it_is_equal_by_base_and_options(name):
    base, options, _ = BOUND[name]
    one, other = base.bind(**options), base.bind(**options)
    assert one is not other and one == other and hash(one) == hash(other) and len({one, other, base}) == 2
    assert one != base and one != losses.smooth_l1.bind(beta=0.3) and one != options
    step_by_step = base
    for key, value in reversed(options.items()):
        step_by_step = step_by_step.bind(**{key: value})
    assert step_by_step == one and base.bind() is base and one.bind() is one
    for same in copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)):
        assert same == one and hash(same) == hash(one) and same.base is base and repr(same) == repr(one)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy", "array_api_strict"])
def test_options_of_several_numbers_compare_by_value(library):
    xp = require(library)
    bind = losses.softmax_cross_entropy.bind
    given = [bind(class_weight=w) for w in (WEIGHTS, tuple(WEIGHTS), xp.asarray(WEIGHTS, dtype=xp.float64))]
    assert len(set(given)) == 1
    assert bind(class_weight=[0.5, 2.0, 1.5]) not in given and bind(class_weight=[WEIGHTS]) not in given
    focal = losses.focal.bind(gamma=xp.asarray(3.0))
    assert focal == losses.focal.bind(gamma=3.0) == losses.focal.bind(gamma=np.float64(3.0))


def test_arrays_of_options_are_placed_once():
    bound = losses.softmax_cross_entropy.bind(label_smoothing=0.1, class_weight=WEIGHTS)
    calls = []
    placed = bound.placed(lambda values: calls.append(values) or np.asarray(values, np.float32))
    assert calls == [WEIGHTS] and placed.bound["class_weight"].dtype == np.float32
    assert placed == bound and placed(Z, Y)[0] == bound(Z, Y)[0]
    assert losses.huber.bind(delta=2.0).placed(calls.append) == losses.huber.bind(delta=2.0)
    assert losses.huber.placed(calls.append) is losses.huber and len(calls) == 1


def test_what_cannot_be_bound_is_named():
    with pytest.raises(TypeError, match=r"^loss 'huber' has options \['delta'\], got \['detla', 'k'\]$"):
        losses.huber.bind(detla=1.0, k=1)
    with pytest.raises(TypeError, match=r"^metric 'accuracy' has options \[\], got \['sample_weight'\]$"):
        metrics.accuracy.bind(sample_weight=np.ones(6))


def test_what_users_give_is_resolved():
    bound = losses.huber.bind(delta=2.0)
    for given in bound, partial(losses.huber, delta=2.0), partial(losses.huber.bind(delta=1.5), delta=2.0):
        assert resolve(Loss, given, losses) == bound
    for given in "huber", "Huber", losses.huber, partial(losses.huber):
        assert resolve(Loss, given, losses) is losses.huber
    assert resolve(metrics.Metric, partial(metrics.top_k_accuracy, k=2), metrics).bound == {"k": 2}
    message = "loss must be a name, or made by the decorator anyback.losses.loss, got "
    for given in abs, partial(abs), metrics.accuracy, losses.huber.__wrapped__:
        with pytest.raises(TypeError) as error:
            resolve(Loss, given, losses)
        assert str(error.value) == f"{message}{given!r}"
    with pytest.raises(TypeError, match=r"loss: options must be bound by name, got positional \(1,\)"):
        resolve(Loss, partial(losses.huber, 1), losses)
    with pytest.raises(
        TypeError, match="metric must be a name, or made by the decorator anyback.metrics.metric"
    ):
        resolve(metrics.Metric, losses.huber, metrics)


def test_names_in_the_history_are_distinct():
    distinct(["accuracy", "f1"])
    for names in ["f1", "f1"], ["lr"], ["penalty"]:
        with pytest.raises(ValueError, match=f"got '{names[-1]}' again"):
            distinct(names)


def test_checkpoints_store_it_as_a_partial():
    options = {"label_smoothing": 0.1, "class_weight": WEIGHTS}
    stored = {"is": "losses.softmax_cross_entropy", "options": options}
    base = losses.softmax_cross_entropy
    half = partial(base.bind(label_smoothing=0.1), class_weight=WEIGHTS)
    for thing in base.bind(**options), partial(base, **options), half:
        assert config.to_config(thing) == stored
    assert config.from_config(stored) == base.bind(**options)
    with pytest.raises(TypeError, match="got positional"):
        config.to_config(partial(base.bind(label_smoothing=0.1), 1))


@loss(targets="reals")
def own(pred, target, *, factor=1.0):
    """Mean squared error times a factor.

    Parameters
    ----------
    factor : float
        The factor.
    """
    d = pred - target
    return factor * (d * d)[..., 0], lambda dl: 2.0 * factor * d * dl


@pytest.mark.parametrize("how", ["bind", "partial"])
@pytest.mark.parametrize("base, options", [(losses.huber, {"delta": 0.5}), (own, {"factor": 3.0})])
def test_trainers_train_save_and_load_with_it(base, options, how, tmp_path):
    given = base.bind(**options) if how == "bind" else partial(base, **options)
    x = np.linspace(-1.0, 1.0, 24)[:, None]
    bound = resolve(Loss, given, losses)
    trainer = ab.Trainer(ab.MLP([4], 1), given, backend="numpy", metrics=[metrics.r2.bind()])
    trainer.fit(x, x**2, epochs=2, verbose=0)
    same = ab.Trainer(ab.MLP([4], 1), bound, backend="numpy", metrics=["r2"])
    assert same.fit(x, x**2, epochs=2, verbose=0).last == {**trainer.history.last, **same.history.last}
    np.testing.assert_array_equal(same.weights, trainer.weights)
    trainer.save(tmp_path / "run")
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy", loss=given if bound.base is own else None)
    assert loaded.evaluate(x, x**2) == trainer.evaluate(x, x**2)
    value, _ = bound(trainer.predict(x).astype("float64"), x**2)
    assert trainer.evaluate(x, x**2)["loss"] == pytest.approx(float(value), rel=1e-5)
    loaded.save(tmp_path / "again")
    if bound.base is not own:
        assert (tmp_path / "again").read_bytes() == (tmp_path / "run").read_bytes()


def test_class_weights_of_any_library_train_alike():
    weights = [np.asarray(WEIGHTS), tuple(WEIGHTS), WEIGHTS]
    fits = []
    for w in weights:
        trainer = ab.Trainer(
            ab.MLP([4], 3), losses.softmax_cross_entropy.bind(class_weight=w), backend="numpy"
        )
        trainer.fit(Z, Y, epochs=2, verbose=0)
        fits.append(trainer.weights)
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


def test_as_an_attribute_of_a_class_it_stays_itself():
    class Settings:
        loss = losses.huber

    assert Settings.loss is Settings().loss is losses.huber
