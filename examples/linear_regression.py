r"""
Linear regression, step by step
===============================

Fit the line :math:`\hat y = w x + b` to five points that lie on a line. The loss is the square
of the residual :math:`r = \hat y - y`, and its gradient is

.. math:: \frac{\partial}{\partial w} r^2 = 2 r x, \qquad \frac{\partial}{\partial b} r^2 = 2 r

and each step goes against it. Ten steps can be followed by hand. Then the same line without any steps, by the
normal equation, and why the scale of the loss does not matter if the learning rate is scaled to match.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

from anyback.plots import descent
from anyback.solvers import gradient_descent, least_squares

xp, asarray, to_numpy = backend.namespace, backend.asarray, backend.to_numpy
x, y = asarray(np.array([-2.0, -1.0, 0.0, 1.0, 2.0])), asarray(np.array([-4.0, -1.0, 2.0, 5.0, 8.0]))
start, lr = asarray(np.array([1.0, 1.0])), 0.1


def loss(p, x, y, scale=1.0, sign=1.0):
    """Return the mean of scale * r^2, and its vector-Jacobian product, at p = (w, b)."""
    n, r = x.shape[0], sign * (p[0] * x + p[1] - y)

    def vjp(dy):
        return dy * 2.0 * scale / n * sign * xp.stack([xp.sum(r * x), xp.sum(r)])

    return scale * xp.sum(r * r) / n, vjp


# %%
# One sample at a time, two epochs
# --------------------------------
# Each line is one step: the sample, its loss, the gradient, and the line before and after. A sample at x = 0
# can only move b. After ten steps the line is already close to w = 3, b = 2.

p, path = start, [start]
print("step   x   y     loss       dw       db        w        b  ->      w         b")
for step in range(10):
    i = slice(step % 5, step % 5 + 1)
    value, vjp = loss(p, x[i], y[i])
    g = vjp(1.0)
    before, p = p, p - lr * g
    path.append(p)
    numbers = [float(v) for v in (value, g[0], g[1], before[0], before[1], p[0], p[1])]
    print(
        f"{step + 1:4} {float(x[i][0]):3.0f} {float(y[i][0]):3.0f} {numbers[0]:8.4f}"
        + "".join(f" {v:z8.4f}" for v in numbers[1:5])
        + "  -> {:.7f} {:.7f}".format(*numbers[5:])
    )

# %%
# The normal equation
# -------------------
# The best line needs no steps: where the gradient over all samples is zero, :math:`X^T X \theta = X^T y`. X
# has the samples as rows, with a column of ones, and theta = (w, b). Forming :math:`X^T X` would square the
# condition of the problem, the factor by which it magnifies errors, so it is solved by the singular value
# decomposition (G. Golub and C. Van Loan, "Matrix computations", 2013). "Rank 1 of 1": the one feature has
# one best weight. If the feature appears a second time, doubled, the data do not determine how the slope is
# shared between the two: the solver reports this and returns the smallest weights.

column = x[:, None]
best = least_squares(column, y)
print(f"\nnormal equation: w {float(best.weight[0]):.9f}, b {float(best.bias):.9f}; {best.message}")
twice = least_squares(xp.concat([column, 2.0 * column], axis=1), y, warn=False)
print("x and 2x as features:", twice.message)
print(f"   w {float(twice.weight[0]):.6f} and {float(twice.weight[1]):.6f}, b {float(twice.bias):.6f}")

# %%
# The scale and the sign of the residual do not matter
# ----------------------------------------------------
# Some texts divide the sum of squares by N, some by 2N; some write the residual as prediction minus target,
# some as target minus prediction. Half the loss has half the gradient: with twice the learning rate the path
# is the same. The sign is squared away. All samples at once, fifty steps.

variants = {
    "1/N,  prediction - target": (1.0, 1.0, lr),
    "1/N,  target - prediction": (1.0, -1.0, lr),
    "1/2N, prediction - target": (0.5, 1.0, 2 * lr),
    "1/2N, target - prediction": (0.5, -1.0, 2 * lr),
}
runs = {}
print("\nloss                          lr          w          b   largest difference of the path")
for name, (scale, sign, rate) in variants.items():
    run = gradient_descent(partial(loss, x=x, y=y, scale=scale, sign=sign), start, lr=rate, steps=50)
    runs[name] = to_numpy(run.path)
    difference = np.abs(runs[name] - runs["1/N,  prediction - target"]).max()
    print(f"{name} {rate:7.2f} {float(run.x[0]):10.7f} {float(run.x[1]):10.7f}   {difference:.1e}")
careless = gradient_descent(partial(loss, x=x, y=y, scale=0.5), start, lr=lr, steps=50)
difference = np.abs(to_numpy(careless.path) - runs["1/N,  prediction - target"]).max()
w, b = to_numpy(careless.x)
print(f"1/2N, lr not doubled      {lr:7.2f} {w:10.7f} {b:10.7f}   {difference:.1e}")

# %%
# Convergence
# -----------
# Left: the line after each of the ten steps, from light to dark. Right: the plane of w and b
# with the contours of the loss of all five samples. The same ten steps zigzag; the fifty steps with all
# samples follow a smooth path.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7))
ends, steps = np.array([-2.3, 2.3]), [to_numpy(p) for p in path]
for i, (w, b) in enumerate(steps):
    label = {0: "start", 10: "after 10 steps"}.get(i)
    left.plot(ends, w * ends + b, color=plt.cm.viridis_r(0.1 + 0.09 * i), linewidth=1.5, label=label)
left.plot(to_numpy(x), to_numpy(y), "o", color="black", zorder=3, label="samples")
left.set(xlabel="x", ylabel="y", title="The line after each step")
left.legend(loc="upper left")


def mean_loss(p):
    return sum((p[0] * a + p[1] - t) ** 2 for a, t in zip(to_numpy(x), to_numpy(y), strict=True)) / 5


paths = {"one sample at a time": steps, "all five samples": runs["1/N,  prediction - target"]}
descent(mean_loss, paths, window=(0.5, 4.0, 0.0, 2.6), axes=right)
right.set(xlabel="w", ylabel="b", title="The steps over the loss")
save(figure)
