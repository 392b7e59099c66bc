"""The NumPy engine's machine code: its loops give the bits of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback import optimizers
from anyback.arrays import namespace
from anyback.backends.numpy import NumpyBackend
from anyback.engine import replay
from anyback.engine.layout import Run, lay_out
from anyback.engine.recording import record
from anyback.pytree import leaves
from tests.conftest import require
from tests.engine.training import data, run, same, table_module, trained


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


def test_choices_between_masks(executor, monkeypatch):
    monkeypatch.setattr(replay, "COMPILED_CHUNK", 64)

    def f(x):
        xp = namespace(x)
        return xp.astype(xp.where(x > 0.5, x < 0.7, x > 0.2), x.dtype) * x

    x, g = np.random.default_rng(0).random(500), replay.Replayed(f)
    for _ in range(5):
        assert g(x).tobytes() == f(x).tobytes()
    assert g.recorded


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
