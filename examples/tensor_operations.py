r"""
Tensor operations and their geometry
====================================

A network is a chain of a few operations on arrays: elementwise operations, dot products, reshapes. Each is
written here twice: as a Python loop, and as a gate for whole arrays. A dense layer, :math:`y =
\mathrm{relu}(x W^T + b)`, is three of them. Geometrically it rotates, stretches and shifts the plane, then
sets negative coordinates to zero. After F. Chollet, "Deep Learning with Python" (2nd edition, 2021).
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.random import Stream

# %%
# Tensor operations as loops
# --------------------------
# Elementwise operations use one element at a time. A dot product multiplies pairs and sums. A matrix
# times a vector is a dot product for each row, a matrix times a matrix one for each row and each column. A
# reshape reads the elements row by row and writes them into rows of another length.


def relu(x):
    return [[v if v > 0 else 0.0 for v in row] for row in x]


def add(x, y):
    return [[p + q for p, q in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)]


def dot(x, y):
    return sum(p * q for p, q in zip(x, y, strict=True))


def matrix_matrix(x, y):
    return [[dot(row, column) for column in zip(*y, strict=True)] for row in x]


def reshape(x, columns):
    flat = [v for row in x for v in row]
    return [flat[i : i + columns] for i in range(0, len(flat), columns)]


# %%
# The same results, much faster
# -----------------------------
# Elementwise results are equal to the last bit; sums of products differ by rounding, because a fast product
# adds in another order. The arithmetic is the same; the loop is slower because Python interprets each number.

xp, gates, draw = backend.namespace, ab.gates, Stream(0, "tensor operations")
(x, y), v, (a, b) = draw.normal((2, 400, 300)), draw.normal(300), draw.normal((2, 100, 100))
trials = (
    ("relu", relu, ab.activations.relu, (x,)),
    ("add", add, gates.add, (x, y)),
    ("vector . vector", dot, gates.matmul, (x.ravel(), y.ravel())),
    ("matrix . vector", lambda x, y: [dot(row, y) for row in x], gates.matmul, (x, v)),
    ("matrix . matrix", matrix_matrix, gates.matmul, (a, b)),
    ("reshape", lambda x: reshape(x, 500), lambda x: (xp.reshape(x, (-1, 500)), None), (x,)),
)
print(f"{'operation':17} {'shapes':23} largest difference of loop and gate")
for name, loop, gate, hosts in trials:
    lists, arrays = [h.tolist() for h in hosts], [backend.asarray(h) for h in hosts]
    clock = [time.perf_counter()]
    by_loop = loop(*lists)
    for _ in range(20):
        clock.append(time.perf_counter())
        by_gate, _ = gate(*arrays)
        backend.synchronize(by_gate)
    slow, *fast = 1e3 * np.diff(clock)
    off = np.abs(np.asarray(by_loop) - backend.to_numpy(by_gate)).max()
    print(f"{name:17} {', '.join(str(h.shape) for h in hosts):23} {off:.1e}")
    print(f"time: {name}: loop {slow:.2f} ms, gate {min(fast):.4f} ms, {slow / min(fast):.0f} times faster")

# %%
# Shapes and broadcasting
# -----------------------
# A product takes the last axis of the left array with the first of the right one; the other axes stay. Shapes
# that differ are broadcast: aligned from the right, an axis that is missing or of length 1 is repeated. In
# the backward pass the gradients of the copies are summed, so every gradient has the shape of its array. The
# last row is a common error: a column minus a vector is a square. The losses of the library refuse it.

print(f"\n{'left':16}    {'right':8}    {'result':15}  gradients")
for sign, gate, left, right in (
    (".", gates.matmul, (2, 3, 4, 5), (5,)),
    (".", gates.matmul, (2, 3, 4, 5), (5, 6)),
    ("+", gates.add, (32, 10), (10,)),
    ("max", gates.maximum, (64, 3, 32, 10), (32, 10)),
    ("-", gates.subtract, (4, 1), (4,)),
):
    z, vjp = gate(backend.asarray(np.ones(left)), backend.asarray(np.ones(right)))
    slopes = vjp(xp.ones_like(z))
    print(f"{left!s:16}{sign:3} {right!s:8} -> {tuple(z.shape)!s:15} ", *(tuple(g.shape) for g in slopes))
    if sign == "+":
        print("    gradient of a vector added to 32 rows:", backend.to_numpy(slopes[1]))

# %%
# A dense layer works on the last axis
# ------------------------------------
# Any axes may precede it. 2 x 3 x 4 vectors of 5 numbers are 24 rows, however they are arranged.

layer, _ = ab.Dense(7).bind((3, 4, 5))
params = {"weight": backend.asarray(draw.normal((7, 5))), "bias": backend.asarray(draw.normal(7))}
x = backend.asarray(draw.normal((2, 3, 4, 5)))
(y, vjp), (rows, rows_vjp) = layer(params, x), layer(params, xp.reshape(x, (24, 5)))
off = float(xp.max(xp.abs(xp.reshape(y, (24, 7)) - rows)))
slopes, rows_slopes = vjp(y)[0], rows_vjp(rows)[0]
slopes_off = max(float(xp.max(xp.abs(slopes[name] - rows_slopes[name]))) for name in params)
print(f"\nDense(7): {tuple(x.shape)} -> {tuple(y.shape)}, as (24, 7) but for {off:.1e}", end=", ")
print(f"gradients but for {slopes_off:.1e}\n")

# %%
# Geometry
# --------
# A point of the plane is a row of two numbers. Adding a vector to all points is a translation. A product with
# a 2 x 2 matrix is a linear map, such as a rotation, a stretch or a shear, and keeps the origin fixed.
# Both together are an affine map. A rotation keeps all lengths, and eight times 45 degrees is a full turn.

c = s = 0.5**0.5  # cosine and sine of 45 degrees
host = [[c, -s], [s, c]], [[1.4, 0.0], [0.0, 0.5]], [[1.0, 0.6], [0.0, 1.0]], [0.4, 0.4]
R, S, T, b = (backend.asarray(np.array(a)) for a in host)
points = backend.asarray(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
for name, z in (("points", points), ("turned", points @ R.mT), ("moved", points + b)):
    host = backend.to_numpy(z)
    places = "  ".join(f"({p:7.4f}, {q:7.4f})" for p, q in host.round(4) + 0.0)
    print(f"{name:7} {places}  lengths", " ".join(f"{r:.4f}" for r in np.hypot(*host.T)))
around = points @ (R @ R @ R @ R @ R @ R @ R @ R).mT
print(f"eight turns end {float(xp.max(xp.abs(around - points))):.1e} away from the points\n")

# %%
# Why there are activations
# -------------------------
# The composition of affine maps is an affine map: R (T x + b) + b = (R T) x + (R b + b). So any number of
# layers without activations equals a single layer. With relu between them they do not.

x = backend.asarray(draw.normal((50, 2)))
for activation in (ab.activations.identity, ab.activations.relu):
    between, _ = activation(x @ T.mT + b)
    off = xp.max(xp.abs((between @ R.mT + b) - (x @ (R @ T).mT + (R @ b + b))))
    print(f"two layers with {activation.__name__:8} differ from one affine map by {float(off):.1e}")

# %%
# The plots show a grid and a letter under each map; the original letter is dashed. Straight lines
# stay straight, until relu maps three quarters of the plane onto the edges of the fourth.

across, along = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 81), indexing="ij")
grid = np.concatenate([np.stack([across, along], axis=-1), np.stack([along, across], axis=-1)])  # (18, 81, 2)
letter = np.array([[-0.5, -0.75], [0.5, -0.75], [0.5, -0.5], [-0.25, -0.5], [-0.25, 0.75], [-0.5, 0.75]])
outline = np.concatenate([np.linspace(p, q, 50) for p, q in zip(letter, np.roll(letter, -1, 0), strict=True)])
maps = {
    "translation: $x + b$": lambda x: x + b,
    "rotation: $R\\,x$, 45°": lambda x: x @ R.mT,
    "stretch: $S\\,x$, diagonal": lambda x: x @ S.mT,
    "shear: $T\\,x$": lambda x: x @ T.mT,
    "affine: $R\\,T\\,x + b$": lambda x: x @ (R @ T).mT + b,
    "dense layer: relu$(R\\,T\\,x + b)$": lambda x: ab.activations.relu(x @ (R @ T).mT + b)[0],
}
figure, panels = plt.subplots(2, 3, figsize=(8.6, 6.1), sharex=True, sharey=True)
for axes, (name, f) in zip(panels.flat, maps.items(), strict=True):
    lines, shape = (backend.to_numpy(f(backend.asarray(z))) for z in (grid, outline))
    axes.fill(*outline.T, facecolor="none", edgecolor="#6b6b6b", linewidth=1, linestyle=(0, (3, 2)))
    axes.plot(lines[..., 0].T, lines[..., 1].T, color="C0", linewidth=0.7, alpha=0.7)
    axes.fill(*shape.T, facecolor="C1", edgecolor="C1", alpha=0.85)
    axes.plot(0, 0, "k+", markersize=9)
    axes.set(title=name, aspect="equal", xlim=(-2.1, 2.1), ylim=(-1.7, 2.4), xlabel="$x_0$", ylabel="$x_1$")
    axes.label_outer()
    axes.grid(False)
save(figure)
