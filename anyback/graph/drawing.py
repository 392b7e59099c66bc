"""Drawings of graphs from left to right: boxes in columns, and edges with a label above and one below.

The layout is that of layered drawings (Sugiyama, Tagawa and Toda, "Methods for visual understanding of
hierarchical system structures", 1981). A box stands to the right of its inputs. Between two columns of
boxes is one for the labels of the edges, and an edge that passes a column has its own cell in it, so that
nothing can cover a label. Boxes, labels and passing edges are all cells here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Box", "Wire", "dot", "draw"]

_VALUE, _GRADIENT, _INK, _GREY, _FILL = "#0072B2", "#D55E00", "#262626", "#6b6b6b", "#f2f2f2"
# In inches, for labels of 9 points.
_LETTER, _LINE, _GAP, _SIZE, _AIR = 0.082, 0.155, 0.14, 0.34, 0.05


class Box(NamedTuple):
    """A node: a gate with an outline, or a bare name. A label may stand below it.

    Examples
    --------
    >>> Box("x")
    Box(name='x', gate=False, below='')
    """

    name: str
    gate: bool = False
    below: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the outline or name alone."""
        width, height = _size(self.name)
        if not self.gate:
            return width + _AIR, height
        return max(width + 3 * _AIR, _SIZE), max(height + 3 * _AIR, _SIZE)

    def place(self, column: int) -> _Cell:
        """Return the space it needs, with the label below it."""
        (wide, high), (width, height) = self.size, _size(f"Σ {self.below}") if self.below else (0.0, 0.0)
        return _Cell(column, max(wide, width), high / 2 + _AIR, high / 2 + height + 2 * _AIR)


class Wire(NamedTuple):
    """An edge with its labels, from one box to another that is later in the list of boxes.

    Examples
    --------
    >>> Wire(0, 1, "-2", "-4").above
    '-2'
    """

    source: int
    target: int
    above: str
    below: str

    def place(self, column: int) -> _Cell:
        """Return the space that its labels need."""
        (width, above), (other, below) = _size(self.above), _size(self.below)
        return _Cell(column, max(width, other), above + _AIR, below + _AIR)


class _Cell(NamedTuple):
    """The space needed in a column: across, above the middle and below it."""

    column: int
    width: float = 0.0
    above: float = _AIR
    below: float = _AIR


def dot(boxes: Sequence[Box], wires: Sequence[Wire]) -> str:
    r"""Return a graph as text in the DOT language of Graphviz.

    Parameters
    ----------
    boxes : sequence of Box
        Each before its successors. Names may contain any characters.
    wires : sequence of Wire
        Sorted by their targets.

    Examples
    --------
    >>> print(dot([Box('a "b"')], []))
    digraph {
      rankdir=LR
      n0 [label="a \"b\"", shape=plaintext]
    }
    """

    def text(words: str, colour: str) -> str:
        return f'<font color="{colour}">{escape(words).replace(chr(10), "<br/>")}</font>'

    lines = ["digraph {", "  rankdir=LR"]
    for i, box in enumerate(boxes):
        words = f"{box.name}\n{box.below}" if box.below else box.name
        for plain, escaped in (("&", "&amp;"), ("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
            words = words.replace(plain, escaped)
        shape = "circle" if box.gate else "plaintext" if words else "none"
        lines.append(f'  n{i} [label="{words}", shape={shape}]')
    for source, target, above, below in wires:
        label = f"{text(above, _VALUE)}<br/>{text(below, _GRADIENT)}"
        lines.append(f"  n{source} -> n{target} [label=<{label}>]")
    return "\n".join([*lines, "}"])


def draw(
    boxes: Sequence[Box], wires: Sequence[Wire], path: str | Path | None = None, *, axes: Any = None
) -> Any:
    """Draw a graph from left to right by matplotlib and return the figure.

    Parameters
    ----------
    boxes, wires
        As in `dot`.
    path : str or Path, optional
        Where to save the drawing; its ending determines the format.
    axes : matplotlib.axes.Axes, optional
        Where to draw, scaled down to fit; by default a new figure. A title that is set later may cover it.

    Examples
    --------
    >>> figure = draw([Box("x"), Box("exp", gate=True)], [Wire(0, 1, "0", "1")])
    >>> len(figure.axes[0].patches)  # a wire and an outline
    2
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch, PathPatch
        from matplotlib.path import Path as Curve
    except ModuleNotFoundError:
        raise ImportError("drawings need matplotlib: pip install 'anyback[cli]'") from None
    layout = _Layout(boxes, wires)
    size = layout.width, layout.height
    if axes is None:
        axes = Figure(figsize=size, dpi=150, facecolor="white").add_axes((0.0, 0.0, 1.0, 1.0))
    figure = axes.figure.canvas.figure  # of a subfigure the whole
    axes.set_axis_off()
    figure.draw_without_rendering()  # computes the size of the axes
    available = [pixels / figure.dpi for pixels in axes.get_window_extent().size]
    scale = min(1.0, *(n / extent for n, extent in zip(available, size, strict=True)))
    x, y = ((n / scale - extent) / 2 for n, extent in zip(available, size, strict=True))
    axes.set(xlim=(-x, size[0] + x), ylim=(size[1] + y, -y), aspect="equal")

    def write(x: float, y: float, words: str, colour: str, side: str) -> None:
        style = {"ha": "center", "va": side, "fontsize": 9 * scale, "linespacing": 1.1}
        axes.text(x, y, words, color=colour, parse_math=False, **style)

    for i, box in enumerate(boxes):
        (x, y), (wide, high) = layout.at(i), box.size
        if box.gate:
            corner = f"round,pad=0,rounding_size={_SIZE / 2}"
            outline = FancyBboxPatch((x - wide / 2, y - high / 2), wide, high, boxstyle=corner, zorder=2)
            axes.add_artist(outline).set(facecolor=_FILL, edgecolor=_INK, linewidth=scale)
        if box.name:
            write(x, y, box.name, _INK, "center_baseline" if box.gate else "center")
        if box.below:
            write(x, y + high / 2 + _AIR / 2, f"Σ {box.below}", _GRADIENT, "top")
    for wire, course in zip(wires, layout.courses, strict=True):
        x, y = layout.at(course[1])
        write(x, y - _AIR / 2, wire.above, _VALUE, "bottom")
        write(x, y + _AIR / 2, wire.below, _GRADIENT, "top")
        (left, right, level), *others = layout.spans(course)
        points, codes = [(left, level), (right, level)], [Curve.MOVETO, Curve.LINETO]
        for left, end, y in others:
            middle = (right + left) / 2
            points += [(middle, level), (middle, y), (left, y), (end, y)]
            codes += [Curve.CURVE4, Curve.CURVE4, Curve.CURVE4, Curve.LINETO]
            right, level = end, y
        # Unlike add_patch, this does not look for the limits of every curve.
        axes.add_artist(PathPatch(Curve(points, codes), fill=False, edgecolor=_GREY, linewidth=scale))
    if path is not None:
        figure.savefig(path)
    return figure


class _Layout:
    """Positions of all cells, in inches from the left and from the top."""

    def __init__(self, boxes: Sequence[Box], wires: Sequence[Wire]) -> None:
        column = [0] * len(boxes)
        for wire in wires:
            column[wire.target] = max(column[wire.target], column[wire.source] + 2)
        self.boxes = boxes
        self.places = [box.place(c) for box, c in zip(boxes, column, strict=True)]
        self.courses: list[
            list[int]
        ] = []  # of each wire: the places of its source, its texts, ... its target
        for wire in wires:
            first, last, start = column[wire.source] + 1, column[wire.target], len(self.places)
            self.places += [wire.place(first), *(_Cell(c) for c in range(first + 1, last))]
            self.courses.append([wire.source, *range(start, len(self.places)), wire.target])
        self.columns: list[list[int]] = [[] for _ in range(max(column) + 1)]
        for i, place in enumerate(self.places):
            self.columns[place.column].append(i)
        self.widths = [max(self.places[i].width for i in members) for members in self.columns]
        ends = [*accumulate(width + _GAP for width in self.widths)]
        self.x = [end - width / 2 for end, width in zip(ends, self.widths, strict=True)]
        self.width = ends[-1] + _GAP
        y = self._heights()
        top = min(h - place.above for h, place in zip(y, self.places, strict=True)) - _GAP
        self.y = [h - top for h in y]
        self.height = max(h + place.below for h, place in zip(self.y, self.places, strict=True)) + _GAP

    def at(self, i: int) -> tuple[float, float]:
        return self.x[self.places[i].column], self.y[i]

    def spans(self, course: list[int]) -> list[tuple[float, float, float]]:
        """Return the level pieces of a wire, one in each column: left end, right end and height."""
        spans = []
        for i in course:
            x, y = self.at(i)
            half = self.widths[self.places[i].column] / 2
            left = x + self.boxes[i].size[0] / 2 if i == course[0] else x - half
            right = x - self.boxes[i].size[0] / 2 if i == course[-1] else x + half
            spans.append((left, right, y))
        return spans

    def _heights(self) -> list[float]:
        """Sort the columns, then return the height of each cell.

        Sorting a column by the mean heights of its neighbours on one side, in sweeps to and fro, removes
        crossings (the barycentre method). Then every cell moves close to the height of its inputs.
        """
        before: list[list[int]] = [[] for _ in self.places]
        after: list[list[int]] = [[] for _ in self.places]
        for course in self.courses:
            for a, b in pairwise(course):
                before[b].append(a)
                after[a].append(b)
        y = [0.0] * len(self.places)

        def settle(members: list[int], near: list[list[int]], sort: bool = False) -> None:
            wanted = {i: sum(y[j] for j in near[i]) / len(near[i]) if near[i] else y[i] for i in members}
            if sort:
                members.sort(key=wanted.__getitem__)
            for i, height in zip(members, self._apart(members, wanted), strict=True):
                y[i] = height

        for _ in range(4):
            for members in self.columns:
                settle(members, before, sort=True)
            for members in reversed(self.columns):
                settle(members, after, sort=True)
        y = [0.0] * len(self.places)
        for _ in range(2):
            for members in self.columns:
                settle(members, before)
            settle(self.columns[0], after)
        return y

    def _apart(self, members: list[int], wanted: dict[int, float]) -> list[float]:
        """Return heights of least squared distance from those wanted, in order and without overlap.

        After subtracting the space that the cells above need, this is isotonic regression: neighbours in
        the wrong order are pooled at their mean.
        """
        places = [self.places[i] for i in members]
        offsets = [*accumulate((a.below + b.above for a, b in pairwise(places)), initial=0.0)]
        pools: list[tuple[float, int]] = []
        for i, offset in zip(members, offsets, strict=True):
            mean, n = wanted[i] - offset, 1
            while pools and pools[-1][0] > mean:
                other, m = pools.pop()
                mean, n = (mean * n + other * m) / (n + m), n + m
            pools.append((mean, n))
        levels = [mean for mean, n in pools for _ in range(n)]
        return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _size(text: str) -> tuple[float, float]:
    """Return width and height of a label."""
    lines = text.split("\n")
    return max(map(len, lines)) * _LETTER, len(lines) * _LINE
