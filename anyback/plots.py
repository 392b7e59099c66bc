"""Plots of training curves, confusion matrices, predictions against true values, and descent paths.

They use matplotlib's Figure without pyplot: no display is needed and no state is shared. The colours are
those of Okabe and Ito ("Color universal design", 2008), which colour-blind readers can distinguish. Lines
differ in their dashes, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["best_epoch", "confusion", "curves", "descent", "predicted_against_true"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6b6b6b"
_INK = "#262626"
# Colour and dashes of each line in `descent`.
_LINES = (
    *((_BLUE, "-"), (_ORANGE, (0, (5, 1.5))), ("#009E73", (0, (1, 1))), ("#CC79A7", (0, (5, 1, 1, 1)))),
    *(("#E69F00", "-"), ("#56B4E9", (0, (5, 1.5))), ("#000000", (0, (1, 1)))),
)
# Entries of the history without a panel of their own.
_NO_CURVES = ("epoch", "loss", "lr", "penalty")


def curves(
    history: Iterable[Mapping[str, float]], path: str | Path | None = None, *, loss: str = "loss"
) -> Any:
    """Plot loss and metrics of training and validation over the epochs.

    Parameters
    ----------
    history : History or iterable of mappings
        One mapping per epoch, as in `anyback.History`.
    path : str or Path, optional
        Where to save the plot; the suffix determines the format.
    loss : str
        Name of the loss.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for the loss and one for each metric; the epoch of the lowest validation loss is marked.

    Raises
    ------
    ValueError
        If the history is empty.

    Examples
    --------
    >>> rows = [{"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "accuracy": 1 - 1 / e} for e in (1, 2, 3)]
    >>> [axes.get_ylabel() for axes in curves(rows).axes]
    ['loss', 'accuracy']
    """
    rows = list(history)
    if not rows:
        raise ValueError("history must have at least one epoch, got none")
    names = dict.fromkeys(name.removeprefix("val_") for row in rows for name in row)
    panels = ["loss", *(n for n in names if n not in _NO_CURVES and not n.startswith("grad_norm."))]
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    figure = _figure(4.6 * columns, 3.6 * math.ceil(len(panels) / columns))
    best = best_epoch(rows)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(math.ceil(len(panels) / columns), columns, i + 1)
        _panel(axes, rows, name, best)
        axes.set_ylabel((loss if name == "loss" else name).replace("_", " "))
    figure.axes[0].legend(frameon=False)
    return _saved(figure, path)


def confusion(
    matrix: Any, names: Sequence[str] | None = None, path: str | Path | None = None, *, part: str = ""
) -> Any:
    """Plot a confusion matrix: counts, shaded by their fraction of the true class.

    Parameters
    ----------
    matrix : array (k, k)
        Samples of each true class (rows) predicted as each class (columns); see `metrics.confusion_matrix`.
    names : sequence of str, optional
        Names of the k classes; by default their indices.
    path : str or Path, optional
        Where to save the plot; the suffix determines the format.
    part : str
        Name of the split, such as "held out", for the title.

    Returns
    -------
    matplotlib.figure.Figure
        The plot.

    Raises
    ------
    ValueError
        If the matrix is not square, or the number of names differs from the number of classes.

    Examples
    --------
    >>> figure = confusion([[8, 2], [1, 9]], ["cat", "dog"])
    >>> figure.axes[0].get_title()
    '17 of 20 correct: accuracy 0.850'
    """
    counts = np.asarray(matrix, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"matrix must have shape (k, k), got {counts.shape}")
    k = len(counts)
    labels = [str(i) for i in range(k)] if names is None else [_short(str(name)) for name in names]
    if len(labels) != k:
        raise ValueError(f"names must have {k} elements, one for each class, got {len(labels)}")
    total, correct = counts.sum(), np.trace(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    side = min(max(3.8, 0.46 * k + 1.6), 14.0)
    figure = _figure(side + 1.2, side)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    if k <= 30:
        for i, j in np.argwhere(counts > 0).tolist():
            colour = "white" if share[i, j] > 0.5 else _INK if i == j else _ORANGE
            size = 9 if k <= 15 else 6
            axes.text(j, i, f"{counts[i, j]:g}", ha="center", va="center", color=colour, fontsize=size)
    ticks = range(0, k, math.ceil(k / 30))
    long = max(len(labels[i]) for i in ticks) > 3
    axes.set_xticks(
        ticks, [labels[i] for i in ticks], rotation=45 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(ticks, [labels[i] for i in ticks])
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(0.5, k - 1), minor=True)
    axes.set_yticks(np.arange(0.5, k - 1), minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    title = f"{correct:g} of {total:g} correct: accuracy {correct / max(total, 1e-300):.3f}"
    axes.set_title(f"{part}, {title}" if part else title, fontsize=10, pad=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the true class")
    bar.outline.set_visible(False)
    return _saved(figure, path)


def predicted_against_true(
    predicted: Any, true: Any, path: str | Path | None = None, *, name: str = "target", part: str = ""
) -> Any:
    """Plot predicted against true numbers; the points of a perfect model lie on the diagonal.

    Parameters
    ----------
    predicted, true : array (n,) or (n, k)
        Predictions and true values, of the same shape.
    path : str or Path, optional
        Where to save the plot; the suffix determines the format.
    name : str
        Name of the target, with its unit if any.
    part : str
        Name of the split, such as "held out", for the title.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each output, at most six.

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are empty.

    Examples
    --------
    >>> figure = predicted_against_true([1.1, 1.9], [1.0, 2.0], name="price (EUR)")
    >>> figure.axes[0].get_xlabel()
    'true price (EUR)'
    """
    z, t = (np.asarray(a, dtype=float) for a in (predicted, true))
    if z.shape != t.shape or z.ndim not in (1, 2) or not z.size:
        raise ValueError(
            f"predicted and true must have the same shape (n,) or (n, k), got {z.shape} and {t.shape}"
        )
    z, t = z.reshape(len(z), -1), t.reshape(len(t), -1)
    panels = min(z.shape[1], 6)
    columns = min(panels, 3)
    figure = _figure(4.4 * columns, 4.2 * math.ceil(panels / columns))
    for i in range(panels):
        axes = figure.add_subplot(math.ceil(panels / columns), columns, i + 1)
        ends = _limits(z[:, i], t[:, i])
        axes.plot(ends, ends, color=_GREY, linewidth=1.0, linestyle="--", label="perfect")
        size, alpha = (14, 0.7) if len(z) <= 500 else (6, 0.35)
        axes.scatter(t[:, i], z[:, i], s=size, alpha=alpha, color=_BLUE, linewidths=0, rasterized=True)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        own = _short(name) if z.shape[1] == 1 else f"{_short(name)} {i}"
        axes.set_xlabel(f"true {own}")
        axes.set_ylabel(f"predicted {own}")
        _simplify(axes)
    figure.axes[0].legend(frameon=False, loc="upper left")
    figure.axes[0].set_title(f"{part}, {len(z):,} rows" if part else f"{len(z):,} rows", fontsize=10)
    return _saved(figure, path)


def descent(
    f: Callable[[np.ndarray], Any],
    paths: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    window: tuple[float, float, float, float],
    axes: Any = None,
) -> Any:
    """Plot paths of points over the contours of a function of two variables.

    Parameters
    ----------
    f : callable
        ``f(x)`` returns the values (rows, columns) at the points x (2, rows, columns), elementwise.
    paths : mapping of str to array (n, 2)
        The points of each path, in order, by its name in the legend; an empty name, or one that begins with
        an underscore, is not in the legend. A dot marks the start of a path, a cross its end. Paths are cut
        off far outside the window.
    path : str or Path, optional
        Where to save the plot; the suffix determines the format.
    window : (left, right, bottom, top)
        Limits of the axes; left may be larger than right, and bottom than top.
    axes : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If a path does not have shape (n, 2) with n >= 1, the window has no area, or the function has no
        finite value in it.

    Examples
    --------
    >>> bowl = lambda x: x[0] ** 2 + 4 * x[1] ** 2
    >>> figure = descent(bowl, {"lr = 0.1": [[2, 1], [1.6, 0.2], [1.28, 0.04]]}, window=(-3, 3, -2, 2))
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['lr = 0.1']
    """
    left, right, bottom, top = window
    if not 0.0 < abs((right - left) * (top - bottom)) < math.inf:
        raise ValueError(f"window must be (left, right, bottom, top) with a finite area, got {window}")
    x = np.stack(np.meshgrid(np.linspace(left, right, 201), np.linspace(bottom, top, 201)))
    height = np.ma.masked_invalid(np.asarray(f(x.copy()), dtype=float))
    if height.shape != x.shape[1:] or not height.count():
        got = f"{height.count()} of shape {height.shape}"
        raise ValueError(f"f must return finite numbers of shape {x.shape[1:]} for x {x.shape}, got {got}")
    figure = (
        _figure(5.2, 4.2) if axes is None else axes.figure.canvas.figure
    )  # the figure, also for a subfigure
    axes = figure.add_subplot() if axes is None else axes
    # Levels at quantiles of the values, so that a narrow valley and a steep slope both have contours.
    levels = np.unique(np.quantile(height.compressed(), np.linspace(0.0, 1.0, 16) ** 1.5))
    if len(levels) > 1:
        axes.contourf(*x, height, levels=levels, cmap="Greys_r", alpha=0.22)
        axes.contour(*x, height, levels=levels, colors=_GREY, linewidths=0.5, alpha=0.6)
    centre, reach = np.array([left + right, bottom + top]) / 2, 20 * np.abs([right - left, top - bottom])
    for i, (name, points) in enumerate(paths.items()):
        way = np.asarray(points, dtype=float)
        if way.ndim != 2 or way.shape[1] != 2 or not len(way):
            raise ValueError(f"paths[{name!r}] must have shape (n, 2), got {way.shape}")
        far = ~(np.abs(way - centre) < reach).all(axis=1)
        way = way[: int(np.argmax(far)) if far.any() else len(way)]
        colour, dashes = _LINES[i % len(_LINES)]
        size = 3 if len(way) <= 60 else 0
        axes.plot(
            *way.T, color=colour, linestyle=dashes, linewidth=1.5, marker=".", markersize=size, label=name
        )
        axes.plot(*way[:1].T, "o", color=colour, markersize=6, markeredgecolor="white")
        axes.plot(*way[-1:].T, "X", color=colour, markersize=7, markeredgecolor="white", zorder=3)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="$x_0$", ylabel="$x_1$")
    _simplify(axes)
    axes.grid(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=8)
    return _saved(figure, path)


# --- helpers ------------------------------------------------------------------------------------------


def _panel(axes: Any, rows: list[Mapping[str, float]], name: str, best: int | None) -> None:
    """Plot one metric of training and validation over the epochs."""
    from matplotlib.ticker import MaxNLocator

    drawn: list[float] = []
    for key, label, colour, dashes in (
        (name, "training (running mean)", _BLUE, "-"),
        (f"val_{name}", "validation", _ORANGE, (0, (5, 1.5))),
    ):
        points = [(row["epoch"], row[key]) for row in rows if key in row and math.isfinite(row[key])]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        drawn += values
        marker = "o" if len(points) == 1 else None
        axes.plot(epochs, values, color=colour, linestyle=dashes, linewidth=1.8, label=label, marker=marker)
        at = [value for epoch, value in points if epoch == best]
        if key.startswith("val_") and at:
            axes.plot([best], at, "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    # On a linear scale, a loss that falls by orders of magnitude would show only the first epochs.
    if name == "loss" and drawn and min(drawn) > 0 and max(drawn) > 20 * min(drawn):
        axes.set_yscale("log")
    if best is not None:
        axes.axvline(best, color=_GREY, linewidth=1.0, linestyle=":", zorder=0, label=f"best epoch: {best}")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _simplify(axes)


def best_epoch(history: Iterable[Mapping[str, float]]) -> int | None:
    """Return the epoch of the lowest validation loss, or None without validation.

    Parameters
    ----------
    history : History or iterable of mappings
        One mapping per epoch.

    Returns
    -------
    int or None
        Its number, from 1; for equal losses the first.

    Examples
    --------
    >>> best_epoch([{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.25}])
    2
    """
    points = [
        (row["val_loss"], int(row["epoch"]))
        for row in history
        if math.isfinite(row.get("val_loss", math.nan))
    ]
    return min(points)[1] if points else None


def _limits(*values: np.ndarray) -> tuple[float, float]:
    """Return axis limits around all finite values, with a margin."""
    finite = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _short(name: str) -> str:
    """Return a name, shortened and with its dollar signs escaped."""
    return (name if len(name) <= 18 else name[:16] + "..").replace("$", r"\$")


def _figure(width: float, height: float) -> Any:
    """Return an empty figure; sizes are in inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ImportError("plots need matplotlib: pip install 'anyback[cli]'") from None
    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def _simplify(axes: Any) -> None:
    """Remove spines and fade the grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_INK)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _saved(figure: Any, path: str | Path | None) -> Any:
    if path is not None:
        figure.savefig(path)
    return figure
