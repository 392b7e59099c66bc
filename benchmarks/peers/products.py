"""The lower bound: the matrix products that a training step needs, and nothing else."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np


def train(case: Any, x: Any, y: Any, laps: Any, *, library: str = "numpy") -> None:
    xp, rng = import_module(library), np.random.default_rng(0)
    products = [
        (
            xp.asarray(rng.standard_normal(left, dtype=np.float32)),
            xp.asarray(right),
            xp.empty(out, np.float32),
        )
        for left, right, out in _operands(case)
    ]
    for _ in laps:
        for _ in range(case.steps):
            for a, b, out in products:
                xp.matmul(a, b, out=out)
        if library == "cupy":
            xp.cuda.Device().synchronize()


def _operands(case: Any) -> list[tuple[tuple[int, int], Any, tuple[int, int]]]:
    """Left shape, right array and shape of the product: forward, dw, and dx of all layers but the first."""
    b, rng, found = case.batch, np.random.default_rng(0), []
    for i, (n, k) in enumerate(pairwise(case.sizes)):
        w, h = (rng.standard_normal(s, dtype=np.float32) for s in ((k, n), (b, n)))
        found += [((b, n), w.T, (b, k)), ((k, b), h, (k, n))]
        found += [((b, k), w, (b, n))] if i else []
    return found
