"""Training in kernels of a GPU: on one where there is one, and by an emulator everywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.engine.cuda import Launch
from anyback.engine.device import Compiled, Stepped
from anyback.engine.program import Program
from anyback.random import Key
from tests.engine.emulated_gpu import EmulatedGPU
from tests.engine.programs import LABELS, MODELS, X, agree, emulated, programs, rng, trained

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("name", MODELS)
def test_training_ends_as_the_plain_formulas_do(gpu, name, dtype, tolerance):
    model, options = MODELS[name]
    ours, plain = (trained(model, where, dtype, **options) for where in (gpu, "numpy"))
    assert programs(ours), "nothing ran in kernels"
    for key, w in plain.parameters().items():
        np.testing.assert_allclose(ours.parameters()[key], w, rtol=0, atol=tolerance, err_msg=key)
    for (key, a), (_, b) in zip(ours.statistics().items(), plain.statistics().items(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=key)
    for row, other in zip(ours.history, plain.history, strict=True):
        assert row == pytest.approx(other, rel=10 * tolerance)
    np.testing.assert_allclose(ours.predict(X), plain.predict(X), rtol=0, atol=20 * tolerance)


def test_a_step_is_seven_kernels_and_five_products(gpu):
    step = programs(trained(ab.MLP([16], 3), gpu, "float32", weight=None))[0]
    kernels = [launch for launch in step.launches if isinstance(launch, Launch)]
    assert (len(kernels), len(step.launches) - len(kernels)) == (7, 5)


def test_reads_are_as_many_as_epochs(gpu, monkeypatch):
    """Nothing is read back for a batch: 25 of them in an epoch, or 4."""
    reads, read = [], type(gpu).to_numpy
    monkeypatch.setattr(type(gpu), "to_numpy", lambda self, x: reads.append(1) or read(self, x))
    counts = []
    for size in (8, 50):
        seen = []
        callback = ab.callbacks.Lambda(on_epoch_end=lambda trainer, logs, seen=seen: seen.append(len(reads)))
        trainer = ab.Trainer(ab.MLP([8], 3), "softmax_cross_entropy", backend=gpu)
        trainer.fit(X, LABELS, epochs=3, batch_size=size, callbacks=[callback], verbose=0)
        assert programs(trainer)
        counts += [seen[1] - seen[0], seen[2] - seen[1]]
    assert counts == [2] * 4, "the sum of the loss, and of the weights"


def test_graph_and_single_calls_give_the_same_bits():
    def step(w, n, x, rows, lr, k):
        xp = namespace(w)
        batch = xp.take(x, rows, axis=0)
        return w - lr * xp.sum(batch, axis=0), n + k

    x, rows = rng.normal(size=(50, 6)), rng.permutation(50)
    batches = [(rows[i : i + 5], 0.1 / (i + 1), i) for i in range(0, 50, 5)]
    gpu = EmulatedGPU()
    steps = Stepped(step, gpu, donate=2)
    state = (np.ones(6), np.zeros((), np.int64))
    alone = Program(step, (*state, x, *batches[0]), EmulatedGPU(), 2, 3)
    expected = state
    for batch in batches:
        expected = alone((*expected, x, *batch))
    found = steps((np.ones(6), np.zeros((), np.int64)), (x,), batches)
    assert gpu.graphs == 1 and gpu.launched.count("feed") == 10, "once before it is captured"
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    # Rows that do not follow one another in memory, and a state from elsewhere.
    again = steps((np.ones(6), np.zeros((), np.int64)), (x,), [(r.copy(), *rest) for r, *rest in batches])
    for a, b in zip(again, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@emulated
def test_what_cannot_be_recorded_runs_plainly():
    def chosen(x):
        return x if float(namespace(x).sum(x)) > 0.0 else -x

    f = Compiled(chosen, EmulatedGPU())
    with pytest.warns(
        UserWarning, match="chosen runs without kernels of its own, slower: it looks at a value"
    ):
        np.testing.assert_array_equal(f(np.full(3, -1.0)), 1.0)
    np.testing.assert_array_equal(f(np.full(3, -2.0)), 2.0)


@emulated
def test_steps_that_cannot_be_recorded_are_made_one_by_one():
    steps = Stepped(lambda w, x: (w - float(namespace(x).sum(x)),), EmulatedGPU(), donate=1)
    batches = [(np.full(2, 1.0),), (np.full(2, 2.0),)]
    with pytest.warns(UserWarning, match="it looks at a value"):
        (w,) = steps((np.zeros(3),), (), batches)
    np.testing.assert_array_equal(w, -6.0)


@emulated
def test_a_copy_compiles_anew_and_arrays_can_be_let_go():
    f = Compiled(lambda x: 2.0 * x + 1.0, EmulatedGPU())
    np.testing.assert_array_equal(f(np.ones(3)), 3.0)
    again = copy.copy(f)
    assert not again.programs
    f.release()
    for g in (f, again):
        np.testing.assert_array_equal(g(np.full(3, 2.0)), 5.0)


def test_dropout_draws_the_same_masks(gpu):
    """Bits of the masks, not only what they come to."""
    layer, _ = ab.Dropout(0.4).bind((30,))
    x = np.ones((9, 30))
    agree(gpu, lambda x, word: layer.train({}, x, Key(word))[0], x, 123456789, rtol=0)
