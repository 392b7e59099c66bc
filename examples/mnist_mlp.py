"""
Handwritten digits: a whole training run
========================================

A network of three hidden layers reads digits. It sees 35 % of the pictures while it learns, 15 %
watch over it, and 50 % are kept for the end:

    28 x 28 -> flatten -> 32 -> 64 -> 128 -> 10,   ReLU between, softmax cross entropy

Plain gradient descent with rate 0.01 goes through batches of 32, for 20 epochs. Loss and accuracy
are printed for each. The number to read is not theirs: it is the last one, of the half that the
network has never met.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, full, save

import anyback as ab
from anyback import plots
from anyback.random import Stream

# %%
# The pictures
# ------------
# The 10,000 test images of MNIST (Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based
# learning applied to document recognition", 1998), if its files are at hand; with ``--full`` all
# 70,000, fetched once. They are looked for in ``$ANYBACK_DATA/mnist``, else
# ``$XDG_CACHE_HOME/anyback/mnist``, else ``~/.cache/anyback/mnist``. Without them the 1,797 digits that
# ship with the library will do: 8 x 8 pixels each.

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
# A small data set has few batches an epoch, and it is updates that train: the digits get about as
# many as the 10,000 images have in 20 epochs, by six times the epochs, of which every sixth is shown.
# Weights begin with Glorot's uniform draws and biases with zero, as in Keras. The library's own
# choice for ReLU would be He's draws.
#
# A seed decides the split, the first weights and the order of the pictures, so a single run is luck.
# There are three, and their mean is the figure to quote. The first run tells of its epochs; its training
# figures are taken while it learns, each batch before the weights have seen it.

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
# Where training leaves validation behind
# ---------------------------------------
# As long as both losses fall the network learns what digits have in common. Where training goes on
# falling and validation does not, it learns its own pictures by heart. On the 10,000 images of MNIST
# that has begun by the last epochs. On the 1,797 digits it has not: a gap opens, but both still fall.

trainer, x_test, y_test = runs[0]
save(plots.curves(trainer.history, loss="cross entropy"), "curves")

# %%
# What it reads
# -------------
# Above, the first ten pictures of the test; below, the ten mistakes it was surest of. Some of them
# a person would get wrong too.

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
