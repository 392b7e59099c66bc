r"""
Tensor operations and their geometry
====================================

A network is a chain of a few operations on arrays: element by element, dot products, changes of shape. Each
is written here twice: as a Python loop, which says what is computed, and as a gate of the library, which says
it for whole arrays. A dense layer, :math:`y = \mathrm{relu}(x W^T + b)`, is three of them. As geometry it
turns, stretches and shifts the plane, then presses flat whatever is negative. The way of telling is that of
F. Chollet, "Deep Learning with Python" (2nd edition, 2021), chapter 2.
"""

import math
import time

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.parameters import Layout
from anyback.random import Draw

# %%
# Loops say what is meant
# -----------------------
# Element-wise operations look at one element at a time. A dot product multiplies pairs and adds up. A matrix
# times a vector is a dot product for each row, a matrix times a matrix one for each row and each column. A
# reshape reads the elements row by row and deals them out again. Strict loops refuse lengths that do not fit.


def relu(x):
    return [[v if v > 0 else 0.0 for v in row] for row in x]


def add(x, y):
    return [[p + q for p, q in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)]


def dot(x, y):
    total = 0.0
    for p, q in zip(x, y, strict=True):
        total += p * q
    return total


def matrix_vector(x, y):
    return [dot(row, y) for row in x]


def matrix_matrix(x, y):
    return [[dot(row, column) for column in zip(*y, strict=True)] for row in x]


def reshape(x, columns):
    flat = [v for row in x for v in row]
    return [flat[i : i + columns] for i in range(0, len(flat), columns)]


# %%
# The same results, much faster
# -----------------------------
# Element-wise results are equal to the last bit; sums of products differ by rounding, because a fast product
# adds in another order. The arithmetic is the same. What a loop pays for is Python's look at each number.

xp, gates = backend.namespace, ab.gates
draw = Draw(0, "tensor operations")
(x, y), v, (a, b) = draw.normal((2, 400, 300)), draw.normal(300), draw.normal((2, 100, 100))
trials = (
    ("relu", relu, ab.activations.relu, (x,)),
    ("add", add, gates.add, (x, y)),
    ("vector . vector", dot, gates.matmul, (x.ravel(), y.ravel())),
    ("matrix . vector", matrix_vector, gates.matmul, (x, v)),
    ("matrix . matrix", matrix_matrix, gates.matmul, (a, b)),
    ("reshape", lambda x: reshape(x, 500), lambda x: (xp.reshape(x, (-1, 500)), None), (x,)),
)


def milliseconds(f, arguments, times):
    """Return the time of the fastest call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        f(*arguments)
        taken.append(time.perf_counter() - began)
    return 1e3 * min(taken)


print(f"{'operation':17} {'shapes':23} largest difference of loop and gate")
for name, loop, gate, hosts in trials:
    lists, arrays = [h.tolist() for h in hosts], [backend.asarray(h) for h in hosts]
    difference = np.max(np.abs(np.asarray(loop(*lists)) - backend.to_numpy(gate(*arrays)[0])))
    print(f"{name:17} {', '.join(str(h.shape) for h in hosts):23} {difference:.1e}")
    slow = milliseconds(loop, lists, times=3)
    fast = milliseconds(lambda *z, gate=gate: backend.synchronize(gate(*z)[0]), arrays, times=20)
    print(f"time: {name}: loop {slow:.2f} ms, gate {fast:.4f} ms, {slow / fast:.0f} times faster")

# %%
# Shapes
# ------
# A product takes the last axis of the left array with the first of the right one; the other axes stay. Shapes
# that differ are broadcast: lined up from the right, an axis of length 1, or none, is repeated as the other
# array says. Backwards, what was repeated gets the sum of its copies' gradients, so that every gradient
# has the shape of its array. The last row is a trap: a column minus a vector is a square. The losses of the
# library refuse it.


def ones(*shape):
    return backend.asarray(np.ones(shape))


print(f"\n{'left':16}    {'right':8}    {'result':15}  gradients")
for sign, gate, left, right in (
    (".", gates.matmul, (2, 3, 4, 5), (5,)),
    (".", gates.matmul, (2, 3, 4, 5), (5, 6)),
    ("+", gates.add, (32, 10), (10,)),
    ("max", gates.maximum, (64, 3, 32, 10), (32, 10)),
    ("+", gates.add, (6, 1), (1, 4)),
    ("-", gates.subtract, (4, 1), (4,)),
):
    z, vjp = gate(ones(*left), ones(*right))
    gradients = ", ".join(str(tuple(g.shape)) for g in vjp(z))
    print(f"{left!s:16}{sign:3} {right!s:8} -> {tuple(z.shape)!s:15}  {gradients}")

_, vjp = gates.add(ones(32, 10), ones(10))
print("gradient of a vector added to 32 rows:", backend.to_numpy(vjp(ones(32, 10))[1]))

# %%
# A dense layer works on the last axis
# ------------------------------------
# Any axes may come before it. 2 x 3 x 4 vectors of 5 numbers are 24 rows, however they are arranged.

layer, _ = ab.Dense(7, bias_initializer="normal").bind((3, 4, 5))
layout = Layout(layer.specs())
params = layout.params(*(backend.asarray(part) for part in layout.initial(seed=0)))
x = backend.asarray(draw.normal((2, 3, 4, 5)))
y, vjp = layer(params, x)
rows, rows_vjp = layer(params, xp.reshape(x, (24, 5)))
difference = float(xp.max(xp.abs(y - xp.reshape(rows, (2, 3, 4, 7)))))
slopes = [layout.gradient(back(z)[0]) for back, z in ((vjp, y), (rows_vjp, rows))]
print(
    f"\nDense(7): {tuple(x.shape)} -> {tuple(y.shape)}, as {tuple(rows.shape)} but for {difference:.1e},",
    end=" ",
)
print(f"gradients but for {float(xp.max(xp.abs(slopes[0] - slopes[1]))):.1e}")

# %%
# Geometry
# --------
# A point of the plane is a row of two numbers. Adding a vector to all points is a translation. A product with
# a 2 x 2 matrix is a linear map, such as a rotation, a stretch or a shear, and leaves the origin where it is.
# Both together are an affine map. A rotation keeps all lengths, and eight times 45 degrees is once around.

c, s = math.cos(math.pi / 4), math.sin(math.pi / 4)
matrices = [[c, -s], [s, c]], [[1.4, 0.0], [0.0, 0.5]], [[1.0, 0.6], [0.0, 1.0]]
turn, stretch, shear = (backend.asarray(np.array(matrix)) for matrix in matrices)
shift = backend.asarray(np.array([0.4, 0.4]))


def linear(matrix, x):
    return gates.matmul(x, matrix.mT)[0]


points = backend.asarray(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
around = points
for _ in range(8):
    around = linear(turn, around)
print()
for name, z in (("points", points), ("turned", linear(turn, points)), ("moved", gates.add(points, shift)[0])):
    host = backend.to_numpy(z)
    places = "  ".join(f"({p:7.4f}, {q:7.4f})" for p, q in host.round(4) + 0.0)
    print(f"{name:7} {places}  lengths", " ".join(f"{r:.4f}" for r in np.hypot(*host.T)))
print(f"eight turns end {float(xp.max(xp.abs(around - points))):.1e} away from the points")

# %%
# Why there are activations
# -------------------------
# One affine map after another is an affine map: W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2). So a deep
# network without activations is a single layer. An affine map is known from where it sends the origin, b, and
# the unit vectors, b plus the columns of W. That one layer is built here, and compared with the whole network
# on other points: without activations nothing is left to tell them apart, with relu much is.

origin_and_units = backend.asarray(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
x = backend.asarray(draw.normal((50, 2)))
print()
for activation in ("identity", "relu"):
    hidden = [ab.Dense(16, bias_initializer="normal"), ab.Activation(activation)]
    deep, _ = ab.Sequential([*hidden, *hidden, ab.Dense(2)]).bind((2,))
    layout = Layout(deep.specs())
    params = layout.params(*(backend.asarray(part) for part in layout.initial(seed=0)))
    images, _ = deep(params, origin_and_units)
    bias, columns = images[:1, :], images[1:, :] - images[:1, :]
    difference = float(xp.max(xp.abs(deep(params, x)[0] - (x @ columns + bias))))
    print(f"three layers with {activation:8} differ from one affine map by {difference:.1e}")

# %%
# The picture follows a grid and a letter through each map; dashed is where the letter was. Straight lines
# stay straight and parallel lines parallel, until relu presses three quarters of the plane onto the edges of
# the fourth.

across, along = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 81), indexing="ij")
grid = np.concatenate([np.stack([across, along], axis=-1), np.stack([along, across], axis=-1)])  # (18, 81, 2)
letter = np.array([[-0.5, -0.75], [0.5, -0.75], [0.5, -0.5], [-0.25, -0.5], [-0.25, 0.75], [-0.5, 0.75]])
outline = np.concatenate([np.linspace(p, q, 50) for p, q in zip(letter, np.roll(letter, -1, 0), strict=True)])


def affine(x):
    return gates.add(linear(turn, linear(shear, x)), shift)[0]


maps = {
    "translation: $x + b$": lambda x: gates.add(x, shift)[0],
    "rotation: $R\\,x$, 45°": lambda x: linear(turn, x),
    "stretch: $S\\,x$, diagonal": lambda x: linear(stretch, x),
    "shear: $T\\,x$": lambda x: linear(shear, x),
    "affine: $R\\,T\\,x + b$": affine,
    "dense layer: relu$(R\\,T\\,x + b)$": lambda x: ab.activations.relu(affine(x))[0],
}
figure, panels = plt.subplots(2, 3, figsize=(8.6, 6.1), sharex=True, sharey=True)
for axes, (name, f) in zip(panels.flat, maps.items(), strict=True):
    lines, shape = (backend.to_numpy(f(backend.asarray(z))) for z in (grid, outline))
    axes.fill(*outline.T, facecolor="none", edgecolor="#6b6b6b", linewidth=1, linestyle=(0, (3, 2)))
    axes.plot(lines[..., 0].T, lines[..., 1].T, color="C0", linewidth=0.7, alpha=0.7)
    axes.fill(*shape.T, facecolor="C1", edgecolor="C1", alpha=0.85)
    axes.plot(0, 0, "k+", markersize=9)
    axes.set(title=name, aspect="equal", xlim=(-2.1, 2.1), ylim=(-1.7, 2.4))
    axes.grid(False)
for axes in panels[1]:
    axes.set_xlabel("$x_0$")
for axes in panels[:, 0]:
    axes.set_ylabel("$x_1$")
save(figure)
