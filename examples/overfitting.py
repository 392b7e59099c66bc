r"""
Overfitting and regularization
==============================
A network with enough capacity memorizes its training set, wrong labels included. Its training accuracy then
says nothing about its accuracy on new data. The gap between the two is overfitting. More data reduce it,
and so do penalties on the weights,

.. math:: E + \lambda \sum |w| \quad (L_1), \qquad E + \lambda \sum w^2 \quad (L_2),

dropout, and early stopping. To show it clearly, one training label in five is wrong here. The test labels are
correct.
"""

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback import plots
from anyback.callbacks import EarlyStopping
from anyback.random import Stream

(x, right), test = ab.datasets.digits()
u, v = Stream(0, "labels").uniform((2, len(right)))
y = np.where(u < 0.2, (right + 1 + np.floor(9 * v).astype("int64")) % 10, right)
validation = x[-359:], y[-359:]  # with wrong labels too, as in practice


# %%
# One hidden layer of ReLU, and 150 updates of Adam, each with the gradient of all training digits. The rest
# varies.


def train(units=128, n=200, dropout=0.0, callbacks=(), **penalty):
    model = ab.MLP([units], 10, dropout=dropout)
    options = {"backend": backend, "dtype": "float64", "metrics": ["accuracy"], **penalty}
    trainer = ab.Trainer(model, "softmax_cross_entropy", ab.Adam(lr=0.01), **options)
    once = {"batch_size": None, "validation_data": validation, "callbacks": callbacks, "verbose": 0}
    history = trainer.fit(x[:n], y[:n], epochs=150, **once)
    return trainer.evaluate(x[:n], y[:n]), trainer.evaluate(*test), history


# %%
# Size of the network, size of the data
# -------------------------------------
# Four units cannot memorize 200 digits. 32 can, and there the gap is widest: every wrong label is
# learned. Four times as many units do not make it worse, although they have four times the
# parameters. Why networks that can memorize any labels generalize at all is the question of Zhang et
# al. ("Understanding deep learning requires rethinking generalization", 2017). More data are the best
# remedy: one wrong label among many correct ones is harder to learn than the rule.

plain = train()
by_units = {4: train(units=4), 8: train(units=8), 32: train(units=32), 128: plain}
by_n = {50: train(n=50), 100: train(n=100), 200: plain, 400: train(n=400), 1079: train(n=1079)}
sizes = [(units, 200, run) for units, run in by_units.items()] + [(128, n, run) for n, run in by_n.items()]
print("units  digits  training accuracy  test accuracy     gap")
for units, n, (learned, tested, _) in sizes:
    a, b = learned["accuracy"], tested["accuracy"]
    print(f"{units:5}  {n:6}  {a:17.3f}  {b:13.3f}  {a - b:6.3f}")

# %%
# Remedies
# --------
# All for 128 units and 200 digits: L2, also known as weight decay (Krogh and Hertz, "A simple weight decay
# can improve generalization", 1992); L1, which makes many weights nearly zero (Tibshirani, "Regression
# shrinkage and selection via the lasso", 1996); dropout, which lets no unit rely on another (Srivastava et
# al., "Dropout: a simple way to prevent neural networks from overfitting", 2014); and the weights of the
# epoch whose validation loss was lowest (Prechelt, "Early stopping, but when?", 1998).
#
# A network that has learned the rule and none of the wrong labels has a training accuracy near 0.8. So a good
# remedy lowers the training accuracy, raises the test accuracy, and keeps the validation loss from rising.
# Each has a strength, to be chosen by validation. Early stopping has only its patience, and takes a
# fifth of the time.

remedies = {
    "nothing": plain,
    "L1, 0.002": train(l1=0.002),
    "L1, 0.005": train(l1=0.005),
    "L2, 0.003": train(l2=0.003),
    "L2, 0.01": train(l2=0.01),
    "dropout, 0.5": train(dropout=0.5),
    "dropout, 0.8": train(dropout=0.8),
    "early stopping": train(callbacks=[EarlyStopping("val_loss", patience=10)]),
}
print("\n                 training          test              lowest validation loss")
print("remedy           loss   accuracy   loss   accuracy   in epoch   then   in the end")
for name, (learned, tested, history) in remedies.items():
    row = [learned["loss"], learned["accuracy"], tested["loss"], tested["accuracy"]]
    losses = history["val_loss"]
    print(
        f"{name:14}  {row[0]:5.3f}  {row[1]:9.3f}  {row[2]:5.3f}  {row[3]:9.3f}"
        f"  {1 + losses.index(min(losses)):9}  {min(losses):5.3f}  {losses[-1]:11.3f}"
    )

# %%
# Top: loss over time; without a remedy the validation loss rises while the training loss keeps falling.
# Bottom: accuracy against both sizes; the dotted line is the share of correct labels, 0.8, and training
# accuracy above it means memorized wrong labels.

figure, axes = plt.subplots(2, 2, figsize=(8.2, 5.8))
(left, right_side), below = axes
history = plain[2]
left.plot(range(1, 151), history["loss"], label="training")
left.plot(range(1, 151), history["val_loss"], "--", label="validation")
best = plots.best_epoch(history)
left.plot(best, history["val_loss"][best - 1], "o", color="#D55E00", label=f"stop here: epoch {best}")
left.set(title="no remedy", xlabel="epoch", ylabel="loss")
left.legend()
dashes = {"nothing": "--", "L1, 0.005": (0, (1, 1)), "L2, 0.01": "-", "dropout, 0.8": (0, (5, 1, 1, 1))}
for name, style in dashes.items():
    right_side.plot(range(1, 151), remedies[name][2]["val_loss"], linestyle=style, label=name)
right_side.set(title="remedies", xlabel="epoch", ylabel="validation loss")
right_side.legend()
for ax, runs, what in zip(
    below, (by_units, by_n), ("hidden units, 200 digits", "training digits, 128 units"), strict=True
):
    ax.semilogx(list(runs), [a["accuracy"] for a, _, _ in runs.values()], "o-", label="training")
    ax.semilogx(list(runs), [b["accuracy"] for _, b, _ in runs.values()], "s--", label="test")
    ax.axhline(0.8, color="#6b6b6b", linestyle=":", linewidth=1)
    ax.set_xticks(list(runs), list(runs))
    ax.minorticks_off()
    ax.set(xlabel=what, ylabel="accuracy", ylim=(0.4, 1.03))
below[0].legend()
save(figure)
