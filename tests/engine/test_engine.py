"""The NumPy engine: a replayed step is the plain step, bit for bit, and faster means nothing else."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import warnings
import weakref
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import losses, optimizers
from anyback.arrays import namespace
from anyback.backends.base import Backend
from anyback.backends.numpy import NumpyBackend
from anyback.callbacks import DivergenceError
from anyback.engine import layout, replay
from anyback.engine.calls import calls
from anyback.engine.layout import Run, lay_out
from anyback.engine.recording import NotRecordable, record
from anyback.losses import loss
from anyback.pytree import leaves
from tests.conftest import require


class Plain(NumpyBackend):
    """NumPy with nothing recorded."""

    compile, repeat = Backend.compile, Backend.repeat


@pytest.fixture(params=["replayed", "loops"])
def executor(request, monkeypatch):
    """With NumPy's functions, and with its loops; from the first step that is recorded."""
    if request.param == "loops":
        require("llvmlite")
        monkeypatch.setattr(replay, "PATIENCE", -1.0)
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
    run, tables = replay._Plan.run, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay._Plan, "run", lambda plan: tables.append(plan.table is not None) or run(plan))
        replayed = trained(NumpyBackend(), model, y, **options)
    assert len(tables) > 5  # and not the first of a kind alone
    assert any(tables) == (replay.PATIENCE < 0)
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
    with pytest.raises((AssertionError, RuntimeWarning, DivergenceError)):  # other bits, or no numbers
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


@pytest.mark.parametrize("error", [ImportError("no libLLVM"), RuntimeError("no locator")])
def test_an_llvm_that_does_not_work_is_said_and_done_without(monkeypatch, error):
    class Broken:
        def __init__(self, operations):
            raise error

    pytest.importorskip("llvmlite")
    from anyback.engine import table

    monkeypatch.setattr(table, "Table", Broken)
    monkeypatch.setattr(replay, "PATIENCE", -1.0)
    replay._table.cache_clear()
    try:
        with pytest.warns(UserWarning, match="steps run without llvmlite, which does not work here: no l"):
            trained(NumpyBackend(), ab.MLP([8], 4), data()[1])
        assert replay._table() is None
    finally:
        replay._table.cache_clear()


# --- machine code -------------------------------------------------------------------------------------


def table_module():
    require("llvmlite")
    from anyback.engine import table

    return table


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", optimizers.__all__)
def test_long_updates(executor, optimizer, dtype, monkeypatch):
    monkeypatch.setattr(replay, "CHUNK", 16)
    monkeypatch.setattr(replay, "COMPILED_CHUNK", 16)
    same(ab.MLP([16], 4), optimizer=optimizer, dtype=dtype, fit={"epochs": 12})


@pytest.mark.parametrize("optimizer", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW"])
def test_an_update_is_one_kernel(optimizer):
    table = table_module()
    kinds = []
    trainer = ab.Trainer(ab.MLP([64], 4), "softmax_cross_entropy", optimizer, backend=NumpyBackend())
    whole = ab.MLP([64], 4).bind((6,))[0]
    size = ab.parameters.Layout(whole.specs()).size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "PATIENCE", -1.0)
        patch.setattr(replay, "COMPILED_CHUNK", 128)
        rows = table._run
        patch.setattr(table, "_run", lambda run: kinds.append((run.shape, len(rows(run)))) or rows(run))
        trainer.fit(*data(), epochs=3, verbose=0)
    assert {count for shape, count in kinds if shape == (size,)} == {1}


def test_what_is_no_kernel_goes_by_loops():
    table, big = table_module(), np.linspace(-1.0, 1.0, 5000)
    with np.errstate(all="ignore"):
        for f in (np.exp, np.sin, np.cbrt):
            recording = record(lambda x, f=f: f(x * 2.0) + 1.0, big)
            operations, places, _ = lay_out(recording, [big], 0, 512)
            (run,) = [o for o in operations if isinstance(o, Run)]
            assert len(table._run(run)) > 10
            table.Table(operations)()
            assert places[recording.result].tobytes() == (f(big * 2.0) + 1.0).tobytes()


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, 1e-38, 2.5] * 300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_has_the_bits_of_numpy_on_every_kind_of_number(dtype):
    table = table_module()
    x = SPECIAL.astype(dtype)
    y = np.roll(x, 5)[np.random.default_rng(0).permutation(x.size)]

    def f(x, y):
        xp = namespace(x)
        above = (x > y, x >= y, x < y, x <= y, x == y, x != y)
        return (
            *(xp.where(c, x, y * 2.0) for c in above),
            *(xp.astype(c, x.dtype) for c in above),
            above[0],
            xp.sqrt(x),
            abs(x),
            -x,
            xp.square(x),
            xp.maximum(x, y),
            xp.minimum(x, y),
            xp.maximum(x, 0.0),
            xp.minimum(-0.0, y),
            x + y,
            x - y,
            x * y,
            x / y,
        )

    with np.errstate(all="ignore"):
        recording = record(f, x, y)
        operations, places, _ = lay_out(recording, [x, y], 0, 512)
        rows = [row for o in operations for row in (table._run(o) if isinstance(o, Run) else table._whole(o))]
        assert any("noalias" in str(row.f) for row in rows)
        table.Table(operations)()
        for node, plain in zip(leaves(recording.result), f(x, y), strict=True):
            found = places[node]
            known = ~np.isnan(plain)
            np.testing.assert_array_equal(np.isnan(found), ~known)
            assert found[known].tobytes() == plain[known].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(64, 129), (129, 64), (100, 100), (1, 5000), (5000, 1)])
def test_a_kernel_of_rows_and_columns(shape, dtype):
    table, rng = table_module(), np.random.default_rng(0)
    x, row, column = (rng.normal(size=s).astype(dtype) for s in (shape, (1, shape[1]), (shape[0], 1)))

    def f(x, row, column):
        xp = namespace(x)
        y = xp.maximum(x + row, 0.0) * column - row
        return y, y / column + row * 2.0, y + xp.reshape(row, (-1,)), x * row * column

    recording = record(f, x, row, column)
    operations, places, _ = lay_out(recording, [x, row, column], 0, 512)
    rows = [row for o in operations for row in (table._run(o) if isinstance(o, Run) else table._whole(o))]
    assert shape[0] == 1 or any("noalias" in str(row.f) for row in rows)
    table.Table(operations)()
    for node, plain in zip(leaves(recording.result), f(x, row, column), strict=True):
        assert places[node].tobytes() == plain.tobytes()


def test_the_same_array_as_row_and_column():
    table, b = table_module(), np.arange(64.0)
    x = np.ones((64, 64))
    recording = record(lambda x, b: (x + b) * b[:, None] - b, x, b)
    operations, places, _ = lay_out(recording, [x, b], 0, 512)
    table.Table(operations)()
    assert places[recording.result].tobytes() == ((x + b) * b[:, None] - b).tobytes()


def test_the_first_of_the_largest(executor):
    x = np.random.default_rng(0).integers(0, 4, (200, 5)).astype("float32")
    x[::7, 3] = np.nan
    x[::14, 1] = np.nan
    x[3] = -np.inf
    (found,), _ = run(lambda x: (namespace(x).argmax(x, axis=-1),), x, executor=executor)
    assert found.tolist() == x.argmax(axis=-1).tolist()


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


def test_the_result_of_the_call_that_goes_over_to_loops_is_right(monkeypatch):
    table_module()
    double, x = replay.Replayed(lambda x: (x * 2.0, x + 1.0)), np.arange(5.0)
    monkeypatch.delitem(replay.sys.modules, "anyback.engine.table")
    monkeypatch.setattr(replay, "PATIENCE", float("inf"))
    for _ in range(6):
        double(x)
    assert double._plan.table is None
    monkeypatch.setattr(replay, "PATIENCE", -1.0)
    for _ in range(2):
        assert [y.tolist() for y in double(x)] == [(x * 2.0).tolist(), (x + 1.0).tolist()]
    assert double._plan.table is not None


def test_many_steps_go_over_to_loops_in_between(monkeypatch):
    table_module()
    steps = replay.Repeated(lambda w, g, lr: (w - lr * g,), donate=1)
    monkeypatch.delitem(replay.sys.modules, "anyback.engine.table")
    monkeypatch.setattr(replay, "PATIENCE", float("inf"))
    state, plain, g, rates = (np.ones(3),), np.ones(3), np.arange(3.0), [0.1, 0.2, 0.3, 0.4, 0.5]
    for patience in (float("inf"), -1.0, -1.0):
        monkeypatch.setattr(replay, "PATIENCE", patience)
        state = steps(state, (g,), [(lr,) for lr in rates])
        for lr in rates:
            plain = plain - lr * g
        assert state[0].tolist() == plain.tolist()
    assert steps.one._plan.table is not None
    assert steps.one._plan.done == 3 * len(rates) - replay.PLAIN


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


def test_rows_of_a_broadcast_vector_are_not_taken_for_rows(executor, monkeypatch):
    monkeypatch.setattr(replay, "CHUNK", 64)
    monkeypatch.setattr(replay, "COMPILED_CHUNK", 64)
    f, x, b = replay.Replayed(lambda x, b: np.exp(x * 2.0) + b), np.ones((64, 64)), np.arange(64.0)
    for _ in range(5):
        assert f(x, b).tobytes() == (np.exp(x * 2.0) + b).tobytes()
    assert f.recorded


def test_one_row_of_a_wide_array_is_taken(executor):
    """The stride along an axis of length one may be anything."""
    wide = np.random.default_rng(0).normal(size=(5, 4000)).astype("float32")
    for x in (wide[3:4, :6], wide[3:2:-1, :6]):
        trainer = trained(NumpyBackend(), ab.MLP([8], 4), data()[1])
        found = [trainer.evaluate(x, np.array([1])) for _ in range(2)]
        held = ab.Trainer(ab.MLP([8], 4), "softmax_cross_entropy", backend=NumpyBackend())
        held.fit(*data(), validation_data=(x, np.array([1])), epochs=6, verbose=0)
        assert found[0] == found[1]
        assert np.isfinite(held.history["val_loss"]).all()


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


def test_choices_between_masks(executor, monkeypatch):
    monkeypatch.setattr(replay, "COMPILED_CHUNK", 64)

    def f(x):
        xp = namespace(x)
        return xp.astype(xp.where(x > 0.5, x < 0.7, x > 0.2), x.dtype) * x

    x, g = np.random.default_rng(0).random(500), replay.Replayed(f)
    for _ in range(5):
        assert g(x).tobytes() == f(x).tobytes()
    assert g.recorded


@pytest.mark.parametrize("f", [
    lambda a, b: a @ a, lambda a, b: np.concatenate([a, b[:, :2]]), lambda a, b: a + b[:, :2],
])  # fmt: skip
def test_shapes_that_do_not_fit_raise_as_numpy_does(executor, f):
    a, b, g = np.ones((3, 4)), np.ones((5, 3)), replay.Replayed(f)
    for _ in range(5):
        with warnings.catch_warnings(action="ignore"), pytest.raises(ValueError, match=r"."):
            g(a, b)


@pytest.mark.parametrize("f", [
    lambda x: np.unique(x), lambda x: (x, float(3) * 2 and x.sum() * 0 + 1),
])  # fmt: skip
def test_what_depends_on_values_is_called_plainly(executor, f):
    g = replay.Replayed(f)
    with warnings.catch_warnings(action="ignore"):
        for x in (np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) * 3:
            for a, b in zip(leaves(g(x)), leaves(f(x)), strict=True):
                assert np.array_equal(a, b)


def test_functions_that_refuse_zeros_can_be_recorded(executor):
    g, x = replay.Replayed(lambda x: np.linalg.inv(x) * 2.0), np.array([[2.0, 1.0], [0.0, 4.0]])
    for _ in range(5):
        assert g(x).tolist() == (np.linalg.inv(x) * 2.0).tolist()
    assert g.recorded


def test_a_number_among_the_results_is_no_number_of_before(executor):
    f = lambda x, a: (x * a, a + 1)  # noqa: E731
    g = replay.Replayed(f)
    with pytest.warns(UserWarning, match="it returns a number that changes"):
        for a in (1.0, 2.0, 3.0, 4.0):
            assert g(np.ones(2), a)[1] == a + 1


def test_what_is_overwritten_is_no_result_beside(executor):
    g = replay.Replayed(lambda a: (a + 1.0, a), donate=1)
    with pytest.warns(UserWarning, match="returns what it was given to overwrite"):
        for _ in range(5):
            assert [r.tolist() for r in g(np.ones(2))] == [[2.0, 2.0], [1.0, 1.0]]


def test_the_same_array_twice_is_overwritten_once(executor, monkeypatch):
    monkeypatch.setattr(replay, "LARGE", 0)  # recorded at the first call
    w = np.ones(3)
    g = replay.Replayed(lambda w, m, d: (w + d, m * 3.0), donate=2)
    assert [r.tolist() for r in g(w, w, w)] == [[2.0] * 3, [3.0] * 3]
    assert g.recorded


def test_a_dict_that_was_changed_is_read_again(executor):
    g, given = replay.Replayed(lambda d: d["x"] * d["a"]), {"x": np.ones(2), "a": 1.0}
    for a in (1.0, 2.0, 3.0, 4.0, 5.0):
        given["a"] = a
        assert g(given).tolist() == [a, a]
    assert g.recorded


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


def test_truth_values_can_be_recorded(executor):
    g = replay.Replayed(lambda x: x * True + x)
    for _ in range(5):
        assert g(np.ones(2)).tolist() == [2.0, 2.0]
    assert g.recorded


def test_a_result_that_is_given_cannot_be_recorded(executor):
    def f(x):
        y = np.zeros(2)
        np.multiply(x, 2.0, out=y)
        return y + 1.0

    g = replay.Replayed(f)
    with pytest.warns(UserWarning, match="with an array for the result"):
        for _ in range(5):
            assert g(np.ones(2)).tolist() == [3.0, 3.0]


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


def test_empty_arrays_overwrite_nothing(executor):
    base = np.zeros(1000)
    w = base[:0].reshape(0, 100)
    g = replay.Replayed(lambda w, b: (w + b,), donate=1)
    for _ in range(5):
        assert g(w, np.ones(100))[0].shape == (0, 100)
    h = replay.Replayed(lambda x, b: (x + b) * 2.0)
    for _ in range(5):
        assert h(np.zeros((0, 100_000)), np.ones(100_000)).shape == (0, 100_000)
    assert not base.any()


BY_POSITION = [
    lambda x: np.mean(x, 0),
    lambda x: np.transpose(x, (1, 0)) @ x,
    lambda x: np.sort(x, 0),
    lambda x: np.cumsum(x, 1),
    lambda x: np.round(x, 1),
    lambda x: np.var(x, 0),
    lambda x: np.tile(x, 2),
    lambda x: np.swapaxes(x, 0, 1) * 1.0,
    lambda x: np.squeeze(x[:1], 0),
    lambda x: np.diff(x, 1),
    lambda x: np.take(x, [0, 1], axis=1),
    lambda x: np.repeat(x, 2),
    lambda x: np.percentile(x, 30, 0),
    lambda x: x.T.sum(0),
]


@pytest.mark.parametrize("f", BY_POSITION)
def test_functions_with_options_by_position(executor, f):
    g, x = replay.Replayed(f), np.random.default_rng(0).normal(size=(6, 5))
    with warnings.catch_warnings(action="ignore"):
        for _ in range(5):
            assert g(x).tobytes() == f(x).tobytes()


CUBE, ROWS = np.random.default_rng(1).normal(size=(6, 6, 6)), np.asarray([3, 0, 5, 3, 1, 2])


@pytest.mark.parametrize(
    "f, args",
    [
        (lambda x, rows: 2.0 * namespace(x).take(x, rows, axis=0), (CUBE[0, :, ::2], ROWS)),
        (lambda x, rows: 2.0 * namespace(x).take(x, rows, axis=0), (CUBE[0], ROWS[::2])),
        (lambda x, rows: 2.0 * namespace(x).take(x, rows, axis=0), (CUBE[0], ROWS.astype(np.int32))),
        (lambda x, y: x @ y + 1.0, (CUBE, CUBE)),
        (lambda x: x + 1.0, (CUBE[::2, ::2, ::2],)),
    ],
    ids=["columns", "every-other-row", "short-rows", "stacks", "three-strides"],
)
def test_arrays_in_any_order_of_memory_have_the_bits_of_numpy(executor, f, args):
    g = replay.Replayed(f)
    for _ in range(5):
        assert g(*args).tobytes() == f(*args).tobytes()


def test_what_cannot_be_chosen_or_cast_has_no_loop():
    require("llvmlite")
    from anyback.engine import loops

    text, real, swapped = np.dtype("S3"), np.dtype("f8"), np.dtype(">f8")
    for kind, dtypes in (
        ("where", [np.dtype(bool), text, text]),
        ("cast", [text, real]),
        ("cast", [swapped, real]),
    ):
        with pytest.raises(loops.NoLoop):
            loops.moving(kind, dtypes, [dtype.itemsize for dtype in dtypes])
    with pytest.raises(loops.NoLoop):
        loops.loop(np.add, "xx->x")


def changing(x):
    m, t = np.zeros(4), 0.0
    for k in range(4):
        m[:] = 0.0
        m[k] = k + 1.0
        t = t + (x * m).sum()
    return t


def seen_elsewhere(x):
    y = x * 2.0
    z = y[1:]
    y += 1.0
    return z * 1.0


def twice(x):
    y = x * 2.0
    z = y
    y += 1.0
    return z


def narrow(x):
    y = (x * 2.0).astype("float32")
    y += x
    return y


def written(x):
    y = np.zeros(4)
    np.copyto(y, x)
    return y + 1.0


def averaged(x):
    y = np.zeros(())
    np.mean(x, out=y)
    return y + 1.0


def several(x):
    a, b = np.modf(x)
    return a + b * 2.0


def order(x):
    z = np.outer(x, np.arange(300.0))
    return (z.T * 2.0).sum(axis=0) + (z.mT * 3.0).sum(axis=0)


@pytest.mark.parametrize(
    "f",
    [changing, seen_elsewhere, twice, narrow, written, averaged, several, order],
    ids=lambda f: f.__name__,
)
def test_what_is_hard_to_record_is_right(executor, f):
    g, x = replay.Replayed(f), np.array([0.1, -2.5, 3.25, 7.0])
    with warnings.catch_warnings(action="ignore"):
        for i in range(5):
            found, plain = g(x * (i + 1.0)), f(x * (i + 1.0))
            assert found.dtype == plain.dtype
            assert found.tobytes() == plain.tobytes()
    assert g.recorded == (f in (twice, narrow))


def test_a_state_that_changes_its_kind_is_not_donated(executor):
    x = np.ones((3, 4), "float32")
    g = replay.Replayed(lambda w, lr: (w - lr * w,), donate=1)
    h = replay.Replayed(lambda w: (w.sum(axis=0),), donate=1)
    with warnings.catch_warnings(action="ignore"):
        for _ in range(5):
            assert g(x, np.float64(0.1))[0].dtype == np.float64
            assert h(x)[0].shape == (4,)


def test_a_state_that_cannot_be_overwritten_is_copied(executor, monkeypatch):
    monkeypatch.setattr(replay, "LARGE", 0)
    read_only, spread = np.ones(4), np.broadcast_to(np.ones(1), (4,))
    read_only.flags.writeable = False
    for w in (read_only, spread):
        g = replay.Replayed(lambda w: (w + np.arange(4.0),), donate=1)
        assert g(w)[0].tolist() == [1.0, 2.0, 3.0, 4.0]
        assert w.tolist() == [1.0] * 4


def test_a_state_may_come_back_swapped(executor):
    g = replay.Replayed(lambda a, b: (a + 1.0, b * 2.0), donate=2)
    s, t = (np.zeros(3), np.ones(3)), (np.zeros(3), np.ones(3))
    for _ in range(6):
        s, t = g(s[1], s[0]), (t[1] + 1.0, t[0] * 2.0)
        assert [x.tolist() for x in s] == [x.tolist() for x in t]


def test_the_place_of_what_is_missing_counts(executor):
    g = replay.Replayed(lambda d: d[0] + (d[1] if d[2] is None else d[2] * 10.0))
    x, y = np.ones(2), np.ones(2)
    for _ in range(5):
        assert g((x, y, None)).tolist() == [2.0, 2.0]
        assert g((x, None, y)).tolist() == [11.0, 11.0]


def test_kinds_of_arguments_are_forgotten():
    double = replay.Replayed(lambda x: x * 2.0)
    for n in range(1, 3 * replay.KINDS):
        for _ in range(4):
            assert double(np.ones(n)).tolist() == [2.0] * n
    assert len(double._plans) == replay.KINDS
