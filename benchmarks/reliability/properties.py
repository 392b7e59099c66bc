"""Generated networks: saved and loaded elsewhere, resumed, and in a population they are the same.

Hypothesis generates networks (Dense, norms, activations, dropout, residual blocks within each other), losses,
optimizers, schedules, limits, dtypes, batches and seeds. For each: after fit, save and load another backend
predicts the same, within 1e-10 in float64, and NumPy to the last bit; a run that is stopped after an update,
saved, loaded and resumed ends bit-identical to an uninterrupted one; and a population of three has its
members' losses and gradients, and after one update from equal gradients their weights, within 1e-12.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import anyback as ab
from anyback import activations, losses, optimizers, schedules
from anyback.callbacks import Lambda
from anyback.parameters import Layout
from anyback.random import step_seed
from anyback.training.step import TrainStep
from benchmarks.reliability import Settings, outcome

BACKENDS = ("array_api_strict", "torch", "jax")
INPUTS, MEMBERS = 3, 3
RATES: tuple[Any, ...] = (
    0.01,
    schedules.Constant(0.01),
    schedules.Step(0.01, 3),
    schedules.Exponential(0.01, 0.9),
    schedules.InverseTime(0.01, 0.1),
    schedules.Polynomial(0.01, 10),
    schedules.Cosine(0.01, 4),
    schedules.Warmup(0.01, 3),
    schedules.OneCycle(0.01, 30),
    schedules.Cyclic(0.001, 0.01, 3),
    schedules.Piecewise([3], [0.01, 0.001]),
)


@dataclass(frozen=True)
class Case:
    """A model with the arguments of its trainer and fit, and a number that determines when it is stopped."""

    layers: tuple[ab.Layer, ...]
    loss: str
    outputs: int
    samples: int
    stop: int
    trainer: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> ab.Sequential:
        return ab.Sequential((*self.layers, ab.Dense(self.outputs)))

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs, and targets of the kind of the loss."""
        rng = np.random.default_rng(self.samples)
        x, y = rng.normal(size=(2, self.samples, max(INPUTS, self.outputs)))
        made = {
            "reals": y[:, : self.outputs],
            "counts": np.floor(np.abs(2.0 * y[:, : self.outputs])),
            "unit interval": activations.softmax(y[:, : self.outputs])[0],
            "signs": np.where(y[:, : self.outputs] > 0.0, 1.0, -1.0),
            "labels": y[:, : self.outputs].argmax(axis=1),
        }
        return x[:, :INPUTS], made[getattr(losses, self.loss).targets]

    def new(self) -> ab.Trainer:
        return ab.Trainer(self.model, self.loss, backend="numpy", **self.trainer)

    def trained(self, trainer: ab.Trainer, *callbacks: Any) -> ab.Trainer:
        trainer.fit(*self.data, callbacks=callbacks, verbose=0, **self.fit)
        return trainer


def run(settings: Settings) -> list[dict[str, Any]]:
    if not find_spec("hypothesis"):
        return [outcome("generated networks", 0, 0, skipped="hypothesis is not installed")]
    rows = [
        tried(row, partial(loads_elsewhere, name), settings)
        if find_spec(name)
        else outcome(row, 0, 0, skipped=f"{name} is not installed")
        for name in BACKENDS
        for row in [f"networks on {name}, saved and loaded"]
    ]
    rows.append(tried("networks resumed", resumes, settings))
    return [*rows, tried("networks in a population", stacks, settings)]


def tried(name: str, holds: Callable[[Case], None], settings: Settings) -> dict[str, Any]:
    """Try a number of cases, and return the simplest of those that fail."""
    import hypothesis

    passed, failed, problems = [], [], []

    def one(case: Case) -> None:
        try:
            holds(case)
        except BaseException:
            failed.append(case)
            raise
        if not failed:  # later cases only shrink the first failure
            passed.append(case)

    limits = hypothesis.settings(
        max_examples=settings.kills,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    made_up = limits(hypothesis.given(cases())(one))
    try:
        hypothesis.seed(settings.seed)(made_up)()
    except Exception as error:  # any error is a failure of the case
        problems.append("\n".join([str(error), *getattr(error, "__notes__", ())]))
    settings.say(f"{name}: {len(passed)} cases hold")
    return outcome(name, len(passed), len(problems), **({"problems": problems} if problems else {}))


# --- properties ----------------------------------------------------------------------------------


def loads_elsewhere(backend: str, case: Case) -> None:
    """After fit, save and load another backend predicts the same, and NumPy the same bits."""
    x, trainer = case.data[0], case.trained(case.new())
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder, "run"))
        again, other = (ab.Trainer.load(Path(folder, "run"), backend=name) for name in ("numpy", backend))
    expected = trainer.predict(x)
    assert np.isfinite(expected).all(), "a network whose predictions are not finite is no test"
    np.testing.assert_array_equal(again.predict(x), expected)
    tolerance = 1e-10 if trainer.dtype == "float64" else 1e-4
    scale = 1.0 + np.abs(expected).max()
    np.testing.assert_allclose(other.predict(x), expected, rtol=0, atol=tolerance * scale)


def resumes(case: Case) -> None:
    """A run that is stopped, saved, loaded and resumed ends bit-identical to an uninterrupted one."""

    whole = case.trained(case.new())
    last = 1 + case.stop % max(1, whole.updates - 1)

    def halt(trainer: ab.Trainer) -> None:
        trainer.stop = trainer.updates == last

    part = case.trained(case.new(), Lambda(on_update=halt))
    with tempfile.TemporaryDirectory() as folder:
        part.save(Path(folder, "run"))
        resumed = case.trained(ab.Trainer.load(Path(folder, "run"), backend="numpy"))
    assert repr(resumed.history.rows) == repr(whole.history.rows)
    assert resumed.state().keys() == whole.state().keys()
    for name, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], value, err_msg=name)


def stacks(case: Case) -> None:
    """A population has its members' gradients, and after one update from equal ones their weights."""
    x, y = case.data
    model, _ = case.model.bind((INPUTS,))
    layout, optimizer = Layout(model.specs()), case.trainer["optimizer"]
    limits = {name: case.trainer[name] for name in ("l2", "clip_norm")}
    program = TrainStep(model, layout, getattr(losses, case.loss).sums, {}, optimizer.update, **limits)
    drawn = [layout.initial(seed) for seed in range(MEMBERS)]
    w, stats = (np.stack(parts) for parts in zip(*drawn, strict=True))
    words = np.asarray([step_seed(seed, case.stop) for seed in range(MEMBERS)], np.int32)
    mask, scalars, one = layout.decays(), optimizer.scalars(1, 0.01), np.asarray(1.0)

    together, stacked = program.objective(w, stats, (x, y, None), None, mask, words.reshape(-1, 1, 1))
    members = [
        program.objective(w[k], stats[k], (x, y, None), None, mask, int(words[k])) for k in range(MEMBERS)
    ]
    close = partial(np.testing.assert_allclose, rtol=1e-12)
    close(together, [value for value, _ in members])
    g = np.stack([own for _, own in members])
    close(stacked, g, atol=1e-12 * (1.0 + np.abs(g).max()))

    moved, slots, _ = program.finish(w, optimizer.init(w), (g, one), mask, scalars)
    for k in range(MEMBERS):
        own, own_slots, _ = program.finish(w[k], optimizer.init(w[k]), (g[k], one), mask, scalars)
        for a, b in zip((moved, *slots), (own, *own_slots), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-12, atol=1e-12)


# --- cases ---------------------------------------------------------------------------------------


def cases() -> Any:
    """Return the strategy that generates cases."""
    from hypothesis import strategies as st

    @st.composite
    def chains(draw: Any, width: int, depth: int) -> tuple[ab.Layer, ...]:
        chain: list[ab.Layer] = []
        kinds = ["dense", "activation", "dropout", "batch", "layer", *["residual"] * (depth > 0)]
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1 + depth, max_size=6)):
            if kind == "dense":
                width = draw(st.integers(1, 6))
                chain.append(ab.Dense(width, bias=draw(st.booleans())))
            elif kind == "activation":
                names = [name for name in activations.__all__ if name != "maxout" or width % 2 == 0]
                name = draw(st.sampled_from(names))
                chain.append(ab.Activation(name))
                width //= 2 if name == "maxout" else 1
            elif kind == "residual":
                chain.append(ab.Residual((*draw(chains(width, depth - 1)), ab.Dense(width))))
            else:
                chain.append(
                    {"dropout": ab.Dropout(0.3), "batch": ab.BatchNorm(), "layer": ab.LayerNorm()}[kind]
                )
        return tuple(chain)

    @st.composite
    def whole(draw: Any) -> Case:
        loss = draw(st.sampled_from(losses.__all__))
        labels = getattr(losses, loss).targets == "labels" or getattr(losses, loss).link == "softmax"
        samples = draw(st.integers(8, 40))
        optimizer = getattr(optimizers, draw(st.sampled_from(optimizers.__all__)))()
        return Case(
            draw(chains(INPUTS, 2)),
            loss,
            draw(st.integers(2 if labels else 1, 4)),
            samples,
            draw(st.integers(0, 1000)),
            {
                "optimizer": replace(optimizer, lr=draw(st.sampled_from(RATES))),
                "dtype": draw(st.sampled_from(["float64", "float32"])),
                "seed": draw(st.integers(0, 2**64 - 1)),
                "l2": draw(st.sampled_from([0.0, 0.01])),
                "clip_norm": draw(st.sampled_from([None, 0.5])),
                "standardize": draw(st.booleans()),
            },
            {
                "epochs": draw(st.integers(2, 4)),
                "batch_size": draw(st.none() | st.integers(2, samples // 3) | st.integers(1, samples + 2)),
                "validation_split": draw(st.sampled_from([0.0, 0.25])),
                "accumulate": draw(st.integers(1, 3)),
                "shuffle": draw(st.booleans()),
            },
        )

    return whole()
