"""MLP, initializers, summaries, and errors of options."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.layers import Layer
from anyback.parameters import Parameter
from tests.layers.binding import rng

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
