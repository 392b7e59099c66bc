r"""
Sine regression with three sigmoid units
========================================
A network with one input, three sigmoid units and one linear output computes a curve of the form

.. math:: \hat y(x) = c + \sum_{j=1}^{3} v_j\, \sigma(w_j x + b_j), \qquad
          E = \tfrac12 (\hat y - y)^2.

This is a sum of three steps of different height, position and steepness. With enough steps the sum
approximates any continuous curve (Cybenko, "Approximation by superpositions of a sigmoidal function", 1989);
for a period of the sine three are enough. Gradient descent fits them, one sample at a time. Textbooks train
such a network for 3000 epochs (``--full``); a tenth of that is enough to see it.
"""

import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, full, save

import anyback as ab
from anyback.arrays import namespace
from anyback.losses import loss

angle = np.arange(0, 2 * np.pi, 0.1)
x, y = (angle[:, None] - np.pi) / np.pi, np.sin(angle)[:, None]  # inputs scaled to [-1, 1)
print(f"{len(x)} points of sin on [0, 2 pi), inputs from {x[0, 0]:.2f} to {x[-1, 0]:.2f}")


# %%
# The network
# -----------
# A sigmoid is almost linear for small inputs, and three linear functions add up to one. So
# weights and biases are initialized with normal numbers of standard deviation 2, with which each unit
# bends somewhere within [-1, 1). The loss is half the squared error: its derivative is the error itself.


@loss(targets="reals")
def half_squared_error(pred, target):
    d = pred - target
    return namespace(d).sum(d * d, axis=-1) / 2, lambda dl: d * dl


spread = partial(ab.initializers.normal, std=2.0)
dense = partial(ab.Dense, initializer=spread, bias_initializer=spread)
model = ab.Sequential([dense(3), ab.Activation("sigmoid"), dense(1)])
trainer = ab.Trainer(model, half_squared_error, ab.SGD(lr=0.1), backend=backend, dtype="float64", seed=0)
trainer.build(1)
print(trainer.model.summary())

# %%
# Why biases sum over axis 0
# --------------------------
# For all 63 rows at once Z = X W^T + b: the one row b is added to every row of X W^T. As b is used 63
# times, it receives 63 gradients, which add up: the gradient of the bias is the sum of dZ over axis 0. We
# compare the layer's vjp with the sum by hand, and with central differences of the error.

hidden, _, output = trainer.model.layers
params = trainer.layout.params(trainer.weights, None)
inputs, targets = backend.asarray(x), backend.asarray(y)


def error(b):
    z, hidden_vjp = hidden({"weight": params["0"]["weight"], "bias": b}, inputs)
    h, sigmoid_vjp = ab.activations.sigmoid(z)
    pred, output_vjp = output(params["2"], h)
    value, loss_vjp = half_squared_error(pred, targets)
    return float(value), (hidden_vjp, sigmoid_vjp, output_vjp, loss_vjp)


b = params["0"]["bias"]  # (1, 3)
_, (hidden_vjp, sigmoid_vjp, output_vjp, loss_vjp) = error(b)
_, dh = output_vjp(loss_vjp())
dz = sigmoid_vjp(dh)  # (63, 3): a row for each sample
db = hidden_vjp(dz)[0]["bias"]  # (1, 3) like b itself
eps = 1e-5
moves = [backend.asarray(eps * np.eye(3)[j : j + 1]) for j in range(3)]
differences = [(error(b + d)[0] - error(b - d)[0]) / (2 * eps) for d in moves]

dz, db = backend.to_numpy(dz), backend.to_numpy(db)
print(f"\ngradient of the mean error by  {'b_1':>10}{'b_2':>10}{'b_3':>10}")
for name, g in [
    ("row 0 of dZ", dz[0]),
    ("row 1 of dZ", dz[1]),
    ("sum of dZ over axis 0", dz.sum(axis=0)),
    ("vjp of the layer", db[0]),
    ("central differences", differences),
]:
    print(f"  {name:29}" + "".join(f"{value:10.6f}" for value in g))
print(
    f"shapes: dZ {dz.shape}, its sum over axis 0 {dz.sum(axis=0).shape}, over axis 1 {dz.sum(axis=1).shape}"
)

# %%
# One sample at a time
# --------------------
# An epoch uses the 63 points in a new order and makes 63 updates. ``epochs`` of ``fit`` is the total: a
# second call resumes. The last column shows how soon the error has fallen to a hundredth. Predicting the
# mean, a flat line at 0, would have an error of about 0.25.

epochs, every = (3000, 500) if full else (300, 50)
start = trainer.evaluate(x, y)["loss"]
fits, errors = {0: trainer.predict(x)}, {0: start}
print(f"\nepochs  updates  mean error  start / now\n{0:6}  {0:7}  {start:10.6f}  {1:11.1f}")
began = time.perf_counter()
for stop in range(every, epochs + 1, every):
    trainer.fit(x, y, epochs=stop, batch_size=1, verbose=0)
    fits[stop] = trainer.predict(x)
    errors[stop] = trainer.evaluate(x, y)["loss"]
    print(f"{stop:6}  {trainer.updates:7}  {errors[stop]:10.6f}  {start / errors[stop]:11.1f}")
seconds = time.perf_counter() - began
print(f"largest error of the last fit: {np.max(np.abs(fits[epochs] - y)):.4f}")
print(f"time: {seconds:.1f} s, {seconds / trainer.updates * 1e6:.0f} microseconds an update")

# %%
# Top: the fits. The first is that of random weights, the second already has the bends, the last is hardly
# distinguishable from the sine. Bottom: the error during training, and the three learned steps
# :math:`v_j \sigma(w_j x + b_j)`, with their means subtracted. None of them looks like a sine.

figure = plt.figure(figsize=(8.6, 4.8))
upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.7])
small = upper.subplots(1, len(fits), sharey=True)
for axes, (epoch, fit) in zip(small, fits.items(), strict=True):
    axes.plot(angle, y, color="#6b6b6b", linestyle=":", linewidth=1.4, label="sin")
    axes.plot(angle, fit, linewidth=1.5, label="fit")
    axes.set(title=f"{epoch} epochs", ylim=(-1.3, 1.3), xticks=[0, 3, 6], yticks=[-1, 0, 1])
small[0].set_ylabel("output")
small[0].legend(fontsize=8, loc="lower left", handlelength=1.2, borderpad=0)
upper.supxlabel("angle (rad)", fontsize=10)

left, right = lower.subplots(1, 2, width_ratios=[4, 3])
way = [start, *(row["loss"] for row in trainer.history)]
left.semilogy(range(epochs + 1), way, linewidth=1.2, label="mean during each epoch")
left.semilogy(errors.keys(), errors.values(), "o", markersize=5, label="fits above")
left.axhline(start / 100, color="#6b6b6b", linestyle="--", linewidth=1.2, label="start / 100")
left.set(title="error during training", xlabel="epoch", ylabel="mean half squared error")
left.legend(fontsize=9)

p = trainer.parameters()
steps = p["2.weight"] * ab.activations.sigmoid(x @ p["0.weight"].T + p["0.bias"])[0]
steps -= steps.mean(axis=0)
for j, style in enumerate(["-", (0, (5, 1.5)), (0, (1, 1))]):
    right.plot(angle, steps[:, j], linestyle=style, label=f"unit {j + 1}")
right.plot(angle, steps.sum(axis=1), color="black", linestyle=(0, (5, 1, 1, 1)), label="their sum")
right.set(title="three units", xlabel="angle (rad)", ylabel="contribution", ylim=(-2.2, 2.9))
right.legend(ncols=2, loc="upper center", fontsize=9, handlelength=2.8)
save(figure)
