"""MyGrad, which has no optimizers: Adam is written in NumPy, in place."""

from __future__ import annotations

from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.peers import batches, in_chunks, weights


def train(case: Any, x: Any, y: Any, laps: Any) -> Any:
    mg.turn_memory_guarding_off()  # as its manual says for speed
    w = [(mg.tensor(weight), mg.tensor(bias)) for weight, bias in weights(case)]
    slots = [(p, np.zeros_like(p.data), np.zeros_like(p.data)) for pair in w for p in pair]
    rng, t = np.random.default_rng(0), 0

    def forward(x: Any) -> Any:
        for i, (weight, bias) in enumerate(w):
            x = mg.matmul(x, weight) + bias
            x = relu(x) if i + 1 < len(w) else x
        return x

    for _ in laps:
        for rows in batches(len(x), case.batch, rng):
            t += 1
            softmax_crossentropy(forward(x[rows]), y[rows]).backward()
            for p, m, v in slots:
                adam(p.data, p.grad, m, v, t)

    @in_chunks
    @mg.no_autodiff
    def predict(x: Any) -> Any:
        return forward(x).data

    return predict


def adam(w: Any, g: Any, m: Any, v: Any, t: int) -> None:
    m *= 0.9
    m += 0.1 * g
    v *= 0.999
    v += 0.001 * (g * g)
    size, root = 1e-3 / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
    w -= size * m / (np.sqrt(v) / root + 1e-8)
