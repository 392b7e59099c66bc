"""JAX: a hand-written step under `jit` that gathers its batch and gives its state's memory back (donates)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import batches, in_chunks, weights


def forward(w: Any, x: Any) -> Any:
    for i, (weight, bias) in enumerate(w):
        x = x @ weight + bias
        x = jax.nn.relu(x) if i + 1 < len(w) else x
    return x


def loss(w: Any, x: Any, y: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(forward(w, x)), y[:, None], 1))


@partial(jax.jit, donate_argnums=(0, 1, 2))
def step(w: Any, m: Any, v: Any, t: float, x: Any, y: Any, rows: Any) -> Any:
    value, g = jax.value_and_grad(loss)(w, x[rows], y[rows])
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    size, root = 1e-3 / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
    w = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) / root + 1e-8), w, m, v)
    return w, m, v, value


def train(case: Any, x: Any, y: Any, laps: Any, *, wait: bool = False, precision: str = "") -> Any:
    """Wait for each step's result, or let Python run ahead and wait at the end of an epoch.

    The precision of products is "highest" for float32: GPUs take TF32 otherwise, other libraries do not.
    """
    if precision:
        jax.config.update("jax_default_matmul_precision", precision)
    x, y, w = jnp.asarray(x), jnp.asarray(y), jax.tree.map(jnp.asarray, weights(case))
    m, v = (jax.tree.map(jnp.zeros_like, w) for _ in range(2))
    rng, t = np.random.default_rng(0), 0
    for _ in laps:
        for rows in batches(len(x), case.batch, rng):
            t += 1
            w, m, v, value = step(w, m, v, float(t), x, y, rows)
            if wait:
                value.block_until_ready()
        value.block_until_ready()
    outputs = jax.jit(forward)
    return in_chunks(lambda x: np.asarray(outputs(w, x)))
