"""Plots of a document of `report`, in the colours of Okabe and Ito; lines differ in dashes too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.cases import GROWTH
from benchmarks.peers import OWN
from benchmarks.tables import in_order, label, network, number

FLOOR = "products"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8c8c8c"
STYLES = {FLOOR: {"color": GREY, "linestyle": "--"}, OWN: {"color": BLUE, "marker": "o", "linewidth": 2.2}}
OTHERS = [
    {"color": ORANGE, "marker": "s", "linestyle": (0, (5, 1.5))},
    {"color": "#009E73", "marker": "^", "linestyle": (0, (1, 1))},
    {"color": "#CC79A7", "marker": "v", "linestyle": (0, (5, 1, 1, 1))},
    {"color": "#E69F00", "marker": "D", "linestyle": "-"},
]


def draw(document: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Save ``speed-KIND.png`` for the measured kinds that have a plot."""
    saved = {}
    for kind, picture in PICTURES.items():
        records = [record for record in document["results"] if record["kind"] == kind]
        if records:
            saved[kind] = folder / f"speed-{kind}.png"
            picture(records).savefig(saved[kind])
    return saved


def steps(records: list[dict[str, Any]]) -> Any:
    """A panel for each network: a point for each peer, the slowest on top, and the lower bound as a line."""
    cases = list(dict.fromkeys(record["case"] for record in records))
    figure = _figure(11, 0.6 + 3.5 * ((len(cases) + 1) // 2))
    for i, case in enumerate(cases):
        axes = figure.add_subplot((len(cases) + 1) // 2, min(len(cases), 2), i + 1)
        here = [r for r in records if r["case"] == case]
        peers = sorted((r for r in here if r["peer"] != FLOOR), key=lambda r: r["median"])
        for place, r in enumerate(peers):
            middle, least, most = (r[key] * 1e6 for key in ("median", "min", "max"))
            color = BLUE if r["peer"].startswith("anyback") else "#4d4d4d"
            axes.plot([least, most], [place, place], color=color, linewidth=1.5)
            axes.plot(middle, place, "o", color=color)
            axes.annotate(number(middle), (most, place), (6, -3), textcoords="offset points", fontsize=8)
        for r in here:
            if r["peer"] == FLOOR:
                axes.axvline(r["median"] * 1e6, color=ORANGE, linestyle="--", label=label(FLOOR))
        axes.set_yticks(range(len(peers)), [label(r["peer"]) for r in peers])
        axes.set(xscale="log", title=network(case), xlabel="microseconds a step")
        axes.margins(x=0.15)
        _plain(axes, axes.xaxis)
    _legend(figure)
    return figure


def growth(records: list[dict[str, Any]]) -> Any:
    """A panel for each property: microseconds per step of each peer, both axes logarithmic."""
    figure = _figure(11, 8)
    peers, others = in_order(records), iter(OTHERS)
    styles = {peer: STYLES.get(peer) or next(others, {}) for peer in peers}
    medians = {(record["case"], record["peer"]): record["median"] * 1e6 for record in records}
    panels = figure.subplots(2, 2, sharey=True).flat
    for axes, (axis, cases) in zip(panels, GROWTH.items(), strict=True):
        for peer in peers:
            points = [(at, medians[c.name, peer]) for at, c in cases.items() if (c.name, peer) in medians]
            if points:
                axes.plot(*zip(*points, strict=True), label=label(peer), **styles[peer])
        axes.set(xscale="log", yscale="log", xlabel=axis)
        axes.set_xticks(list(cases), [f"{at:,}" for at in cases])
        axes.xaxis.minorticks_off()
        _plain(axes, axes.yaxis)
    figure.supylabel("microseconds a step")
    _legend(figure)
    return figure


PICTURES = {"step": steps, "growth": growth}


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def _plain(axes: Any, scale: Any) -> None:
    """Plain numbers on a logarithmic scale, and no lines that are not data."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    scale.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    scale.set_minor_locator(NullLocator())
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Any) -> None:
    """One legend for all panels, below them."""
    named = {
        name: line
        for axes in figure.axes
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if named:
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)
