"""Wrong formulas are found by the tests: benchmarks/reliability/mutation.py."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require
from tests.reliability.runs import posix

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import mutation  # noqa: E402

pytestmark = pytest.mark.usefixtures("on_one_backend")


MUTANTS = [
    "activations.relu: y > 0.0 -> y >= 0.0",
    "activations.sigmoid: 1.0 + e -> 1.0 - e",
    "activations.elu: xp.where(above, 1.0, y + alpha) -> xp.where(above, y + alpha, 1.0)",
    "activations.softmax: xp.sum(y, axis=-1, keepdims=True) -> xp.sum(y, axis=0, keepdims=True)",
    "optimizers.clip_by_value: namespace(g).clip(g, -limit, limit) -> g",
    "gates.divide: dx * z -> dx / z",
    "gates.subtract: (_unbroadcast(dz, shape_x), -_unbroadcast(dz, shape_y)) -> "
    "(_unbroadcast(dz, shape_x), _unbroadcast(dz, shape_y))",
    "initializers._uniform: 3.0 * variance -> 3.0 / variance",
    "initializers.orthogonal: matrices[-2] < matrices[-1] -> matrices[-2] > matrices[-1]",
    "layers._normalise: var + eps -> eps",
    "layers.BatchNorm.train: m * mean -> mean",
    "losses.huber: d - 0.5 * c -> d + 0.5 * c",
    "losses.hinge: -1.0 / k -> 1.0 / k",
    "losses.log_cosh: xp.expm1(-2.0 * a) -> xp.exp(-2.0 * a)",
    "losses.poisson: rate - target -> rate + target",
    "metrics.root_mean_squared_error: e * e -> e",
    "optimizers.Adam._update: xp.sqrt(v_max[0] if self.amsgrad else v) -> v_max[0] if self.amsgrad else v",
    "optimizers.Lion._update: namespace(w).sign(mean) -> mean",
    "regularizers.l2: 2.0 * _upstream(xp, dvalue) -> 3.0 * _upstream(xp, dvalue)",
    "schedules.Cosine.rate: 1.0 + math.cos(math.pi * now / period) -> 1.0 - math.cos(math.pi * now / period)",
]
HIDDEN = "optimizers.clip_by_norm: excess <= 1.0 -> excess <= 1.5"  # no example is between the two


@posix
def test_mutants_of_formulas_are_found(tmp_path):
    examples = [str(mutation._path(module)) for module in mutation.FORMULAS]
    found = mutation.hunted(mutation.FORMULAS, examples, tmp_path / "found", only=[*MUTANTS, HIDDEN])
    by = {mutant.partition(": ")[2]: test for mutant, test in found["mutants"].items()}
    assert {name for name, test in by.items() if test is None} == {HIDDEN.partition(".")[2]}
    assert set(by) == {mutant.partition(".")[2] for mutant in [*MUTANTS, HIDDEN]}


def test_mutants_that_do_not_count_are_there():
    for module, changes in mutation.EQUIVALENT.items():
        tree = mutation.tree_of(module)
        every = {(mutant.function, mutant.change) for mutant in mutation.mutants(module, tree)}
        assert set(changes) <= every and all(changes.values())


def test_formulas_are_changed_and_texts_are_not():
    tree = ast.parse(
        "def f(x: 'a + b' = 1.0):\n"
        "    'Return 1 + 1.'\n"
        "    if x < 0 and not isinstance(x, int | float):\n"
        "        raise ValueError(f'{x + 1} is not 1' + '!')\n"
        "    return -xp.maximum(x, axis=-1, keepdims=True)\n"
    )
    assert {str(mutant).split(": ", 2)[2] for mutant in mutation.mutants("m", tree)} == {
        "if x < 0 and (not isinstance(x, int | float)) -> "
        "if not (x < 0 and (not isinstance(x, int | float)))",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0 or not isinstance(x, int | float)",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0",
        "x < 0 and (not isinstance(x, int | float)) -> not isinstance(x, int | float)",
        "x < 0 -> x <= 0",
        "x < 0 -> x > 0",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0 and isinstance(x, int | float)",
        "x < 0 -> x < 1",
        "-xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.minimum(x, axis=-1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=0, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-2, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-1, keepdims=False)",
    }


@posix
@posix
def test_processes_that_die_answer_nothing_and_errors_of_ours_are_raised():
    """In a process of its own: libraries that other tests have loaded warn of every fork."""
    code = """
import os, signal
from benchmarks.reliability import mutation
assert mutation.forked(lambda: 3) == 3
assert mutation.forked(lambda: os.kill(os.getpid(), signal.SIGPROF)) is None
try:
    mutation.forked(lambda: 1 // 0)
except ZeroDivisionError:
    print("raised")
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "raised\n", ended.stderr
