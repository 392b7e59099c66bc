"""The NumPy engine: what can be recorded, and what is called plainly."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from anyback import losses
from anyback.engine import replay
from anyback.engine.recording import NotRecordable, record
from anyback.pytree import leaves
from tests.engine.training import run


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


def test_a_dict_that_was_changed_is_read_again(executor):
    g, given = replay.Replayed(lambda d: d["x"] * d["a"]), {"x": np.ones(2), "a": 1.0}
    for a in (1.0, 2.0, 3.0, 4.0, 5.0):
        given["a"] = a
        assert g(given).tolist() == [a, a]
    assert g.recorded


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
