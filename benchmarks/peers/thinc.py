"""Thinc; its Adam without the extras that are on by default (clipping, averages)."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc.api import Adam, CategoricalCrossentropy, Relu, Softmax, chain

from benchmarks.peers import batches, in_chunks


def train(case: Any, x: Any, y: Any, laps: Any) -> Any:
    model = chain(*(Relu(size) for size in case.sizes[1:-1]), Softmax(case.sizes[-1]))
    model.initialize(X=x[:2], Y=np.zeros((2, case.sizes[-1]), np.float32))
    optimizer = Adam(1e-3, L2=0.0, grad_clip=0.0, use_averages=False)
    gradient, rng = CategoricalCrossentropy().get_grad, np.random.default_rng(0)
    for _ in laps:
        for rows in batches(len(x), case.batch, rng):
            outputs, backprop = model.begin_update(x[rows])
            backprop(gradient(outputs, y[rows]))
            model.finish_update(optimizer)
    return in_chunks(model.predict)
