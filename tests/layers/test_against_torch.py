"""Layers against torch.nn."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback.random import Key
from tests.conftest import require
from tests.layers.binding import bound, rng


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
