"""Graphs of gates: the circuits of the text on every library, random ones against differences, errors."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from anyback import activations, gates, losses
from anyback.arrays import device, namespace
from anyback.graph import Node, dot, draw, gradients, inputs, lift
from anyback.random import Purpose, Stream
from tests.conftest import require
from tests.graph.circuits import NEURON, exp, maximum, on, relu, sigmoid, square, total


def check(library, node, value, expected, rtol=1e-6):
    """Compare a value and the gradients of some nodes; each gradient looks like what it belongs to."""
    found = gradients(node)
    for n, g in found.items():
        assert tuple(g.shape) == tuple(n.value.shape)
        assert (
            g.dtype == n.value.dtype and device(g) == device(n.value) and namespace(g) is namespace(n.value)
        )
    if library.has_values:
        np.testing.assert_allclose(library.host(node.value), value, rtol=rtol)
        for n, g in expected.items():
            np.testing.assert_allclose(library.host(found[n]), g, rtol=rtol, atol=1e-7, err_msg=n.name)


# --- the circuits of the text ------------------------------------------------------------------------

both = pytest.mark.parametrize("dtype", ["float32", "float64"])


@both
def test_a_sum_times_a_number(library, dtype):
    x, y, z = on(library, dtype, x=-2.0, y=5.0, z=-4.0)
    check(library, (x + y) * z, -12.0, {x: -4.0, y: -4.0, z: 3.0})


@both
@pytest.mark.parametrize("whole", [False, True], ids=["gate-by-gate", "one-gate"])
def test_the_sigmoid_neuron(library, dtype, whole):
    w0, x0, w1, x1, w2 = nodes = on(library, dtype, **NEURON)
    z = w0 * x0 + w1 * x1 + w2
    f = sigmoid(z) if whole else 1.0 / (1.0 + exp(-z))
    exact = 1.0 / (1.0 + np.exp(-1.0))
    slope = exact * (1.0 - exact)
    rounded = [round(slope * s, 2) for s in (-1.0, 2.0, -2.0, -3.0, 1.0)]
    assert round(exact, 2) == 0.73 and rounded == [-0.20, 0.39, -0.39, -0.59, 0.20]
    check(library, f, exact, dict(zip(nodes, slope * np.array([-1.0, 2.0, -2.0, -3.0, 1.0]), strict=True)))


@both
def test_the_squared_norm_of_a_product(library, dtype):
    W, x = on(library, dtype, W=[[0.1, 0.5], [-0.3, 0.8]], x=[0.2, 0.4])
    expected = {W: [[0.088, 0.176], [0.104, 0.208]], x: [-0.112, 0.636]}
    check(library, total(square(W @ x)), 0.116, expected, rtol=1e-5)


@both
def test_add_distributes_max_routes_multiply_switches(library, dtype):
    x, y, z, w = on(library, dtype, x=3.0, y=-4.0, z=2.0, w=-1.0)
    check(library, (x * y + maximum(z, w)) * 2.0, -20.0, {x: -8.0, y: 6.0, z: 2.0, w: 0.0})


@both
def test_gradients_add_at_branches(library, dtype):
    x, y, z = on(library, dtype, x=1.0, y=2.0, z=0.0)
    check(library, (x + y) * maximum(y, z), 6.0, {x: 2.0, y: 5.0, z: 0.0})
    check(library, x * x * x, 1.0, {x: 3.0})
    q = x + y
    check(library, q * q + q, 12.0, {q: 7.0, x: 7.0, y: 7.0})


def test_every_operator_on_either_side(library):
    (x,) = on(library, x=[2.0, 4.0])
    c = library.array([3.0, 5.0])
    for node, value, slope in [
        (x + 1, [3, 5], [1, 1]),
        (1 + x, [3, 5], [1, 1]),
        (x - 1.5, [0.5, 2.5], [1, 1]),
        (1.5 - x, [-0.5, -2.5], [-1, -1]),
        (x * 3, [6, 12], [3, 3]),
        (3 * x, [6, 12], [3, 3]),
        (x / 2, [1, 2], [0.5, 0.5]),
        (2 / x, [1, 0.5], [-0.5, -0.125]),
        (-x, [-2, -4], [-1, -1]),
        (x**3, [8, 64], [12, 48]),
        (x * c, [6, 20], [3, 5]),
        (x - c, [-1, -1], [1, 1]),
        (x @ c, 26, [3, 5]),
    ]:
        f = node if node.value.ndim == 0 else total(node)
        check(library, f, np.sum(value), {x: slope})
    if library.module != "array_api_strict":  # its arrays refuse what they do not know
        for node, slope in [(c + x, [1, 1]), (c - x, [-1, -1]), (c * x, [3, 5]), (c / x, [-0.75, -0.3125])]:
            check(
                library, total(node), library.host(node.value).sum() if library.has_values else 0, {x: slope}
            )
        check(library, c @ x, 26, {x: [3, 5]})


def test_gradients_do_not_depend_on_how_often_they_are_asked():
    x, y = inputs(x=np.asarray([1.0, 2.0]), y=np.asarray([3.0, -1.0]))
    f = total(relu(x * y) + x * x)
    first, second = gradients(f), gradients(f)
    assert list(first) == list(second)
    assert all(np.array_equal(first[n], second[n]) for n in first)
    assert [g.tolist() for g in (first[x], first[y])] == [[5.0, 4.0], [1.0, 0.0]]


def test_losses_and_options():
    pred, target = np.asarray([[0.0], [4.0]]), np.asarray([[1.0], [1.0]])
    (z,) = inputs(z=pred)
    f = lift(losses.huber)(z, target, delta=2.0)
    value, vjp = losses.huber(pred, target, delta=2.0)
    assert f.value == value and np.array_equal(gradients(f)[z], vjp())
    assert (f.name, lift(losses.huber).__name__) == ("huber", "huber")
    part = lift(partial(gates.sum, axis=0), "sum of columns")
    assert part(z).name == "sum of columns" and part(z).value.shape == (1,)


def test_a_gradient_from_further_on():
    (x,) = inputs(x=np.asarray([1.0, 2.0]))
    assert gradients(x * x, np.asarray([1.0, 10.0]))[x].tolist() == [2.0, 40.0]
    assert gradients(total(x), 3)[x].tolist() == [3.0, 3.0]


# --- against differences -----------------------------------------------------------------------------


def random_graph(seed, values):
    """A graph of twelve gates, each of nodes drawn among all that were made before."""
    leaves = nodes = inputs(a=values[0], b=values[1], c=values[2])
    gates_of_two = (
        *(lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y),
        *(lambda x, y: x / (y * y + 1.0), lambda x, y: x @ (y * 0.5), maximum),
    )
    gates_of_one = (sigmoid, lift(activations.tanh), lambda x: exp(-(x**2)), lambda x: 2.0 - x, relu)
    draws = Stream(seed, Purpose.CHECK, "graph").uniform((12, 3)).tolist()
    for kind, left, right in draws:
        x, y = (nodes[int(u * len(nodes))] for u in (left, right))
        choice = int(kind * (len(gates_of_two) + len(gates_of_one)))
        one = choice - len(gates_of_two)
        nodes = (*nodes, gates_of_one[one](x) if one >= 0 else gates_of_two[choice](x, y))
    return leaves, total(lift(activations.tanh)(nodes[-1] + nodes[-2] * nodes[-3]))


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_agree_with_differences(seed):
    draw_ = Stream(seed, Purpose.CHECK, "values")
    values, way = draw_.normal((2, 3, 3, 3))
    leaves, f = random_graph(seed, values)
    found = gradients(f)
    slope = sum(float((found[leaf] * v).sum()) for leaf, v in zip(leaves, way, strict=True) if leaf in found)
    ahead, behind = (float(random_graph(seed, values + h * way)[1].value) for h in (1e-6, -1e-6))
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-7)
    assert any(leaf in found for leaf in leaves)


def test_a_graph_may_be_ten_thousand_gates_deep():
    (x,) = inputs(x=1.0)
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    assert float(gradients(y)[x]) == pytest.approx(1.0001**10_000)
    assert len(gradients(y)) == 10_001 and len(repr(y)) < 100
    assert dot(y).count("->") == 10_001
    y = x
    for _ in range(60):  # two wires from each: 2^60 paths
        y = y + y
    assert float(gradients(y)[x]) == 2.0**60


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "got"),
    [([1.0], "list"), (np.arange(3), "numpy int64"), (np.asarray([True]), "numpy bool"), (1j, "complex")],
)
def test_inputs_are_floating_point(value, got):
    with pytest.raises(
        TypeError, match=f"^w must be a number or an array of floating-point numbers, got {got}$"
    ):
        inputs(w=value)


@pytest.mark.parametrize(
    ("other", "got"),
    [
        (np.ones(2, np.float32), "numpy float32"),
        (np.ones(2) * 1j, "numpy complex128"),
        (1j, "complex"),
        ("3", "str"),
        ([1.0, 2.0], "list"),
        (None, "NoneType"),
    ],
)
def test_what_does_not_go_with_a_node_is_named(other, got):
    (x,) = inputs(x=np.ones(2))
    for make in (lambda: x * other, lambda: maximum(other, x)):
        with pytest.raises(
            TypeError, match=rf"^operands of .* must be numpy float64, integers or numbers, got {got}$"
        ):
            make()
    with pytest.raises(TypeError, match=f"^dy must be numpy float64, got {got}$"):
        gradients(x, other)


def test_libraries_and_precisions_do_not_mix():
    x, single = inputs(x=np.ones(2), single=np.ones(2, np.float32))
    (y,) = inputs(y=require("array_api_strict").ones(2))
    for other, got in ((single, "numpy float32"), (y, "array_api_strict float64")):
        with pytest.raises(TypeError, match=rf"^operands of \* must be numpy float64, .*, got {got}$"):
            x * other
        with pytest.raises(TypeError, match=f"^dy must be numpy float64, got {got}$"):
            gradients(x, other.value)
    with pytest.raises(TypeError, match=r"^value of \* must be numpy float32, got numpy float64$"):
        single * np.arange(2)


def test_numbers_and_integers_go_with_every_precision(library):
    for dtype in ("float32", "float64"):
        x, z = on(library, dtype, x=[1.0, 2.0], z=[[0.0, 1.0], [2.0, 0.0]])
        for number in (2, 2.0, np.float64(2.0), np.float32(2.0), np.int64(2)):
            f = x * number
            assert f.value.dtype == x.value.dtype and f.name == "* 2"
        f = lift(losses.softmax_cross_entropy)(z, library.array([1, 0]))
        check(library, f, 0.22009, {z: [[0.134471, -0.134471], [-0.059601, 0.059601]]}, rtol=1e-4)


def test_what_is_no_gate_is_named():
    (x,) = inputs(x=np.ones(2))
    with pytest.raises(TypeError, match=r"^exponent must be a Python number, got Node$"):
        x**x
    with pytest.raises(TypeError, match=r"unsupported operand"):
        2.0**x
    with pytest.raises(TypeError, match=r"^operands of exp must contain a Node, .*, got float$"):
        exp(3.0)
    with pytest.raises(TypeError, match=r"^operands of add must contain a Node, .*, got none$"):
        lift(gates.add)()
    with pytest.raises(TypeError, match=r"and options none, got Node, Node$"):
        lift(gates.add)(x, y=x)
    with pytest.raises(TypeError, match=r"^exp must return \(value, vjp\), got ndarray$"):
        lift(np.exp)(x)
    for value, got in ((None, "NoneType"), ("1", "str"), (np.arange(2), "numpy int64")):
        with pytest.raises(TypeError, match=f"^value of f must be numpy float64, got {got}$"):
            lift(lambda a, value=value: (value, lambda dy: dy), "f")(x)
    with pytest.raises(TypeError, match=r"does not support ufuncs"):
        np.exp(x)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (None, TypeError, "must be numpy float64, got NoneType"),
        ([np.ones(2)], TypeError, "must be numpy float64, got list"),
        (np.ones(2, np.float32), TypeError, "must be numpy float64, got numpy float32"),
        (np.ones((2, 2)), ValueError, r"must have the shape \(2,\) of its value, got \(2, 2\)"),
        (1.0, ValueError, r"must have the shape \(2,\) of its value, got \(\)"),
    ],
)
def test_a_wrong_gradient_of_a_gate_is_named(gradient, error, message):
    (x,) = inputs(x=np.ones(2))
    f = lift(lambda a: (a, lambda dy: gradient), "f")(x) * 2.0
    for make in (gradients, dot, draw):
        with pytest.raises(error, match=f"^gradient of x by f {message}$"):
            make(f, dy=np.ones(2))


def test_outputs_that_have_no_gradient_are_named():
    x, y = inputs(x=np.ones((2, 1)), y=np.ones((2, 1)))
    for make in (gradients, dot, draw):
        with pytest.raises(TypeError, match=r"^node must be a Node, got float$"):
            make(1.0)
        for dy, got in ((1.0, "1.0"), (np.ones(2), r"\(2,\)")):
            with pytest.raises(ValueError, match=rf"^dy must have the shape \(2, 1\) .*, got {got}$"):
                make(x, dy=dy)
    with pytest.raises(ValueError, match=r"^huber has no gradient of operand 1: give an array"):
        gradients(lift(losses.huber)(x, y))
    with pytest.raises(ValueError, match="zip"):
        gradients(Node(x.value, "by hand", (x, y), lambda dy: (dy,)), x.value)


def test_nothing_is_changed_in_place():
    x, y = inputs(x=np.asarray([1.0, 2.0]), y=np.asarray([3.0, 4.0]))
    dy = np.asarray([1.0, 10.0])
    for a in (x.value, y.value, dy):
        a.flags.writeable = False
    f = relu((x + y) * x - y / x + x**2) + x + x
    first = {n: g.copy() for n, g in gradients(f, dy).items()}
    assert all(np.array_equal(g, first[n]) for n, g in gradients(f, dy).items())
    assert first[x].tolist() == [12.0, 150.0]


def test_nodes_do_not_change():
    (x,) = inputs(x=1.0)
    with pytest.raises(AttributeError):
        x.value = 2.0
    assert x == x and x != Node(x.value, "x") and len({x, x}) == 1
    for number in (2.0, np.float64(2.0), np.float32(2.0)):
        (y,) = inputs(y=number)
        assert isinstance(y.value, np.ndarray) and y.value.shape == ()
    (single,) = inputs(single=np.ones(2, np.float32))
    assert (single * np.float64(2.0)).value.dtype == np.float32
