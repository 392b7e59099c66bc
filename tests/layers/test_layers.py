"""Layers one by one: shapes, statistics, draws and gradients."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.layers import Layer
from anyback.random import Key
from tests.layers.binding import bound, rng


def test_linear_and_norms_take_any_leading_axes():
    for layer in (ab.Dense(3), ab.LayerNorm(), ab.BatchNorm(), ab.MLP([3], 2)):
        layer, layout, w, stats = bound(layer)
        params = layout.params(w, stats)
        x = rng.normal(size=(2, 3, 4))
        flat, flat_vjp, flat_moved = layer.train(params, x.reshape(6, 4), Key(1))
        y, vjp, moved = layer.train(params, x, Key(1))
        assert y.shape == (2, 3, flat.shape[-1])
        np.testing.assert_allclose(y.reshape(flat.shape), flat, rtol=1e-12)
        np.testing.assert_allclose(
            layout.gradient(vjp(y)[0]), layout.gradient(flat_vjp(flat)[0]), rtol=1e-10, atol=1e-12
        )
        if layout.statistics_size:
            np.testing.assert_allclose(
                layout.statistics(moved, stats), layout.statistics(flat_moved, stats), rtol=1e-12
            )


def test_leading_axes_on_every_library(library):
    layer, layout, w, stats = bound(ab.Dense(3))
    w, x = w.astype(np.float32), rng.normal(size=(2, 3, 4)).astype(np.float32)
    y, vjp = layer(layout.params(w, stats), x)
    got, got_vjp = layer(layout.params(library.array(w), library.array(stats)), library.array(x))
    expected, found = layout.gradient(vjp(y)[0]), layout.gradient(got_vjp(got)[0])
    assert tuple(found.shape) == expected.shape
    if library.has_values:
        np.testing.assert_allclose(library.host(found), expected, rtol=1e-5)


def test_residual_adds_its_way_around():
    layer, layout, w, stats = bound(ab.Residual([ab.Dense(5), ab.Activation("tanh"), ab.Dense(4)]))
    x = rng.normal(size=(6, 4))
    params = layout.params(w, stats)
    y, vjp = layer(params, x)
    inner, inner_vjp = layer.inner(params["inner"], x)
    np.testing.assert_array_equal(y, x + inner)
    np.testing.assert_array_equal(vjp(y)[1], y + inner_vjp(y)[1])
    assert set(layout.names) == {f"inner.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
    single = ab.Residual(ab.Dense(4))
    assert single.inner == ab.Dense(4)


def test_residual_keeps_statistics_and_draws_of_its_inner_layers():
    layer, layout, w, stats = bound(ab.Residual([ab.BatchNorm(), ab.Dropout(0.5), ab.Dense(4)]))
    x = rng.normal(size=(6, 4))
    y, _, moved = layer.train(layout.params(w, stats), x, Key(3))
    assert layout.statistics(moved, stats).shape == stats.shape
    assert set(layout.statistics_arrays(stats)) == {"inner.0.running_mean", "inner.0.running_var"}
    assert not np.array_equal(y, layer.train(layout.params(w, stats), x, Key(4))[0])


def test_flatten_reshapes_and_back():
    layer, shape = ab.Flatten().bind((2, 3))
    x = rng.normal(size=(5, 2, 3))
    y, vjp = layer({}, x)
    assert shape == (6,)
    np.testing.assert_array_equal(y, x.reshape(5, 6))
    np.testing.assert_array_equal(vjp(y)[1], x)
    assert layer({}, rng.normal(size=(7, 5, 2, 3)))[0].shape == (7, 5, 6)


def test_activations_take_options_and_change_shapes():
    x = np.array([[-1.0, 2.0, 3.0, 0.5]])
    steep = partial(ab.activations.leaky_relu, negative_slope=0.5)
    assert ab.Activation(steep)({}, x)[0][0, 0] == -0.5
    layer, shape = ab.Activation("maxout").bind((4,))
    assert shape == (2,)
    own, _ = ab.Activation(lambda x: (2 * x, lambda dy: 2 * dy)).bind((4,))
    y, vjp = own({}, x)
    np.testing.assert_array_equal(vjp(x)[1], y)


def test_dropout_keeps_the_mean_and_passes_gradients_where_it_kept():
    x = np.ones((200, 50))
    for rate in 0.1, 0.5, 0.9:
        y, vjp, _ = ab.Dropout(rate).train({}, x, Key(7, "2"))
        assert set(np.unique(y)) == {0.0, 1 / (1 - rate)}
        assert np.mean(y == 0) == pytest.approx(rate, abs=0.02)
        np.testing.assert_array_equal(vjp(x)[1], y)
        assert not np.array_equal(y, ab.Dropout(rate).train({}, x, Key(8, "2"))[0])
        assert not np.array_equal(y, ab.Dropout(rate).train({}, x, Key(7, "3"))[0])
    assert ab.Dropout(0.0).train({}, x, Key(7))[0] is x
    assert ab.Dropout(0.5)({}, x)[0] is x, "nothing is dropped outside training"


def test_dropout_draws_for_every_sample_of_all_leading_axes():
    y, _, _ = ab.Dropout(0.5).train({}, np.ones((2, 30, 20)), Key(7))
    assert not np.array_equal(y[0], y[1])


def test_batch_norm_of_one_sample_is_finite():
    layer, layout, w, stats = bound(ab.BatchNorm())
    y, vjp, moved = layer.train(layout.params(w, stats), np.ones((1, 4)), Key(0))
    assert np.isfinite(y).all()
    assert np.isfinite(vjp(y)[1]).all()
    assert np.isfinite(layout.statistics(moved, stats)).all()


def test_the_gradient_of_the_input_is_left_out_where_nobody_needs_it():
    asked = []

    class Watch(Layer):
        def __call__(self, params, x):
            def vjp(dy, dx=True):
                asked.append(dx)
                return {}, dy if dx else None

            return x, vjp

    layer, layout, w, stats = bound(ab.Sequential([Watch(), ab.Dense(3), Watch(), ab.Dense(2)]))
    y, vjp = layer(layout.params(w, stats), rng.normal(size=(5, 4)))
    _, nothing = vjp(y, dx=False)
    assert nothing is None
    assert asked == [True], "only the layer between the two that learn"
    vjp(y)
    assert asked == [True, True, True]


def test_the_first_layer_that_learns_is_not_asked_for_the_gradient_of_its_input():
    asked = []

    class Watched(ab.Dense):
        def __call__(self, params, x):
            y, vjp = super().__call__(params, x)
            return y, lambda dy, dx=True: asked.append(dx) or vjp(dy, dx)

    layer, layout, w, stats = bound(ab.Sequential([Watched(3), Watched(2)]))
    y, vjp = layer(layout.params(w, stats), rng.normal(size=(5, 4)))
    vjp(y, dx=False)
    assert asked == [True, False]
