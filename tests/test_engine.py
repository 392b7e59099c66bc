"""The NumPy engine: a replayed step is the plain step, bit for bit, and faster means nothing else."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import numpy as np
import pytest
from conftest import require

import anyback as ab
from anyback import losses, optimizers
from anyback.backends.base import Backend
from anyback.backends.numpy import NumpyBackend
from anyback.engine import layout, replay
from anyback.engine.calls import calls
from anyback.engine.layout import Operation, Run, lay_out
from anyback.engine.recording import NotRecordable, leaves, record
from anyback.losses import loss


class Plain(NumpyBackend):
    """NumPy with nothing recorded."""

    compile = Backend.compile


@pytest.fixture(params=["replayed", "loops"])
def executor(request, monkeypatch):
    """With NumPy's functions, and with its loops; from the first step that is recorded."""
    if request.param == "loops":
        require("numba")
        monkeypatch.setattr(replay, "PATIENCE", -1.0)
        monkeypatch.setattr(replay, "FIRST_LOOK", 1)
    else:
        monkeypatch.setattr(replay, "PATIENCE", float("inf"))
        monkeypatch.setattr(replay, "_table", lambda: None)
    return request.param


def data(n=70, width=6, classes=4, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, width)).astype(dtype), rng.integers(0, classes, n)


def trained(backend, model, y, *, dtype="float32", fit=None, width=6, **options):
    x = data(width=width)[0]
    given = {"loss": "softmax_cross_entropy", "optimizer": "Adam", "metrics": ["accuracy"]} | options
    trainer = ab.Trainer(model, backend=backend, dtype=dtype, seed=3, **given)
    trainer.fit(x, y, **({"epochs": 4, "batch_size": 16, "verbose": 0} | (fit or {})))
    return trainer


def state(trainer):
    named = trainer.state()
    assert all(np.isfinite(np.asarray(v, float)).all() for v in named.values())
    return {name: np.asarray(v).tobytes() for name, v in named.items()} | {
        "history": repr(list(trainer.history))
    }


def same(model, y=None, **options):
    """Train plainly and replayed: the same bits, and replays it must have been."""
    y = data()[1] if y is None else y
    plain = trained(Plain(), model, y, **options)
    run, runs = replay._Plan.run, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay._Plan, "run", lambda plan: runs.append(plan.calls) or run(plan))
        replayed = trained(NumpyBackend(), model, y, **options)
    assert len(runs) > 5  # and not the first of a kind alone
    assert state(plain) == state(replayed)


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
        {"optimizer": ab.SGD(lr=ab.schedules.Cosine(0.1, 20), momentum=0.9)}
        if hasattr(ab.schedules, "Cosine")
        else {},
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
    assert width < 700 or 64 * width > replay.CHUNK


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
    trainer = trained(NumpyBackend(), ab.MLP([8], 4), y)
    put, held = trainer.backend.asarray, []
    trainer.backend.asarray = lambda a, dtype=None: held.append(weakref.ref(b := put(a, dtype))) or b
    trainer.fit(x, y, epochs=8, batch_size=16, verbose=0)
    gc.collect()
    large = [ref() for ref in held if ref() is not None and ref().shape == x.shape]
    assert held and not large


# --- its parts --------------------------------------------------------------------------------------------


def run(f, *args, donated=0, executor="replayed"):
    recording = record(f, *args)
    bound = list(leaves(args))
    operations, places, numbers = lay_out(recording, bound, donated, 2048)
    for (node, _), slot in numbers.items():
        slot[()] = node.value
    if executor == "loops":
        from anyback.engine.table import Table

        Table(operations)()
    else:
        for call in calls(operations):
            call()
    return [places.get(node) for node in leaves(recording.result)], operations


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 7), (5, 3), (33, 129), (300, 40), (3, 2000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions_and_broadcasting(executor, shape, dtype):
    from anyback.arrays import namespace

    x = np.random.default_rng(0).normal(size=shape).astype(dtype)

    def f(x):
        xp = namespace(x)
        rows, columns = xp.sum(x, axis=-1, keepdims=True), xp.sum(x, axis=-2, keepdims=True)
        y = xp.exp(x - xp.max(x, axis=-1, keepdims=True)) / rows + columns * 0.5
        return (
            y,
            xp.sum(y),
            xp.sum(y, axis=0),
            xp.min(y, axis=-1),
            xp.where(y > 0.1, y, -1.0),
            xp.sum(xp.astype(y > 0.2, y.dtype), axis=-1),
        )

    found, _ = run(f, x, executor=executor)
    for a, b in zip(found, f(x), strict=True):
        assert a.tobytes() == np.asarray(b).tobytes()


def test_an_operand_is_not_overwritten_before_it_is_read(executor):
    def f(x):
        y = x + 1.0
        return y.mT + y, (y * 2.0).mT @ y

    x = np.random.default_rng(0).normal(size=(80, 80))
    for a, b in zip(run(f, x, executor=executor)[0], f(x), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_run_keeps_what_its_later_chunks_still_read(executor):
    from anyback.arrays import namespace

    def f(x):
        y = x + 1.0
        z = y.mT + x  # reads all of y, chunk by chunk
        first = z * 2.0
        turned = namespace(y).reshape((x - 1.0).mT, x.shape)
        return first, z * 3.0 + turned, namespace(z).where(z > 0.0, 0.0, -0.0)

    x = np.random.default_rng(0).normal(size=(200, 200))
    for a, b in zip(run(f, x, executor=executor)[0], f(x), strict=True):
        assert a.tobytes() == b.tobytes()


def test_donated_arguments_are_overwritten_and_others_are_not(executor):
    def f(w, x):
        return w * 2.0 + x, x

    w, x = np.ones(5000), np.arange(5000.0)
    (new, _), operations = run(f, w, x, donated=1, executor=executor)
    assert new is w and (w == 2.0 + np.arange(5000.0)).all() and (x == np.arange(5000.0)).all()
    assert isinstance(operations[0], Run)


@pytest.mark.parametrize("n", [3, 200])
@pytest.mark.parametrize(
    "f", [lambda w: w.mT + w, lambda w: (w.mT + w) * 2.0, lambda w: (w[::-1] * 2.0 + w) * w]
)
def test_a_donated_argument_is_not_overwritten_while_it_is_read_elsewhere(executor, f, n):
    w = np.random.default_rng(0).normal(size=(n, n))
    expected = f(w.copy())
    assert run(f, w, donated=1, executor=executor)[0][0] is not None
    assert w.tobytes() == expected.tobytes()


def test_results_that_trade_places_are_right(executor):
    def f(a, b):
        return b + 1.0, a + 1.0

    a, b = np.zeros(4), np.full(4, 10.0)
    run(f, a, b, donated=2, executor=executor)
    assert a.tolist() == [11.0] * 4 and b.tolist() == [1.0] * 4


def test_arguments_that_trade_places_are_right(executor):
    a, b = np.zeros(4), np.full(4, 10.0)
    run(lambda a, b: (b, a), a, b, donated=2, executor=executor)
    assert a.tolist() == [10.0] * 4 and b.tolist() == [0.0] * 4


def test_a_view_that_copies_amid_a_run_comes_before_it(executor):
    from anyback.arrays import namespace

    def f(x, y):
        z = namespace(x).exp(x * 2.0)
        turned = namespace(y).reshape(y.mT, x.shape)  # has to copy, and does not depend on what is before
        z = z + turned
        return z * 3.0, namespace(z).reshape((z + 1.0).mT, (-1,)) * 2.0

    x, y = (np.random.default_rng(i).normal(size=s) for i, s in enumerate([(70, 80), (70, 80)]))
    found, operations = run(f, x, y, executor=executor)
    assert any(isinstance(o, Run) and len(o.operations) >= 3 for o in operations)
    for a, b in zip(found, f(x, y), strict=True):
        assert a.tobytes() == b.tobytes()


def test_rows_that_were_not_checked_are_checked(executor):
    from anyback.arrays import namespace

    def f(x, labels):
        return namespace(x).take(x, labels + 1, axis=0)

    x = np.arange(6.0).reshape(3, 2)
    assert run(f, x, np.array([0, 1]), executor=executor)[0][0].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(IndexError):
        step = replay.Replayed(f)
        labels = np.array([0, 1])
        for _ in range(5):
            step(x, labels)
        assert step.recorded
        labels += 9
        step(x, labels)


def test_a_number_that_comes_back_is_taken_up(executor):
    step, x = replay.Replayed(lambda x, a, b: x * a + b), np.ones(3)
    first = 0.5
    for a in (first, first, first, 0.9, first, 0.9, 0.9, first):
        assert step(x, a, (1.0, 2.0)[a == first]).tolist() == [a + (1.0, 2.0)[a == first]] * 3
    assert step.recorded


def test_large_inputs_that_are_others_each_time_are_not_laid_out_each_time(executor):
    step, seen = replay.Replayed(lambda x: x * 2.0), []
    with pytest.MonkeyPatch.context() as patch:
        lay_out = replay.lay_out
        patch.setattr(replay, "lay_out", lambda *args: seen.append(args) or lay_out(*args))
        for i in range(40):
            x = np.full(20000, float(i))
            assert (step(x) == 2.0 * i).all()
    assert len(seen) <= 4


def test_a_planted_error_in_a_buffer_is_seen(monkeypatch):
    """Freeing every buffer at once must break the equality that the tests above hold."""
    monkeypatch.setattr(
        layout._Layout,
        "_release",
        lambda self, i, root: root in self._owned and self._free.append(self._owned[root]),
    )
    with pytest.raises((AssertionError, RuntimeWarning)):  # other bits, or not even numbers
        same(ab.MLP([8, 5], 4))


@pytest.mark.parametrize("ask", [float, int, bool, range, np.asarray, lambda x: x.tolist()])
def test_a_value_cannot_be_asked_for(ask):
    with pytest.raises((NotRecordable, AttributeError)):
        record(lambda x: ask(x), np.ones(1))


def test_methods_and_loops_over_shapes_can_be_recorded(executor):
    def f(x):
        total = x.sum(axis=-1, keepdims=True) * len(x)
        for row in x:
            total = total + row.max() * row.reshape((1, 3)).reshape(-1).sum()
        return (x / total).astype("float32")

    x = np.random.default_rng(0).normal(size=(4, 3))
    assert run(f, x, executor=executor)[0][0].tobytes() == f(x).tobytes()


def test_functions_of_numpy_by_name_and_constants_around_can_be_recorded(executor):
    from anyback.arrays import numpy_namespace as xp

    table, labels = np.random.default_rng(0).normal(size=(9, 3)), np.array([0, 2, 1])

    def f(rows, w):
        x = xp.take(table, rows, axis=0) @ w
        x = np.where(x > 0.0, x, 0.1 * x) + xp.sum(x, axis=0) + np.sum(x, axis=1, keepdims=True)
        x = np.concatenate([x, np.ones_like(x)], axis=1)[:, :3] + xp.max(x, axis=-1, keepdims=True)
        value, vjp = losses.softmax_cross_entropy(x, labels)
        return value, vjp(), xp.astype(x, "float32", copy=False), x.take(rows, axis=0)

    rows, w = np.array([1, 0, 2]), np.random.default_rng(1).normal(size=(3, 3))
    for a, b in zip(run(f, rows, w, executor=executor)[0], f(rows, w), strict=True):
        assert a.tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("error", [ImportError("Numba needs NumPy 2.3"), RuntimeError("no locator")])
def test_a_numba_that_does_not_work_is_said_and_done_without(monkeypatch, error):
    class Broken:
        def __init__(self, operations):
            raise error

    pytest.importorskip("numba")
    from anyback.engine import table

    monkeypatch.setattr(table, "Table", Broken)
    monkeypatch.setattr(replay, "PATIENCE", -1.0)
    monkeypatch.setattr(replay, "FIRST_LOOK", 1)
    replay._table.cache_clear()
    try:
        with pytest.warns(UserWarning, match="steps run without Numba, which does not work here: N|no l"):
            trained(NumpyBackend(), ab.MLP([8], 4), data()[1])
        assert replay._table() is None
    finally:
        replay._table.cache_clear()


def test_operations_have_a_kind():
    assert Operation("copy", None, [np.ones(1)], np.ones(1)).kind == "copy"
