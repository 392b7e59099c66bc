"""Optimizers: update rules written once, for arrays, compiled loops and fused kernels.

An optimizer is a frozen dataclass that holds options and no arrays. Its memory, the *slots*, belongs to
the caller::

    slots = opt.init(w)
    w, slots = opt.step(w, g, slots, t)         # t = 1, 2, 3, ...

A step has two halves. `Optimizer.at` does on the host, in double precision, whatever depends on the number
of the update: bias corrections, schedules, NAdam's running product. `Optimizer.rule` makes the
elementwise function `f` that touches the arrays. In `f` stand only operators, ``xp.sqrt``, ``xp.abs``,
``xp.sign`` and ``xp.maximum``, and every constant has been derived outside: a float literal would turn a
compiled single-precision loop into a double one, and ``1 - 0.999`` in single precision is off by 1e-5.
Options are closed over as bools, so what is switched off is compiled away and costs arrays no pass.

Defaults and the places of epsilon are PyTorch's. Two kinds of weight decay are told apart: *coupled*, which
adds ``decay * w`` to the gradient (the derivative of an l2 penalty), and *decoupled*, which shrinks the
weights beside the step (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
"""

from anyback.lookup import set_module
from anyback.optimizers._base import Optimizer as Optimizer
from anyback.optimizers.adam import Adam, AdaMax, AdamW, NAdam, RAdam
from anyback.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from anyback.optimizers.clipping import clip_by_norm as clip_by_norm
from anyback.optimizers.clipping import clip_by_value as clip_by_value
from anyback.optimizers.clipping import global_norm as global_norm
from anyback.optimizers.lion import Lion
from anyback.optimizers.sgd import SGD, Momentum, Nesterov

# The registry of optimizers: names for a trainer, the command line, the tests and the reference pages.
__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "RAdam",
    "RMSProp",
]

set_module(__name__, [*__all__, "Optimizer", "clip_by_norm", "clip_by_value", "global_norm"])
