r"""
Numerical derivatives and backpropagation
=========================================

Near a point a smooth function is a straight line, :math:`f(x + e) \approx f(x) + a\,e`, and the slope a is
its derivative. The slope of a loss in one weight can therefore be estimated by changing that weight up and
down. For a network of P weights that takes 2 P runs, each of which costs about P: P squared in total.
Backpropagation applies the chain rule and gets the same numbers for the price of two or three runs.
The argument is that of F. Chollet, "Deep Learning with Python" (2nd edition, 2021), section 2.4; that a
gradient need never cost more than a few runs is the "cheap gradient principle" of A. Griewank and A. Walther,
"Evaluating Derivatives" (2nd edition, 2008).
"""

import math
import time

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.parameters import Layout
from anyback.random import Stream
from anyback.solvers import numerical_gradient

# %%
# The slope is the best straight line
# -----------------------------------
# A formula of the library returns its value and its vjp (vector-Jacobian product), and ``vjp(1.0)`` is the
# slope. With a tenth of the step the error of the line is a hundredth: it shrinks as e squared, and
# error / e^2 converges to half the second derivative, here -tanh(x) (1 - tanh(x)^2).

x = backend.asarray(np.array([0.5]))
y, vjp = ab.activations.tanh(x)
slope = vjp(1.0)
print(f"tanh(0.5) = {float(y[0]):.8f}, slope {float(slope[0]):.8f}")
print("     e   tanh(0.5 + e)     the line     error  error / e^2")
for e in (0.1, 0.01, 0.001, 0.0001):
    there, line = float(ab.activations.tanh(x + e)[0][0]), float((y + slope * e)[0])
    print(f"{e:6g}      {there:.8f}   {line:.8f}  {there - line:8.1e}     {(there - line) / e**2:8.4f}")
print(f"half the second derivative {float((-y * slope)[0]):20.4f}")

# %%
# One weight of a network
# -----------------------
# The loss of a network is a function of all its weights. Fix the data and all weights but one, nudge that
# one by 0.05 up and down, and compute the loss: if it falls on the way up, the weight should grow. Half the
# difference, over 0.05, approximates the slope. Backpropagation computes it exactly, without a nudge.


def problem(width, inputs):
    """Return layout and weights of a small network, and its loss and gradient as functions of them."""
    model, _ = ab.MLP([width], 1, activation="tanh").bind((inputs,))
    layout = Layout(model.specs())
    w, none = (backend.asarray(part) for part in layout.initial(seed=0))
    host = Stream(0, "derivative").normal((32, inputs))
    x, target = backend.asarray(host), backend.asarray(host[:, :1] * host[:, 1:2])

    def loss(w):
        pred, back = model(layout.params(w, none), x)
        value, loss_back = ab.losses.mean_squared_error(pred, target)
        return value, lambda: layout.gradient(back(loss_back(), dx=False)[0])

    return layout, w, backend.compile(lambda w: loss(w)[0]), backend.compile(lambda w: loss(w)[1]())


layout, w, loss, gradient = problem(width=3, inputs=2)
nudge = backend.asarray(0.05 * np.eye(layout.size)[0])
up, here, down = (float(loss(v)) for v in (w + nudge, w, w - nudge))
print(f"\nfirst weight {float(w[0]):.6f}: loss {here:.6f}; nudged up {up:.6f}, nudged down {down:.6f}")
print(f"slope by nudging {(up - down) / 0.1:.6f}, by backpropagation {float(gradient(w)[0]):.6f}")

# %%
# All weights of a network
# ------------------------
# ``numerical_gradient`` nudges every weight in turn, by h = 1e-4, and its differences agree with
# backpropagation to seven decimals. It is a good test of a gradient, and a slow way to compute one.

numerical, exact = (backend.to_numpy(g) for g in (numerical_gradient(loss, w), gradient(w)))
print("\nparameter        by nudging  backpropagation")
for (name, left), right in zip(layout.arrays(numerical).items(), layout.arrays(exact).values(), strict=True):
    for p, q in zip(left.ravel(), right.ravel(), strict=True):
        print(f"{name:15} {p:11.7f}      {q:11.7f}")
print(f"largest difference {np.max(np.abs(numerical - exact)):.1e}")

# %%
# Cost
# ----
# We count every call of the loss and of the gradient, and compute the multiplications of a call from the
# shapes. In the forward pass, a layer multiplies each of its weights once for each of the 32 samples; in the
# backward pass once for the gradient of its weights and once for that of its inputs, which the first layer
# does not need. The last column shows that nudging costs about P times as much. In wall-clock time the
# difference is smaller at these sizes, at which a call costs more than its arithmetic.


def counted(f, calls):
    def g(w):
        calls.append(1)
        return f(w)

    return g


sizes, nudging, chaining = [], [], []
print("\n             calls of                multiplications")
print("parameters   loss  gradient       by nudging   backpropagation   ratio")
for width in (2, 4, 8, 16, 24, 48, 64):
    layout, w, loss, gradient = problem(width, inputs=width)
    matrices = [p.size for p in layout.arrays(backend.to_numpy(w)).values() if p.ndim == 2]
    forwards, backwards = 32 * sum(matrices), 32 * (sum(matrices) + sum(matrices[1:]))
    loss_calls, gradient_calls = [], []
    loss(w), gradient(w)  # compiles them where the library compiles
    began = time.perf_counter()
    backend.synchronize(numerical_gradient(counted(loss, loss_calls), w))
    nudged = time.perf_counter()
    backend.synchronize(counted(gradient, gradient_calls)(w))
    chained = time.perf_counter()
    sizes.append(layout.size)
    nudging.append(len(loss_calls) * forwards)
    chaining.append(len(gradient_calls) * (forwards + backwards))
    print(f"{sizes[-1]:10} {len(loss_calls):6} {len(gradient_calls):9}", end=" ")
    print(f"{nudging[-1]:16,} {chaining[-1]:17,} {nudging[-1] / chaining[-1]:7.1f}")
print(f"time: {sizes[-1]} slopes by nudging {1e3 * (nudged - began):.1f} ms,", end=" ")
print(f"by backpropagation {1e3 * (chained - nudged):.3f} ms")

growth = math.log(sizes[-1] / sizes[-2])
for name, cost in (("nudging", nudging), ("backpropagation", chaining)):
    print(f"{name:15} grows as P^{math.log(cost[-1] / cost[-2]) / growth:.2f}")

# %%
# Left: why h is neither large nor tiny. With a large step the curve bends away from the
# line; with a tiny one rounding errors of about 1e-16 / h dominate. The error of a central difference is of
# order h^2, of a one-sided one of order h. Right: the cost of the gradient of a whole network.

h = 10.0 ** np.arange(-13, 0.01, 0.25)
steps = backend.asarray(h)
upper, lower = (backend.to_numpy(ab.activations.tanh(x + way * steps)[0]) for way in (1.0, -1.0))
middle, true = float(y[0]), float(slope[0])
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.9))
left.loglog(
    h, np.abs((upper - middle) / h - true) + 1e-17, "--", color="C1", label="one side: $(f(x+h)-f(x))/h$"
)
left.loglog(
    h, np.abs((upper - lower) / (2 * h) - true) + 1e-17, color="C0", label="both: $(f(x+h)-f(x-h))/2h$"
)
left.axvline(1e-4, color="#6b6b6b", linewidth=1, linestyle=":")
left.annotate(
    "h = 1e-4", (1e-4, 1e-1), xytext=(-4, 0), textcoords="offset points", ha="right", color="#6b6b6b"
)
left.set(
    xlabel="step h",
    ylabel="error of the slope of tanh at 0.5",
    title="A slope by differences",
    ylim=(1e-15, 1),
)
left.legend(fontsize=8, loc="lower left")
right.loglog(sizes, nudging, "o--", color="C1", label="nudging every weight")
right.loglog(sizes, chaining, "s-", color="C0", label="backpropagation")
right.set(xlabel="parameters P", ylabel="multiplications", title="The gradient of a network")
right.annotate("as $P^2$", (sizes[-2], nudging[-2]), xytext=(-8, 4), textcoords="offset points", ha="right")
right.annotate("as $P$", (sizes[-2], chaining[-2]), xytext=(0, -16), textcoords="offset points")
right.legend(fontsize=8)
save(figure)
