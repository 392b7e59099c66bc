"""Gates: values, gradients, broadcasting, ties, on every library."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from anyback import gates, gradcheck
from anyback.arrays import device, namespace
from anyback.random import Purpose, Stream

TWO = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
ONE = ("negative", "reciprocal", "square", "sqrt", "exp", "log")
SHAPES = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (2, 3, 4)),
    ((3, 1), (1, 4)),
    ((), (3,)),
    ((2, 1, 4), (3, 1)),
    ((3, 1), (3, 2)),
    ((1, 4), (1,)),
    ((2, 3, 1), (1, 1)),
    ((2, 1, 5), (1, 1)),
]
MATRICES = [
    ((2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((3,), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
]


def positive(name, shape):
    return 0.5 + Stream(1, Purpose.CHECK, name).uniform(shape)


def test_every_gate_is_tested_here():
    assert set(gates.__all__) == {*TWO, *ONE, "matmul", "power", "sum"}


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", TWO)
def test_gates_of_two(name, shapes):
    x, y = positive("x", shapes[0]), positive("y", shapes[1])
    f = getattr(gates, name)
    z, vjp = f(x, y)
    np.testing.assert_array_equal(z, getattr(np, name)(x, y))
    assert [np.shape(g) for g in vjp(z)] == list(shapes)
    gradcheck(f, x, y)


@pytest.mark.parametrize("name", ONE)
def test_gates_of_one(name):
    x = positive(name, (3, 4))
    f = getattr(gates, name)
    np.testing.assert_array_equal(f(x)[0], getattr(np, name)(x))
    gradcheck(f, x)


@pytest.mark.parametrize("exponent", [-2, -0.5, 0, 0.0, 0.5, 1, 1.0, 2, 3.7])
def test_power(exponent):
    x = positive("power", (3, 4))
    np.testing.assert_array_equal(gates.power(x, exponent)[0], x**exponent)
    gradcheck(partial(gates.power, exponent=exponent), x)


def test_power_of_negative_numbers_and_zero():
    gradcheck(partial(gates.power, exponent=3), -positive("power", (3,)))
    for exponent, slope in ((0.0, 0.0), (1.0, 1.0), (2.0, 0.0)):
        assert gates.power(np.zeros(1), exponent)[1](np.ones(1)).tolist() == [slope]
        assert gates.power(np.zeros(2), exponent)[1](1.0).tolist() == [slope, slope]


@pytest.mark.parametrize("shapes", MATRICES)
def test_matmul(shapes):
    x, y = positive("x", shapes[0]), positive("y", shapes[1])
    z, vjp = gates.matmul(x, y)
    np.testing.assert_array_equal(z, x @ y)
    assert [g.shape for g in vjp(z)] == list(shapes)
    gradcheck(gates.matmul, x, y)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, -3), ()])
def test_sum(axis, keepdims):
    x = positive("sum", (2, 3, 4))
    f = partial(gates.sum, axis=axis, keepdims=keepdims)
    y, vjp = f(x)
    np.testing.assert_array_equal(y, np.sum(x, axis=axis, keepdims=keepdims))
    assert vjp(y).shape == x.shape
    gradcheck(f, x)


def test_ties_go_to_the_first():
    same = np.asarray([1.0, 2.0])
    for f in (gates.maximum, gates.minimum):
        dx, dy = f(same, same.copy())[1](np.asarray([3.0, 4.0]))
        assert dx.tolist() == [3.0, 4.0] and dy.tolist() == [0.0, 0.0]


def test_a_circuit_by_hand():
    # f = (x + y) max(y, z) at (1, 2, 3): the sum is 3, the larger 3
    x, y, z = (np.asarray([v]) for v in (1.0, 2.0, 3.0))
    total, back_add = gates.add(x, y)
    larger, back_max = gates.maximum(y, z)
    f, back_multiply = gates.multiply(total, larger)
    dtotal, dlarger = back_multiply(np.asarray([1.0]))
    (dx, dy), (dy_too, dz) = back_add(dtotal), back_max(dlarger)
    assert f.item() == 9.0
    assert [dx.item(), (dy + dy_too).item(), dz.item()] == [3.0, 3.0, 3.0]


def test_numbers_as_second_operands():
    x = positive("x", (2, 3))
    for name in TWO:
        z, vjp = getattr(gates, name)(x, 0.75)
        dx, dy = vjp(np.ones((2, 3)))
        assert z.shape == dx.shape == (2, 3) and dy.shape == ()
    assert float(gates.multiply(x, 2.0)[1](np.ones((2, 3)))[1]) == pytest.approx(x.sum())


def test_not_a_number_stays_one():
    x = np.asarray([np.nan, 1.0])
    for name in TWO:
        for args in ((x, np.ones(2)), (np.ones(2), x)):
            assert np.isnan(getattr(gates, name)(*args)[0]).tolist() == [True, False]


@pytest.mark.parametrize("name", gates.__all__)
def test_every_library_gives_the_values_of_numpy(name, library):
    f = partial(gates.power, exponent=1.5) if name == "power" else getattr(gates, name)
    hosts = [positive("x", (2, 3, 3)), positive("y", (3, 3))][: 2 if name in (*TWO, "matmul") else 1]
    hosts = [x.astype(np.float32) for x in hosts]
    arrays = [library.array(x) for x in hosts]
    expected, back = f(*hosts)
    y, vjp = f(*arrays)
    dy = namespace(y).ones_like(y)
    gradients = [g if isinstance(g, tuple) else (g,) for g in (vjp(dy), vjp(dy))]
    wanted = back(np.ones_like(expected))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for got, want in [
        (y, expected),
        *zip(gradients[0], wanted, strict=True),
        *zip(gradients[1], wanted, strict=True),
    ]:
        assert got.dtype == arrays[0].dtype and device(got) == device(arrays[0])
        assert tuple(got.shape) == np.shape(want)
        if library.has_values:
            np.testing.assert_allclose(library.host(got), want, rtol=1e-5)


@pytest.mark.parametrize("gate", [gates.maximum, gates.minimum])
def test_a_scalar_of_numpy_is_an_array_and_not_a_python_number(gate):
    z, vjp = gate(np.float64(1.0), 0.5)
    assert float(z) == gate(np.asarray(1.0), 0.5)[0]
    assert [float(g) for g in vjp(np.asarray(1.0))] == [float(g) for g in gate(np.asarray(1.0), 0.5)[1](1.0)]
