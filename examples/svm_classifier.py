"""
SVM and softmax classifiers
===========================

A linear classifier computes a score for each class, f = W x + b. A loss measures how far the scores are from
the labels, a penalty prefers small weights, and training minimizes their sum:

    L = (1 / n) sum_i L_i + lambda sum W^2

The multiclass SVM and the softmax classifier differ in L_i alone. Both are computed by hand for three
scores, their gradients are checked, and six models are trained on images of digits.
After F.-F. Li, A. Karpathy and J. Johnson, CS231n course notes (Stanford, 2016).
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.losses import multiclass_hinge, softmax_cross_entropy
from anyback.parameters import Layout
from anyback.regularizers import l2

xp = backend.namespace
losses = {"SVM": multiclass_hinge, "softmax": softmax_cross_entropy}

# %%
# Three scores by hand
# --------------------
# The example of the course notes: four pixels, three classes, the correct class is the last. The SVM
# requires the correct score to exceed every other by 1 and penalizes the shortfall (J. Weston and C.
# Watkins, "Support vector machines for multi-class pattern recognition", 1999): L_i = sum over the
# other classes of max(0, f_j - f_y + 1). The softmax turns the scores into probabilities;
# its loss is L_i = -log p_y.

W = backend.asarray(np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]]))
b = backend.asarray(np.array([0.0, 0.2, -0.3]))
pixels = backend.asarray(np.array([-15.0, 22.0, -44.0, 56.0]))
f = W @ pixels + b

print("scores f = W x + b      ", *(f"{float(f[j]):6.2f}" for j in range(3)), "   the last is right")
print("missing to a lead of 1  ", *(f"{max(0.0, float(f[j] - f[2]) + 1.0):6.2f}" for j in range(2)))
for name, loss in losses.items():
    value, vjp = loss(f[None, :], backend.asarray(np.array([2])))
    slope = vjp()[0, :]
    print(f"{name:8s} loss {float(value):.2f}, dL/df", *(f"{float(slope[j]):6.2f}" for j in range(3)))

# %%
# The gradient of the SVM is 1 for every score within the margin, and minus their number for the correct one.
# That of the softmax is the probability of each wrong class, and minus their sum for the correct one.
#
# The total loss and its gradient
# -------------------------------
# All weights and biases of a network are in one flat vector w. The mask excludes the
# biases: the penalty is for W alone. Value and gradient are sums of the same two terms.

strength = 1e-3


def total(w, network, layout, loss, x, y):
    """Return the data term plus the penalty at the flat weights w, and the vjp."""
    scores, back = network(layout.params(w, w[:0]), x)
    data, data_vjp = loss(scores, y)
    penalty, penalty_vjp = l2(w, backend.asarray(layout.decays()))

    def vjp(dl):
        dparams, _ = back(data_vjp(dl), dx=False)
        return layout.gradient(dparams) + penalty_vjp(strength * dl)

    return data + strength * penalty, vjp


# %%
# A gradient can be computed in two ways: by the chain rule, exact and fast, and by central differences,
# (L(w + h) - L(w - h)) / 2h for one weight at a time, slow and approximate. They must agree.
# Here are all 650 weights of the linear SVM on 100 images; four of class 0 are printed. The remaining
# difference is the rounding error of L divided by 2h.

(x, y), (x_test, y_test) = ab.datasets.digits()
images, labels = backend.asarray(x, "float64"), backend.asarray(y)
few = {"x": images[:100, :], "y": labels[:100]}

network, _ = ab.MLP([], 10).bind((64,))
layout = Layout(network.specs())
w = backend.asarray(layout.initial(0)[0])
L = partial(total, network=network, layout=layout, loss=multiclass_hinge, **few)
value, h = backend.compile(lambda w: L(w)[0]), 1e-5
steps = backend.asarray(h * np.eye(layout.size))
numerical = [float(value(w + steps[i, :]) - value(w - steps[i, :])) / (2.0 * h) for i in range(layout.size)]
analytic = backend.to_numpy(L(w)[1](1.0))

print("\nweight      numerical     analytic")
for i in (12, 27, 36, 52):
    print(f"W[0, {i}] {numerical[i]:12.8f} {analytic[i]:12.8f}")
error = np.abs(np.array(numerical) - analytic).max() / np.abs(analytic).max()
print(f"largest difference of all {layout.size}, in units of the largest slope: {error:.1e}")

# %%
# One, two and three layers
# -------------------------
# Between two layers is a ReLU: f = W2 max(0, W1 x + b1) + b2, and so on. `gradcheck` compares
# the weights of a model all at once, along a random direction, then a few one by one, and raises
# an error if they differ by more than the tolerance.
#
# The data term, the penalty and their sum are those of all training images after training.
# "met" is the share of the images whose loss is exactly 0: the SVM ignores an image once
# its margins are met. The loss of the softmax is never 0.

tolerance, templates = 1e-6, {}
print("\nlayers  loss     gradcheck     data + penalty =  total     met   train    test")
for layers, hidden in enumerate(([], [64], [64, 64]), start=1):
    for name, loss in losses.items():
        model, optimizer = ab.MLP(hidden, 10), ab.Momentum(lr=0.02)
        trainer = ab.Trainer(model, loss, optimizer, l2=strength, dtype="float64", backend=backend)
        network, layout = trainer.build(64).model, trainer.layout
        L = partial(total, network=network, layout=layout, loss=loss)
        ab.gradcheck(partial(L, **few), trainer.weights, tol=tolerance)

        trainer.fit(x, y, epochs=30, batch_size=64, verbose=0)
        w = trainer.weights
        scores, _ = network(layout.params(w, w[:0]), images)
        data = float(loss(scores, labels)[0])
        penalty = strength * float(l2(w, backend.asarray(layout.decays()))[0])
        both = float(L(w, x=images, y=labels)[0])
        each, _ = loss(scores[:, None, :], labels[:, None])  # each image as its own batch
        met = float(xp.sum(xp.astype(each == 0.0, each.dtype))) / len(y)
        train = float(ab.metrics.accuracy(scores, labels))
        test = np.sum(trainer.predict(x_test).argmax(axis=1) == y_test) / len(y_test)
        print(
            f"{layers}       {name:8s} <= {tolerance:.0e}   {data:.4f} + {penalty:.4f}  = {both:.4f}"
            f"   {met:.3f}   {train:.3f}   {test:.3f}"
        )
        if layers == 1:
            templates[name] = trainer.parameters()["0.weight"]

# %%
# Rows of W as templates
# ----------------------
# The score of a class is the inner product of its row with the image: the row is a template.
# Blue pixels count for the class, red ones against it. At the top is the mean image of each digit. Each
# row of images has its own scale, with white at 0. Ink in the hole of the 0 counts strongly
# against it.

pictures = {"mean": np.stack([x[y == digit].mean(axis=0) for digit in range(10)]), **templates}
figure, axes = plt.subplots(3, 10, figsize=(9, 3.2), subplot_kw={"xticks": [], "yticks": []})
for (name, rows), line in zip(pictures.items(), axes, strict=True):
    reach = np.abs(rows).max()
    line[0].set_ylabel(name)
    for panel, row in zip(line, rows, strict=True):
        panel.imshow(row.reshape(8, 8), cmap="RdBu", vmin=-reach, vmax=reach)
        panel.spines[:].set_visible(False)
for digit, panel in enumerate(axes[0]):
    panel.set_title(digit)
save(figure)
