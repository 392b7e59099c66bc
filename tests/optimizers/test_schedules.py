"""Learning-rate schedules against PyTorch's and against values by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from anyback import schedules
from anyback.schedules import (
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    InverseTime,
    OneCycle,
    Piecewise,
    Polynomial,
    Step,
    Warmup,
)
from tests.conftest import require

LR = 0.4
AS_TORCH: list[tuple[Any, str, dict[str, Any], int]] = [
    (Constant(LR), "ConstantLR", {"factor": 1.0}, 20),
    (Step(LR, every=7, factor=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}, 60),
    (Step(LR, every=7), "StepLR", {"step_size": 7}, 60),
    (Exponential(LR, 0.97), "ExponentialLR", {"gamma": 0.97}, 200),
    (Polynomial(LR, steps=30), "PolynomialLR", {"total_iters": 30}, 50),
    (Polynomial(LR, steps=30, power=2.5), "PolynomialLR", {"total_iters": 30, "power": 2.5}, 50),
    (Cosine(LR, period=8), "CosineAnnealingWarmRestarts", {"T_0": 8}, 50),
    (
        Cosine(LR, period=3, multiplier=2, floor=0.1),
        "CosineAnnealingWarmRestarts",
        {"T_0": 3, "T_mult": 2, "eta_min": 0.1},
        200,
    ),
    (Cosine(LR, period=40, restarts=False), "CosineAnnealingLR", {"T_max": 40}, 41),
    (Warmup(LR, steps=9, start=0.25), "LinearLR", {"total_iters": 9, "start_factor": 0.25}, 20),
    (
        Piecewise([5, 12], [LR, LR * 0.1, LR * 0.01]),
        "MultiStepLR",
        {"milestones": [5, 12], "gamma": 0.1},
        20,
    ),
    *(
        (
            OneCycle(LR, steps, rise, 10.0, 100.0, anneal, three_phase),
            "OneCycleLR",
            {
                "max_lr": LR,
                "total_steps": steps,
                "pct_start": rise,
                "div_factor": 10.0,
                "final_div_factor": 100.0,
                "anneal_strategy": anneal,
                "three_phase": three_phase,
                "cycle_momentum": False,
            },
            steps,
        )
        for steps, rise in [(50, 0.3), (47, 0.45), (3, 0.2), (1, 0.3)]
        for anneal in ("cos", "linear")
        for three_phase in (False, True)
        if not (three_phase and steps < 10)
    ),
    (OneCycle(LR, 40), "OneCycleLR", {"max_lr": LR, "total_steps": 40, "cycle_momentum": False}, 40),
    *(
        (
            Cyclic(0.1, LR, up, down, mode, gamma),
            "CyclicLR",
            {
                "base_lr": 0.1,
                "max_lr": LR,
                "step_size_up": up,
                "step_size_down": down,
                "mode": mode,
                "gamma": gamma,
                "cycle_momentum": False,
            },
            100,
        )
        for up, down in [(8, None), (4, 16)]
        for mode, gamma in [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.98)]
    ),
]


def label(value: Any) -> str | None:
    return repr(value).replace(" ", "") if callable(value) else None


@pytest.mark.parametrize(("schedule", "kind", "options", "steps"), AS_TORCH, ids=label)
def test_as_pytorch(schedule: Any, kind: str, options: dict[str, Any], steps: int) -> None:
    torch = require("torch")
    peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    theirs = getattr(torch.optim.lr_scheduler, kind)(peer, **options)
    for t in range(steps):
        wanted = peer.param_groups[0]["lr"]
        assert schedule(t) == pytest.approx(wanted, rel=1e-11, abs=1e-15), t
        peer.step()
        if t + 1 < steps:
            theirs.step()


BY_HAND: list[tuple[Any, dict[int, float]]] = [
    (Constant(0.1), {0: 0.1, 10**6: 0.1}),
    (Step(1.0, every=10, factor=0.5), {0: 1.0, 9: 1.0, 10: 0.5, 29: 0.25}),
    (Exponential(1.0, 0.25), {0: 1.0, 1: 0.25, 2: 0.0625}),
    (Exponential(1.0, 0.25, every=10), {5: 0.5, 10: 0.25}),
    (InverseTime(1.0, 0.5), {0: 1.0, 2: 0.5, 6: 0.25}),
    (Polynomial(1.0, 10, power=2.0, end=0.2), {0: 1.0, 5: 0.4, 10: 0.2, 99: 0.2}),
    (
        Cosine(1.0, 10, multiplier=3, floor=0.5),
        {0: 1.0, 5: 0.75, 10: 1.0, 25: 0.75, 39: 0.5013695261579316, 40: 1.0, 85: 0.75},
    ),
    (Cosine(1.0, 10, floor=0.5, restarts=False), {5: 0.75, 10: 0.5, 15: 0.5}),
    (Warmup(1.0, steps=4), {0: 0.0, 1: 0.25, 4: 1.0, 5: 1.0}),
    (Warmup(Polynomial(1.0, 10), steps=4, start=0.5), {0: 0.5, 2: 0.75, 4: 1.0, 9: 0.5, 14: 0.0}),
    (Warmup(Warmup(1.0, 2, start=0.5), 2, start=0.0), {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}),
    (
        OneCycle(1.0, 11, rise=6 / 11, div_factor=4.0, final_div_factor=5.0, anneal="linear"),
        {0: 0.25, 5: 1.0},
    ),
    (OneCycle(1.0, 10, rise=0.1), {0: 1.0, 9: 1.0 / 25e4, 100: 1.0 / 25e4}),
    (Cyclic(0.0, 1.0, up=2, down=4), {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.75, 6: 0.0, 8: 1.0}),
    (Cyclic(0.0, 1.0, up=2, mode="triangular2"), {2: 1.0, 6: 0.5, 10: 0.25}),
    (Cyclic(0.0, 1.0, up=2, mode="exp_range", gamma=0.5), {2: 0.25, 4: 0.0}),
    (Piecewise([3], [1.0, 0.1]), {0: 1.0, 2: 1.0, 3: 0.1}),
    (Piecewise([], [0.5]), {0: 0.5, 7: 0.5}),
]


@pytest.mark.parametrize(("schedule", "values"), BY_HAND, ids=label)
def test_as_by_hand(schedule: Any, values: dict[int, float]) -> None:
    for t, wanted in values.items():
        assert schedule(t) == pytest.approx(wanted, rel=1e-8, abs=1e-15), t


def test_every_name_has_a_case() -> None:
    assert {type(schedule).__name__ for schedule, _ in BY_HAND} == set(schedules.__all__)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in BY_HAND], ids=label)
def test_rates_are_python_floats(schedule: Any) -> None:
    t: Any
    for t in (0, 1, np.int64(3), 10**6, 10**9):
        rate = schedule(t)
        assert type(rate) is float
        assert 0.0 <= rate < math.inf
    assert hash(schedule) == hash(schedule)
    for t in (-1, 1.5, None):
        with pytest.raises(ValueError, match=rf"t must be an integer from 0, got {t}"):
            schedule(t)


def test_options_become_python_numbers() -> None:
    assert Piecewise([1, 2], [1, 2, 3]) == Piecewise((1, 2), (1.0, 2.0, 3.0))
    options: dict[str, Any] = {"lr": np.float32(0.5), "every": np.int64(3)}
    assert asdict(Step(**options)) == {"lr": 0.5, "every": 3, "factor": 0.1}
    assert type(Step(**options).lr) is float
    assert type(Step(**options).every) is int


def test_a_warmup_ends_at_exactly_the_rate_of_what_follows() -> None:
    for steps in range(1, 50):
        assert Warmup(0.7, steps, start=0.1)(steps) == 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(0.1, every=1, factor=1.0),
        lambda: Exponential(0.1, factor=1.0),
        lambda: Polynomial(0.1, 10, end=0.05),
        lambda: Polynomial(0.1, 10, end=0.1),
        lambda: Cosine(0.1, 10, floor=0.1),
        lambda: Warmup(0.1, 10, start=0.5),
        lambda: Warmup(0.1, 10, start=1.0),
        lambda: Cyclic(0.1, 0.1),
        lambda: Cyclic(0.0, 0.1, mode="exp_range", gamma=0.5),
        lambda: Cyclic(0.0, 0.1, mode="exp_range", gamma=1.0),
    ],
)
def test_options_within_and_at_the_ends_of_their_ranges_are_taken(make: Callable[[], Any]) -> None:
    assert 0.0 <= make()(3) <= 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0.0), "lr must be positive and finite, got 0.0"),
        (lambda: Constant("x"), "lr must be positive and finite, got 'x'"),  # type: ignore[arg-type]
        (lambda: Constant(True), "lr must be positive and finite, got True"),
        (lambda: Constant(math.inf), "lr must be positive and finite, got inf"),
        (lambda: Step(0.1, every=True), "every must be an integer from 1, got True"),
        (lambda: Step(0.1, every=2, factor=0.0), r"factor must be in \(0, 1\], got 0.0"),
        (lambda: Exponential(-0.1, factor=0.5), "lr must be positive and finite, got -0.1"),
        (lambda: Exponential(0.1, factor=1.5), r"factor must be in \(0, 1\], got 1.5"),
        (lambda: Exponential(0.1, factor=0.5, every=0), "every must be an integer from 1, got 0"),
        (lambda: Polynomial(0.0, 10), "lr must be positive and finite, got 0.0"),
        (lambda: Polynomial(0.1, 10, power=0.0), "power must be positive and finite, got 0.0"),
        (lambda: Polynomial(0.1, 0), "steps must be an integer from 1, got 0"),
        (lambda: Polynomial(0.1, 10, end=-0.1), "end must be from 0 to lr = 0.1, got -0.1"),
        (lambda: Cosine(0.0, 10), "lr must be positive and finite, got 0.0"),
        (lambda: Cosine(0.1, 0), "period must be an integer from 1, got 0"),
        (lambda: Warmup(0.0, 10), "then must be positive and finite or a schedule, got 0.0"),
        (lambda: Warmup(math.inf, 10), "then must be positive and finite or a schedule, got inf"),
        (lambda: Warmup(0.1, 0), "steps must be an integer from 1, got 0"),
        (lambda: Warmup(0.1, 10, start=-0.5), r"start must be in \[0, 1\], got -0.5"),
        (lambda: OneCycle(0.0, 10), "lr must be positive and finite, got 0.0"),
        (lambda: OneCycle(0.1, 10, div_factor=0.0), "div_factor must be positive and finite, got 0.0"),
        (lambda: OneCycle(0.1, 0), "steps must be an integer from 1, got 0"),
        (lambda: OneCycle(0.1, 10, rise=0.0), r"rise must be in \(0, 1\), got 0.0"),
        (lambda: OneCycle(0.1, 10, three_phase=1), "three_phase must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: Cyclic(0.0, 0.0), "high must be positive and finite, got 0.0"),
        (lambda: Cyclic(0.1, 0.2, up=0), "up must be an integer from 1, got 0"),
        (lambda: Cyclic(0.1, 0.2, down=0), "down must be an integer from 1, got 0"),
        (lambda: Cyclic(0.1, 0.2, gamma=0.0), r"gamma must be in \(0, 1\], got 0.0"),
        (lambda: Cyclic(0.1, 0.2, gamma=1.5), r"gamma must be in \(0, 1\], got 1.5"),
        (lambda: Piecewise([5], [1.0, math.inf]), r"values must be positive and finite, got \[1.0, inf\]"),
        (lambda: Step(0.1, every=0), "every must be an integer from 1, got 0"),
        (lambda: Step(0.1, every=2.5), "every must be an integer from 1, got 2.5"),  # type: ignore[arg-type]
        (lambda: Step(0.1, every=2, factor=2.0), r"factor must be in \(0, 1\], got 2.0"),
        (lambda: Exponential(0.1, factor=0.0), r"factor must be in \(0, 1\], got 0.0"),
        (lambda: InverseTime(0.1, decay=-1.0), "decay must be positive and finite, got -1.0"),
        (lambda: Polynomial(0.1, 10, end=0.2), "end must be from 0 to lr = 0.1, got 0.2"),
        (lambda: Cosine(0.1, 10, multiplier=0), "multiplier must be an integer from 1, got 0"),
        (lambda: Cosine(0.1, 10, floor=-0.1), "floor must be from 0 to lr = 0.1, got -0.1"),
        (lambda: Cosine(0.1, 10, restarts=1), "restarts must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: Warmup(-1.0, 10), "then must be positive and finite or a schedule, got -1.0"),
        (lambda: Warmup(1.0, 10, start=1.5), r"start must be in \[0, 1\], got 1.5"),
        (lambda: OneCycle(0.1, 10, rise=1.0), r"rise must be in \(0, 1\), got 1.0"),
        (lambda: OneCycle(0.1, 10, rise=0.6, three_phase=True), r"rise must be in \(0, 0.5\), got 0.6"),
        (lambda: OneCycle(0.1, 10, anneal="square"), "anneal must be one of cos, linear, got 'square'"),
        (lambda: Cyclic(0.2, 0.1), "low must be from 0 to high = 0.1, got 0.2"),
        (
            lambda: Cyclic(0.1, 0.2, mode="x"),
            "mode must be one of triangular, triangular2, exp_range, got 'x'",
        ),
        (lambda: Piecewise([5, 5], [1.0, 1.0, 1.0]), r"increasing integers from 1, got \[5, 5\]"),
        (lambda: Piecewise([0], [1.0, 1.0]), r"increasing integers from 1, got \[0\]"),
        (lambda: Piecewise([5], [1.0]), "values must be one more than the 1 boundaries, got 1"),
        (lambda: Piecewise([5], [1.0, -1.0]), r"values must be positive and finite, got \[1.0, -1.0\]"),
        (lambda: Piecewise([5], 1.0), "values must be positive and finite, got 1.0"),  # type: ignore[arg-type]
    ],
)
def test_bad_options_are_named(make: Callable[[], Any], message: str) -> None:
    error = TypeError if "True or False" in message else ValueError
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
