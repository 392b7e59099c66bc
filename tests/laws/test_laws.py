"""The laws of docs/laws.md, held on everything public: a new formula is found by its `__all__` entry."""

from __future__ import annotations

import inspect
import re
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import activations, gates, layers, losses, metrics, optimizers
from anyback.arrays import namespace
from anyback.optimizers import clipping
from anyback.random import Key
from tests.laws.cases import CASES, LAYERS, B, N, bound_layer, formula, rng, target_for

EPS = 1e-5


def relative(got, expected):
    return abs(got - expected) / max(abs(expected), abs(got), 1e-8)


# --- 1. derivative -------------------------------------------------------------------------------


def derivative_error(function, arrays, others, spoil=0.0):
    """Relative error of the vjp in a random direction of all arrays, contracted with a random cotangent."""
    draw = np.random.default_rng(1)
    directions = [draw.normal(size=a.shape) for a in arrays]
    value, vjp = function(*arrays, *others)
    dy = draw.normal(size=np.shape(value))
    gradients = vjp(dy)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    got = sum(np.sum((g + spoil * np.abs(d)) * d) for g, d in zip(gradients, directions, strict=True))
    ahead, behind = (
        function(*(a + s * EPS * d for a, d in zip(arrays, directions, strict=True)), *others)[0]
        for s in (1, -1)
    )
    return relative(got, np.sum((ahead - behind) * dy) / (2 * EPS))


@formula
def test_law_1_derivative(name):
    function, arrays, others = CASES[name]
    assert derivative_error(function, arrays, others) <= 1e-6


@formula
def test_law_1_finds_a_planted_wrong_gradient(name):
    function, arrays, others = CASES[name]
    assert derivative_error(function, arrays, others, spoil=1e-2) > 1e-6


@pytest.mark.parametrize("name", losses.__all__)
def test_law_1_derivative_of_weighted_losses(name):
    loss = getattr(losses, name)
    (pred,), (target,) = CASES[f"losses.{name}"][1:]
    weighted = partial(loss, sample_weight=np.array([1.0, 0.0, 2.0, 0.5, 3.0]))
    assert derivative_error(weighted, (pred,), (target,)) <= 1e-6


@pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])
@pytest.mark.parametrize("name", LAYERS)
def test_law_1_derivative_of_layers(name, training):
    layer, layout, w, stats = bound_layer(name)
    draw = np.random.default_rng(1)
    x = draw.normal(size=(B, N))

    def run(w, x):
        params = layout.params(w, stats)
        return layer.train(params, x, Key(5))[:2] if training else layer(params, x)

    y, vjp = run(w, x)
    dy, dw, dx = draw.normal(size=y.shape), draw.normal(size=w.shape), draw.normal(size=x.shape)
    dparams, gx = vjp(dy)
    got = np.sum(gx * dx) + (np.sum(layout.gradient(dparams) * dw) if w.size else 0.0)
    ahead, behind = (run(w + s * EPS * dw, x + s * EPS * dx)[0] for s in (1, -1))
    assert relative(got, np.sum((ahead - behind) * dy) / (2 * EPS)) <= 1e-6
    again, nothing = vjp(dy, dx=False)
    assert nothing is None
    if w.size:
        np.testing.assert_array_equal(layout.gradient(again), layout.gradient(dparams))


# --- 2. agnostic ---------------------------------------------------------------------------------


def dtypes(library):
    return ["float32", "float64"] if library.has_float64 else ["float32"]


def same_kind(library, result, like):
    assert type(result) is type(like) or np.ndim(result) == 0, f"{type(result)} of {type(like)}"
    assert namespace(result) is namespace(like)
    assert result.dtype == like.dtype
    if library.module in ("torch", "array_api_strict"):
        assert result.device == like.device


def outputs(function, arrays, others):
    """Value and gradients for a cotangent of ones, as one flat list."""
    value, vjp = function(*arrays, *others)
    gradients = vjp(namespace(value).ones_like(value)) if value.shape else vjp(1.0)
    return [value, *(gradients if isinstance(gradients, tuple) else (gradients,))]


@formula
def test_law_2_agnostic(name, library):
    function, arrays, others = CASES[name]
    expected = outputs(function, arrays, others)
    for dtype in dtypes(library):
        given = tuple(library.array(a, dtype) for a in arrays)
        rest = tuple(library.array(a, dtype if a.dtype.kind == "f" else None) for a in others)
        results = outputs(function, given, rest)
        for result, reference in zip(results, expected, strict=True):
            same_kind(library, result, given[0])
            assert tuple(result.shape) == np.shape(reference)
            if library.has_values:
                tolerance = 1e-12 if dtype == "float64" else 2e-5
                np.testing.assert_allclose(library.host(result), reference, rtol=tolerance, atol=tolerance)


@formula
def test_law_2_under_jit(name):
    from tests.conftest import require

    jax = require("jax")
    function, arrays, others = CASES[name]
    expected = outputs(function, arrays, others)
    got = jax.jit(lambda a, o: outputs(function, a, o))(*jax.tree.map(jax.numpy.asarray, (arrays, others)))
    for result, reference in zip(got, expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_law_2_layers(name, library):
    layer, layout, w, stats = bound_layer(name)
    x = rng().normal(size=(B, N))
    y, vjp, new = layer.train(layout.params(w, stats), x, Key(5))
    expected = [y, vjp(np.ones_like(y))[1]]
    for dtype in dtypes(library):
        given = [library.array(a, dtype) for a in (w, stats, x)]
        got, got_vjp, got_new = layer.train(layout.params(*given[:2]), given[2], Key(5))
        results = [got, got_vjp(namespace(got).ones_like(got))[1]]
        if layout.statistics_size:
            expected.append(layout.statistics(new, stats))
            results.append(layout.statistics(got_new, given[1]))
        for result, reference in zip(results, expected, strict=False):
            same_kind(library, result, given[2])
            if library.has_values:
                tolerance = 1e-12 if dtype == "float64" else 2e-5
                np.testing.assert_allclose(library.host(result), reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", metrics.__all__)
def test_law_2_metrics(name, library):
    metric = getattr(metrics, name)
    if library.device == "no_x64" and metric.targets == "labels":
        pytest.skip("array-api-strict's own argmax gives int64 on its device without it")
    pred, target = rng().normal(size=(B, 7)), target_for(metric.targets, (B, 7))
    given = library.array(pred, "float32"), library.array(target)
    result = metric(*given)
    assert namespace(result) is namespace(given[0])
    if library.has_values:
        np.testing.assert_allclose(library.host(result), metric(pred, target), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_law_2_optimizers(name, library):
    opt = getattr(optimizers, name)()
    draw = rng()
    w, gradients = draw.normal(size=N), draw.normal(size=(3, N))
    for dtype in dtypes(library):
        got, slots = library.array(w, dtype), None
        expected, reference = w, opt.init(w)
        slots = opt.init(got)
        for t, g in enumerate(gradients, 1):
            got, slots = opt.step(got, library.array(g, dtype), slots, t)
            expected, reference = opt.step(expected, g, reference, t)
            same_kind(library, got, library.array(w, dtype))
        if library.has_values:
            np.testing.assert_allclose(
                library.host(got), expected, rtol=0, atol=1e-12 if dtype == "float64" else 1e-6
            )


# --- 3. no mutation ------------------------------------------------------------------------------


@formula
def test_law_3_no_mutation(name):
    function, arrays, others = CASES[name]
    given = tuple(a.copy() for a in arrays)
    value, vjp = function(*given, *others)
    kept, dy = np.copy(value), np.ones_like(value)
    first = vjp(dy)
    second = vjp(dy)
    for a, b in zip(given, arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(value, kept)
    np.testing.assert_array_equal(dy, np.ones_like(value))
    np.testing.assert_array_equal(first, second, "a vjp called twice must give the same")


# --- 4. population -------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False], ids=["shared-input", "own-input"])
@pytest.mark.parametrize("name", LAYERS)
def test_law_4_stacked_layers_equal_looped(name, shared):
    K = B  # as many members as samples: a (K, k) bias on (K, B, k) would be wrong without a word
    layer, layout, w, stats = bound_layer(name)
    draw = np.random.default_rng(3)
    ws, ss = w + 0.1 * draw.normal(size=(K, w.size)), stats + 0.1 * draw.uniform(size=(K, stats.size))
    x = draw.normal(size=(B, N)) if shared and layout.size else draw.normal(size=(K, B, N))
    words = np.arange(1, K + 1, dtype=np.int32).reshape(K, 1, 1)
    y, vjp, new = layer.train(layout.params(ws, ss), x, Key(words))
    dy = draw.normal(size=y.shape)
    dparams, dx = vjp(dy)
    for k in range(K):
        own = x if x.ndim == 2 else x[k]
        one, one_vjp, one_new = layer.train(layout.params(ws[k], ss[k]), own, Key(int(words[k, 0, 0])))
        one_params, one_dx = one_vjp(dy[k])
        np.testing.assert_allclose(y[k], one, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(dx[k], one_dx, rtol=1e-12, atol=1e-12)
        if layout.size:
            np.testing.assert_allclose(
                layout.gradient(dparams)[k], layout.gradient(one_params), rtol=1e-11, atol=1e-12
            )
        if layout.statistics_size:
            moved = layout.statistics(new, ss)[k]
            np.testing.assert_allclose(moved, layout.statistics(one_new, ss[k]), rtol=1e-12)


@pytest.mark.parametrize("name", losses.__all__)
def test_law_4_stacked_losses_equal_looped(name):
    loss = getattr(losses, name)
    K, weight = B, np.arange(1.0, B + 1)
    pred, target = np.random.default_rng(3).normal(size=(K, B, 3)), target_for(loss.targets, (B, 3))
    value, vjp = loss(pred, target, sample_weight=weight)
    dpred = vjp(np.arange(1.0, K + 1))
    assert value.shape == (K,)
    for k in range(K):
        one, one_vjp = loss(pred[k], target, sample_weight=weight)
        np.testing.assert_allclose(value[k], one, rtol=1e-12)
        np.testing.assert_allclose(dpred[k], one_vjp(k + 1.0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_law_4_stacked_updates_equal_looped(name):
    opt = getattr(optimizers, name)()
    draw = np.random.default_rng(3)
    w, g, lr = draw.normal(size=(3, N)), draw.normal(size=(3, N)), np.array([[0.1], [0.01], [0.2]])
    stacked, _ = opt.step(w, g, opt.init(w), 1, lr=lr)
    for k in range(3):
        one, _ = opt.step(w[k], g[k], opt.init(w[k]), 1, lr=float(lr[k, 0]))
        np.testing.assert_allclose(stacked[k], one, rtol=1e-12)
    clipped = clipping.clip_by_norm(g, 0.5)
    np.testing.assert_allclose(clipped[1], clipping.clip_by_norm(g[1], 0.5), rtol=1e-12)


# --- 5. flat and elementwise ---------------------------------------------------------------------


@pytest.mark.parametrize("name", optimizers.__all__)
def test_law_5_step_of_concat_is_concat_of_steps(name):
    opt = getattr(optimizers, name)()
    draw = np.random.default_rng(3)
    w, g = draw.normal(size=10), draw.normal(size=10)
    whole, slots = opt.step(w, g, opt.init(w), 1)
    whole, _ = opt.step(whole, g, slots, 2)
    for part in (slice(0, 4), slice(4, 10)):
        one, slots = opt.step(w[part], g[part], opt.init(w[part]), 1)
        one, _ = opt.step(one, g[part], slots, 2)
        np.testing.assert_array_equal(whole[part], one)


# --- 6. finite -----------------------------------------------------------------------------------

EXTREMES = np.array(
    [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, -1e4, -1e4], [1e4, 1e4, 1e4], [-1e4] * 3], "float32"
)


@pytest.mark.parametrize("name", activations.__all__)
def test_law_6_activations_are_finite(name):
    y, vjp = getattr(activations, name)(np.concatenate([EXTREMES, EXTREMES], axis=1))
    assert np.isfinite(y).all() and np.isfinite(vjp(np.ones_like(y))).all()


@pytest.mark.parametrize(
    "name", [name for name in losses.__all__ if name != "poisson"]
)  # exp(1e4) is not finite
def test_law_6_losses_are_finite(name):
    loss = getattr(losses, name)
    target = target_for(loss.targets, EXTREMES.shape)
    value, vjp = loss(EXTREMES, target if target.dtype.kind == "i" else target.astype("float32"))
    assert np.isfinite(value) and np.isfinite(vjp()).all()


# --- documentation -------------------------------------------------------------------------------


def public():
    for room in (activations, gates, losses, metrics, optimizers, ab.schedules, ab.initializers, layers, ab):
        for name in room.__all__:
            thing = getattr(room, name)
            if not inspect.ismodule(thing) and not isinstance(thing, str):
                yield f"{room.__name__}.{name}", thing


@pytest.mark.parametrize(
    "name, thing", list(public()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_has_a_docstring_with_shapes_and_an_example(name, thing):
    text = inspect.getdoc(thing) or ""
    if isinstance(thing, type) and issubclass(thing, Exception):
        assert text
        return
    assert ">>>" in text, f"the docstring of {name} has no example"
    if name.startswith(("anyback.activations", "anyback.losses", "anyback.gates", "anyback.metrics")):
        assert re.search(r"\(\.\.\.|\(B|shape", text), f"the docstring of {name} gives no shapes"
