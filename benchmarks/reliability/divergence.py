"""Diverging runs: they stop within their epoch, name the place, and keep the last finite state."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

import anyback as ab
from anyback.arrays import Array, namespace
from anyback.callbacks import DivergenceError
from benchmarks.reliability import Settings, outcome

PLANTED, OVERFLOWS, TIMES_SLOWER = 200, 400, 10.0


@dataclass(frozen=True)
class Trap(ab.layers.Layer):
    """The identity, except that numbers above 1000 become NaN in the forward or backward pass."""

    forward: bool

    def __call__(self, params: Any, x: Array) -> Any:
        """Return the input and its vjp."""
        xp = namespace(x)

        def trapped(value: Array) -> Array:
            return xp.where(xp.abs(x) > 1e3, float("nan"), value)

        def vjp(dy: Array, dx: bool = True) -> Any:
            return {}, dy if self.forward else trapped(dy)

        return trapped(x) if self.forward else x, vjp


def planted(draw: random.Random) -> str:
    """Make one row fail in a known layer, batch and epoch; return the outcome, or what went wrong."""
    depth, row, epochs = draw.randrange(1, 4), draw.randrange(48), draw.randrange(1, 4)
    size, forward = draw.choice((1, 5, 8, 48, None)), draw.random() < 0.5
    layers = [ab.Dense(4) for _ in range(4)]
    model = ab.Sequential([*layers[:depth], Trap(forward), *layers[depth:], ab.Dense(1)])
    trainer = ab.Trainer(
        model,
        "mean_squared_error",
        draw.choice((ab.SGD(1e-12), ab.Momentum(1e-12), ab.Adam(1e-12))),
        backend="numpy",
        dtype="float64",
        seed=draw.randrange(99),
    )
    x = np.random.default_rng(draw.randrange(2**32)).normal(size=(48, 3))
    fit = {"batch_size": size, "shuffle": False, "verbose": 0, "accumulate": draw.choice((1, 2))}
    trainer.fit(x, x[:, 0], epochs=epochs, **fit)
    good = {name: np.array(value) for name, value in trainer.state().items()}
    x[row] *= 1e12
    batch = row // (size or 48) + 1
    label = f"layer {depth} (Trap)"
    place = f"the output of {label}" if forward else f"the gradient of the inputs of {label}"
    try:
        trainer.fit(x, x[:, 0] * 0, epochs=epochs + 2, **fit)
    except DivergenceError as error:
        words = re.escape(place)
        if not re.search(rf"after epoch {epochs + 1}: .* batch {batch} of [0-9]+: {words};", str(error)):
            return f"named otherwise: {error}"
        same = all(np.array_equal(value, good[name]) for name, value in trainer.state().items())
        kept = same and trainer.epoch == len(trainer.history) == epochs
        return "named, and the last good epoch kept" if kept else "the last good epoch is lost"
    return "trained on"


def overflow(draw: random.Random) -> str:
    """Train with a learning rate of any size; return how it ended, or what went wrong."""
    dtype = draw.choice(("float32", "float64"))
    lr = 10.0 ** draw.uniform(-3, 37 if dtype == "float32" else 300)
    kind = getattr(ab.optimizers, draw.choice(ab.optimizers.__all__))
    model = ab.MLP(
        [6] * draw.randrange(3),
        3,
        activation=draw.choice(ab.activations.__all__),
        norm=draw.choice((None, "batch")),
    )
    loss = draw.choice(
        ("softmax_cross_entropy", "mean_squared_error", "multiclass_hinge", "huber", "poisson")
    )
    trainer = ab.Trainer(model, loss, kind(lr=lr), backend="numpy", dtype=dtype, seed=draw.randrange(99))
    x = np.random.default_rng(draw.randrange(2**32)).normal(size=(40, 3)) * 10.0 ** draw.uniform(-2, 4)
    labels = ab.Trainer(ab.MLP([], 3), loss, backend="numpy")._loss.targets == "labels"
    y = np.arange(40) % 3 if labels else np.abs(x).clip(0, 9)
    try:
        trainer.fit(x, y, epochs=6, batch_size=8, verbose=0)
    except DivergenceError as error:
        if not re.search(r"not finite first in batch \d+ of 5: .*(layer \d|of \d\.)", str(error)):
            return f"no place: {error}"
        if trainer.epoch != len(trainer.history):
            return "another epoch than the history's"
        ended = "stopped"
    else:
        ended = "finite to the end"
    figures = [row["loss"] for row in trainer.history]
    return (
        ended
        if trainer.finite and np.isfinite(figures).all()
        else f"{ended}, with numbers that are not finite"
    )


def slowness(dtype: str, rounds: int) -> dict[str, float]:
    """Return how many times longer an epoch takes with denormal activations or optimizer slots."""
    tiny, x = float(np.finfo(dtype).tiny) / 1e3, np.random.default_rng(0).normal(size=(256, 64))

    def epoch(optimizer: Any, slots: float, scale: float) -> Any:
        model = ab.MLP([128] * 4, 10, activation="tanh")
        trainer = ab.Trainer(model, "mean_squared_error", optimizer, backend="numpy", dtype=dtype).build(64)
        state = trainer.state()
        filled = {k: np.full_like(v, slots) if k.startswith("slots") else v for k, v in state.items()}
        trainer.set_state({**filled, "w": state["w"] * scale})
        inputs = x if scale < 1.0 or not slots else x * 0.0  # zeros: the slots decay by themselves

        def run() -> float:
            start = time.perf_counter()
            trainer.fit(inputs, np.zeros((256, 10)), epochs=trainer.epoch + 1, verbose=0)
            return time.perf_counter() - start

        run()
        return run

    small = tiny**0.25  # the activations of a fifth layer are denormal
    pairs = {"signals": (epoch(ab.SGD(1e-3), 0.0, 1.0), epoch(ab.SGD(1e-3), 0.0, small))}
    for kind in (ab.Momentum, ab.RMSProp, ab.Adam):
        pairs[kind.__name__] = epoch(kind(lr=1e-4), 1e-3, 1.0), epoch(kind(lr=1e-4), tiny, 1.0)
    found = {}
    for name, (plain, denormal) in pairs.items():
        times = [(plain(), denormal()) for _ in range(rounds)]  # in turns: others use the machine too
        found[name] = round(min(b for _, b in times) / min(a for a, _ in times), 2)
    return found


def run(settings: Settings) -> list[dict[str, Any]]:
    """Plant faults, try random learning rates of any size, and measure the cost of denormal numbers."""
    draw, times = random.Random(settings.seed), settings.kills / 200
    with np.errstate(all="ignore"):
        traps = Counter(planted(draw) for _ in range(max(1, round(PLANTED * times))))
        ends = Counter(overflow(draw) for _ in range(max(1, round(OVERFLOWS * times))))
    rows = [
        outcome(
            name,
            sum(n for how, n in found.items() if how in good),
            sum(n for how, n in found.items() if how not in good),
            **found,
        )
        for name, found, good in (
            ("faults planted in a layer", traps, {"named, and the last good epoch kept"}),
            ("learning rates of any size", ends, {"stopped", "finite to the end"}),
        )
    ]
    found = [slowness(dtype, max(2, round(20 * min(1.0, times)))) for dtype in ("float32", "float64")]
    ratios = [ratio for by_case in found for ratio in by_case.values()]
    slow = sum(ratio > TIMES_SLOWER for ratio in ratios)
    most = {"times slower, at most": max(ratios)}
    return [*rows, outcome("training on denormal numbers", len(ratios) - slow, slow, **most)]
