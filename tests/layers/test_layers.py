"""Layers against torch.nn, their names and shapes, and what they say of themselves."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.layers import Layer
from anyback.parameters import Layout, Parameter
from anyback.random import Key
from tests.conftest import require

rng = np.random.default_rng(0)


def bound(layer, in_shape=(4,), seed=1):
    """A bound layer, its layout, and random parameters and statistics."""
    layer, _ = layer.bind(in_shape)
    layout, draw = Layout(layer.specs()), np.random.default_rng(seed)
    return layer, layout, draw.normal(size=layout.size), draw.uniform(0.5, 2.0, layout.statistics_size)


# --- against torch.nn ----------------------------------------------------------------------------


def twins(name):
    nn = require("torch").nn
    return {
        "Dense": lambda: (ab.Dense(3), nn.Linear(4, 3)),
        "Dense without bias": lambda: (ab.Dense(3, bias=False), nn.Linear(4, 3, bias=False)),
        "LayerNorm": lambda: (ab.LayerNorm(), nn.LayerNorm(4)),
        "LayerNorm eps": lambda: (ab.LayerNorm(eps=0.1), nn.LayerNorm(4, eps=0.1)),
        "BatchNorm": lambda: (ab.BatchNorm(), nn.BatchNorm1d(4)),
        "BatchNorm options": lambda: (
            ab.BatchNorm(momentum=0.3, eps=0.1),
            nn.BatchNorm1d(4, momentum=0.3, eps=0.1),
        ),
        "MLP": lambda: (
            ab.MLP([5, 4], 2, activation="tanh", norm="batch"),
            nn.Sequential(
                nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(),
                nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2),
            ),
        ),
    }[name]()  # fmt: skip


NAMES = ["Dense", "Dense without bias", "LayerNorm", "LayerNorm eps", "BatchNorm", "BatchNorm options", "MLP"]


@pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_torch(name, training):
    torch = require("torch")
    ours, theirs = twins(name)
    theirs = theirs.double()
    theirs.train(training)
    layer, layout, w, stats = bound(ours)
    parameters, statistics = layout.arrays(w), layout.statistics_arrays(stats)
    state = {key: torch.tensor(value) for key, value in (parameters | statistics).items()}
    expected_names = {key for key in theirs.state_dict() if not key.endswith("num_batches_tracked")}
    assert set(state) == expected_names, "PyTorch's names"
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        key: tuple(theirs.state_dict()[key].shape) for key in expected_names
    }
    theirs.load_state_dict(state, strict=False)
    for step in range(3 if training else 1):
        x = np.random.default_rng(step).normal(2.0, 3.0, size=(6, 4))
        tensor = torch.tensor(x, requires_grad=True)
        expected = theirs(tensor)
        if training:
            y, vjp, moved = layer.train(layout.params(w, stats), x, Key(1))
            stats = layout.statistics(moved, stats)
        else:
            y, vjp = layer(layout.params(w, stats), x)
        np.testing.assert_allclose(y, expected.detach(), rtol=1e-12, atol=1e-12)
        dy = np.random.default_rng(9).normal(size=y.shape)
        theirs.zero_grad()
        expected.backward(torch.tensor(dy))
        dparams, dx = vjp(dy)
        np.testing.assert_allclose(dx, tensor.grad, rtol=1e-10, atol=1e-12)
        gradients = layout.arrays(layout.gradient(dparams))
        for key, value in theirs.named_parameters():
            np.testing.assert_allclose(gradients[key], value.grad, rtol=1e-10, atol=1e-11, err_msg=key)
    for key, value in layout.statistics_arrays(stats).items():
        np.testing.assert_allclose(value, theirs.state_dict()[key], rtol=1e-12)


def test_a_trained_network_moves_to_torch_by_its_names():
    torch = require("torch")
    nn = torch.nn
    x = rng.normal(size=(20, 4))
    trainer = ab.Trainer(
        ab.MLP([5], 3, norm="batch", dropout=0.2), "softmax_cross_entropy", backend="numpy", dtype="float64"
    )
    trainer.fit(x, np.arange(20) % 3, epochs=2, batch_size=8, verbose=0)
    twin = nn.Sequential(
        nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)
    )
    arrays = trainer.parameters() | trainer.statistics()
    twin.double().load_state_dict({key: torch.tensor(a) for key, a in arrays.items()}, strict=False)
    with torch.no_grad():
        np.testing.assert_allclose(trainer.predict(x), twin.eval()(torch.tensor(x)), rtol=1e-10, atol=1e-12)


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


# --- one by one ----------------------------------------------------------------------------------


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


# --- MLP -----------------------------------------------------------------------------------------


def test_mlp_options():
    def kinds(*arguments, **options):
        return [type(layer).__name__ for layer in ab.MLP(*arguments, **options).layers]

    assert kinds([], 1) == ["Dense"]
    assert kinds([4, 3], 2) == ["Dense", "Activation", "Dense", "Activation", "Dense"]
    assert kinds([4], 2, norm="layer", dropout=0.1) == [
        "Dense",
        "LayerNorm",
        "Activation",
        "Dropout",
        "Dense",
    ]
    assert [layer.bias for layer in ab.MLP([4], 2, norm="batch").layers if hasattr(layer, "bias")] == [
        False,
        True,
    ]
    assert [layer.bias for layer in ab.MLP([4], 2, norm="layer").layers if hasattr(layer, "bias")] == [
        True,
        True,
    ]
    suited = {
        "relu": "he_normal",
        "selu": "lecun_normal",
        "ReLU": "he_normal",
        "SELU": "lecun_normal",
        "tanh": "glorot_uniform",
        ab.activations.gelu: "he_normal",
    }
    for activation, initializer in suited.items():
        first, _, last = ab.MLP([4], 2, activation=activation).layers
        assert (first.initializer, last.initializer) == (initializer, "glorot_uniform")
    assert {layer.initializer for layer in ab.MLP([4], 2, initializer="orthogonal").layers[::2]} == {
        "orthogonal"
    }


@pytest.mark.parametrize(
    "initializer", ["orthogonal", ab.initializers.he_uniform, partial(ab.initializers.constant, value=0.5)]
)
def test_initializers_by_name_function_and_with_options(initializer):
    trainer = ab.Trainer(
        ab.MLP([4], 1, initializer=initializer), "huber", backend="numpy", dtype="float64"
    ).build(4)
    weight = trainer.parameters()["0.weight"]
    assert weight.shape == (4, 4)
    if initializer == "orthogonal":
        np.testing.assert_allclose(weight @ weight.T, np.eye(4), atol=1e-12)
    if isinstance(initializer, partial):
        assert (weight == 0.5).all()
    assert (trainer.parameters()["0.bias"] == 0).all()


# --- what layers say -----------------------------------------------------------------------------


def test_summary_is_a_table():
    model = ab.MLP([1000], 10, norm="batch", dropout=0.1)
    assert model.summary(784).splitlines() == [
        "layer           output        parameters",
        "0 Dense         (..., 1000)      784,000",
        "1 BatchNorm     (..., 1000)        2,000",
        "2 Activation    (..., 1000)            0",
        "3 Dropout       (..., 1000)            0",
        "4 Dense         (..., 10)         10,010",
        "total                            796,010",
    ]
    trainer = ab.Trainer(model, "huber", backend="numpy").build(784)
    assert trainer.model.summary() == model.summary((784,)) == model.summary(784)
    with pytest.raises(ValueError, match="summary of a model that is not bound needs in_shape"):
        model.summary()
    assert "0 Dense" in ab.Dense(3).summary(4)
    assert "(..., 6)" in ab.Flatten().summary((2, 3))


@pytest.mark.parametrize("layer, in_shape, expected", [
    (ab.Dense(3), (), "Dense needs samples with at least one axis, got shape ()"),
    (ab.LayerNorm().bind((4,))[0], (5,), "LayerNorm is bound to inputs of shape (4,), got (5,)"),
    (ab.Dense(3).bind((4,))[0], (5,), "Dense is bound to inputs of shape (4,), got (5,)"),
    (ab.BatchNorm().bind((4,))[0], (5,), "BatchNorm is bound to inputs of shape (4,), got (5,)"),
    (ab.Residual(ab.Dense(3)), (4,), "inner of Residual must map (4,) to the same shape, got (3,)"),
    (ab.Sequential([ab.Dense(4), ab.Residual(ab.Dense(3))]), (4,), "layer 1: inner of Residual must map"),
    (ab.MLP([3], 2).bind((4,))[0], (5,), "layer 0: Dense is bound to inputs of shape (4,), got (5,)"),
])  # fmt: skip
def test_bind_names_what_does_not_fit(layer, in_shape, expected):
    with pytest.raises(ValueError) as error:
        layer.bind(in_shape)
    assert expected in str(error.value)


def test_binding_twice_to_the_same_shape_is_the_same():
    for layer in (ab.MLP([3], 2, norm="layer"), ab.Residual(ab.Dense(4)), ab.BatchNorm(), ab.Flatten()):
        once, shape = layer.bind((4,))
        assert once.bind((4,)) == (once, shape)
        assert layer.bind((4,)) == (once, shape), "bind changes nothing on the layer itself"


def test_only_the_matrices_of_dense_layers_decay():
    dense, _ = ab.Dense(3).bind((4,))
    assert [name for name, parameter in dense.specs().items() if parameter.decays] == ["weight"]
    for kind in (ab.LayerNorm, ab.BatchNorm):
        norm, _ = kind().bind((4,))
        assert not any(parameter.decays for parameter in norm.specs().values())


def test_dense_keeps_the_leading_axes_of_a_sample():
    assert ab.Dense(3).bind((2, 4))[1] == (2, 3)


def test_options_become_plain_values():
    assert type(ab.Dense(np.int64(3)).units) is int
    assert ab.Sequential(iter([ab.Dense(3)])).layers == (ab.Dense(3),)
    assert ab.BatchNorm(momentum=1.0).momentum == 1.0


def test_layers_are_values():
    assert ab.MLP([3], 2) == ab.MLP([3], 2)
    assert hash(ab.MLP([3], 2)) == hash(ab.MLP([3], 2))
    with pytest.raises(AttributeError):
        ab.Dense(3).units = 4


@pytest.mark.parametrize("make, error, expected", [
    (lambda: ab.Sequential([ab.Dense(3), 5]), TypeError, "layers must be Layer objects, got 5 at position 1"),
    (lambda: ab.Sequential(ab.Dense(3)), TypeError, "layers must be a list such as [Dense(8), Activation("),
    (lambda: ab.Sequential(ab.Dense(3), ab.Dense(2)), TypeError, "layers must be a list"),
    (lambda: ab.Dense(2.5), ValueError, "units must be a positive integer, got 2.5"),
    (lambda: ab.Dense("3"), ValueError, "units must be a positive integer, got '3'"),
    (lambda: ab.Dense(True), ValueError, "units must be a positive integer, got True"),
    (lambda: ab.Activation("rellu"), ValueError, "rellu"),
    (lambda: ab.Dropout(1.0), ValueError, "dropout rate must lie in [0, 1), got 1.0"),
    (lambda: ab.Dropout("0.1"), ValueError, "dropout rate must lie in [0, 1), got '0.1'"),
    (lambda: ab.LayerNorm(eps=0.0), ValueError, "eps of LayerNorm must be positive and finite, got 0.0"),
    (lambda: ab.LayerNorm(eps="1"), ValueError, "eps of LayerNorm must be positive and finite, got '1'"),
    (lambda: ab.BatchNorm(eps=np.inf), ValueError, "eps of BatchNorm must be positive and finite, got inf"),
    (lambda: ab.BatchNorm(momentum=1.5), ValueError, "momentum of BatchNorm must lie in (0, 1], got 1.5"),
    (lambda: ab.BatchNorm(momentum="1"), ValueError, "momentum of BatchNorm must lie in (0, 1], got '1'"),
    (lambda: ab.Dropout(-0.1), ValueError, "dropout rate must lie in [0, 1), got -0.1"),
    (lambda: ab.BatchNorm(momentum=0.0), ValueError, "momentum of BatchNorm must lie in (0, 1], got 0.0"),
    (lambda: ab.MLP(4, 3), TypeError, "hidden must be a sequence of sizes such as [128, 64], got 4"),
    (lambda: ab.MLP([0], 3), ValueError, "units must be a positive integer, got 0"),
])  # fmt: skip
def test_options_out_of_range_are_named(make, error, expected):
    with pytest.raises(error) as raised:
        make()
    assert expected in str(raised.value)


def test_own_layers_train_beside_ours():
    class Scale(Layer):
        """One trained factor for each feature."""

        def bind(self, in_shape):
            bound = Scale()
            bound.width = in_shape[-1]
            return bound, in_shape

        def specs(self):
            return {"factor": Parameter((self.width,), "ones")}

        def __call__(self, params, x):
            f = params["factor"]
            return x * f, lambda dy, dx=True: (
                {"factor": (x * dy).sum(axis=-2, keepdims=True)},
                dy * f if dx else None,
            )

    x = rng.normal(size=(30, 3))
    trainer = ab.Trainer(
        ab.Sequential([Scale()]), "mean_squared_error", ab.SGD(0.3), backend="numpy", dtype="float64"
    )
    trainer.fit(x, x * [1.0, 2.0, 3.0], epochs=60, batch_size=None, verbose=0)
    np.testing.assert_allclose(trainer.parameters()["0.factor"], [1.0, 2.0, 3.0], atol=0.01)
