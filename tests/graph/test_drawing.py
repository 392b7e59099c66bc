"""Pictures of graphs: DOT and Matplotlib."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from anyback import gates
from anyback.graph import dot, draw, drawing, gradients, inputs, lift
from tests.conftest import require
from tests.graph.circuits import NEURON, exp, maximum, on, relu, sigmoid, square, total


def product():
    x, y, z = inputs(x=-2.0, y=5.0, z=-4.0)
    return (x + y) * z


def neuron():
    w0, x0, w1, x1, w2 = inputs(**NEURON)
    return 1.0 / (1.0 + exp(-(w0 * x0 + w1 * x1 + w2)))


def neuron_of_one_gate():
    w0, x0, w1, x1, w2 = inputs(**NEURON)
    return sigmoid(w0 * x0 + w1 * x1 + w2)


def alone():
    return inputs(x=1.0)[0]


def long_names():
    x, y = inputs(**{"x" * 40: np.nan, "two\nlines": np.inf})
    return lift(gates.add, "a gate\nof three\nlines")(x * y, y)


def norm():
    W, x = inputs(W=np.asarray([[0.1, 0.5], [-0.3, 0.8]]), x=np.asarray([0.2, 0.4]))
    return total(square(W @ x))


def branch():
    x, y, z = inputs(x=1.0, y=2.0, z=0.0)
    return (x + y) * maximum(y, z)


def tangle():
    u, v = inputs(u=0.5, v=np.ones((3, 4)))
    a = u * v
    c = total(relu(a) * a + a)
    return c / u + c


def deep():
    a, b, c, x = inputs(a=np.ones((8, 5)), b=np.ones((6, 8)), c=np.ones((1, 6)), x=np.ones(5))
    return total(c @ relu(b @ relu(a @ x)))


GRAPHS = pytest.mark.parametrize(
    "make", [product, neuron, neuron_of_one_gate, norm, branch, tangle, deep, alone, long_names]
)
NAME, FONT = r"n\d+", r'<font color="#\w{6}">[^<>]*(?:<br/>[^<>]*)*</font>'
LINE = re.compile(
    rf'  (rankdir=LR|({NAME}) \[label="(?:[^"\\]|\\.)*", shape=\w+\]'
    rf"|({NAME}) -> ({NAME}) \[label=<{FONT}<br/>{FONT}>\])"
)


@GRAPHS
def test_dot_is_well_formed(make):
    first, *lines, last = dot(make()).splitlines()
    assert (first, last) == ("digraph {", "}")
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    names = {match[2] for match in found if match[2]}
    ends = [(match[3], match[4]) for match in found if match[3]]
    assert {name for wire in ends for name in wire} == names
    assert len(names) == len(gradients(make())) + 1


def test_dot_has_each_value_above_each_gradient():
    text = dot(branch())
    wires = re.findall(r'(n\d) -> (n\d) .*?>([^<]+)</font><br/><font color="#D55E00">([^<]+)<', text)
    names = dict(re.findall(r'(n\d) \[label="(.*?)"', text))
    assert [(names[a], names[b], above, below) for a, b, above, below in wires] == [
        ("x", "+", "1", "2"),
        (r"y\n5", "+", "2", "2"),
        (r"y\n5", "maximum", "2", "3"),
        ("z", "maximum", "0", "0"),
        ("+", "*", "3", "2"),
        ("maximum", "*", "2", "3"),
        ("*", "", "6", "1"),
    ]


def test_names_are_escaped():
    (x,) = inputs(**{'a "b" \\ <c> $d$ &amp;\né': 2.0})
    assert 'label="a \\"b\\" \\\\ <c> $d$ &amp;amp;\\né"' in dot(-x)
    assert all(LINE.fullmatch(line) for line in dot(-x).splitlines()[1:-1])
    wire = drawing.Wire(0, 1, "<1>", "a & b")
    assert "&lt;1&gt;" in drawing.dot([drawing.Box("a"), drawing.Box("b")], [wire])


def test_few_elements_are_shown_and_many_by_their_shape():
    def shown(x):
        return re.search(r">([^>]*(?:<br/>[^>]*)*)</font>", dot(total(inputs(x=x)[0])))[1]

    assert shown(np.asarray(-0.0)) == "0"
    assert shown(np.asarray([1.0, 0.12345])) == "1<br/>0.123"
    assert shown(np.asarray([[1.0, 2.0], [3.0, 4e9]])) == "1  2<br/>3  4e+09"
    for shape in ((5,), (1, 1, 1), (0,)):
        assert shown(np.ones(shape)) == str(shape)


def test_the_text_is_the_same_on_every_library(library):
    if not library.has_values:
        pytest.skip("its values cannot be shown")
    W, x = on(library, W=[[0.1, 0.5], [-0.3, 0.8]], x=[0.2, 0.4])
    assert dot(total(square(W @ x))) == dot(norm())


def covered(figure):
    """What each text, wire and outline of a picture covers, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    wires, outlines = [], []
    for patch in figure.axes[0].patches:
        path = patch.get_transform().transform_path(patch.get_path())
        (outlines if patch.get_fill() else wires).append(path)
    return texts, wires, outlines


@GRAPHS
@pytest.mark.parametrize("small", [None, "none", "constrained"])
def test_nothing_covers_a_text(make, small):
    require("matplotlib")
    from matplotlib.figure import Figure

    axes = None
    if small:
        axes = Figure(figsize=(5, 3), dpi=200, layout=small).add_subplot(title="small")
    figure = draw(make(), axes=axes)
    texts, wires, outlines = covered(figure)
    assert len(wires) == dot(make()).count("->")
    assert len(outlines) == sum(bool(n.parents) for n in gradients(make()))
    for i, (text, box) in enumerate(texts):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
        assert not [other for other, also in texts[:i] if box.overlaps(also)], text
        assert not any(line.intersects_bbox(box, filled=False) for line in (*wires, *outlines)), text


def test_the_picture_has_all_texts_and_no_formula(tmp_path):
    require("matplotlib")
    (x,) = inputs(**{"$x$": 3.0})
    path = tmp_path / "graph.png"
    figure = draw(x * x, path)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["$x$", "Σ 6", "*", *("3", "3"), *("3", "3"), *("9", "1")]
    assert not any(text.get_parse_math() for text in figure.axes[0].texts)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_picture_may_be_part_of_another(tmp_path):
    require("matplotlib")
    from matplotlib.figure import Figure

    whole = Figure(figsize=(6, 3))
    part = whole.subfigures(1, 2)[1]
    assert draw(product(), tmp_path / "graph.png", axes=part.add_subplot()) is whole
    assert (tmp_path / "graph.png").is_file()


def test_hundreds_of_nodes_are_drawn():
    require("matplotlib")
    nodes = inputs(**{f"x{i}": 1.0 for i in range(60)})
    deep_ = nodes[0]
    for _ in range(200):
        deep_ = deep_ * 1.01
    for f in (sum(nodes[1:], nodes[0]), deep_):
        texts = draw(f).axes[0].texts
        assert len(texts) == len(gradients(f)) + 2 * dot(f).count("->")


def test_a_chain_is_straight_and_a_tree_has_no_crossing():
    boxes = [drawing.Box(c) for c in "abcdef"]
    chain = drawing._Layout(boxes[:3], [drawing.Wire(i, i + 1, "1", "1") for i in range(2)])
    assert len(set(chain.y)) == 1
    # fed in the wrong order: a and d go to e, b and c to f
    wires = [drawing.Wire(s, t, "1", "1") for s, t in ((0, 4), (3, 4), (1, 5), (2, 5))]
    layout = drawing._Layout(boxes, wires)
    level = {boxes[i].name: layout.y[i] for i in range(6)}
    assert (level["a"] < level["b"]) == (level["d"] < level["b"]) == (level["a"] < level["c"])


def test_without_matplotlib_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^drawings need matplotlib: pip install 'anyback\[cli\]'$"):
        draw(norm())
