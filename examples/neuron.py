"""
A neuron, a network of neurons, and activation functions
========================================================

A neuron weights its inputs, adds a bias and applies an activation function to the sum:

    y = s(w . x + b),   s(z) = 1 / (1 + exp(-z))

Everything is written out on plain arrays first: one neuron with its gradient, then nine neurons in
three layers. The library's network gives the same numbers. The activation functions
and their derivatives follow. After F.-F. Li, A. Karpathy and J. Johnson, CS231n course
notes (Stanford, 2016).
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.parameters import Layout
from anyback.random import Stream

xp = backend.namespace

# %%
# One neuron
# ----------
# The derivative of the sigmoid depends on its output alone, s' = s (1 - s), which the forward pass has
# already computed. The numbers are those of the notes: the
# sum is 1, the output 0.73, and 0.73 times 0.27 is 0.20.

w, x, b = backend.asarray(np.array([2.0, -3.0])), backend.asarray(np.array([-1.0, -2.0])), -3.0

y = 1.0 / (1.0 + xp.exp(-(xp.sum(w * x) + b)))
dw, dx, db = y * (1.0 - y) * x, y * (1.0 - y) * w, y * (1.0 - y)

print(f"neuron: y = {float(y):.4f}, dy/db = {float(db):.4f}")
print(f"dy/dw = ({float(dw[0]):.4f}, {float(dw[1]):.4f}), dy/dx = ({float(dx[0]):.4f}, {float(dx[1]):.4f})")

# %%
# Nine neurons: 3-4-4-1
# ---------------------
# The neurons of a layer share their inputs, so their weights are the rows of a matrix and the
# layer is one matrix product. Five samples, the rows of x, go through at once. The last layer
# has no activation: its output is a score, which may be any number.

network, _ = ab.MLP([4, 4], 1, activation="sigmoid").bind((3,))
layout = Layout(network.specs())
params = layout.params(backend.asarray(Stream(0, "weights").normal(layout.size)), None)
(W1, b1), (W2, b2), (W3, b3) = ((params[i]["weight"], params[i]["bias"]) for i in "024")
x = backend.asarray(Stream(0, "samples").normal((5, 3)))


def sigmoid(z):
    """Return s(z) of the text above."""
    return 1.0 / (1.0 + xp.exp(-z))


h1 = sigmoid(x @ W1.T + b1)
h2 = sigmoid(h1 @ W2.T + b2)
by_hand = h2 @ W3.T + b3

y, vjp = network(params, x)
print(f"\n3-4-4-1 network, {layout.size} parameters")
print("by hand:", *(f"{float(by_hand[i, 0]):9.6f}" for i in range(5)))
print("library:", *(f"{float(y[i, 0]):9.6f}" for i in range(5)))
print(f"largest difference of the outputs  {float(xp.max(xp.abs(y - by_hand))):.1e}")

# %%
# The backward pass has the same three products with the matrices transposed, and between them
# the factor h (1 - h) of each sigmoid, again from its output alone.

dz2 = (xp.ones_like(by_hand) @ W3) * (h2 * (1.0 - h2))
dz1 = (dz2 @ W2) * (h1 * (1.0 - h1))
dx = dz1 @ W1

_, library_dx = vjp(xp.ones_like(y))
print(f"largest difference of dy/dx        {float(xp.max(xp.abs(library_dx - dx))):.1e}")

# %%
# Activation functions
# --------------------
# For most of them the derivative is a formula of the output y, and backpropagation need not keep
# the input. This requires a monotonic function. GELU, SiLU and Mish are not: below zero
# they fall and then rise, one y has two slopes, and their derivative needs x. The table
# compares the formula with the library's vjp at 401 points. The steepest slope matters in deep
# networks: the sigmoid passes on at most a quarter of a gradient. ("scale" and "alpha" are
# the constants of SELU: G. Klambauer et al., "Self-normalizing neural networks", 2017.)


def above(y):
    """Return 1 where y is positive and 0 elsewhere."""
    return xp.astype(y > 0.0, y.dtype)


scale, alpha = 1.0507009873554805, 1.6732632423543772  # of SELU
from_output = {
    "identity": ("1", lambda y: xp.ones_like(y)),
    "sigmoid": ("y (1 - y)", lambda y: y * (1.0 - y)),
    "hard_sigmoid": ("1/6 if 0 < y < 1 else 0", lambda y: above(y * (1.0 - y)) / 6.0),
    "tanh": ("1 - y^2", lambda y: 1.0 - y * y),
    "relu": ("1 if y > 0 else 0", above),
    "leaky_relu": ("1 if y > 0 else 0.01", lambda y: 0.01 + 0.99 * above(y)),
    "elu": ("1 if y > 0 else y + 1", lambda y: xp.where(y > 0.0, 1.0, y + 1.0)),
    "celu": ("1 if y > 0 else y + 1", lambda y: xp.where(y > 0.0, 1.0, y + 1.0)),
    "selu": ("scale if y > 0 else y + scale alpha", lambda y: xp.where(y > 0.0, scale, y + scale * alpha)),
    "softplus": ("1 - exp(-y)", lambda y: 1.0 - xp.exp(-y)),
    "softsign": ("(1 - |y|)^2", lambda y: (1.0 - xp.abs(y)) ** 2.0),
}
rows = {"softmax", "log_softmax", "maxout"}  # these mix the elements of a row
names = [name for name in ab.activations.__all__ if name not in rows]

t = np.linspace(-4.0, 4.0, 401)
x = backend.asarray(t)
columns = 5
figure, axes = plt.subplots(math.ceil((len(names) + 1) / columns), columns, figsize=(9, 5.6))
print("\nfunction      derivative from the output            difference   steepest on [-4, 4]")
for name, panel in zip(names, axes.flat, strict=False):
    y, vjp = getattr(ab.activations, name)(x)
    slope = vjp(xp.ones_like(x))
    text, formula = from_output.get(name, ("needs x", None))
    difference = f"{float(xp.max(xp.abs(formula(y) - slope))):.1e}" if formula else "      -"
    print(f"{name:13s} {text:37s} {difference}      {float(xp.max(slope)):8.2f}")
    panel.plot(t, backend.to_numpy(y), label="$y$")
    panel.plot(t, backend.to_numpy(slope), "--", label="$dy/dx$")
    panel.set(title=name, ylim=(-1.9, 2.1), xticks=[-4, 0, 4], yticks=[-1, 0, 1, 2])

# %%
# Solid: the function; dashed: its derivative. Where the derivative is zero, no gradient passes.

for panel in axes.flat[len(names) :]:
    panel.axis("off")
axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", fontsize=12)
for panel in axes[-1, :]:
    panel.set_xlabel("$x$")
save(figure)
