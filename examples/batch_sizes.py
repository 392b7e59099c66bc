r"""
Full-batch, mini-batch and stochastic gradient descent
======================================================
The gradient of the mean loss is a mean over samples. The mean over a random batch of B of them estimates
it for less work:

.. math:: \hat g = \frac1B \sum_{i \in \mathrm{batch}} g_i, \qquad
          \mathrm{E}\, \hat g = g, \qquad \mathrm{Var}\, \hat g = \frac{\mathrm{Var}\, g_i}{B}.

The estimate is unbiased, and noisier for smaller batches; descent still converges (Robbins and Monro,
"A stochastic approximation method", 1951). This example measures mean and variance on digits. Then it trains
three times: with one update per epoch and no noise, with 32 and some, and with 512 and a lot (Bottou, Curtis
and Nocedal review the trade-off in "Optimization methods for large-scale machine learning", 2018).
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.callbacks import Lambda
from anyback.parameters import Layout
from anyback.random import Stream

xp, n = backend.namespace, 512
(x, y), _ = ab.datasets.digits()
x, y = x[:n].astype("float64"), y[:n]
inputs, targets = backend.asarray(x), backend.asarray(y)

# %%
# The gradient of every sample
# ----------------------------
# Weights with one more axis are as many networks at once. Here the same weights are repeated 512 times, and
# each network gets one sample: one call computes the gradient of each.

model, _ = ab.MLP([16], 10).bind((64,))
layout = Layout(model.specs())
w, stats = (backend.asarray(a) for a in layout.initial(seed=0))


@backend.compile
def gradient(w, x, y):
    pred, vjp = model(layout.params(w, stats), x)
    loss, loss_vjp = ab.losses.softmax_cross_entropy(pred, y)
    return layout.gradient(vjp(loss_vjp(xp.ones_like(loss)), dx=False)[0]), loss


full, _ = gradient(w, inputs, targets)
copies = xp.broadcast_to(w, (n, layout.size))
single, _ = gradient(copies, xp.reshape(inputs, (n, 1, 64)), xp.reshape(targets, (n, 1)))
g, g_i = backend.to_numpy(full), backend.to_numpy(single)
deviation = np.std(g_i, axis=0)
alive = deviation > 0  # pixels that are empty in all images have no gradient
print(f"{n} samples, {layout.size} weights, {np.sum(alive)} of them with a gradient")
print(f"mean of the samples' gradients - full gradient: {np.max(np.abs(np.mean(g_i, axis=0) - g)):.0e}")
print(f"full gradient, squared length: {np.sum(g * g):.4f}")

# %%
# Unbiased, with a variance of 1/B
# --------------------------------
# We draw 1000 batches of each size, with replacement. The gradient of a batch is the mean of its samples'
# gradients, so one matrix product computes all 1000. The variance, summed over all weights, times B equals
# that of one sample. The squared length of the gradient itself is a twentieth of that, so many
# of the small batches point uphill.
#
# Is the mean of many batches the full gradient? Four groups of 250 batches have four means, and each should
# deviate by its standard error, deviation / sqrt(250 B). Of normal numbers 95.4 % are within 2 standard
# errors, and the largest of 4 x 1050 independent ones is near 3.8. Weights deviate together, as they see the
# same samples, so the share of a single group varies; that of all 20 groups should be close.

groups, batches = 4, 250
variances, clouds, shares = {}, {}, []
print("\n  B   variance  B * variance  as expected  uphill  within 2 s.e.  largest")
for size in (1, 4, 16, 64, 256):
    rows = (Stream(0, "batches", size).uniform((groups * batches, size)) * n).astype(int)
    counts = np.stack([np.bincount(batch, minlength=n) for batch in rows])  # of each sample in each batch
    estimates = backend.to_numpy(xp.matmul(backend.asarray(counts / size), single))
    variances[size] = np.sum((estimates - g) ** 2) / len(estimates)
    means = np.mean(estimates.reshape(groups, batches, -1), axis=1)
    strays = np.abs(means - g)[:, alive] / (deviation[alive] / np.sqrt(batches * size))
    shares.append(np.mean(strays < 2.0))
    clouds[size] = estimates[:500]
    print(
        f"{size:3}  {variances[size]:9.5f}  {size * variances[size]:12.4f}  {np.sum(deviation**2):11.4f}"
        f"  {np.mean(estimates @ g < 0):6.1%}  {shares[-1]:13.1%}  {np.max(strays):7.2f}"
    )
print(f"all groups: {np.mean(shares):.1%} within 2 standard errors, 95.4 % expected")

# %%
# Cost and benefit of noise
# -------------------------
# Each training takes five epochs. Noise must be averaged over many steps, so the
# noisier gradient gets the smaller learning rate. After each update we compute the loss of all 512 samples.
# Compare how many updates raised it, the final loss, and the time per epoch.

epochs = 5
ways = {}
print(f"\nbatch    lr  updates/epoch  loss after 1  after {epochs}  updates that raised it")
for size, lr in ((n, 0.5), (16, 0.2), (1, 0.05)):
    trainer = ab.Trainer(
        ab.MLP([16], 10), "softmax_cross_entropy", ab.SGD(lr=lr), backend=backend, dtype="float64", seed=0
    )
    ways[size] = way = [float(gradient(w, inputs, targets)[1])]
    watch = Lambda(on_update=lambda t, way=way: way.append(float(gradient(t.weights, inputs, targets)[1])))
    trainer.fit(x, y, epochs=epochs, batch_size=size, callbacks=[watch], verbose=0)
    raised = np.mean(np.diff(way) > 0)
    print(f"{size:5}  {lr:4}  {n // size:13}  {way[n // size]:12.4f}  {way[-1]:7.4f}  {raised:22.1%}")
    began = time.perf_counter()
    trainer.fit(x, y, epochs=2 * epochs, batch_size=size, verbose=0)
    print(f"time: {(time.perf_counter() - began) / epochs * 1e3:.1f} ms an epoch in batches of {size}")

# %%
# The loss of the full batch never rises, but it makes only one update per epoch. With single samples, two
# updates of five raise the loss, and yet 512 of them reduce it most in an epoch. They are slow: a matrix
# product with 16 rows takes little longer than one with a single row, so an epoch in batches of 16 takes a
# small part of the time. That is why networks are trained in mini-batches.
#
# Left: gradient estimates, by their components along the full gradient and along the orthogonal direction in
# which samples differ most. Every cloud is centred on the black cross; points left of 0 point uphill. Middle:
# variance against B. Right: the loss of all samples after each update, in nats (natural logarithm).

length = np.sqrt(np.sum(g * g))
along = g / length
across = np.linalg.svd(g_i - np.outer(g_i @ along, along), full_matrices=False)[2][0]
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 3.3))
for size, marker in ((1, "."), (16, "x"), (256, "+")):
    left.plot(clouds[size] @ along, clouds[size] @ across, marker, markersize=3, label=f"B = {size}")
left.plot(length, 0, "P", color="black", markersize=7, markeredgecolor="white")
left.set(title="500 batches each", xlabel="along the full gradient", ylabel="across it")
left.legend(fontsize=8, markerscale=2, handletextpad=0.1)

middle.loglog(variances.keys(), variances.values(), "o", label="1000 batches")
line = np.array([1.0, 256.0])
middle.loglog(line, np.sum(deviation**2) / line, color="#6b6b6b", linestyle="--", linewidth=1.2, label="1/B")
middle.set(title="variance of the gradient", xlabel="batch size B", ylabel="sum over all weights")
middle.legend()

styles = {1: ("C0", "-", 0.6), 16: ("C1", "-", 1.8), n: ("C2", (0, (5, 1.5)), 1.8)}
for size, (colour, style, width) in styles.items():
    at = np.linspace(0, epochs, len(ways[size]))
    name = f"B = {size}" if size < n else f"all {n}"
    right.plot(at, ways[size], color=colour, linestyle=style, linewidth=width, label=name)
right.set(title="training", xlabel="epoch", ylabel="cross entropy (nats)", ylim=(0, 3))
right.legend(fontsize=8)
save(figure)
