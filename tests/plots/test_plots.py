"""Pictures: that they are made, of what they were given, and without a display."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from anyback import plots
from anyback.training.history import History

PNG = b"\x89PNG\r\n\x1a\n"


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def rows(validation=True, epochs=12):
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "loss": 3.0 / epoch, "accuracy": 1 - 0.5 / epoch, "lr": 1e-3, "penalty": 2.0}
        if validation:
            row |= {"val_loss": 0.5 + 0.01 * (epoch - 7) ** 2, "val_accuracy": 0.9}
        yield row


def colours(path):
    """How many different colours a picture has: an empty one has few."""
    from matplotlib.image import imread

    return len(np.unique(imread(path).reshape(-1, 4), axis=0))


def test_curves_have_a_panel_for_each_figure(tmp_path):
    path = tmp_path / "curves.png"
    figure = plots.curves(History(list(rows())), path, loss="softmax_cross_entropy")
    assert [axes.get_ylabel() for axes in figure.axes] == ["softmax cross entropy", "accuracy"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training (running mean)", "validation", "best epoch: 7"]
    assert path.read_bytes()[:8] == PNG and colours(path) > 50
    train, validation, *_ = figure.axes[0].get_lines()
    np.testing.assert_allclose(train.get_ydata(), [3.0 / e for e in range(1, 13)])
    np.testing.assert_allclose(validation.get_ydata()[6], 0.5)


def test_curves_without_validation_and_of_one_epoch():
    figure = plots.curves(rows(validation=False, epochs=1))
    assert len(figure.axes) == 2
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "training (running mean)"
    ]


def test_a_loss_over_orders_of_magnitude_is_drawn_on_a_logarithmic_scale():
    steep = [{"epoch": e, "loss": 10.0**-e} for e in range(1, 5)]
    assert plots.curves(steep).axes[0].get_yscale() == "log"
    negative = [{"epoch": e, "loss": 1.0 - e} for e in range(1, 50)]
    assert plots.curves(negative).axes[0].get_yscale() == "linear"


def test_curves_leave_out_what_is_not_finite(tmp_path):
    broken = [{"epoch": 1, "loss": 1.0, "val_loss": 2.0}, {"epoch": 2, "loss": np.nan, "val_loss": np.inf}]
    figure = plots.curves(broken, tmp_path / "broken.png")
    assert plots.best_epoch(broken) == 1
    assert len(figure.axes[0].get_lines()[0].get_xdata()) == 1


def test_best_epoch_is_the_first_of_equals_and_none_without_validation():
    assert plots.best_epoch([{"epoch": e, "val_loss": abs(e - 3.5)} for e in range(1, 7)]) == 3
    assert plots.best_epoch(rows(validation=False)) is None


def test_confusion_shows_counts_and_shares(tmp_path):
    path = tmp_path / "confusion.png"
    figure = plots.confusion([[8, 2, 0], [0, 9, 1], [0, 0, 0]], ["ant", "bee", "cat"], path, part="held out")
    axes = figure.axes[0]
    assert {text.get_text() for text in axes.texts} == {"8", "2", "9", "1"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2, 0], [0, 0.9, 0.1], [0, 0, 0]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cat"]
    assert axes.get_title() == "held out, 17 of 20 correct: accuracy 0.850"
    assert path.read_bytes()[:8] == PNG and colours(path) > 50


def test_confusion_of_many_classes_stays_legible():
    figure = plots.confusion(np.eye(100), [f"a very long name of class {i}" for i in range(100)])
    assert len(figure.axes[0].get_xticks()) <= 30 and not figure.axes[0].texts
    assert max(len(label.get_text()) for label in figure.axes[0].get_xticklabels()) <= 18


def test_predictions_are_drawn_against_the_truth(tmp_path):
    path = tmp_path / "regression.png"
    t = np.linspace(0, 10, 50)
    figure = plots.predicted_against_true(t + 0.5, t, path, name="price (EUR)", part="held out")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), np.stack([t, t + 0.5], axis=1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true price (EUR)", "predicted price (EUR)")
    assert axes.get_xlim() == axes.get_ylim() and axes.get_title() == "held out, 50 rows"
    assert path.read_bytes()[:8] == PNG and colours(path) > 50


def test_predictions_of_several_outputs_have_a_panel_each():
    values = np.random.default_rng(0).normal(size=(600, 8))
    figure = plots.predicted_against_true(values, values)
    assert [axes.get_xlabel() for axes in figure.axes] == [f"true target {i}" for i in range(6)]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.curves([]), "history must have at least one epoch"),
        (lambda: plots.confusion(np.ones((2, 3))), r"matrix must have shape \(k, k\), got \(2, 3\)"),
        (lambda: plots.confusion(np.eye(3), ["a"]), "names must have 3 elements"),
        (lambda: plots.predicted_against_true([1.0], [1.0, 2.0]), r"got \(1,\) and \(2,\)"),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_no_display_and_no_state_are_touched():
    code = (
        "import sys; from anyback import plots; print('matplotlib' in sys.modules);"
        "plots.confusion([[1]]); print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


def test_a_descent_is_drawn_within_its_window(tmp_path):
    path = tmp_path / "descent.png"
    far = [[0.5 * (-2.0) ** t, 1.0] for t in range(40)]
    ways = {
        "down": [[2.0, 1.0], [1.0, 0.5], [0.0, 0.0]],
        "away": far,
        "overflown": [[1.0, 1.0], [np.inf, 0.0]],
    }
    figure = plots.descent(bowl, ways, path, window=(-3, 3, -2, 2))
    (axes,) = figure.axes
    assert path.read_bytes()[:8] == PNG and colours(path) > 50
    assert (axes.get_xlim(), axes.get_ylim()) == ((-3, 3), (-2, 2))
    assert axes.get_legend_handles_labels()[1] == list(ways)
    lines = [line.get_xydata() for line in axes.get_lines() if line.get_label() in ways]
    assert [len(line) for line in lines] == [3, 8, 1]
    assert len({(line.get_color(), str(line.get_linestyle())) for line in axes.get_lines()[::3]}) == 3


def test_descents_share_a_figure():
    from matplotlib.figure import Figure

    panels = Figure().subplots(1, 2)
    for axes in panels:
        figure = plots.descent(lambda x: x[0] * x[1], {"a": [[0.0, 0.0]]}, window=(-1, 1, -1, 1), axes=axes)
        assert figure is axes.figure and len(axes.get_lines()) == 3


def test_a_descent_in_part_of_a_figure_is_saved_whole(tmp_path):
    from matplotlib.figure import Figure

    whole = Figure()
    axes = whole.subfigures(2)[0].add_subplot()
    path = tmp_path / "part.png"
    assert plots.descent(bowl, {"a": [[0.0, 0.0]]}, path, window=(-1, 1, -1, 1), axes=axes) is whole
    assert path.read_bytes()[:8] == PNG


@pytest.mark.parametrize("window", [(3, -3, -2, 2), (-3, 3, 2, -2)])
def test_a_mirrored_window_shows_the_same_paths(window):
    (axes,) = plots.descent(bowl, {"a": [[2.0, 1.0], [1.0, 0.5]]}, window=window).axes
    assert (*axes.get_xlim(), *axes.get_ylim()) == window
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [2, 1, 1]


@pytest.mark.parametrize("paths", [{}, {"": [[0.0, 0.0]]}, {"_a": [[0.0, 0.0]], "_b": [[5.0, 5.0]]}])
def test_without_names_there_is_no_legend(paths):
    (axes,) = plots.descent(bowl, paths, window=(-1, 1, -1, 1)).axes
    assert axes.get_legend() is None and len(axes.get_lines()) == 3 * len(paths)


def test_heights_that_are_not_finite_are_left_out(tmp_path):
    def height(x):
        x -= 0.5  # of its own copy
        return np.where(x[0] > 0, np.log(np.maximum(x[0], 1e-9)), np.where(x[1] > 0, np.nan, -np.inf))

    figure = plots.descent(height, {"a": [[np.nan, 0.0]]}, tmp_path / "a.png", window=(-1, 1, -1, 1))
    filled, lines = figure.axes[0].collections
    drawn = np.concatenate([path.vertices for path in lines.get_paths()])
    assert np.isfinite(drawn).all() and drawn[:, 0].min() > 0.49


def test_a_flat_function_has_no_contours_and_is_drawn():
    figure = plots.descent(lambda x: 0.0 * x[0], {"stays": [[0.0, 0.0]]}, window=(-1, 1, -1, 1))
    assert not figure.axes[0].collections


@pytest.mark.parametrize("points", [[], [1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_paths_of_another_shape_are_named(points):
    with pytest.raises(ValueError, match=r"paths\['a'\] must have shape \(n, 2\), got \("):
        plots.descent(lambda x: x[0], {"a": points}, window=(-1, 1, -1, 1))


@pytest.mark.parametrize(
    ("height", "got"),
    [(lambda x: 1.0, r"1 of shape \(\)"), (lambda x: x[0] * np.nan, r"0 of shape \(201, 201\)")],
)
def test_a_height_of_another_shape_or_none_is_named(height, got):
    with pytest.raises(
        ValueError, match=rf"f must return finite numbers of shape \(201, 201\) .*, got {got}$"
    ):
        plots.descent(height, {"a": [[0.0, 0.0]]}, window=(-1, 1, -1, 1))


@pytest.mark.parametrize("window", [(1, 1, -1, 1), (-1, 1, np.nan, 1), (-np.inf, 1, -1, 1)])
def test_a_window_without_an_area_is_named(window):
    with pytest.raises(
        ValueError, match=r"^window must be \(left, right, bottom, top\) with a finite area, got \("
    ):
        plots.descent(bowl, {"a": [[0.0, 0.0]]}, window=window)
