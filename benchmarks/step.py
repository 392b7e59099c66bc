"""Time of one training step: anyback on NumPy, inside `fit`, against a jitted JAX step.

`python -m benchmarks.step` runs each in a process of its own, in turn, with a pause between turns (the
threads of an idle library spin and would spoil the next one's time), and prints medians over turns. The
JAX step is hand-written, gathers its batch inside, gives its state's memory back (donates), and is timed in
two ways: "waiting" for each step's result, and "ahead", when Python runs ahead of the device and waits at
an epoch's end. Adam, softmax cross entropy, float32.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time

import numpy as np

NETWORKS = {
    "64-64-10, batch 32": ([64, 64, 10], 32, 1792),
    "784-32-64-128-10, batch 32": ([784, 32, 64, 128, 10], 32, 4096),
    "784-256-10, batch 128": ([784, 256, 10], 128, 8192),
}
TURNS, EPOCHS, PAUSE = 7, 20, 0.5


def data(sizes: list[int], samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs (samples, n) and labels; the same for all."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, sizes[0])).astype("float32"), rng.integers(0, sizes[-1], samples)


def run_anyback(sizes: list[int], batch: int, samples: int) -> float:
    """Seconds a step inside `fit`, all of fit's own work counted."""
    import anyback as ab

    x, y = data(sizes, samples)
    trainer = ab.Trainer(ab.MLP(sizes[1:-1], sizes[-1]), "softmax_cross_entropy", ab.Adam(), backend="numpy")
    trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
    began = time.perf_counter()
    trainer.fit(x, y, epochs=1 + EPOCHS, batch_size=batch, verbose=0)
    return (time.perf_counter() - began) / (EPOCHS * -(-samples // batch))


def run_jax(sizes: list[int], batch: int, samples: int, *, wait: bool) -> float:
    """Seconds a step of jax.jit."""
    from functools import partial

    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, data(sizes, samples))
    rng = np.random.default_rng(0)
    shapes = list(itertools.pairwise(sizes))
    w = [(jnp.asarray(rng.normal(size=s), "float32") * (2 / s[0]) ** 0.5, jnp.zeros(s[1])) for s in shapes]
    zeros = partial(jax.tree.map, jnp.zeros_like)

    def loss(w, x, y):
        for i, (weight, bias) in enumerate(w):
            x = x @ weight + bias
            x = jax.nn.relu(x) if i + 1 < len(w) else x
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(w, m, v, t, x, y, rows):
        value, g = jax.value_and_grad(loss)(w, x[rows], y[rows])
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        size, root = 1e-3 / (1 - 0.9**t), (1 - 0.999**t) ** 0.5
        w = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) / root + 1e-8), w, m, v)
        return w, m, v, value

    m, v, t, steps = zeros(w), zeros(w), 0, samples // batch
    for epoch in range(EPOCHS + 1):
        if epoch == 1:
            began = time.perf_counter()
        order = rng.permutation(samples).astype("int32")
        for i in range(steps):
            t += 1
            w, m, v, value = step(w, m, v, float(t), x, y, order[i * batch : (i + 1) * batch])
            if wait:
                value.block_until_ready()
        value.block_until_ready()
    return (time.perf_counter() - began) / (EPOCHS * steps)


RUNNERS = {
    "anyback numpy": run_anyback,
    "jax.jit waiting": lambda *case: run_jax(*case, wait=True),
    "jax.jit ahead": lambda *case: run_jax(*case, wait=False),
}


def main() -> None:
    """Run all cases in turn and print a table of medians in microseconds, with ratios to anyback."""
    if len(sys.argv) == 3:
        print(json.dumps(RUNNERS[sys.argv[1]](*NETWORKS[sys.argv[2]])))
        return
    for network in NETWORKS:
        times: dict[str, list[float]] = {name: [] for name in RUNNERS}
        for _ in range(TURNS):
            for name, seen in times.items():
                command = [sys.executable, "-m", "benchmarks.step", name, network]
                seen.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
                time.sleep(PAUSE)
        own = statistics.median(times["anyback numpy"])
        print(network)
        for name, seen in times.items():
            median = statistics.median(seen)
            spread = f"{min(seen) * 1e6:.0f} to {max(seen) * 1e6:.0f}"
            print(f"  {name:<16} {median * 1e6:7.0f} us ({spread}), ours is {own / median:.2f} times that")


if __name__ == "__main__":
    main()
