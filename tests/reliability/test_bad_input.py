"""Bad input is refused by argument, place and value before training, or taken and equal to a reference.

The tables are those of the experiment in benchmarks/reliability/data.py.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from anyback import losses
from tests.conftest import require

require("typer")
require("safetensors")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")

from benchmarks.reliability import data, divergence  # noqa: E402


@pytest.fixture(autouse=True)
def on_numpy(monkeypatch):
    monkeypatch.setenv("ANYBACK_BACKEND", "numpy")


@pytest.mark.parametrize("name", data.REFUSED)
def test_the_library_refuses_and_names(name):
    assert tried(data.refusal(name)) is None


@pytest.mark.parametrize("name", data.TAKEN)
def test_the_library_takes_what_equals_a_reference(name):
    assert tried(data.difference(name)) is None


def tried(found):
    return pytest.skip(found) if found == data.ABSENT else found


@pytest.mark.parametrize("name", data.FILES)
def test_the_command_line_refuses_and_names(name):
    assert data.refusal_of_file(name) is None


@pytest.mark.parametrize("name", data.SAME)
def test_the_command_line_takes_what_equals_a_plain_file(name):
    assert data.difference_of_file(name) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", losses.__all__)
def test_extreme_logits_give_exact_losses_and_gradients(name, dtype):
    assert data.worst(name, dtype) < 16, "units in the last place"


def test_there_are_many_cases_and_a_judge_who_sees():
    assert len(data.REFUSED) + len(data.FILES) > 100 and len(data.TAKEN) + len(data.SAME) > 20
    data.REFUSED["good"] = (lambda: data.trained(data.X, data.LABELS), "x must")
    data.REFUSED["said otherwise"] = (lambda: data.trained(3.0, data.LABELS), "y must")
    data.TAKEN["other"] = (
        lambda: data.trained(data.X, data.LABELS),
        lambda: data.trained(-data.X, data.LABELS),
    )
    try:
        assert data.refusal("good") == "taken without a word"
        assert "not 'y must'" in data.refusal("said otherwise")
        assert "differ by" in data.difference("other")
    finally:
        del data.REFUSED["good"], data.REFUSED["said otherwise"], data.TAKEN["other"]


def test_diverging_runs_are_named_and_kept():
    draw = random.Random(1)
    with np.errstate(all="ignore"):
        ended = {divergence.planted(draw) for _ in range(8)} | {divergence.overflow(draw) for _ in range(16)}
    assert ended == {"named, and the last good epoch kept", "stopped", "finite to the end"}


def test_what_denormal_numbers_cost_is_measured():
    found = divergence.slowness("float32", rounds=2)
    assert found.keys() == {"signals", "Momentum", "RMSProp", "Adam"} and min(found.values()) > 0.0
