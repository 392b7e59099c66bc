r"""
Gradient descent
================

The gradient of a function points uphill. Take a small step against it, recompute, and repeat:

.. math:: x \leftarrow x - \eta \, \nabla f(x), \qquad
          \frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h}\,,

with h a small step and :math:`e_i` the unit vector of coordinate i. No derivative has to be worked out by
hand. The learning rate :math:`\eta` decides whether the descent converges, is too slow or diverges; and it
ends at a point with zero gradient, which is not always a minimum.
"""

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

from anyback.plots import descent
from anyback.solvers import gradient_descent, numerical_gradient

# %%
# The slope by central differences
# --------------------------------
# For :math:`f(x) = x_0^2 + x_1^2` the gradient is :math:`2x`. The central difference evaluates the function
# at two points for each coordinate, and for a parabola it is exact except for rounding. The function, the
# start, the step h and the learning rate are those of K. Saitoh, "Deep Learning from Scratch" (O'Reilly
# Japan, 2016, in Japanese), chapter 4.


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def point(*x):
    return backend.asarray(np.array(x))


for x in ([3.0, 4.0], [0.0, 2.0], [3.0, 0.0]):
    slope = backend.to_numpy(numerical_gradient(bowl, point(*x), h=1e-4))
    print(f"slope at ({x[0]:.0f}, {x[1]:.0f}): {slope[0]:.6f} {slope[1]:.6f}")

# %%
# Downhill
# --------
# A hundred steps of 0.1 times the slope: each multiplies the distance to the bottom by 0.8, and
# :math:`0.8^{100} = 2 \cdot 10^{-10}` of (-3, 4) remains.

start = point(-3.0, 4.0)
run = gradient_descent(bowl, start, lr=0.1, steps=100, h=1e-4)
print("after 100 steps:", backend.to_numpy(run.x))
print("                ", run.message)

# %%
# Too small, good, too large
# --------------------------
# Ten steps each. With the smallest rate x hardly moves, but does not diverge. With the largest, each step
# overshoots the minimum and ends 19 times as far on the other side. The solver reports the divergence and
# stops.

rates = {"too small": 1e-10, "good": 0.1, "too large": 10.0}
runs = {name: gradient_descent(bowl, start, lr=lr, steps=10) for name, lr in rates.items()}
print("\nrate                x at the end             how it ended")
for name, run in runs.items():
    x = backend.to_numpy(run.x)
    print(f"{name:9} {rates[name]:7g} {x[0]:12.4g} {x[1]:12.4g}   {run.message}")
print("diverged:", ", ".join(name for name, run in runs.items() if run.diverged))

# %%
# Where the slope is zero
# -----------------------
# This function has four valleys, those on the left deeper than those on the right. Descent goes down from
# the start: from the right it ends in a valley that is not the deepest, a local minimum. Started exactly on
# the ridge between two valleys it stays on the ridge and ends at a saddle point: a minimum in one direction
# and a maximum in the other. A nudge of a millionth is enough to leave it. The curvature, the derivative of
# the slope, distinguishes the two.


def landscape(x):
    return x[0] ** 4 - 2.0 * x[0] ** 2 + 0.5 * x[0] + x[1] ** 4 - 2.0 * x[1] ** 2


def curvature(x, i):
    """Return how the slope along coordinate i changes along it."""
    return float(numerical_gradient(lambda x: numerical_gradient(landscape, x, h=1e-3)[i], x, h=1e-3)[i])


starts = {"local minimum": (1.7, 0.2), "saddle": (-1.8, 0.0), "nudged": (-1.8, 1e-6)}
ends = {name: gradient_descent(landscape, point(*x), lr=0.03, steps=200) for name, x in starts.items()}
print("\nfrom                       to                    f    slope  curvatures")
for name, run in ends.items():
    a, b = backend.to_numpy(run.x)
    largest = np.abs(backend.to_numpy(run.gradient)).max()
    print(
        f"{name:13} {starts[name]!s:12} ({a:z7.4f}, {b:z7.4f}) {float(run.values[-1]):8.4f}"
        f"  {largest:.0e} {curvature(run.x, 0):7.2f} {curvature(run.x, 1):7.2f}"
    )
height = np.array([float(v) for v in ends["nudged"].values])
print(f"the nudged one left the saddle's height at step {int(np.argmax(height < height[50] - 0.01))}")

# %%
# What happened
# -------------
# Left: the value at each of the ten steps, on a logarithmic scale. Right: a dot is a start, a
# cross an end; the path to the saddle and the nudged one are the same until the latter leaves the ridge.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
for (name, run), line in zip(runs.items(), ("o-", "s--", "^:"), strict=True):
    left.semilogy(backend.to_numpy(run.values), line, label=f"{name}, {rates[name]:g}")
left.set(xlabel="step", ylabel="f(x)", title="Ten steps", xlim=(-0.3, 10.3))
left.legend(title="learning rate", loc="center right", bbox_to_anchor=(1.0, 0.42))
paths = {name: backend.to_numpy(run.path) for name, run in ends.items()}
descent(landscape, paths, window=(-2, 2, -1.6, 2.2), axes=right)
right.set_title("Where it comes to rest")
save(figure)
