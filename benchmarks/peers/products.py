"""The floor: the matrix products that a training step cannot do without, and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def train(case: Any, x: Any, y: Any, laps: Any) -> None:
    products = [
        (np.random.default_rng(0).standard_normal(left, dtype=np.float32), right, np.empty(out, np.float32))
        for left, right, out in _operands(case)
    ]
    for _ in laps:
        for _ in range(case.steps):
            for a, b, out in products:
                np.matmul(a, b, out=out)


def _operands(case: Any) -> list[tuple[tuple[int, int], Any, tuple[int, int]]]:
    """Left shape, right array and shape of the product: forward, dw, and dx of all layers but the first."""
    b, rng, found = case.batch, np.random.default_rng(0), []
    for i, (n, k) in enumerate(pairwise(case.sizes)):
        w, h = (rng.standard_normal(s, dtype=np.float32) for s in ((k, n), (b, n)))
        found += [((b, n), w.T, (b, k)), ((k, b), h, (k, n))]
        found += [((b, k), w, (b, n))] if i else []
    return found
