r"""
A first network and its training loop
=====================================
A dense layer is one line, :math:`\mathrm{relu}(W x + b)`: a matrix-vector product, a sum, and
zero in place of negative values. This network is two of these in sequence, the last without the relu. Its
matrices are initialized with random numbers, and it learns in a loop of four steps:

1. Draw a batch of samples and their targets.
2. Run the network forward: predictions.
3. Compute the loss: how far the predictions are from the targets.
4. Compute the gradient, and move the weights a little against it.

The loop is written out first, and then done by ``Trainer``. Both end in the same weights, to the last bit.
"""

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.parameters import Layout
from anyback.random import Purpose, Stream

xp = backend.namespace
(x, y), (x_test, y_test) = ab.datasets.digits()
x, x_test = x.astype("float64"), x_test.astype("float64")
print(f"{len(x)} pictures of digits to learn from, {len(x_test)} to be tested on, 8 x 8 pixels in [0, 1]")

# %%
# relu(dot(W, x) + b)
# -------------------
# 16 units take the 64 pixels of one image, written as in F. Chollet, "Deep Learning with Python" (2nd
# edition, 2021), chapter 2. Then the same with the library's layers: they take a batch with a sample in each
# row, and therefore multiply from the other side, X W^T + b.

model, _ = ab.MLP([16], 10).bind((64,))
layout = Layout(model.specs())
w, stats = (backend.asarray(a) for a in layout.initial(seed=0))
params = layout.params(w, stats)  # views of one flat vector
W, b = params["0"]["weight"], params["0"]["bias"]

pixels = backend.asarray(x[0])
z = xp.matmul(W, pixels) + b[0, :]
by_hand = xp.where(z > 0.0, z, 0.0)

dense, relu, _ = model.layers
z, _ = dense(params["0"], backend.asarray(x[:1]))
by_layers, _ = relu({}, z)
print(f"\nW {tuple(W.shape)}, x {tuple(pixels.shape)}, relu(dot(W, x) + b) {tuple(by_hand.shape)}:")
print("  by hand  ", *(f"{float(by_hand[i]):6.3f}" for i in range(10)), " ...")
print("  by layers", *(f"{float(by_layers[0, i]):6.3f}" for i in range(10)), " ...")

# %%
# Random initialization
# ---------------------
# Units that start equal stay equal: the same inputs give them the same gradient. So the matrices are
# initialized with random numbers; biases may be 0. Before training, the accuracy is no better than a guess
# among ten, and the loss no better than log 10 = 2.303 nats (natural logarithm), which is that of
# giving each digit the same probability.


def show(name, pred):
    loss, _ = ab.losses.softmax_cross_entropy(pred, backend.asarray(y_test))
    accuracy = ab.metrics.accuracy(pred, backend.asarray(y_test))
    print(f"{name:17}  loss {float(loss):.4f}, accuracy {float(accuracy):.4f}")


forward = backend.compile(lambda w, x: model(layout.params(w, stats), x)[0])
first = w
print("\non the test pictures")
show("random weights", forward(w, backend.asarray(x_test)))

# %%
# The training loop
# -----------------
# A step is a pure function: weights and batch in, new weights out. ``vjp`` takes the derivative of the loss
# from the predictions back to the weights. 20 epochs, each in a new random order, in batches of 32.

epochs, batch_size, lr = 20, 32, 0.5
inputs, targets = backend.asarray(x), backend.asarray(y)


@backend.compile
def training_step(w, rows, lr):
    # 1. Draw a batch of samples and targets: `rows` are random.
    x, y = xp.take(inputs, rows, axis=0), xp.take(targets, rows, axis=0)
    # 2. Run the network forward: predictions.
    pred, vjp = model(layout.params(w, stats), x)
    # 3. Compute the loss.
    loss, loss_vjp = ab.losses.softmax_cross_entropy(pred, y)
    # 4. Compute the gradient and move the weights a little against it.
    gradient, _ = vjp(loss_vjp(), dx=False)
    return w - lr * layout.gradient(gradient), loss


losses = []
for epoch in range(epochs):
    order = backend.indices(Stream(0, Purpose.SHUFFLE, epoch).permutation(len(x)))
    for start in range(0, len(x), batch_size):
        w, loss = training_step(w, order[start : min(start + batch_size, len(x))], lr)
        losses.append(float(loss))
show("by the loop", forward(w, backend.asarray(x_test)))

# %%
# The same by Trainer
# -------------------
# The same seed gives the same initial weights and the same batches; SGD is w - lr g. Only rounding could
# differ, and it does not: after 900 updates all 1210 numbers are equal to the last bit.

trainer = ab.Trainer(
    ab.MLP([16], 10), "softmax_cross_entropy", ab.SGD(lr=lr), backend=backend, dtype="float64", seed=0
)
history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
show("by Trainer", backend.asarray(trainer.predict(x_test)))
difference = xp.max(xp.abs(trainer.weights - w))
print(f"\n{layout.size} weights after {trainer.updates} updates, {len(losses)} by the loop")
print(f"largest difference of loop and Trainer: {float(difference):g}")

# %%
# Learned features
# ----------------
# Left: the loss falls, with noise, as each batch is a different sample. Right: each row of W as an image,
# blue for positive and red for negative weights, all on one scale from -0.8 to 0.8. The noise has become
# strokes and holes. A few rows have hardly changed: if relu returns 0 no gradient flows back, and a unit that
# is 0 for nearly every image learns almost nothing (a dead ReLU).

before, after = (layout.arrays(backend.to_numpy(v)) for v in (first, w))
answers = np.sum(x @ after["0.weight"].T + after["0.bias"] > 0, axis=0) / len(x)
moved = np.max(np.abs(after["0.weight"] - before["0.weight"]), axis=1)
print("\nunit            " + "".join(f"{unit:6}" for unit in range(1, 17)))
print("answers to (%)  " + "".join(f"{100 * share:6.1f}" for share in answers))
print("W moved by      " + "".join(f"{change:6.2f}" for change in moved))

figure = plt.figure(figsize=(9, 3.2))
left, middle, right = figure.subfigures(1, 3, width_ratios=[1.3, 1, 1])
axes = left.subplots()
updates = np.arange(1, len(losses) + 1) / len(losses) * epochs
axes.semilogy(updates, losses, linewidth=0.7, label="each batch, by the loop")
axes.semilogy(np.arange(epochs) + 0.5, history["loss"], "o", markersize=4, label="each epoch, by Trainer")
axes.set(xlabel="epoch", ylabel="cross entropy (nats)", xticks=range(0, epochs + 1, 5))
axes.legend()
for part, weights, title in ((middle, before, "rows of W before"), (right, after, "rows of W after")):
    part.suptitle(title, fontsize=10)
    for unit, axes in enumerate(part.subplots(4, 4).flat):
        axes.imshow(weights["0.weight"][unit].reshape(8, 8), cmap="RdBu", vmin=-0.8, vmax=0.8)
        axes.set_axis_off()
save(figure)
