"""The NumPy engine: which arrays a replayed function overwrites, keeps and copies."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.callbacks import DivergenceError
from anyback.engine import layout, replay
from anyback.engine.layout import Run
from tests.engine.training import run, same


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
