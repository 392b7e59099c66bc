"""Benchmark cases: their kinds, networks and data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = Path(__file__).parents[1] / "anyback" / "datasets" / "digits.npz"
HELD_OUT = 359


@dataclass(frozen=True)
class Case:
    """A network, its batch size and number of samples; `name` and `parse` convert it to a string and back."""

    kind: str
    sizes: tuple[int, ...]
    batch: int
    samples: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{'-'.join(map(str, self.sizes))}/b{self.batch}/n{self.samples}"

    @classmethod
    def parse(cls, name: str) -> Case:
        found = re.fullmatch(r"(\w+)/(\d+(?:-\d+)+)/b(\d+)/n(\d+)", name)
        if not found or found[1] not in CASES:
            kinds = "|".join(CASES)
            raise ValueError(f"case must be ({kinds})/SIZES/bBATCH/nSAMPLES, such as {EXAMPLE}, got {name!r}")
        return cls(found[1], tuple(map(int, found[2].split("-"))), int(found[3]), int(found[4]))

    @property
    def steps(self) -> int:
        """Training steps per epoch."""
        return -(-self.samples // self.batch)

    @property
    def parameters(self) -> int:
        return sum((n + 1) * k for n, k in pairwise(self.sizes))

    def data(self) -> tuple[Any, Any]:
        """Random inputs (samples, n), generated in float32 to save memory, and labels."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.samples, self.sizes[0]), dtype=np.float32)
        return x, rng.integers(0, self.sizes[-1], self.samples)


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The digits of `anyback.datasets`, read without anyback: loading costs every library the same."""
    with np.load(DIGITS) as archive:
        x, y = archive["x"].astype(np.float32) / np.float32(16), archive["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    return (x[rest], y[rest]), (x[held], y[held])


EPOCHS = {"fit": 20, "cold": 50}
SMALL = (64, 64, 10)
# One property at a time is varied around a medium network.
MIDDLE = Case("growth", (64, 256, 256, 10), 128, 8192)
GROWTH = {
    "width": {w: Case("growth", (64, w, w, 10), 128, 8192) for w in (16, 64, 256, 1024, 2048)},
    "depth": {d: Case("growth", (64, *d * (256,), 10), 128, 8192) for d in (1, 2, 4, 8, 16)},
    "batch": {b: Case("growth", MIDDLE.sizes, b, 8192) for b in (8, 32, 128, 512, 2048)},
    "samples": {n: Case("growth", MIDDLE.sizes, 128, n) for n in (1024, 8192, 65536, 262144)},
}
CASES = {
    "step": (
        Case("step", SMALL, 32, 1792),
        Case("step", (784, 32, 64, 128, 10), 32, 4096),
        Case("step", (784, 256, 10), 128, 8192),
        Case("step", (784, 1024, 1024, 10), 512, 4096),
    ),
    "fit": (Case("fit", SMALL, 32, 1438),),
    "cold": (Case("cold", SMALL, 32, 1438),),
    "predict": (Case("predict", SMALL, 32, 1024),),
    "memory": (Case("memory", (784, 1024, 1024, 10), 512, 60000),),
    "growth": tuple(dict.fromkeys(case for axis in GROWTH.values() for case in axis.values())),
    "gpu": (
        Case("gpu", (784, 256, 10), 128, 8192),
        Case("gpu", (784, 4096, 4096, 4096, 4096, 10), 8192, 65536),
    ),
}
EXAMPLE = CASES["step"][0].name


def chosen_cases(patterns: list[str]) -> list[Case]:
    """The cases whose kind or name matches one of the patterns, such as ``step`` or ``step/784*``."""
    every = [case for cases in CASES.values() for case in cases]
    for pattern in patterns:
        if not any(_fits(case, pattern) for case in every):
            raise ValueError(f"--cases must be of {', '.join(CASES)}, or a pattern of names, got {pattern!r}")
    return [case for case in every if any(_fits(case, pattern) for pattern in patterns)]


def _fits(case: Case, pattern: str) -> bool:
    return pattern == case.kind or fnmatchcase(case.name, pattern)
