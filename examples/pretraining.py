r"""
Pretraining a deep network, layer by layer
==========================================
Deep networks of sigmoids were hard to train by gradient descent alone until Hinton, Osindero and Teh ("A
fast learning algorithm for deep belief nets", 2006) let each layer first learn, without labels, to explain
the one below. Such a layer is a restricted Boltzmann machine: binary units v and h with the energy

.. math:: E(v, h) = -b^T v - c^T h - h^T W v, \qquad p(v, h) \propto e^{-E(v, h)}.

Stacked, these machines are a deep belief network. Here their weights initialize a classifier
that gradient descent alone hardly trains.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, full, save

import anyback as ab
from anyback.activations import sigmoid
from anyback.random import Stream

(x, y), test = ab.datasets.digits()
units, depth, batch_size = 64, 4, 64
xp = backend.namespace


# %%
# One machine
# -----------
# Visible units are connected to hidden units only. Given one side, all units of the other are independent,
# and the probability of each is a sigmoid.


def up(v, W, c):
    return sigmoid(v @ W.mT + c)[0]  # p(h = 1 | v)


def down(h, W, b):
    return sigmoid(h @ W + b)[0]  # p(v = 1 | h)


# %%
# The gradient of the log likelihood is a mean over the data minus a mean over the model. For W:
#
# .. math:: \langle h v^T \rangle_{data} - \langle h v^T \rangle_{model}.
#
# The second mean would take many steps of Gibbs sampling, from v to h to v and so on. Contrastive divergence
# stops after one step and uses that sample (Hinton, "Training products of experts by
# minimizing contrastive divergence", 2002). As in his "A practical guide to training restricted Boltzmann
# machines" (2010), pixels in [0, 1] count as probabilities, only the first hidden state is sampled,
# and updates have momentum. The uniform numbers u come from the host, the same for every backend.


@backend.compile
def step(machine, speed, v, u, momentum):
    W, b, c = machine
    h = up(v, W, c)
    v1 = down(xp.astype(u < h, h.dtype), W, b)
    h1 = up(v1, W, c)
    slope = h.mT @ v - h1.mT @ v1, xp.sum(v - v1, axis=0), xp.sum(h - h1, axis=0)
    speed = [momentum * s + (0.1 / batch_size) * g for s, g in zip(speed, slope, strict=True)]
    return [a + s for a, s in zip(machine, speed, strict=True)], speed, xp.sum((v - v1) ** 2)


def learn(v, layer, epochs=15):
    n, pixels = v.shape[0] // batch_size * batch_size, v.shape[1]
    start = 0.01 * Stream(0, "machine", layer).normal((units, pixels)), np.zeros(pixels), np.zeros(units)
    machine, speed = [backend.asarray(a) for a in start], [backend.asarray(0.0 * a) for a in start]
    errors = []
    for epoch in range(epochs):
        momentum = 0.5 if epoch < 5 else 0.9
        order = Stream(0, "order", layer, epoch).permutation(v.shape[0])[:n].reshape(-1, batch_size)
        u = Stream(0, "gibbs", layer, epoch).uniform((*order.shape, units))
        errors.append(0.0)
        for i, rows in enumerate(order):
            batch = backend.asarray(v[rows]), backend.asarray(u[i])
            machine, speed, error = step(machine, speed, *batch, momentum)
            errors[-1] += float(error) / (n * pixels)
    print(f"machine {layer}: squared error of a unit {errors[0]:.4f}, after {epochs} epochs {errors[-1]:.4f}")
    return machine


# %%
# The stack
# ---------
# The hidden probabilities of one machine are the data of the next. No labels are used.

v, stack = np.asarray(x, dtype="float64"), []
for layer in range(depth):
    W, b, c = learn(v, layer)
    v = backend.to_numpy(up(backend.asarray(v), W, c))
    stack.append((backend.to_numpy(W), backend.to_numpy(c)))

# %%
# Five initializations of one network
# -----------------------------------
# 64 pixels, four hidden layers of 64 sigmoids, ten classes; the same learning rate, momentum and order of
# digits. The uniform initialization is the usual one of that time (Glorot and Bengio, "Understanding the
# difficulty of training deep feedforward neural networks", 2010, eq. 1). "Shuffled" has the pretrained
# numbers in random places: their distribution without the learned features. (Erhan et al. make a similar
# comparison: "Why does unsupervised pre-training help deep learning?", 2010.) An initializer is any function
# of a shape and a random stream, so it may return given values.

uniform = partial(ab.initializers.uniform, low=-(units**-0.5), high=units**-0.5)


def given(a):
    return lambda shape, draw: a


def shuffled(a):
    return lambda shape, draw: a.ravel()[draw.permutation(a.size)].reshape(shape)


def network(hidden, activation="sigmoid"):
    layers = [layer for dense in hidden for layer in (dense, ab.Activation(activation))]
    return ab.Sequential([*layers, ab.Dense(10, initializer=uniform)])


networks = {
    "uniform": network([ab.Dense(units, initializer=uniform)] * depth),
    "Glorot": network([ab.Dense(units, initializer="glorot_normal")] * depth),
    "shuffled": network(ab.Dense(units, True, shuffled(W), given(c)) for W, c in stack),
    "pretrained": network(ab.Dense(units, True, given(W), given(c)) for W, c in stack),
    "ReLU, He": network([ab.Dense(units, initializer="he_normal")] * depth, "relu"),
}
epochs, shown = (100, (1, 5, 10, 20, 30, 100)) if full else (30, (1, 5, 10, 20, 30))
sgd, curves = ab.SGD(lr=0.05, momentum=0.9), {}
print("\naccuracy on test digits, epoch " + "".join(f"{e:>7}" for e in shown))
for name, model in networks.items():
    trainer = ab.Trainer(
        model, "softmax_cross_entropy", sgd, backend=backend, dtype="float64", metrics=["accuracy"]
    )
    history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size, validation_data=test, verbose=0)
    curves[name] = history["val_accuracy"]
    print(f"{name:30} " + "".join(f"{curves[name][e - 1]:7.3f}" for e in shown))

# %%
# With uniform weights the accuracy stays at chance, one in ten; with Glorot's it rises late, to 0.16 after 30
# epochs and 0.34 after a hundred (``--full``). The gradient in the lower layers is too small. Pretrained, the
# same network is accurate after a few epochs. Shuffled weights are slower and less accurate: part of the gain
# is the scale of the weights, the rest the learned features. With ReLU and He's weights, which are random and
# of the appropriate scale, the network learns as well without pretraining.
#
# Each tile shows the weights of one unit of the first machine, blue for positive and red for negative; all
# have one scale, from -1 (full red) to 1 (full blue).

figure, axes = plt.subplots(1, 2, figsize=(9, 4), width_ratios=[1, 1.25])
W = stack[0][0]
tiles = np.pad(W.reshape(8, 8, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
axes[0].imshow(tiles.swapaxes(1, 2).reshape(80, 80), cmap="RdBu", vmin=-1, vmax=1)
axes[0].set(title="64 features of the first machine", xticks=[], yticks=[])
axes[0].spines[:].set_visible(False)
dashes = [(0, (1, 1)), (0, (5, 1.5)), (0, (5, 1, 1, 1)), "-", (0, (9, 2))]
for (name, curve), style in zip(curves.items(), dashes, strict=True):
    axes[1].plot(range(1, epochs + 1), curve, linestyle=style, label=name)
axes[1].set(title="five initializations", xlabel="epoch", ylabel="accuracy on test digits", ylim=(0, 1.02))
axes[1].legend(loc=(0.52, 0.4) if full else (0.1, 0.36), handlelength=3)
save(figure)
