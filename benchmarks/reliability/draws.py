"""Random numbers: the published known answers, and tests of randomness of the dropout hash.

Masks of 15 probabilities give each element a level from 0 to 15, the upper four bits of its hash, for
neighbouring seeds, members, layers and steps, and the rows and columns of a batch. The tests are: whether
all levels are equally frequent, overall and in each slice along an axis (chi-square); between neighbours
along each axis, whether all pairs are equally frequent (chi-square of 256 cells), whether they are
correlated, and whether the number of runs of kept elements is as expected (Wald and Wolfowitz, 1940); and
whether any two masks are too similar. A good hash would fail a test with a probability of 1e-5, and any of
the 26 with less than 3e-4; the levels are the same each time. Deliberately broken hashes must fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from anyback import random
from anyback.random import Key, step_seeds
from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._answers import published, unlike

AXES = ("seeds", "members", "layers", "steps", "rows", "columns")
SEEDS = (0, 1000, 2**32, 2**64 - 16)  # of a population's first member; the others have the following ones
LAYERS = ("0", "1", "2", "3", "0.inner", "1.inner", "2.inner.0", "2.inner.1")
MEMBERS, STEPS, ROWS, COLUMNS, LEVELS = 4, 16, 4, 64, 16
LIMIT = 1e-5


def run(settings: Settings) -> list[dict[str, Any]]:
    entries = [(kind, entry) for kind, cases in published().items() for entry in cases]
    wrong = [f"{kind} {entry}" for kind, entry in entries if unlike(kind, entry)]
    tests = dict(judged(levels(steps=64, rows=16)))
    failed = [f"{name}: {p:.1e}" for name, p in tests.items() if p < LIMIT]
    settings.say(f"least probability {min(tests.values()):.1e}")
    passed = [name for name, hashed in BROKEN.items() if min(dict(judged(hashed())).values()) >= LIMIT]
    return [
        _row("known answers of random numbers", len(entries), wrong),
        _row("dropout hash, tests of randomness", len(tests), failed, least=min(tests.values())),
        _row("deliberately broken hashes, found", len(BROKEN), passed),
    ]


def levels(
    steps: int = STEPS,
    rows: int = ROWS,
    mix: Callable[[np.ndarray], np.ndarray] = random._mix,
    words: Callable[[np.ndarray], np.ndarray] = lambda words: words,
    path: Callable[[str], str] = str,
) -> np.ndarray:
    """Return the upper four bits of hashes, in the shape of `AXES`; arguments break parts of the hash."""
    x = np.empty((len(SEEDS), MEMBERS, len(LAYERS), steps, rows, COLUMNS), np.uint8)
    with patch.object(random, "_mix", mix):
        for s, seed in enumerate(SEEDS):
            given = np.asarray([step_seeds(seed + k, 0, steps) for k in range(MEMBERS)], np.int32)
            column = words(given).reshape(-1, 1, 1)
            for i, layer in enumerate(LAYERS):
                key = Key(column, path(layer))
                above = sum(~key.bernoulli(j / LEVELS, (rows, COLUMNS), np) for j in range(1, LEVELS))
                x[s, :, i] = above.reshape(MEMBERS, steps, rows, COLUMNS)
    return x


def judged(x: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield each test's name and p-value."""
    yield "uniform", evenly(x.reshape(1, -1), LEVELS)
    for axis, name in enumerate(AXES):
        x_first = np.moveaxis(x, axis, 0)
        yield f"uniform in {name}", evenly(x_first.reshape(len(x_first), -1), LEVELS)
        a, b = x_first[:-1], x_first[1:]
        # Only pairs that share no element are independent of each other.
        pairs = LEVELS * a[::2].astype(np.intp) + b[::2]
        yield f"pairs of {name}", evenly(pairs.reshape(1, -1), LEVELS**2)
        middle, variance = (LEVELS - 1) / 2, (LEVELS**2 - 1) / 12
        mean = float(np.mean((a - middle) * (b - middle)))
        yield f"correlation of {name}", beyond(mean / variance * math.sqrt(a.size))
        ends = np.mean((a < LEVELS // 2) != (b < LEVELS // 2))
        yield f"runs of {name}", beyond((2.0 * float(ends) - 1.0) * math.sqrt(a.size))
    masks = np.where(x[:, :, :, :STEPS] < LEVELS // 2, 1.0, -1.0).reshape(-1, x.shape[-2] * x.shape[-1])
    alike = np.abs(np.triu(masks @ masks.T, 1)).max() / math.sqrt(masks.shape[1])
    yield "any two masks", min(1.0, len(masks) * (len(masks) - 1) / 2 * beyond(alike))


def evenly(x: np.ndarray, kinds: int) -> float:
    """Return the p-value of chi-square for equal frequencies of all kinds in each row of `x`.

    By the approximation of Wilson and Hilferty (1931); too even is as bad as too uneven.
    """
    counts = np.stack([np.bincount(row, minlength=kinds) for row in x])
    expected = x.shape[1] / kinds
    k = len(counts) * (kinds - 1)
    square = float(np.sum((counts - expected) ** 2)) / expected
    return beyond(((square / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k)))


def beyond(z: float) -> float:
    """Return the probability of a normal number that is at least as far from 0."""
    return math.erfc(abs(z) / math.sqrt(2))


def once(x: np.ndarray) -> np.ndarray:
    """Mix a word with a single product."""
    x *= 0x7FEB352D
    return x


# Parts of the hash that are left out, or wrongly shared; words are by member and step.
BROKEN: dict[str, Callable[[], np.ndarray]] = {
    "no mixing": lambda: levels(mix=lambda x: x),
    "one product": lambda: levels(mix=once),
    "same steps": lambda: levels(words=lambda w: np.repeat(w[:, :1], w.shape[1], 1)),
    "same members": lambda: levels(words=lambda w: np.repeat(w[:1], len(w), 0)),
    "same layers": lambda: levels(path=lambda layer: "0"),
    "members a step behind": lambda: levels(
        words=lambda w: np.stack([np.roll(w[0], k) for k in range(len(w))])
    ),
    "same seeds": lambda: levels(words=lambda w: np.arange(w.size, dtype=np.int32)),
}


def _row(name: str, tried: int, problems: list[str], **details: Any) -> dict[str, Any]:
    details |= {"problems": problems} if problems else {}
    return outcome(name, tried - len(problems), len(problems), **details)
