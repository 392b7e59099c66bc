"""
Comparing optimizers
====================

Every optimizer is one pure function, ``w, slots = opt.step(w, g, slots, t)``: weights and gradient in,
weights out. The slots, such as the momentum, are passed from one update to the next. First, the effect of the
slots. Then a race: down a valley, down the same valley rotated by 45 degrees, past a saddle, and training
a network. For a fair comparison each optimizer runs at its own best learning rate. 23 rates are tried at
once: weights with a leading axis, (23, P), are 23 parallel runs, and their learning rates a column, (23, 1).
"""

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback import plots
from anyback.parameters import Layout
from anyback.random import Stream

xp = backend.namespace
optimizers = {name: getattr(ab.optimizers, name)() for name in ab.optimizers.__all__}

# %%
# Momentum is a weighted sum of past gradients
# --------------------------------------------
# The recursion v = 0.9 v + g, unrolled, is the sum of 0.9^(t - s) g(s) over all s up to t: each gradient
# counts 0.9 times as much as the next. Equal gradients add up to 1 / (1 - 0.9) = 10 times one of them,
# gradients that change sign at every step to 1 / (1 + 0.9), about half.

gradients = Stream(0, "gradients").normal((10, 3))
opt, w = ab.Momentum(), backend.asarray(np.zeros(3))
slots = opt.init(w)
for t, g in enumerate(gradients, 1):
    w, slots = opt.step(w, backend.asarray(g), slots, t)
print("v after 10 gradients")
print("  by the recursion ", *(f"{v:16.12f}" for v in backend.to_numpy(slots[0])))
print("  as a weighted sum", *(f"{v:16.12f}" for v in 0.9 ** np.arange(9, -1, -1) @ gradients))

# %%
# Steps for a constant gradient
# -----------------------------
# With lr = 1 and g = 1, how large is step t? AdaGrad divides by the root of the *sum* of all squares: its
# steps shrink as 1 / sqrt(t). RMSProp divides by the root of a running *mean* of squares: its steps
# converge to 1. But they begin at 10, because its mean starts from zero and is too small at first.
#
# Adam corrects that bias. A running mean of t ones is 1 - rho^t, so it divides by 1 - rho^t (Kingma and Ba,
# "Adam: a method for stochastic optimization", 2015). Some texts drop the power and divide by 1 - rho, which
# is correct at t = 1 only. It corrects nothing: the last column is 0.316 times the one without correction, in
# every row. Steps are twice too long at t = 10 and end three times too short; a mean of ones comes out as 10.

one, t, runs = backend.asarray(np.ones(1)), np.arange(1, 1001), []
for opt in (ab.AdaGrad(lr=1.0), ab.RMSProp(lr=1.0), ab.Adam(lr=1.0)):
    slots, rows = opt.init(one), []
    for i in t.tolist():
        w, slots = opt.step(one, one, slots, i)
        rows.append([float(a[0]) for a in (*slots, one - w)])  # slots and step
    runs.append(np.array(rows).T)
(_, adagrad), (_, rmsprop), (m, v, adam) = runs
uncorrected, no_power = m / np.sqrt(v), m / (1 - 0.9) / np.sqrt(v / (1 - 0.999))
print("\nsize of step t  AdaGrad   RMSProp   Adam: by 1 - rho^t   not corrected   by 1 - rho")
for i in (0, 9, 99, 999):
    print(f"  t = {t[i]:<6}{adagrad[i]:11.4f}{rmsprop[i]:10.4f}{adam[i]:21.4f}", end="")
    print(f"{uncorrected[i]:16.4f}{no_power[i]:13.4f}")
for name, mean, rho in (("g:  ", m[-1], 0.9), ("g^2:", v[-1], 0.999)):
    print(f"mean of {name} by 1 - rho^t {mean / (1 - rho**1000):.4f}, by 1 - rho {mean / (1 - rho):8.4f}")

# %%
# Four problems
# -------------
# Each gives value and gradient at w (..., P). The valley x^2 / 20 + y^2 from (-7, 2) is that of Saitoh, "Deep
# Learning from Scratch" (2016). The saddle is x^2 / 2 + (1 + cos y) / 5: from (-2, 0.001), the way down along
# y begins almost flat; it ends at y = pi. The network learns handwritten digits, 6 epochs in batches of 64;
# the last "batch" is the whole training set, so that the last value is the training loss.

curvature = backend.asarray(np.array([1 / 20, 1.0]))
turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
there, back_again = backend.asarray(turn), backend.asarray(turn.T)


def valley(w):
    return xp.sum(curvature * w * w, axis=-1), 2.0 * curvature * w


def turned(w):
    value, g = valley(w @ back_again)
    return value, g @ there


def saddle(w):
    x, y = w[..., 0], w[..., 1]
    return x * x / 2.0 + (1.0 + xp.cos(y)) / 5.0, xp.stack([x, -xp.sin(y) / 5.0], axis=-1)


(x, y), (x_test, y_test) = ab.datasets.digits()
model, _ = ab.MLP([32], 10).bind((64,))
layout = Layout(model.specs())
weights, stats = layout.initial(seed=0)
orders = np.concatenate([Stream(0, "batches", epoch).permutation(len(x))[:1408] for epoch in range(6)])
parts = [*orders.reshape(-1, 64), slice(None)]
batches = [(backend.asarray(x[rows], "float64"), backend.asarray(y[rows])) for rows in parts]


def network(w, x, y):
    pred, back = model(layout.params(w, stats), x)
    value, vjp = ab.losses.softmax_cross_entropy(pred, y)
    return value, layout.gradient(back(vjp(), dx=False)[0])


# %%
# The race
# --------
# The best of the 23 rates is the one with the lowest mean value over the whole path.

rates = 10.0 ** (np.arange(-12, 11) / 4)


def race(problem, start, batches=((),) * 41):
    """Return the best rate of every optimizer, with the values and points of its path."""
    problem, best = backend.compile(problem), {}
    for name, opt in optimizers.items():
        w, lr = backend.asarray(np.tile(start, (len(rates), 1))), backend.asarray(rates[:, None])
        slots, points, values = opt.init(w), [], []
        for t, batch in enumerate(batches, 1):
            value, g = problem(w, *batch)
            points.append(w)
            values.append(backend.to_numpy(value))
            w, slots = opt.step(w, g, slots, t, lr)
        k = int(np.argmin(np.mean(values, axis=0)))
        best[name] = rates[k], np.array(values)[:, k], np.array([backend.to_numpy(w[k, :]) for w in points])
    return best


races = {
    "valley": race(valley, [-7.0, 2.0]),
    "turned": race(turned, [-7.0, 2.0] @ turn),
    "saddle": race(saddle, [-2.0, 1e-3]),
    "digits": race(network, weights, batches),
}

# %%
# Plain descent and both momentum methods do not depend on the rotation: the numbers are the same to the last
# digit. AdaGrad and RMSProp divide each coordinate by its own scale. That makes a valley along the axes
# round, and they end 1e-16 above its floor; in the rotated one they get about as far as plain descent. At the
# saddle, dividing, or taking the sign, amplifies the tiny slope along y at once. Plain descent, momentum, and
# RAdam, which does not divide at first, stay for some twenty updates. The order on the network changes with
# the seed; the largest difference is the best rate, by a factor of 1,800.

print("\nat the best rate of 23:  valley            turned            saddle           digits")
print("after 40 (132) updates   lr     height     lr     height     lr    to pass    lr      loss  held out")
for name in optimizers:
    a, b, c, d = (races[key][name] for key in races)
    pred, _ = model(layout.params(backend.asarray(d[2][-1]), stats), backend.asarray(x_test, "float64"))
    accuracy = float(ab.metrics.accuracy(pred, backend.asarray(y_test)))
    print(f"{name:20}{a[0]:8.3g}{a[1][-1]:10.1e}{b[0]:8.3g}{b[1][-1]:10.1e}", end="")
    print(f"{c[0]:8.3g}{np.argmax(c[1] < 0.2):7d}{d[0]:11.3g}{d[1][-1]:8.4f}{accuracy:9.4f}")

# %%
# The paths, with a dot for each update. Those of the turned valley are rotated back: if both coincide,
# the optimizer does not depend on the direction of the axes.

scenes = (
    ("down the valley, and down the turned valley", valley, ("valley", "turned"), (-8, 4, -2.4, 2.4)),
    ("past the saddle", saddle, ("saddle",), (-2.3, 2.3, -0.6, 4.6)),
)
figure = plt.figure(figsize=(9, 8.6))
for half, (title, problem, keys, window) in zip(figure.subfigures(2), scenes, strict=True):
    panels = half.subplots(-(-len(optimizers) // 4), 4, sharex=True, sharey=True)
    for name, axes in zip(optimizers, panels.flat, strict=False):
        plots.descent(
            lambda x, f=problem: backend.to_numpy(f(backend.asarray(np.moveaxis(x, 0, -1)))[0]),
            {key: races[key][name][2] @ (turn.T if key == "turned" else np.eye(2)) for key in keys},
            window=window,
            axes=axes,
        )
        axes.set(title=name, xlabel="", ylabel="")
        axes.get_legend().remove()
    half.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=2, fontsize=9, borderaxespad=0)
    half.suptitle(title, fontsize=11)
    half.supxlabel("x", fontsize=10)
    half.supylabel("y", fontsize=10)
save(figure)
