"""Computational graphs: forward values and backward gradients, for teaching and inspection.

Arithmetic on nodes builds the graph while it computes: every node keeps its value, the nodes it was made
of, and the vector-Jacobian product of its gate, which sends its gradient back to them. That is all of
backpropagation: each gate multiplies the gradient of its output by its local derivative, and the gradients
that reach a node along several edges add up. Operators are those of `anyback.gates`; `lift` makes a gate of
any other formula. Networks are trained by `anyback.Trainer`, which keeps no graph.
"""

from anyback.graph.nodes import Node, dot, draw, gradients, inputs, lift
from anyback.lookup import set_module

__all__ = ["Node", "dot", "draw", "gradients", "inputs", "lift"]

set_module(__name__, __all__)
