"""Whatever network Hypothesis makes up: saved, resumed and in a population it is the same."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path

import pytest

import anyback as ab
from anyback import optimizers, schedules
from anyback.checkpoint import save_load
from anyback.training import step
from tests.conftest import require

require("hypothesis")
require("safetensors")
sys.path.append(
    str(Path(__file__).resolve().parents[2])
)  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import Settings, properties  # noqa: E402

PROPERTIES = {"resumes": properties.resumes, "stacks": properties.stacks}
PROPERTIES["loads"] = partial(properties.loads_elsewhere, "array_api_strict")


@pytest.fixture
def tried(tmp_path):
    def tried(holds, examples):
        return properties.tried("made up", holds, Settings(examples, 0, tmp_path))

    return tried


@pytest.mark.parametrize("backend", ["array_api_strict", "torch", "jax"])
def test_other_backends_predict_the_same(tried, backend):
    require(backend)
    row = tried(partial(properties.loads_elsewhere, backend), 15)
    assert not row["lost"] and row["survived"] >= 15, row


@pytest.mark.parametrize("name", ["resumes", "stacks"])
def test_made_up_networks(tried, name):
    row = tried(PROPERTIES[name], 60)
    assert not row["lost"] and row["survived"] >= 60, row


@pytest.mark.parametrize("name", PROPERTIES)
def test_what_does_not_hold_fails(monkeypatch, name):
    """Planted: weights that a file has not as they were, draws that begin again, clipping of all at once."""
    if name == "loads":
        require("array_api_strict")
    take_up = save_load._restore

    def taken_up(trainer, arrays, stored):
        take_up(trainer, arrays, stored)
        trainer.train_state.micro_batches = 0
        if name == "loads":
            trainer.train_state.w = trainer.train_state.w * 1.000001

    def clipped(g, most):
        return g * (most / (g**2).sum() ** 0.5)

    options = {"optimizer": ab.Adam(), "l2": 0.0, "clip_norm": 0.01, "dtype": "float64"}
    fit = {"epochs": 3, "batch_size": 5}
    case = properties.Case((ab.Dropout(0.3),), "mean_squared_error", 2, 20, 6, options, fit)
    PROPERTIES[name](case)
    monkeypatch.setattr(save_load, "_restore", taken_up)
    monkeypatch.setattr(step, "clip_by_norm", clipped)
    with pytest.raises(AssertionError):
        PROPERTIES[name](case)


def test_the_simplest_that_does_not_hold_is_told(tried):
    def holds(case):
        assert not any(isinstance(layer, ab.BatchNorm) for layer in case.layers)

    row = tried(holds, 60)
    (problem,) = row["details"]["problems"]
    assert row["lost"] == 1 and problem.count("BatchNorm(") == 1 and "LayerNorm(" not in problem


def test_every_schedule_and_optimizer_is_tried():
    assert {type(rate).__name__ for rate in properties.RATES} == {"float", *schedules.__all__}
    for name in optimizers.__all__:
        optimizer = getattr(optimizers, name)
        assert is_dataclass(optimizer) and "lr" in {field.name for field in fields(optimizer)}
