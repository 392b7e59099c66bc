"""The figures that each example must print."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest

import anyback as ab
from anyback import activations


def number(out: str, pattern: str) -> float:
    """The one number that the pattern's group finds in what was printed."""
    found = re.findall(pattern, out)
    assert len(found) == 1, f"{pattern!r} found {found}"
    return float(found[0])


def table(out: str, pattern: str) -> dict[str, list[float]]:
    """The rows of numbers that the pattern's second group finds, by the names that its first one finds."""
    return {name: [float(x) for x in row.split()] for name, row in re.findall(pattern, out, re.MULTILINE)}


FIGURES: dict[str, Callable[[str], None]] = {}


def figures(check: Callable[[str], None]) -> Callable[[str], None]:
    FIGURES[check.__name__] = check
    return check


@figures
def computational_graph(out):
    nodes = re.findall(r"^  (\S +-?\d+ +-?\d+)$", out, re.MULTILINE)
    assert [" ".join(node.split()) for node in nodes] == ["* -12 1", "z -4 3", "+ 3 -4", "y 5 -4", "x -2 -4"]
    assert "f = (x + y) max(y, z) = 6\ngradients of x, y, z: 2 5 0\n" in out
    patterns = re.findall(r"^  (add|max|multiply) \w+ +(-?\d+) +(-?\d+)$", out, re.MULTILINE)
    assert patterns == [("add", "2", "2"), ("max", "2", "0"), ("multiply", "-8", "6")]
    figures_of_the_neuron = r"0\.73 +-0\.20 +0\.39 +-0\.39 +-0\.59 +0\.20"
    assert number(out, rf"  gate by gate +{figures_of_the_neuron} +(\d+)") == 8
    assert number(out, rf"  one sigmoid gate +{figures_of_the_neuron} +(\d+)") == 5
    assert "f = ||Wx||^2 = 0.116\n  dW = [0.088, 0.176] [0.104, 0.208]\n  dx = [-0.112, 0.636]\n" in out
    sizes = dict(re.findall(r"^  (.*?\S) +([\d,]+) +[\d,]+$", out, re.MULTILINE))
    count = {what: int(n.replace(",", "")) for what, n in sizes.items()}
    assert count["Jacobian"] == 4096**2 and count["what the vjp keeps"] == 4096
    assert count["not 0 in it"] == count["of these on its diagonal"] < 4096
    assert count["Jacobian, batch of 100"] == 409_600**2 and count["what the vjp keeps then"] == 409_600
    assert number(out, r"difference from the mask (\S+)") == 0.0
    assert "digraph {" in out and out.count(" -> ") == 5


@figures
def derivative(out):
    rows = re.findall(r"^ *(0\.0*1) +\S+ +\S+ +(-\S+) +(-\S+)$", out, re.MULTILINE)
    steps, errors, curvatures = zip(*(map(float, row) for row in rows), strict=True)
    assert steps == (0.1, 0.01, 0.001, 0.0001)
    assert all(90 < large / small < 110 for large, small in pairwise(errors))
    assert abs(curvatures[-1] - number(out, r"half the second derivative +(\S+)")) < 2e-4
    weight = re.search(
        r"loss (\S+); nudged up (\S+), nudged down (\S+)\nslope by nudging (\S+), .* (\S+)", out
    )
    here, up, down, slope, exact = map(float, weight.groups())
    assert up < here < down and abs(slope - exact) < 1e-3 * (1 + abs(exact)) and exact < 0
    pairs = re.findall(r"^[02]\.(?:weight|bias) +(\S+) +(\S+)$", out, re.MULTILINE)
    assert len(pairs) == 13 and all(abs(float(p) - float(q)) < 2e-7 for p, q in pairs)
    assert number(out, r"largest difference (\S+)") < 1e-7
    table = re.findall(r"^ +(\d+) +(\d+) +(\d+) +([\d,]+) +([\d,]+) +(\S+)$", out, re.MULTILINE)
    costs = [[float(cell.replace(",", "")) for cell in row] for row in table]
    assert [row[0] for row in costs] == [9, 25, 81, 289, 625, 2401, 4225]
    for parameters, losses, gradients, nudging, chaining, ratio in costs:
        assert losses == 2 * parameters and gradients == 1
        assert abs(ratio - nudging / chaining) < 0.06 and 0.8 < ratio / parameters < 1.0
    assert 1.95 < number(out, r"nudging +grows as P\^(\S+)") < 2.1
    assert 0.95 < number(out, r"backpropagation grows as P\^(\S+)") < 1.05


@figures
def mnist_mlp(out):
    epochs = re.findall(
        r"^epoch(\d+): train_loss:(\S+), train_acc:(\S+), valid_loss:(\S+), valid_acc:(\S+)$",
        out,
        re.MULTILINE,
    )
    assert len(epochs) == 20
    losses, accuracies, watched, held = ([float(row[i]) for row in epochs] for i in range(1, 5))
    assert losses[-1] < 0.15 * losses[0]
    assert accuracies[-1] > held[-1] + 0.02, "the gap that its text tells of"
    still_falls = watched[-1] < 0.95 * watched[-5]
    assert still_falls is ("pictures of digits" in out), "validation flattens on MNIST alone"
    seeds = [float(x) for x in re.findall(r"^seed \d: test_loss:\S+, test_acc:(\S+)$", out, re.MULTILINE)]
    mean = number(out, r"mean test_acc of 3 seeds: (\S+)")
    assert len(seeds) == 3
    assert abs(mean - sum(seeds) / 3) < 1e-4
    assert mean >= (0.88 if "pictures of MNIST" in out else 0.92)


@figures
def neuron(out):
    assert "y = 0.7311, dy/db = 0.1966" in out
    assert "dy/dw = (-0.1966, -0.3932), dy/dx = (0.3932, -0.5898)" in out
    assert number(out, r"3-4-4-1 network, (\d+) parameters") == 41
    (by_hand,), (by_library,) = (re.findall(rf"{name}:(.*)", out) for name in ("by hand", "library"))
    assert by_hand == by_library and len(by_hand.split()) == 5
    assert number(out, r"largest difference of the outputs +(\S+)") <= 1e-15
    assert number(out, r"largest difference of dy/dx +(\S+)") <= 1e-15
    table = dict(re.findall(r"^(\w+) .*\S +(\S+) +\d\.\d\d$", out, re.MULTILINE))
    assert set(table) == set(activations.__all__) - {"softmax", "log_softmax", "maxout"}
    assert {name for name, difference in table.items() if difference == "-"} == {"gelu", "mish", "silu"}
    assert all(float(difference) <= 1e-15 for difference in table.values() if difference != "-")
    assert number(out, r"\nsigmoid .* (\S+)\n") == 0.25
    assert number(out, r"\nsoftsign .* (\S+)\n") == 1.0  # the middle of the points is 0


@figures
def optimizers_race(out):
    recursion, total = re.findall(r"(?:by the recursion|as a weighted sum) +(.+)", out)
    assert recursion == total == "0.380489979823  -4.384053142634  -0.952687280450"
    steps = table(out, r"^  t = (\d+)((?: +[\d.]+){5})$")
    assert list(steps) == ["1", "10", "100", "1000"]
    adagrad, rmsprop, adam, uncorrected, no_power = zip(*steps.values(), strict=True)
    assert adagrad == (1.0, 0.3162, 0.1, 0.0316)  # 1 / sqrt(t)
    assert rmsprop == (10.0, 3.2339, 1.2559, 1.0)  # 1 / sqrt(1 - 0.99^t)
    assert adam == (1.0, 1.0, 1.0, 1.0)
    assert no_power == (1.0, 2.0643, 1.0248, 0.3977)
    assert all(abs(b / a - 0.1**0.5) < 1e-3 for a, b in zip(uncorrected, no_power, strict=True))
    assert "mean of g:   by 1 - rho^t 1.0000, by 1 - rho  10.0000" in out
    assert "mean of g^2: by 1 - rho^t 1.0000, by 1 - rho 632.3046" in out
    race = table(out, r"^([A-Z]\w+)((?: +\d\S*){9})$")
    assert list(race) == ab.optimizers.__all__
    for name in ("SGD", "Momentum", "Nesterov"):  # do not see that the valley is turned, wait at the saddle
        assert race[name][:2] == race[name][2:4]
        assert race[name][5] >= 15
    for name in ("AdaGrad", "RMSProp"):  # see it
        assert race[name][1] < 1e-15 and 0.5 < race[name][3] / race["SGD"][3] < 2
    waiting = {name for name, row in race.items() if row[5] > 4}
    assert waiting == {"SGD", "Momentum", "Nesterov", "RAdam"}
    assert all(row[7] < 0.2 and row[8] > 0.92 for row in race.values())
    best = [row[6] for row in race.values()]
    assert 1700 < max(best) / min(best) < 1800


@figures
def schedules(out):
    rows = re.findall(r"  (?:Constant|InverseTime)\(.+?\) +([\d. ]+)", out)
    assert len(rows) == 4
    for *_, measured, theory in (map(float, row.split()) for row in rows):
        assert measured == pytest.approx(theory, rel=0.08)
    early = {lr: float(late) for lr, late in re.findall(r"  Constant\((.+?)\) +([\d.]+)", out)}
    assert early["0.5"] < 1 < 5 < early["0.1"] < early["0.02"]  # the larger the rate, the sooner, and
    assert number(out, r"InverseTime\(1, 1\) +([\d.]+)") == pytest.approx(1 / 5, rel=0.08)
    assert number(out, r"largest difference (\S+)") < 1e-12
    assert "900 updates" in out
    rows = table(out, r"^  ([A-Z][\w, ]+?) +((?:\d\.\d{4} *){5})$")
    assert {name.partition(",")[0] for name in rows} == set(ab.schedules.__all__)
    loss, accuracy = ({name: row[i] for name, row in rows.items()} for i in (3, 4))
    lowest = {"Polynomial", "Cosine", "Cosine, restarts", "OneCycle", "Warmup"}
    assert set(sorted(loss, key=loss.get)[:5]) == lowest
    assert max(loss[name] for name in lowest) < 0.38 < 0.44 < loss["Constant"] < loss["InverseTime"] < 0.5
    assert loss["InverseTime"] < loss["Constant, a tenth"]
    assert loss["Piecewise"] < loss["Step"] < loss["Constant"]
    assert max(accuracy.values()) - min(accuracy.values()) < 8 / 359
    assert number(out, r"Cosine alone, by Trainer: training loss (\S+)") == loss["Cosine"]


@figures
def svm_classifier(out):
    assert "f = W x + b        -2.85   0.86   0.28" in out
    assert "SVM      loss 1.58, dL/df   0.00   1.00  -1.00" in out
    assert "softmax  loss 1.04, dL/df   0.02   0.63  -0.65" in out
    pairs = re.findall(r"^W\[0, \d+\] +(\S+) +(\S+)$", out, re.MULTILINE)
    assert len(pairs) == 4
    assert all(abs(float(a) - float(b)) <= 2e-8 for a, b in pairs)
    assert number(out, r"in units of the largest slope: (\S+)") <= 1e-6
    rows = re.findall(
        r"^(\d) +(\w+) +<= 1e-06 +(\S+) \+ (\S+) += (\S+) +(\S+) +(\S+) +(\S+)$", out, re.MULTILINE
    )
    assert [row[:2] for row in rows] == [(n, name) for n in "123" for name in ("SVM", "softmax")]
    for _, name, *figures_of_model in rows:
        data, penalty, total, met, train, test = map(float, figures_of_model)
        assert abs(data + penalty - total) < 2e-4
        assert penalty > 0.05
        assert (met > 0.8) if name == "SVM" else (met == 0.0)
        assert train > test > 0.94


@figures
def tensor_operations(out):
    for name in ("relu", "add", "reshape"):
        assert number(out, rf"(?m)^{name} .* (\S+)$") == 0.0
    for name in ("vector . vector", "matrix . vector", "matrix . matrix"):
        assert number(out, rf"(?m)^{name} .* (\S+)$") < 1e-10
    faster = {name: float(ratio) for name, ratio in re.findall(r"time: (.*): .* (\d+) times faster", out)}
    assert len(faster) == 6 and min(faster.values()) > 1 and faster["matrix . matrix"] > 30
    shapes = [" ".join(row.split()) for row in re.findall(r"(?m)^(\(.* -> .*)$", out)]
    assert shapes == [
        "(2, 3, 4, 5) . (5,) -> (2, 3, 4) (2, 3, 4, 5) (5,)",
        "(2, 3, 4, 5) . (5, 6) -> (2, 3, 4, 6) (2, 3, 4, 5) (5, 6)",
        "(32, 10) + (10,) -> (32, 10) (32, 10) (10,)",
        "(64, 3, 32, 10) max (32, 10) -> (64, 3, 32, 10) (64, 3, 32, 10) (32, 10)",
        "(4, 1) - (4,) -> (4, 4) (4, 1) (4,)",
    ]
    assert f"added to 32 rows: [{' '.join(['32.'] * 10)}]" in out
    dense = r"Dense\(7\): \(2, 3, 4, 5\) -> \(2, 3, 4, 7\), as \(24, 7\)"
    assert number(out, rf"{dense} but for (\S+),") < 1e-13
    assert number(out, rf"{dense} .*, gradients but for (\S+)\n") < 1e-13
    turned = (
        "turned  ( 0.0000,  0.0000)  ( 0.7071,  0.7071)  ( 0.0000,  1.4142)  lengths 0.0000 1.0000 1.4142"
    )
    assert turned in out and "moved   ( 0.4000,  0.4000)  ( 1.4000,  0.4000)  ( 1.4000,  1.4000)" in out
    assert number(out, r"eight turns end (\S+) away") < 1e-14
    assert number(out, r"with identity differ from one affine map by (\S+)") < 1e-14
    assert number(out, r"with relu +differ from one affine map by (\S+)") > 0.1


@figures
def overfitting(out):
    sizes = {
        (int(a), int(b)): (float(c), float(d))
        for a, b, c, d in re.findall(r"^ +(\d+) +(\d+) +(\S+) +(\S+) +\S+$", out, re.MULTILINE)
    }
    gaps = {size: learned - tested for size, (learned, tested) in sizes.items()}
    assert gaps[4, 200] < 0.1 < 0.2 < gaps[128, 200] < gaps[32, 200]  # a large network learns the errors too
    assert sizes[4, 200][0] < 0.6 and sizes[32, 200][0] == sizes[128, 200][0] == 1
    assert gaps[128, 50] > gaps[128, 100] > gaps[128, 200] > gaps[128, 400] > gaps[128, 1079]
    assert gaps[128, 50] > 5 * gaps[128, 1079]
    remedies = table(out, r"^([a-zL][\w, .]+?)  +((?:\d\S* *){7})$")
    assert len(remedies) == 8
    loss, learned, test_loss, tested, best, then, end = remedies.pop("nothing")
    assert (loss < 0.02, learned, best < 30) == (True, 1, True) and end > 2 * then
    for row in remedies.values():
        assert row[1] < learned and row[2] < test_loss and row[3] > tested + 0.03 and row[6] < end - 0.5
    for name in ("L1, 0.005", "L2, 0.01", "dropout, 0.8", "early stopping"):
        assert abs(remedies[name][1] - 0.8) <= 0.05 and remedies[name][6] < 1.15 * remedies[name][5]
    assert max(row[3] for row in remedies.values()) > 0.87
    assert remedies["early stopping"][4:6] == [best, then]


@figures
def pretraining(out):
    errors = re.findall(r"machine \d: .* unit (\S+), after 15 epochs (\S+)", out)
    assert len(errors) == 4 and all(float(after) < float(before) / 2 for before, after in errors)
    accuracy = table(out, r"^(uniform|Glorot|shuffled|pretrained|ReLU, He) +((?:\d\.\d+ *){5})$")
    assert len(accuracy) == 5
    assert max(accuracy["uniform"]) < 0.11 and max(accuracy["Glorot"]) < 0.2  # chance is one in ten
    assert accuracy["pretrained"][1] > 0.9 and accuracy["pretrained"][-1] > 0.95
    assert accuracy["uniform"][-1] < accuracy["shuffled"][-1] - 0.5 < accuracy["pretrained"][-1] - 0.6
    assert max(accuracy["shuffled"][:3]) < 0.2
    assert accuracy["ReLU, He"][-1] > 0.95


@figures
def vanishing_gradient(out):
    rows = re.findall(r"^(\w+) +(std \S+|Glorot|He) +((?:\S+ *){5})$", out, re.MULTILINE)
    table, depths = rows[:12], rows[12:]
    assert len(depths) == 5
    norms = {(a, b): [float(x) for x in row.split()] for a, b, row in table}
    for (activation, name), (factor, power, first, last, ratio) in norms.items():
        assert power ** (1 / 19) == pytest.approx(factor, rel=0.01)
        assert ratio == pytest.approx(first / last, rel=0.1)
        if activation == "relu" or name in ("std 0.01", "Glorot"):
            assert power / 10 < first < 2 * power  # the order of size
        else:
            assert first < power  # an upper bound
    assert norms["sigmoid", "std 0.01"][2] < 1e-30 and norms["sigmoid", "Glorot"][2] < 1e-11
    assert all(norms["sigmoid", name][3] > 0.1 for name in ("std 1", "std 0.01", "Glorot", "He"))
    assert norms["sigmoid", "std 1"][4] > 1e-3
    for activation in ("tanh", "relu"):  # even, and nothing
        assert norms[activation, "std 0.01"][2] < 1e-20 and 0.5 < norms[activation, "std 0.01"][4] < 2
    assert norms["relu", "std 1"][2] > 1e14 and norms["tanh", "std 1"][4] > 1e5
    ratios = {(a, b): [float(x) for x in row.split()] for a, b, row in depths}
    for pair in (("tanh", "Glorot"), ("relu", "He")):
        assert 0.1 < norms[*pair][2] < 1 and all(0.5 < ratio < 2 for ratio in ratios[pair])
    for name in ("std 0.01", "Glorot"):
        row = ratios["sigmoid", name]
        assert all(b < a / 100 for a, b in pairwise(row))


@figures
def batch_sizes(out):
    assert number(out, r"full gradient: (\S+)") < 1e-12
    found = re.findall(r"(?m)^ *(\d+) +(\S+) +(\S+) +(\S+) +(\S+)% +(\S+)% +(\S+)$", out)
    rows = {int(size): [float(value) for value in row] for size, *row in found}
    assert list(rows) == [1, 4, 16, 64, 256]
    for size, (variance, scaled, expected, _, share, largest) in rows.items():
        assert abs(size * variance - scaled) < 0.002 * scaled
        assert abs(scaled / expected - 1) < 0.03, "the variance does not fall as 1/B"
        assert 85 < share <= 100
        assert 2 < largest < 6
    assert rows[1][3] > 10 > 1 > rows[64][3] == 0.0, "small batches point uphill, large ones do not"
    assert 93 < number(out, r"all groups: (\S+)%") < 98
    found = re.findall(r"(?m)^ *(\d+) +(\S+) +(\d+) +(\S+) +(\S+) +(\S+)%$", out)
    runs = [[float(value) for value in row] for row in found]
    size, _, updates, _, last, raised = zip(*runs, strict=True)
    assert (size, updates) == ((512, 16, 1), (1, 32, 512))
    assert last[0] > 3 * last[1] > 4 * last[2]
    assert raised[0] == 0 < 10 < raised[1] < raised[2] - 5
    assert len(re.findall(r"^time: .* ms an epoch", out, re.MULTILINE)) == 3


@figures
def first_network(out):
    (by_hand,), (by_layers,) = (re.findall(rf"by {name} +(.*) ", out) for name in ("hand", "layers"))
    assert by_hand == by_layers
    random, loop, trainer = re.findall(r"  loss (\S+), accuracy (\S+)", out)
    assert loop == trainer
    assert float(random[0]) > 2.3
    assert float(random[1]) < 0.15
    assert float(loop[0]) < 0.15
    assert float(loop[1]) > 0.95
    assert "after 900 updates, 900 by the loop" in out
    assert "largest difference of loop and Trainer: 0\n" in out
    answers, moved = (
        [float(value) for value in re.findall(rf"^{name} +(.*)$", out, re.MULTILINE)[0].split()]
        for name in (r"answers to \(%\)", "W moved by")
    )
    quiet = answers.index(min(answers))
    assert answers[quiet] < 1
    assert moved[quiet] == min(moved) < max(moved) / 20


@figures
def sine_regression(out):
    (by_row,), (by_vjp,), (by_differences,) = (
        re.findall(rf"{name} +(.*)", out)
        for name in ("sum of dZ over axis 0", "vjp of the layer", "central differences")
    )
    assert by_row == by_vjp == by_differences and len(by_row.split()) == 3
    assert "shapes: dZ (63, 3), its sum over axis 0 (3,), over axis 1 (63,)" in out
    rows = re.findall(r"(?m)^ +(\d+) +(\d+) +(\S+) +(\S+)$", out)
    epochs, updates, error, fall = zip(*rows, strict=True)
    assert [int(n) for n in updates] == [63 * int(n) for n in epochs]
    assert len(epochs) == 7
    assert all(a > b for a, b in pairwise(map(float, error)))
    assert float(fall[-1]) > 100, "the error does not fall by two orders of size"
    assert float(error[-1]) < 0.25 / 100, "nor below a hundredth of a flat line's"
    assert number(out, r"largest error of the last fit: (\S+)") < 0.1


@figures
def gradient_descent(out):
    assert "after 100 steps: [-6.11110793e-10  8.14814391e-10]\n" in out
    assert "slope at (3, 4): 6.000000 8.000000\n" in out
    assert re.search(r"too small +1e-10 +-3 +4 +10 steps, value 25, ", out)
    assert re.search(r"good +0.1 +-0.3221 +0.4295 +10 steps, value 0.288, ", out)  # 0.8^10 of the start
    assert re.search(r"too large +10 .* diverged at step 7: x grew to ", out)
    assert "diverged: too large\n" in out
    row = r"{} +\(.*?\) +\(.*?\) +{}"
    local, saddle, nudged = (
        number(out, row.format(name, r"(\S+)")) for name in ("local minimum", "saddle", "nudged")
    )
    assert nudged < local - 0.5 and nudged < saddle - 0.5
    for name, rising in (("local minimum", True), ("saddle", False), ("nudged", True)):
        assert number(out, row.format(name, r"\S+ +(\S+)")) < 1e-8
        assert number(out, row.format(name, r"\S+ +\S+ +(\S+)")) > 0
        assert (number(out, row.format(name, r"\S+ +\S+ +\S+ +(\S+)")) > 0) is rising


@figures
def linear_regression(out):
    steps = re.findall(r"^ +\d+ .* -> (\S+) (\S+)$", out, re.MULTILINE)
    assert len(steps) == 10
    assert steps[0] == ("2.2000000", "0.4000000") and steps[9] == ("3.0254804", "1.9490392")
    assert number(out, r"(?m)^ +1 +-2 +-4 +(\S+)") == 9.0
    assert "normal equation: w 3.000000000, b 2.000000000; x has rank 1 of 1" in out
    assert "x has rank 1 of 2 beside the intercept: of infinitely many solutions that of smallest norm" in out
    differences = [float(d) for d in re.findall(r"^1/2?N.* (\S+)$", out, re.MULTILINE)]
    assert len(differences) == 5 and max(differences[:4]) < 1e-14 and differences[4] > 0.1
