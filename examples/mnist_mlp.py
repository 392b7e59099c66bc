"""
Handwritten digits: a whole training run
========================================

A network with three hidden layers classifies digits. 35 % of the images are for training, 15 % for
validation, and 50 % for the test at the end:

    28 x 28 -> flatten -> 32 -> 64 -> 128 -> 10,   ReLU between, softmax cross entropy

It is trained by plain gradient descent with rate 0.01, in batches of 32, for 20 epochs. Loss and accuracy
of each are printed. The result is the last number, the accuracy on the half that the
network has never seen.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, full, save

import anyback as ab
from anyback import plots
from anyback.random import Stream

# %%
# The images
# ----------
# The 10,000 test images of MNIST (Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based
# learning applied to document recognition", 1998), if its files are present; with ``--full`` all
# 70,000, downloaded once. The files are expected in ``$ANYBACK_DATA/mnist``, else
# ``$XDG_CACHE_HOME/anyback/mnist``, else ``~/.cache/anyback/mnist``. Without them the script uses the 1,797
# digits that ship with the library, of 8 x 8 pixels each.

try:
    data = ab.datasets.mnist() if full else [ab.datasets.mnist(part="test", download=False)]
    name = "MNIST"
except FileNotFoundError as error:
    if full:
        print(error)
    name, data = "digits", ab.datasets.digits()
x, y = (np.concatenate(arrays) for arrays in zip(*data, strict=True))
side = math.isqrt(x.shape[1])
x = x.reshape(-1, side, side)
print(f"{len(x)} pictures of {name}, {side} x {side} pixels")

# %%
# The run
# -------
# A small data set has few batches per epoch, so the digits train for six times as many epochs, with about
# as many updates as the 10,000 images have in 20 epochs; every sixth epoch is printed.
# Weights have Glorot's uniform initialization and biases start at zero, as in Keras. The library's
# default for ReLU is He's initialization.
#
# A seed determines the split, the initial weights and the order of the images, so a single run depends on
# chance. There are three, and their mean is the accuracy to quote. The epochs of the first run are printed;
# its training metrics are computed during the epoch, on each batch before its update.

training, validation = round(0.35 * len(x)), round(0.15 * len(x))
every = max(1, round(3500 / training))
epochs = 20 * every
runs = []

for seed in range(3):
    order = Stream(seed, "split").permutation(len(x))
    learn, watch, keep = np.split(order, [training, training + validation])
    mlp = ab.MLP([32, 64, 128], 10, activation="relu", initializer="glorot_uniform")
    trainer = ab.Trainer(
        ab.Sequential([ab.Flatten(), mlp]),
        "softmax_cross_entropy",
        ab.SGD(lr=0.01),
        metrics=["accuracy"],
        seed=seed,
        dtype="float64",
        backend=backend,
    )
    watched = (x[watch], y[watch])
    trainer.fit(x[learn], y[learn], epochs=epochs, batch_size=32, validation_data=watched, verbose=0)
    runs.append((trainer, x[keep], y[keep]))

for row in list(runs[0][0].history)[every - 1 :: every]:
    print(
        f"epoch{row['epoch']}: train_loss:{row['loss']:.4f}, train_acc:{row['accuracy']:.4f}, "
        f"valid_loss:{row['val_loss']:.4f}, valid_acc:{row['val_accuracy']:.4f}"
    )
accuracies = []
for seed, (trainer, x_test, y_test) in enumerate(runs):
    result = trainer.evaluate(x_test, y_test)
    accuracies.append(result["accuracy"])
    print(f"seed {seed}: test_loss:{result['loss']:.4f}, test_acc:{result['accuracy']:.4f}")
print(f"mean test_acc of {len(runs)} seeds: {sum(accuracies) / len(runs):.4f}")

# %%
# Learning curves
# ---------------
# As long as both losses fall the network learns what digits have in common. If the training loss keeps
# falling and the validation loss does not, it overfits. On the 10,000 images of MNIST
# that begins in the last epochs. On the 1,797 digits it does not: a gap opens, but both still fall.

trainer, x_test, y_test = runs[0]
save(plots.curves(trainer.history, loss="cross entropy"), "curves")

# %%
# Predictions
# -----------
# Top: the first ten test images. Bottom: the ten wrong predictions with the highest probability. Some of
# them a person would get wrong too.

p = trainer.predict_proba(x_test)
said = p.argmax(axis=1)
surest = np.argsort(-p.max(axis=1) * (said != y_test), kind="stable")

figure, axes = plt.subplots(2, 10, figsize=(9, 2.4))
for panel, i in zip(axes.flat, [*range(10), *surest[:10]], strict=True):
    wrong = said[i] != y_test[i]
    panel.imshow(x_test[i], cmap="Greys")
    panel.set_title(f"{said[i]}, is {y_test[i]}" if wrong else said[i], color="#D55E00" if wrong else "black")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(wrong)
    panel.spines[:].set(color="#D55E00", linewidth=2)
    panel.grid(False)
save(figure)
