r"""
Backpropagation on a computational graph
========================================

Any formula is a graph of gates, and each gate computes two things locally: its value and
its own derivative. Values flow forward. Then, from the output back, every gate multiplies the gradient that
arrives by its own derivative and passes it on:

.. math:: \frac{\partial f}{\partial x} = \sum_{\text{uses } q \text{ of } x}
   \frac{\partial f}{\partial q} \, \frac{\partial q}{\partial x}

The graphs are those of F.-F. Li, A. Karpathy and J. Johnson, CS231n course notes (Stanford, 2016). In the
plot each edge has its value above and its gradient below.
"""

import matplotlib.pyplot as plt
import numpy as np
from textbook import backend, save

import anyback as ab
from anyback.graph import dot, draw, gradients, inputs, lift
from anyback.random import Stream


def numbers(**values):
    return inputs(**{name: backend.asarray(value, "float64") for name, value in values.items()})


# %%
# The chain rule, node by node
# ----------------------------
# The gradient of each factor of a product is the other factor: 3 for z, and -4 for the sum. The sum passes
# its -4 unchanged to both x and y. Arithmetic on nodes builds the graph; ``gradients`` traverses it
# backwards.

x, y, z = numbers(x=-2.0, y=5.0, z=-4.0)
product = (x + y) * z

print("f = (x + y) z      value  df/dnode")
for node, gradient in gradients(product).items():
    print(f"  {node.name:15} {float(node.value):6.0f} {float(gradient):9.0f}")

# %%
# Gradients add at branches
# -------------------------
# Here y is used twice. It receives 2 from the sum and 3 from the maximum: a small change of y changes f by
# both.

x, y, z = numbers(x=1.0, y=2.0, z=0.0)
larger = ab.gates.maximum
branch = (x + y) * lift(larger)(y, z)
found = gradients(branch)
print(f"\nf = (x + y) max(y, z) = {float(branch.value):.0f}")
print("gradients of x, y, z:", *(f"{float(found[node]):.0f}" for node in (x, y, z)))

# %%
# Add distributes, max routes, multiply switches
# ----------------------------------------------
# Three single gates that receive the gradient 2. The sum passes it to both inputs, the maximum to the larger
# one only, and the product passes each input the gradient times the value of the other.

a, b = numbers(a=3.0, b=-4.0)
print("\na = 3, b = -4, gradient 2 arrives at the output    da  db")
for what, gate in {
    "add distributes": a + b,
    "max routes": lift(larger)(a, b),
    "multiply switches": a * b,
}.items():
    found = gradients(gate, 2.0)
    print(f"  {what:48}{float(found[a]):3.0f} {float(found[b]):3.0f}")

# %%
# A neuron, gate by gate and as one gate
# --------------------------------------
# The sigmoid of w0 x0 + w1 x1 + w2 is four gates: minus, exp, plus 1 and 1 divided by that. As a whole its
# derivative is y (1 - y), so one gate is enough. How finely a formula is divided into gates is a matter of
# convenience; the gradients are the same.

w0, x0, w1, x1, w2 = neuron = numbers(w0=2.0, x0=-1.0, w1=-3.0, x1=-2.0, w2=-3.0)
score = w0 * x0 + w1 * x1 + w2
fine = 1.0 / (1.0 + lift(ab.gates.exp)(-score))
coarse = lift(ab.activations.sigmoid)(score)

print("\nneuron             value    dw0    dx0    dw1    dx1    dw2  gates")
for name, f in {"gate by gate": fine, "one sigmoid gate": coarse}.items():
    found = gradients(f)
    row = " ".join(f"{float(v):6.2f}" for v in (f.value, *(found[node] for node in neuron)))
    print(f"  {name:16} {row}  {sum(bool(node.parents) for node in found):5}")

# %%
# The same with matrices
# ----------------------
# Nothing changes if edges carry arrays; a gradient has the shape of its value. For q = Wx and f = ||q||^2
# the gradients are dq = 2q, dW = dq x^T and dx = W^T dq.

W, x = numbers(W=[[0.1, 0.5], [-0.3, 0.8]], x=[0.2, 0.4])
norm = lift(ab.gates.sum)(lift(ab.gates.square)(W @ x))
found = gradients(norm)
print(f"\nf = ||Wx||^2 = {float(norm.value):.3f}")
print("  dW =", *backend.to_numpy(found[W]).round(3).tolist())
print("  dx =", backend.to_numpy(found[x]).round(3).tolist())

# %%
# The Jacobian is never built
# ---------------------------
# The derivative of 4096 outputs by 4096 inputs is a matrix of 4096 x 4096 numbers. For ReLU only some of
# its diagonal is nonzero, and its product with a vector is a mask: 4096 numbers. To check this, we compute
# every row of the matrix with the vjp, 256 unit vectors at a time; that of a mini-batch would fit no memory.

n, batch, xp = 4096, 100, backend.namespace
wide = backend.asarray(Stream(0, "wide").normal((batch, n)))
one = wide[0, :]
_, vjp = ab.activations.relu(one)
nonzero = on_diagonal = 0
for start in range(0, n, 256):
    rows = backend.to_numpy(vjp(backend.asarray(np.eye(256, n, start))))
    nonzero += np.count_nonzero(rows)
    on_diagonal += np.count_nonzero(np.diagonal(rows, start))

upstream = backend.asarray(Stream(0, "upstream").normal((batch, n)))
_, vjp = ab.activations.relu(wide)
by_hand = backend.to_numpy(upstream) * (backend.to_numpy(wide) > 0)
print(f"\nReLU of {n} numbers        numbers         bytes")
for what, count in {
    "Jacobian": n * n,
    "not 0 in it": nonzero,
    "of these on its diagonal": on_diagonal,
    "what the vjp keeps": n,
    f"Jacobian, batch of {batch}": (batch * n) ** 2,
    "what the vjp keeps then": batch * n,
}.items():
    print(f"  {what:24}{count:16,} {8 * count:17,}")
print(f"batch: largest difference from the mask {abs(backend.to_numpy(vjp(upstream)) - by_hand).max():.1e}")

# %%
# Drawing the graphs
# ------------------
# Graphviz reads this text. The plot needs only matplotlib.

print(f"\n{dot(product)}")

figure, axes = plt.subplot_mosaic("ab;cc;de", figsize=(9, 6.4), height_ratios=(4, 5, 4))
for place, (title, f) in zip(
    "abcde",
    {
        "$(x + y)\\, z$: values above, gradients below": product,
        "$(x + y)\\, \\max(y, z)$: gradients add where y branches": branch,
        "a neuron, gate by gate": fine,
        "the same neuron with one sigmoid gate": coarse,
        "$\\|Wx\\|^2$": norm,
    }.items(),
    strict=True,
):
    axes[place].set_title(title)
    draw(f, axes=axes[place])
save(figure)
