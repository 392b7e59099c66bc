"""Nodes of a computational graph, and the gradients that are propagated back through them."""

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

from anyback import gates
from anyback.arrays import Array, Vjp, namespace
from anyback.graph import drawing

__all__ = ["Node", "dot", "draw", "gradients", "inputs", "lift"]

_NUMBER = int | float | np.generic


def lift(f: Callable[..., Any], name: str | None = None) -> Callable[..., Node]:
    """Turn a function ``f(*arrays, **options) -> (value, vjp)`` into a gate: a function of nodes.

    Parameters
    ----------
    f : callable
        Any activation, gate or loss, or a function such as those. Its vjp returns the gradient of its first
        argument, or a tuple of the gradients of its first ones.
    name : str, optional
        Its name in drawings; by default that of `f`.

    Returns
    -------
    callable
        ``gate(*operands, **options) -> Node``. Operands are nodes, arrays and Python numbers, at least one of
        them a node; options, which are no nodes, are passed on to `f`. Raises TypeError where that does not
        hold, where nodes, arrays of floating-point numbers and the value are not of one library and
        precision, or where `f` does not return a value and a vjp.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback.activations import sigmoid
    >>> from anyback.losses import mean_squared_error
    >>> (x,) = inputs(x=np.zeros((3, 1)))
    >>> loss = lift(mean_squared_error)(lift(sigmoid)(x), np.ones((3, 1)))
    >>> loss.name, float(loss.value)
    ('mean_squared_error', 0.25)
    """
    title = name or getattr(f, "__name__", type(f).__name__)

    def gate(*operands: Any, **options: Any) -> Node:
        at = [i for i, x in enumerate(operands) if isinstance(x, Node)]
        if not at or any(isinstance(x, Node) for x in options.values()):
            got = ", ".join(type(x).__name__ for x in (*operands, *options.values())) or "none"
            raise TypeError(f"operands of {title} must contain a Node, and options none, got {got}")
        values = [x.value if isinstance(x, Node) else x for x in operands]
        # A number of NumPy would widen float32.
        arguments = [x.item() if isinstance(x, np.generic) else x for x in values]
        kind = _kind(arguments[at[0]])
        for x in arguments:
            if _kind(x) not in (kind, "number") and not _is(x, ("bool", "integral")):
                raise TypeError(f"operands of {title} must be {kind}, integers or numbers, got {_kind(x)}")
        result = f(*arguments, **options)
        if not isinstance(result, tuple) or len(result) < 2 or not callable(result[1]):
            raise TypeError(f"{title} must return (value, vjp), got {type(result).__name__}")
        value, back = _array(result[0]), result[1]
        if _kind(value) != kind:
            raise TypeError(f"value of {title} must be {kind}, got {_kind(value)}")

        def vjp(dvalue: Array) -> tuple[Array, ...]:
            found = back(dvalue)
            found = found if isinstance(found, tuple) else (found,)
            if len(found) <= at[-1]:
                raise ValueError(f"{title} has no gradient of operand {at[-1]}: give an array, not a Node")
            return tuple(_array(found[i]) for i in at)

        numbers = [f"{x:.3g}" if _kind(x) == "number" else "" for x in arguments]
        words = [*numbers[: at[0]], title, *numbers[at[0] :]]
        return Node(value, " ".join(filter(None, words)), tuple(operands[i] for i in at), vjp)

    return functools.update_wrapper(gate, f, updated=())


def _operator(f: Callable[..., Any], sign: str) -> tuple[Callable[..., Node], Callable[..., Node]]:
    """Return the methods of a node left of a sign, and right of it."""
    gate = lift(f, sign)
    return gate, lambda right, left: gate(left, right)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A value in a graph, with its parents and its vjp. See `inputs` and `lift`.

    The operators ``+ - * / @ **`` and unary ``-`` take nodes, arrays and Python numbers, and return nodes; an
    exponent is a Python number. Arrays and numbers among the operands are constants: they get no gradient.
    An array on the left of a node needs a library that leaves operators to others; array-api-strict does not.

    Attributes
    ----------
    value : array
        Any shape. An input's is no copy: do not change it in place while the graph is in use.
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

    __add__, __radd__ = _operator(gates.add, "+")
    __sub__, __rsub__ = _operator(gates.subtract, "-")
    __mul__, __rmul__ = _operator(gates.multiply, "*")
    __truediv__, __rtruediv__ = _operator(gates.divide, "/")
    __matmul__, __rmatmul__ = _operator(gates.matmul, "@")
    __neg__ = lift(gates.negative, "-")

    def __pow__(self, exponent: float) -> Node:
        if not isinstance(exponent, int | float):
            raise TypeError(f"exponent must be a Python number, got {type(exponent).__name__}")
        return lift(gates.power, "**")(self, exponent)


def inputs(**values: Array | float) -> tuple[Node, ...]:
    """Return the inputs of a graph: one named node for each value, in their order.

    Parameters
    ----------
    **values : array or float
        Arrays of floating-point numbers of any library and shape. A Python number becomes a NumPy array of
        float64 without axes.

    Returns
    -------
    tuple of Node
        To compute with, by operators and gates.

    Raises
    ------
    TypeError
        If a value is no array of floating-point numbers.

    Examples
    --------
    >>> import numpy as np
    >>> w, x = inputs(w=np.ones((3, 2)), x=np.ones(2))
    >>> (w @ x).value
    array([2., 2., 2.])
    """
    nodes = tuple(Node(_array(value), name) for name, value in values.items())
    for x, name in ((node.value, node.name) for node in nodes):
        if not _is(x, "real floating"):
            raise TypeError(f"{name} must be a number or an array of floating-point numbers, got {_kind(x)}")
    return nodes


def gradients(node: Node, dy: Array | float = 1.0) -> dict[Node, Array]:
    """Return the derivative of the value of `node` with respect to the value of every node it was made of.

    The chain rule, gate by gate in reverse order: where a gate has the gradient of its output, its vjp gives
    those of its inputs; a node with several uses has the sum of what comes back from each.

    Parameters
    ----------
    node : Node
        The output.
    dy : array or float
        Upstream gradient with respect to it, of its shape; a Python number for a scalar.

    Returns
    -------
    dict of Node to array
        From the output back to the inputs; each gradient has shape, dtype and device of its node's value.
        Several may be one array, as those of a sum are: do not change them in place.

    Raises
    ------
    TypeError
        If `node` is no Node, or a gradient, such as `dy`, has not the library and precision of its value.
    ValueError
        If a gradient, such as `dy`, has not the shape of its value, or a gate has none for an operand.

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
    if not isinstance(node, Node):
        raise TypeError(f"node must be a Node, got {type(node).__name__}")
    if _kind(dy) == "number" and math.prod(node.value.shape) == 1:
        dy = namespace(node.value).full_like(node.value, float(dy))
    order = _reverse(node)
    total = {node: _alike("dy", dy, node)}
    for n in order:
        for parent, part in zip(n.parents, n.vjp(total[n]), strict=True):
            g = _alike(f"gradient of {parent.name} by {n.name}", part, parent)
            total[parent] = _array(total[parent] + g) if parent in total else g
    return {n: total[n] for n in order}


def dot(node: Node, dy: Array | float = 1.0) -> str:
    """Return the graph as text in the DOT language, for Graphviz.

    Each wire has its value above its gradient; arrays of more than four elements are shown by their shape.

    Parameters
    ----------
    node, dy
        As in `gradients`.

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
    """Draw the graph from left to right and return the figure; only matplotlib is needed.

    It is the circuit of F.-F. Li, A. Karpathy and J. Johnson, CS231n course notes (Stanford, 2016), with
    values and gradients as in `dot`. A node with several uses has the sum of its gradients below it.

    Parameters
    ----------
    node, dy
        As in `gradients`.
    path : str or Path, optional
        Where to save the drawing; its ending determines the format.
    axes : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of the necessary size.

    Examples
    --------
    >>> x, y = inputs(x=2.0, y=3.0)
    >>> [text.get_text() for text in draw(x * y).axes[0].texts]
    ['x', 'y', '*', '2', '3', '3', '2', '6', '1']
    """
    return drawing.draw(*_circuit(node, dy), path=path, axes=axes)


def _reverse(node: Node) -> list[Node]:
    """Return all nodes, each before its parents, without recursion: a graph may be deep."""
    done: dict[Node, None] = {}
    path = [node]
    while path:
        waiting = next((parent for parent in path[-1].parents if parent not in done), None)
        if waiting is None:
            done[path.pop()] = None
        else:
            path.append(waiting)
    return [*reversed(done)]


def _alike(what: str, x: Any, node: Node) -> Array:
    """Return `x` if it has shape and dtype of the node's value."""
    kind, shape = _kind(node.value), tuple(node.value.shape)
    if _kind(x) not in (kind, "number"):
        raise TypeError(f"{what} must be {kind}, got {_kind(x)}")
    if _kind(x) == "number" or tuple(x.shape) != shape:
        raise ValueError(f"{what} must have the shape {shape} of its value, got {getattr(x, 'shape', x)}")
    return x


def _kind(x: Any) -> str:
    """Return library and precision of an array, "number" of a Python number, or the type."""
    if isinstance(x, int | float) or not is_array_api_obj(x):
        return "number" if isinstance(x, int | float) else type(x).__name__
    return f"{namespace(x).__name__.removeprefix('array_api_compat.')} {str(x.dtype).rpartition('.')[2]}"


def _is(x: Any, kind: str | tuple[str, ...]) -> bool:
    """Return whether `x` is an array of that kind of numbers."""
    return bool(is_array_api_obj(x) and namespace(x).isdtype(x.dtype, kind))


def _array(x: Any) -> Any:
    """Return a number as an array of NumPy, whose operators make numbers of arrays without axes."""
    return np.asarray(x if isinstance(x, np.generic) else float(x)) if isinstance(x, _NUMBER) else x


def _circuit(node: Node, dy: Array | float) -> tuple[list[drawing.Box], list[drawing.Wire]]:
    """Return boxes for the nodes and for the output, and the edges between them."""
    total = gradients(node, dy)
    number = {n: i for i, n in enumerate(reversed(total))}
    uses = Counter(parent for n in number for parent in n.parents)
    boxes = [drawing.Box(n.name, bool(n.parents), _shown(total[n]) if uses[n] > 1 else "") for n in number]
    wires = [
        drawing.Wire(number[parent], i, _shown(parent.value), _shown(g))
        for n, i in number.items()
        for parent, g in zip(n.parents, n.vjp(total[n]), strict=True)
    ]
    end = drawing.Wire(number[node], len(boxes), _shown(node.value), _shown(total[node]))
    return [*boxes, drawing.Box("")], [*wires, end]


def _shown(x: Array) -> str:
    """Return a few numbers in rows, or the shape of many."""
    shape = tuple(x.shape)
    if len(shape) > 2 or not 0 < math.prod(shape) <= 4:
        return str(shape)
    n, m = (*shape, 1, 1)[:2]
    rows = namespace(x).reshape(x, (n, m))
    # Adding 0 takes the minus sign from a zero.
    return "\n".join("  ".join(f"{float(rows[i, j]) + 0.0:.3g}" for j in range(m)) for i in range(n))
