"""Drawings of circuits from left to right: boxes in columns, and wires with a text above and one below.

The layout is that of layered drawings (Sugiyama, Tagawa and Toda, "Methods for visual understanding of
hierarchical system structures", 1981). A box stands right of all that feed it. Between two columns of
boxes stands one for the texts on the wires, and a wire that passes a column takes a place of its own in
it, so that nothing can cover a text. Boxes, texts and passing wires are one kind of thing here: a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

__all__ = ["Box", "Wire", "dot", "draw"]

_VALUE, _GRADIENT, _INK, _GREY, _FILL = "#0072B2", "#D55E00", "#262626", "#6b6b6b", "#f2f2f2"
# In inches, for texts of 9 points.
_LETTER, _LINE, _GAP, _SIZE, _AIR = 0.082, 0.155, 0.14, 0.34, 0.05


@dataclass(frozen=True)
class Box:
    """What wires connect: a gate, drawn with an outline, or else a bare name.

    Attributes
    ----------
    name : str
        What stands in it.
    gate : bool
        Whether it has an outline.
    below : str
        What stands below it.

    Examples
    --------
    >>> Box("x")
    Box(name='x', gate=False, below='')
    """

    name: str
    gate: bool = False
    below: str = ""


@dataclass(frozen=True)
class Wire:
    """A wire from one box to another, which stands later in the list of boxes.

    Attributes
    ----------
    source, target : int
        Their positions in the list.
    above, below : str
        What stands above and below the wire; may have several lines.

    Examples
    --------
    >>> Wire(0, 1, "-2", "-4").above
    '-2'
    """

    source: int
    target: int
    above: str
    below: str


def dot(boxes: Sequence[Box], wires: Sequence[Wire]) -> str:
    r"""Return a circuit as text in the DOT language of Graphviz.

    Parameters
    ----------
    boxes : sequence of Box
        Each before those it feeds.
    wires : sequence of Wire
        By their targets.

    Returns
    -------
    str
        A directed graph; its names may contain anything.

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
        label = words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        shape = "circle" if box.gate else "plaintext" if words else "none"
        lines.append(f'  n{i} [label="{label}", shape={shape}]')
    for wire in wires:
        label = f"{text(wire.above, _VALUE)}<br/>{text(wire.below, _GRADIENT)}"
        lines.append(f"  n{wire.source} -> n{wire.target} [label=<{label}>]")
    return "\n".join([*lines, "}"])


def draw(
    boxes: Sequence[Box], wires: Sequence[Wire], path: str | Path | None = None, *, axes: Any = None
) -> Any:
    """Draw a circuit from left to right, without any program but matplotlib.

    Parameters
    ----------
    boxes : sequence of Box
        Each before those it feeds.
    wires : sequence of Wire
        By their targets.
    path : str or Path, optional
        Where to save the picture; its ending says the format.
    axes : matplotlib.axes.Axes, optional
        Where to draw, smaller where it must be; by default in a figure of its own. A title that it gets
        later may take away room.

    Returns
    -------
    matplotlib.figure.Figure
        The figure that was drawn on.

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
        raise ImportError("pictures need matplotlib: pip install 'anyback[cli]'") from None
    layout = _Layout(boxes, wires)
    width, height = layout.width, layout.height
    if axes is None:
        axes = Figure(figsize=(width, height), dpi=150, facecolor="white").add_axes((0.0, 0.0, 1.0, 1.0))
    figure = axes.figure
    axes.set_axis_off()
    figure.draw_without_rendering()  # its layout says how large the axes are
    room = [pixels / figure.dpi for pixels in axes.get_window_extent().size]
    scale = min(1.0, room[0] / width, room[1] / height)
    spare = [(n / scale - extent) / 2 for n, extent in zip(room, (width, height), strict=True)]
    axes.set(xlim=(-spare[0], width + spare[0]), ylim=(height + spare[1], -spare[1]), aspect="equal")

    def write(x: float, y: float, words: str, colour: str, side: str) -> None:
        axes.text(
            x,
            y,
            words,
            color=colour,
            fontsize=9 * scale,
            ha="center",
            va=side,
            parse_math=False,
            linespacing=1.1,
        )

    for i, box in enumerate(boxes):
        x, y, wide = *layout.at(i), _wide(box)
        if box.gate:
            corner = f"round,pad=0,rounding_size={_SIZE / 2}"
            outline = FancyBboxPatch((x - wide / 2, y - _SIZE / 2), wide, _SIZE, boxstyle=corner, zorder=2)
            outline.set(facecolor=_FILL, edgecolor=_INK, linewidth=scale)
            axes.add_patch(outline)
        if box.name:
            write(x, y, box.name, _INK, "center_baseline" if box.gate else "center")
        if box.below:
            write(x, y + _half(box), f"Σ {box.below}", _GRADIENT, "top")
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
        line = PathPatch(Curve(points, codes), fill=False, edgecolor=_GREY, linewidth=scale, zorder=1)
        axes.add_patch(line)
    if path is not None:
        figure.savefig(path)
    return figure


@dataclass(frozen=True)
class _Place:
    """A column, and how much room is needed there: across, above its middle and below it."""

    column: int
    width: float
    above: float
    below: float


class _Layout:
    """Where everything stands, in inches from the left and from the top."""

    def __init__(self, boxes: Sequence[Box], wires: Sequence[Wire]) -> None:
        self.boxes = boxes
        column = [0] * len(boxes)
        for wire in wires:
            column[wire.target] = max(column[wire.target], column[wire.source] + 2)
        self.places = [_box(box, column[i]) for i, box in enumerate(boxes)]
        self.courses: list[list[int]] = []
        for wire in wires:
            first, last = column[wire.source] + 1, column[wire.target]
            passed = [_text(wire, first), *(_Place(c, 0.0, _AIR, _AIR) for c in range(first + 1, last))]
            start = len(self.places)
            self.courses.append([wire.source, *range(start, start + len(passed)), wire.target])
            self.places += passed
        self.columns: list[list[int]] = [[] for _ in range(max(column) + 1)]
        for i, place in enumerate(self.places):
            self.columns[place.column].append(i)
        self.widths = [max(self.places[i].width for i in members) for members in self.columns]
        ends = [*accumulate(width + _GAP for width in self.widths)]
        self.x = [end - width / 2 for end, width in zip(ends, self.widths, strict=True)]
        self.width = ends[-1] + _GAP
        self.y = self._heights()
        top = min(y - place.above for y, place in zip(self.y, self.places, strict=True)) - _GAP
        self.y = [y - top for y in self.y]
        self.height = max(y + place.below for y, place in zip(self.y, self.places, strict=True)) + _GAP

    def at(self, i: int) -> tuple[float, float]:
        return self.x[self.places[i].column], self.y[i]

    def spans(self, course: list[int]) -> list[tuple[float, float, float]]:
        """Return the level pieces of a wire, one in each column: left end, right end and height."""
        spans = []
        for i in course:
            x, y = self.at(i)
            half = self.widths[self.places[i].column] / 2
            spans.append((x - half, x + half, y))
        (_, right, first), (left, _, last) = spans[0], spans[-1]
        source, target = course[0], course[-1]
        spans[0] = self.at(source)[0] + _wide(self.boxes[source]) / 2, right, first
        spans[-1] = left, self.at(target)[0] - _wide(self.boxes[target]) / 2, last
        return spans

    def _heights(self) -> list[float]:
        """Sort the columns, then return the height of each place.

        Sorting a column by the mean heights of its neighbours on one side, in sweeps to and fro, removes
        crossings (the barycentre method). Then every place goes level with what feeds it, as near as it can.
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

        With the room that the places above need taken off, this is isotonic regression: neighbours in the
        wrong order are pooled at their mean.
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


def _box(box: Box, column: int) -> _Place:
    """Return the room that a box needs, with what stands below it."""
    lines, wide = (box.below.count("\n") + 1, _longest(box.below) + 2) if box.below else (0, 0)
    return _Place(
        column, max(_wide(box), wide * _LETTER), _half(box) + _AIR, _half(box) + _AIR + lines * _LINE
    )


def _wide(box: Box) -> float:
    """Return the width of a box itself."""
    return max(len(box.name) * _LETTER + 3 * _AIR, _SIZE) if box.gate else len(box.name) * _LETTER + _AIR


def _half(box: Box) -> float:
    """Return half the height of a box itself."""
    return _SIZE / 2 + _AIR / 2 if box.gate else _LINE / 2


def _text(wire: Wire, column: int) -> _Place:
    """Return the room that the two texts of a wire need."""
    above, below = (text.count("\n") + 1 for text in (wire.above, wire.below))
    wide = max(_longest(wire.above), _longest(wire.below)) * _LETTER
    return _Place(column, wide, above * _LINE + _AIR, below * _LINE + _AIR)


def _longest(text: str) -> int:
    return max(map(len, text.split("\n")))
