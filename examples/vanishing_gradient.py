r"""
The vanishing gradient problem
==============================
A layer computes :math:`z_l = W_l h_{l-1}` and :math:`h_l = f(z_l)`. Backpropagation passes
:math:`\delta_l = \partial E / \partial z_l`, the gradient of the error E, back from layer to layer, and
computes the gradient of each layer's weights from it:

.. math:: \delta_l = (W_{l+1}^T \delta_{l+1}) \odot f'(z_l), \qquad
          \partial E / \partial W_l = \delta_l h_{l-1}^T,

where :math:`\odot` multiplies element by element. With n units a layer, each multiplies the error by about
:math:`\sqrt{n}\,\mathrm{std}(W)\,|f'|`. In a deep network a factor other than 1 is fatal: its twentieth power
is almost zero or far too large (Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", 1991; Bengio,
Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994).
Nothing is trained here: there is one forward and one backward pass through networks with initial weights.
"""

from functools import partial
from math import sqrt

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.parameters import Layout

(x, y), _ = ab.datasets.digits()
x, y = backend.asarray(x[:256], "float64"), backend.asarray(y[:256])
width = 64  # pixels, and units of each hidden layer


# %%
# One backward pass
# -----------------
# A network of ``depth`` matrices, the gradient of its loss on 256 digits, and the norm of the gradient of
# each matrix.


def gradient_norms(activation, initializer, depth):
    hidden = [width] * (depth - 1)
    model, _ = ab.MLP(hidden, 10, activation=activation, initializer=initializer).bind((width,))
    layout = Layout(model.specs())
    w, stats = (backend.asarray(a) for a in layout.initial(seed=0))
    z, vjp = model(layout.params(w, stats), x)
    _, loss_vjp = ab.losses.softmax_cross_entropy(z, y)
    dparams, _ = vjp(loss_vjp(), dx=False)
    gradient = layout.arrays(backend.to_numpy(layout.gradient(dparams)))
    return [float(np.linalg.norm(g)) for name, g in gradient.items() if name.endswith("weight")]


# %%
# Twenty layers, four initializations
# -----------------------------------
# Normal weights of a fixed standard deviation, too large and too small, against two that depend on the width.
# Between layers of n units sqrt(1/n) keeps the variance of the values if the activation is linear (Glorot and
# Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 12);
# sqrt(2/n) compensates for the half that ReLU sets to zero (He, Zhang, Ren and Sun, "Delving deep into
# rectifiers", 2015, eq. 10).
#
# The slope is at most 1/4 for the sigmoid and 1 for tanh. Half of ReLU's units have slope 1, which makes
# sqrt(1/2) in root mean square. Compare ``factor^19`` with the gradient of the first layer: it predicts the
# order of magnitude over more than forty powers of ten. If sigmoid or tanh saturate it is only an upper
# bound.

depth = 20
slopes = {"sigmoid": 0.25, "tanh": 1.0, "relu": sqrt(0.5)}
initializations = {
    "std 1": (1.0, partial(ab.initializers.normal, std=1.0)),
    "std 0.01": (0.01, partial(ab.initializers.normal, std=0.01)),
    "Glorot": (sqrt(1 / width), "glorot_normal"),
    "He": (sqrt(2 / width), "he_normal"),
}
norms = {}
print(f"depth {depth}: norm of the gradient")
print("activation  weights   factor  factor^19  first layer  last layer  first / last")
for activation, slope in slopes.items():
    for name, (std, initializer) in initializations.items():
        factor = sqrt(width) * std * slope
        norms[activation, name] = g = gradient_norms(activation, initializer, depth)
        print(
            f"{activation:10}  {name:8}  {factor:6.3f}  {factor ** (depth - 1):9.1e}  {g[0]:11.1e}"
            f"  {g[-1]:10.1e}  {g[0] / g[-1]:12.1e}"
        )

# %%
# Two ways to vanish
# ------------------
# With sigmoids the gradient of the last layer is large and that of the first almost zero: no learning rate
# suits both. Weights that work for the other activations do not help, since the slope of the sigmoid removes
# three quarters or more at every layer. Only weights so large that most units saturate pass some gradient.
#
# With tanh and ReLU at 0.01 all layers have similar gradients, so the ratio of first to last looks normal.
# But all are almost zero: the values shrink in the forward pass as the error does in the backward pass, and
# the gradient is their product. Compare both columns. Glorot's weights with tanh and He's with ReLU work at
# every depth.

pairs = [
    *(("sigmoid", "std 0.01"), ("sigmoid", "Glorot")),
    *(("tanh", "std 1"), ("tanh", "Glorot"), ("relu", "He")),
]
depths, shown = range(2, depth + 1, 2), (2, 6, 10, 14, 20)
ratios = {}
print("\nfirst / last, depth " + "".join(f"{d:>9}" for d in shown))
for activation, name in pairs:
    every = {d: gradient_norms(activation, initializations[name][1], d) for d in depths}
    ratios[activation, name] = row = {d: g[0] / g[-1] for d, g in every.items()}
    print(f"{activation:10}  {name:8}" + "".join(f"{row[d]:9.1e}" for d in shown))

# %%
# On a logarithmic axis a constant factor is a straight line. Read the first three panels from right to left,
# in the direction of the backward pass.

figure, axes = plt.subplots(2, 2, figsize=(8.4, 5.8))
dashes = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (9, 2))]
for ax, activation in zip(axes.flat, slopes, strict=False):
    for name, style in zip(initializations, dashes, strict=False):
        ax.semilogy(range(1, depth + 1), norms[activation, name], linestyle=style, label=name)
    ax.set(title=f"{activation}, depth {depth}", xlabel="layer", ylabel="norm of the gradient")
    ax.set(ylim=(1e-36, 1e24), xticks=[1, 5, 10, 15, 20])
axes[0, 0].legend(loc="lower right", fontsize=9, handlelength=3)
for pair, style in zip(pairs, dashes, strict=True):
    axes[1, 1].semilogy(depths, ratios[pair].values(), linestyle=style, label=", ".join(pair))
axes[1, 1].set(title="gradient of the first layer over the last", ylabel="ratio")
axes[1, 1].set(xlabel="depth in layers", xticks=[2, 5, 10, 15, 20], ylim=(1e-36, 1e24))
axes[1, 1].legend(ncols=2, loc="upper center", fontsize=8, handlelength=3)
save(figure)
