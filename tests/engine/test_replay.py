"""The NumPy engine: a replayed training step gives the bits of the plain step."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import weakref
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import losses, optimizers
from anyback.backends.numpy import NumpyBackend
from anyback.engine import replay
from anyback.losses import loss
from tests.engine.training import Plain, data, same, state, table_module, trained

ACTIVATIONS = [name for name in ab.activations.__all__ if name not in ("maxout",)]
REALS = [n for n in losses.__all__ if getattr(losses, n).targets == "reals"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", optimizers.__all__)
def test_optimizers(executor, optimizer, dtype):
    same(ab.MLP([8, 5], 4), optimizer=optimizer, dtype=dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(executor, activation):
    same(ab.MLP([8, 5], 4, activation=activation))


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers(executor, norm, dropout):
    same(ab.MLP([8, 5], 4, norm=norm, dropout=dropout))


def test_residual_and_flatten(executor):
    model = ab.Sequential(
        [ab.Flatten(), ab.Dense(8), ab.Residual([ab.Activation("tanh"), ab.Dense(8)]), ab.Dense(4)]
    )
    same(model)


@pytest.mark.parametrize("name", losses.__all__)
def test_losses(executor, name):
    chosen = getattr(losses, name)
    rng = np.random.default_rng(1)
    y = {
        "labels": data()[1],
        "signs": rng.integers(0, 2, (70, 4)) * 2 - 1.0,
        "unit interval": rng.dirichlet(np.ones(4), 70),
        "counts": rng.integers(0, 3, (70, 4)) * 1.0,
        "reals": rng.normal(size=(70, 4)),
    }[chosen.targets]
    same(ab.MLP([8], 4), y, loss=name, metrics=[], optimizer=ab.SGD(lr=0.01))


@pytest.mark.parametrize(
    "options",
    [
        {"l1": 1e-3, "l2": 1e-2},
        {"clip_norm": 0.1},
        {"clip_value": 0.01},
        {"standardize": True},
        {"fit": {"accumulate": 3, "epochs": 6}},
        {"fit": {"batch_size": 1}},
        {"fit": {"batch_size": None, "epochs": 9}},
        {"fit": {"shuffle": False}},
        {"fit": {"validation_split": 0.3}},
        {"fit": {"sample_weight": np.linspace(0.1, 2.0, 70)}},
        {"fit": {"class_weight": [1.0, 2.0, 0.5, 1.0]}},
        {"loss": partial(losses.softmax_cross_entropy, label_smoothing=0.1)},
        {"loss": partial(losses.softmax_cross_entropy, class_weight=[1.0, 2.0, 0.5, 1.0])},
        {"optimizer": ab.AdamW(lr=1e-2, weight_decay=0.1)},
        {"optimizer": ab.Momentum(lr=ab.schedules.Cosine(0.1, 20))},
        {"metrics": ["accuracy", "top_k_accuracy"]},
        {"metrics": []},
    ],
    ids=lambda options: "-".join(options.get("fit", options)),
)
def test_options(executor, options):
    same(ab.MLP([8, 5], 4), **options)


@pytest.mark.parametrize("width", [3, 64, 700])
def test_arrays_larger_than_a_chunk(executor, width):
    """Layers of (rows, width) beyond CHUNK elements, and a flat vector whose last chunk is short."""
    model = ab.MLP([width, 130], 4)
    same(model, fit={"batch_size": 64, "epochs": 6}, width=6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_regression(executor, outputs):
    y = np.random.default_rng(2).normal(size=(70, outputs))
    same(ab.MLP([8], outputs), y, loss="huber", metrics=["mean_absolute_error"])


def test_predict_and_evaluate(executor):
    x, y = data()
    plain, replayed = (trained(b(), ab.MLP([8], 4), y) for b in (Plain, NumpyBackend))
    for _ in range(4):
        outputs = replayed.predict(x)
        assert outputs.tobytes() == plain.predict(x).tobytes()
        assert replayed.evaluate(x, y) == plain.evaluate(x, y)
    kept = outputs.copy()
    replayed.predict(-x)
    assert (outputs == kept).all()  # what was given away is not written to again


def test_a_second_fit_on_other_data(executor):
    x, y = data()
    trainers = [trained(b(), ab.MLP([8], 4), y) for b in (Plain, NumpyBackend)]
    for trainer in trainers:
        trainer.fit(x[:50] + 1.0, y[:50], epochs=8, batch_size=16, verbose=0)
        trainer.fit(x + 2.0, y, epochs=12, batch_size=16, verbose=0)
    assert state(trainers[0]) == state(trainers[1])


def test_what_asks_for_a_value_runs_plainly_and_says_so_once(executor):
    @loss(targets="reals")
    def curious(pred, target):
        d = pred - target
        if float(d[0, 0] * d[0, 0]) < 0.0:
            raise AssertionError
        return (d * d)[..., 0], lambda dl: 2.0 * d * dl

    y = data()[0][:, :1]
    with pytest.warns(UserWarning, match="cannot be recorded and runs slower: it looks at a value") as seen:
        replayed = trained(NumpyBackend(), ab.MLP([8], 1), y, loss=curious, metrics=[])
    assert len([w for w in seen if "cannot be recorded" in str(w.message)]) == 1
    assert state(replayed) == state(trained(Plain(), ab.MLP([8], 1), y, loss=curious, metrics=[]))


def test_a_trainer_lets_go_of_its_data(executor):
    x, y = data()
    trainer, ref = trained(NumpyBackend(), ab.MLP([8], 4), y), weakref.ref(x)
    trainer.fit(x, y, epochs=8, batch_size=16, verbose=0)
    for _ in range(5):
        trainer.predict(x)
        trainer.evaluate(x, y)
    del x
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_steps_at_once_are_the_steps_one_by_one(executor, dropout):
    """Whatever their grouping: a callback after each update makes each a call of its own."""
    fit = {"epochs": 6, "batch_size": 8}
    hooked = fit | {"callbacks": [ab.callbacks.Lambda(on_update=lambda trainer: None)]}
    made = partial(trained, model=ab.MLP([8], 4, dropout=dropout), y=data()[1])
    made = partial(made, optimizer=ab.Adam(ab.schedules.Cosine(0.1, period=50)))
    assert state(made(NumpyBackend(), fit=fit)) == state(made(NumpyBackend(), fit=hooked))


def test_steps_at_once_are_one_call():
    table_module()
    from anyback.engine.table import Table

    rounds, repeat = [], Table.repeat
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "PATIENCE", -1.0)
        patch.setattr(Table, "repeat", lambda self, n, feeds: rounds.append(n) or repeat(self, n, feeds))
        trained(NumpyBackend(), ab.MLP([8], 4, dropout=0.1), data()[1], fit={"epochs": 8, "batch_size": 8})
    assert sum(rounds) > 0.8 * 8 * 8
    assert max(rounds) >= 7


def test_steps_of_different_kinds_are_not_mixed(executor):
    """A schedule that returns an int for once is another kind of number."""
    fit = {"epochs": 6, "batch_size": 8}
    options = {"optimizer": ab.SGD(lambda t: 0 if t % 5 == 3 else 0.1), "fit": fit}
    assert state(trained(Plain(), ab.MLP([8], 4), data()[1], **options)) == state(
        trained(NumpyBackend(), ab.MLP([8], 4), data()[1], **options)
    )


def test_predictions_in_pieces_are_replayed(executor):
    trainer = trained(NumpyBackend(), ab.MLP([8], 4), data()[1])
    x = np.random.default_rng(1).normal(size=(70_000, 6)).astype("float32")
    plain = trained(Plain(), ab.MLP([8], 4), data()[1])
    assert trainer.predict(x, batch_size=4096).tobytes() == plain.predict(x, batch_size=4096).tobytes()
    (many,) = [plan for plan in trainer.bound.forward._plans.values() if isinstance(plan, replay._Plan)]
    assert many.done == 70_000 // 4096 - replay.PLAIN


@pytest.mark.parametrize("name", [n for n in losses.__all__ if getattr(losses, n).targets == "labels"])
def test_as_many_classes_as_samples_in_a_batch(executor, name):
    """An operand of one row for all is not one of a row for each."""
    y = np.random.default_rng(0).integers(0, 64, 192)
    x = np.random.default_rng(1).normal(size=(192, 6)).astype("float32")
    both = []
    for backend in (Plain(), NumpyBackend()):
        options = {"metrics": ["accuracy", "top_k_accuracy"], "backend": backend}
        trainer = ab.Trainer(ab.MLP([8], 64), name, "Adam", **options)
        trainer.fit(x, y, epochs=4, batch_size=64, verbose=0)
        both.append(state(trainer))
    assert both[0] == both[1]


def test_threads_may_predict_at_once(executor):
    from concurrent.futures import ThreadPoolExecutor

    trainer = trained(NumpyBackend(), ab.MLP([32], 4), data()[1])
    xs = np.random.default_rng(2).normal(size=(4, 7, 6)).astype("float32")
    expected = [trained(Plain(), ab.MLP([32], 4), data()[1]).predict(x).tobytes() for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(
            pool.map(lambda x: {trainer.predict(x).tobytes() for _ in range(200)}, xs), expected, strict=True
        ):
            assert found == {right}


def test_batches_in_any_order_of_memory(executor):
    steps = replay.Repeated(lambda s, x: (s + x.sum(axis=0),), donate=1)
    x = np.arange(12.0).reshape(3, 4)
    kinds, state, total = [x, np.asfortranarray(x), x[::-1]], (np.zeros(4),), np.zeros(4)
    for _ in range(5):
        state = steps(state, (), [(k,) for k in kinds])
        total += 3 * x.sum(axis=0)
        assert state[0].tolist() == total.tolist()


def test_large_batches_are_replayed(executor):
    x, y = np.zeros((40_000, 2), "float32"), np.zeros(40_000, int)
    trainer = ab.Trainer(ab.MLP([2], 2), "softmax_cross_entropy", backend=NumpyBackend())
    done = []
    trainer.fit(
        x,
        y,
        batch_size=10_000,
        epochs=3,
        verbose=0,
        callbacks=[ab.callbacks.Lambda(on_epoch_end=lambda t, _: done.append(t.bound.steps.one.recorded))],
    )
    assert done == [True] * 3


def test_a_trainer_can_be_copied(executor):
    trainer = trained(NumpyBackend(), ab.MLP([8], 4), data()[1])
    for _ in range(5):
        plain = trainer.predict(data()[0])
    assert copy.deepcopy(trainer).predict(data()[0]).tobytes() == plain.tobytes()


TOGETHER = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np, anyback as ab
from anyback.engine import replay

replay.PATIENCE = -1.0
x, y = np.random.default_rng(0).normal(size=(70, 6)), np.arange(70) % 4

def train(_):
    trainer = ab.Trainer(ab.MLP([16], 4), "softmax_cross_entropy", backend="numpy")
    trainer.fit(x, y, epochs=12, verbose=0)
    return trainer.weights.tobytes()

with ThreadPoolExecutor(4) as pool:
    print(len({*pool.map(train, range(8)), train(0)}))
"""


def test_threads_may_train_at_once():
    """Each its own trainer, in a process where nothing has been compiled yet; LLVM's objects are shared."""
    table_module()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
