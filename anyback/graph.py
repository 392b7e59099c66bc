"""Graphs of gates: values on the way there, gradients on the way back, for teaching and inspecting.

Arithmetic on nodes builds the graph while it computes: every node keeps its value, the nodes it was made
of, and the vector-Jacobian product of its gate, which sends its gradient back to them. That is all of
backpropagation: each gate multiplies what comes back by its own derivative, and what comes back to one
node along several wires adds up. Operators are those of `anyback.gates`; `lift` makes a gate of any other
formula. Networks are trained by `anyback.Trainer`, which keeps no graph.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from anyback import drawing, gates
from anyback.arrays import Array, Vjp, namespace

__all__ = ["Node", "dot", "draw", "gradients", "inputs", "lift"]

_NUMBER = int | float | np.generic


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A value in a graph, with the way back to what it was made of. See `inputs` and `lift`.

    The operators ``+ - * / @ **`` and unary ``-`` take nodes, arrays and Python numbers, and return nodes; an
    exponent is a Python number. Arrays and numbers among the operands are constants: they get no gradient.
    An array on the left of a node needs a library that leaves operators to others; array-api-strict does not.

    Attributes
    ----------
    value : array
        Any shape.
    name : str
        Of an input as it was given, of a gate its sign or function with the numbers it was given: ``"+ 1"``.
    parents : tuple of Node
        What the gate was given; an input has none.
    vjp : callable
        ``vjp(dvalue) -> (dparent, ...)``, one gradient for each parent.

    Examples
    --------
    >>> (x,) = inputs(x=3.0)
    >>> 2.0 * x + 1.0
    Node(value=array(7.), name='+ 1')
    """

    value: Array
    name: str
    parents: tuple[Node, ...] = field(default=(), repr=False)
    vjp: Vjp = field(default=lambda dvalue: (), repr=False)

    # NumPy's arrays leave their operators to the node instead of taking it for an element.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Node:
        return _add(self, other)

    def __radd__(self, other: Any) -> Node:
        return _add(other, self)

    def __sub__(self, other: Any) -> Node:
        return _subtract(self, other)

    def __rsub__(self, other: Any) -> Node:
        return _subtract(other, self)

    def __mul__(self, other: Any) -> Node:
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> Node:
        return _multiply(other, self)

    def __truediv__(self, other: Any) -> Node:
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _divide(other, self)

    def __matmul__(self, other: Any) -> Node:
        return _matmul(self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return _matmul(other, self)

    def __neg__(self) -> Node:
        return _negative(self)

    def __pow__(self, exponent: float) -> Node:
        if not isinstance(exponent, int | float):
            raise TypeError(f"exponent must be a Python number, got {type(exponent).__name__}")
        return _power(self, exponent)


def inputs(**values: Array | float) -> tuple[Node, ...]:
    """Return the inputs of a graph: one named node for each value.

    Parameters
    ----------
    **values : array or float
        Arrays of floating-point numbers of any library and shape. A Python number becomes a NumPy array of
        float64 without axes.

    Returns
    -------
    tuple of Node
        In the order of the arguments.

    Raises
    ------
    TypeError
        If a value is no array of floating-point numbers.

    Examples
    --------
    >>> w, x = inputs(w=np.ones((3, 2)), x=np.ones(2))
    >>> (w @ x).value
    array([2., 2., 2.])
    """
    nodes = []
    for name, value in values.items():
        x = _array(value)
        if not is_array_api_obj(x) or not namespace(x).isdtype(x.dtype, "real floating"):
            got = x.dtype if is_array_api_obj(x) else type(x).__name__
            raise TypeError(
                f"{name} must be a Python number or an array of floating-point numbers, got {got}"
            )
        nodes.append(Node(x, name))
    return tuple(nodes)


def lift(f: Callable[..., Any], name: str | None = None) -> Callable[..., Node]:
    """Turn a function ``f(*arrays, **options) -> (value, vjp)`` into a gate: a function of nodes.

    Parameters
    ----------
    f : callable
        Any activation, gate or loss, or a function such as those. Its vjp returns the gradient of its first
        argument, or a tuple of the gradients of its first ones.
    name : str, optional
        What pictures call it; by default its own name.

    Returns
    -------
    callable
        ``gate(*operands, **options) -> Node``. Operands are nodes, arrays and Python numbers, at least one of
        them a node; options are passed on to `f`. Raises TypeError where no operand is a node, where
        nodes and arrays are not of one library and precision, or where `f` does not return a value and a
        vjp.

    Examples
    --------
    >>> from anyback.activations import sigmoid
    >>> from anyback.losses import mean_squared_error
    >>> (x,) = inputs(x=np.zeros((3, 1)))
    >>> loss = lift(mean_squared_error)(lift(sigmoid)(x), np.ones((3, 1)))
    >>> loss.name, float(loss.value)
    ('mean_squared_error', 0.25)
    """
    title = name or getattr(f, "__name__", type(f).__name__)

    def gate(*operands: Any, **options: Any) -> Node:
        at = [i for i, operand in enumerate(operands) if isinstance(operand, Node)]
        if not at:
            got = ", ".join(type(operand).__name__ for operand in operands) or "none"
            raise TypeError(f"operands of {title} must contain a Node, got {got}")
        arguments = [_plain(operand) for operand in operands]
        _same_kind(f"operands of {title}", arguments)
        result = f(*arguments, **options)
        if not isinstance(result, tuple) or len(result) < 2 or not callable(result[1]):
            raise TypeError(f"{title} must return (value, vjp), got {type(result).__name__}")
        value, back = _array(result[0]), result[1]

        def vjp(dvalue: Array) -> tuple[Array, ...]:
            found = back(dvalue)
            found = found if isinstance(found, tuple) else (found,)
            if len(found) <= at[-1]:
                raise ValueError(
                    f"{title} has no gradient of operand {at[-1]}: give an array there instead of a Node"
                )
            return tuple(_array(found[i]) for i in at)

        numbers = [f"{x:.3g}" if isinstance(x, int | float) else "" for x in arguments]
        words = [*numbers[: at[0]], title, *numbers[at[0] :]]
        return Node(value, " ".join(filter(None, words)), tuple(operands[i] for i in at), vjp)

    return functools.update_wrapper(gate, f, updated=())


_add = lift(gates.add, "+")
_subtract = lift(gates.subtract, "-")
_multiply = lift(gates.multiply, "*")
_divide = lift(gates.divide, "/")
_matmul = lift(gates.matmul, "@")
_negative = lift(gates.negative, "-")
_power = lift(gates.power, "**")


def gradients(node: Node, dy: Array | float = 1.0) -> dict[Node, Array]:
    """Return the derivative of the value of `node` with respect to the value of every node it was made of.

    The chain rule, gate by gate in reverse order: where a gate has the gradient of its output, its vjp gives
    those of its inputs; a node with several uses has the sum of what comes back from each.

    Parameters
    ----------
    node : Node
        The output.
    dy : array or float
        Gradient of something further on with respect to it, of its shape; a Python number for one number.

    Returns
    -------
    dict of Node to array
        From the output back to the inputs; each gradient has shape, dtype and device of its node's value.

    Raises
    ------
    TypeError
        If `node` is no Node, or `dy` is not of its library and precision.
    ValueError
        If `dy` has not the shape of the value, or a gate has no gradient of one of its operands.

    Examples
    --------
    >>> x, y, z = inputs(x=-2.0, y=5.0, z=-4.0)
    >>> for node, dnode in gradients((x + y) * z).items():
    ...     print(f"{node.name}: {node.value:g}, {dnode:g}")
    *: -12, 1
    z: -4, 3
    +: 3, -4
    y: 5, -4
    x: -2, -4
    """
    return _backward(node, dy)[0]


def dot(node: Node, dy: Array | float = 1.0) -> str:
    """Return the graph as text in the DOT language: on each wire its value above its gradient.

    Programs of the Graphviz family turn it into a picture; `draw` needs none of them.

    Parameters
    ----------
    node : Node
        The output.
    dy : array or float
        As in `gradients`.

    Returns
    -------
    str
        The text. Arrays of up to four elements are shown in full, larger ones by their shape.

    Examples
    --------
    >>> (x,) = inputs(x=3.0)
    >>> print(dot(-x))
    digraph {
      rankdir=LR
      n0 [label="x", shape=plaintext]
      n1 [label="-", shape=circle]
      n2 [label="", shape=none]
      n0 -> n1 [label=<<font color="#0072B2">3</font><br/><font color="#D55E00">-1</font>>]
      n1 -> n2 [label=<<font color="#0072B2">-3</font><br/><font color="#D55E00">1</font>>]
    }
    """
    return drawing.dot(*_circuit(node, dy))


def draw(node: Node, path: str | Path | None = None, *, dy: Array | float = 1.0, axes: Any = None) -> Any:
    """Draw the graph from left to right: on each wire its value above and its gradient below.

    It is the circuit of F.-F. Li, A. Karpathy and J. Johnson, CS231n course notes (Stanford, 2016). A node
    with several uses has the sum of their gradients below it.

    Parameters
    ----------
    node : Node
        The output.
    path : str or Path, optional
        Where to save the picture; its ending says the format.
    dy : array or float
        As in `gradients`.
    axes : matplotlib.axes.Axes, optional
        Where to draw; by default in a figure of its own, as large as it must be.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on. Arrays of up to four elements are shown in full, a vector as a
        column; larger ones by their shape.

    Examples
    --------
    >>> x, y = inputs(x=2.0, y=3.0)
    >>> [text.get_text() for text in draw(x * y).axes[0].texts]
    ['x', 'y', '*', '2', '3', '3', '2', '6', '1']
    """
    return drawing.draw(*_circuit(node, dy), path=path, axes=axes)


def _backward(node: Node, dy: Array | float) -> tuple[dict[Node, Array], dict[Node, tuple[Array, ...]]]:
    """Return the gradient of every node, and those that it sends to its parents, one for each wire."""
    if not isinstance(node, Node):
        raise TypeError(f"node must be a Node, got {type(node).__name__}")
    total, sent = {node: _cotangent(node.value, dy)}, {}
    order = _reverse(node)
    for n in order:
        sent[n] = n.vjp(total[n])
        for parent, g in zip(n.parents, sent[n], strict=True):
            total[parent] = _array(total[parent] + g) if parent in total else g
    return {n: total[n] for n in order}, sent


def _reverse(node: Node) -> list[Node]:
    """Return all nodes, each before its parents. A stack of its own, so that a graph may be deep."""
    done: dict[Node, None] = {}
    path = [node]
    while path:
        waiting = next((parent for parent in path[-1].parents if parent not in done), None)
        if waiting is None:
            done[path.pop()] = None
        else:
            path.append(waiting)
    return [*reversed(done)]


def _cotangent(value: Array, dy: Array | float) -> Array:
    """Return `dy` as an array that looks like `value`."""
    shape = tuple(value.shape)
    dy = _plain(dy)
    _same_kind("dy and the value of node", [dy, value])
    number = isinstance(dy, int | float)
    if math.prod(shape) != 1 if number else tuple(dy.shape) != shape:
        got = dy if number else f"shape {tuple(dy.shape)}"
        raise ValueError(f"dy must have the shape {shape} of the value of node, got {got}")
    return _array(namespace(value).zeros_like(value) + dy)


def _array(x: Any) -> Any:
    """Return a number as an array of NumPy, whose operators make numbers of arrays without axes."""
    return np.asarray(x if isinstance(x, np.generic) else float(x)) if isinstance(x, _NUMBER) else x


def _plain(operand: Any) -> Any:
    """Return what a formula takes in place of an operand; NumPy's float would widen float32."""
    if isinstance(operand, Node):
        return operand.value
    return float(operand) if isinstance(operand, float) else operand


def _same_kind(what: str, arguments: list[Any]) -> None:
    """Raise TypeError unless all arrays of real numbers are of one library and precision."""
    kinds: dict[str, None] = {}
    for x in arguments:
        if not isinstance(x, int | float):
            if not is_array_api_obj(x):
                raise TypeError(f"{what} must be nodes, arrays or Python numbers, got {type(x).__name__}")
            if namespace(x).isdtype(x.dtype, "real floating"):
                dtype = str(x.dtype).rpartition(".")[2]
                kinds[f"{namespace(x).__name__} {dtype}"] = None
    if len(kinds) > 1:
        raise TypeError(f"{what} must be of one library and precision, got {' and '.join(kinds)}")


def _circuit(node: Node, dy: Array | float) -> tuple[list[drawing.Box], list[drawing.Wire]]:
    """Return what is drawn: a box for each node and one for the end, and the wires between them."""
    total, sent = _backward(node, dy)
    order = [*reversed(total)]
    number = {n: i for i, n in enumerate(order)}
    uses = Counter(parent for n in order for parent in n.parents)
    boxes = [
        drawing.Box(n.name, gate=bool(n.parents), below=_shown(total[n]) if uses[n] > 1 else "")
        for n in order
    ]
    wires = [
        drawing.Wire(number[parent], i, _shown(parent.value), _shown(g))
        for n, i in number.items()
        for parent, g in zip(n.parents, sent[n], strict=True)
    ]
    end = drawing.Wire(number[node], len(boxes), _shown(node.value), _shown(total[node]))
    return [*boxes, drawing.Box("")], [*wires, end]


def _shown(x: Array) -> str:
    """Return a few numbers in rows, or the shape of many."""
    shape = tuple(x.shape)
    if len(shape) > 2 or not 0 < math.prod(shape) <= 4:
        return str(shape)
    if not shape:
        return _digits(x)
    if len(shape) == 1:
        return "\n".join(_digits(x[i]) for i in range(shape[0]))
    return "\n".join("  ".join(_digits(x[i, j]) for j in range(shape[1])) for i in range(shape[0]))


def _digits(x: Array) -> str:
    return f"{float(x) + 0.0:.3g}"  # no minus sign before a zero
