"""Optimizers: frozen options, and one elementwise update written once for arrays of any library.

An optimizer holds its options and no arrays. Its slots, such as momenta, belong to the caller::

    slots = opt.init(w)
    w, slots = opt.step(w, g, slots, t)         # t = 1, 2, 3, ...

A step has two parts. `Optimizer.scalars` computes what depends on the number of the update on the host, in
double precision: schedules, bias corrections, NAdam's running product. `Optimizer.update` is an elementwise
function of arrays: it takes its namespace from `w`, and a trainer traces it like any other formula, as part
of the training step. Three rules keep it fast and exact:

- constants such as 1 - beta are computed from the options as Python floats, in double precision: Python
  floats do not promote single precision, and 1 - 0.999 in single precision has an error of 1e-5;
- options that are off are Python's `if`, decided when the update is traced, and cost no pass over the arrays;
- arrays that an update made itself are updated in place (``m += ...``), which saves an array.

Weight decay is part of the base class. *Coupled* decay adds ``decay * w`` to the gradient (the gradient of an
l2 penalty); *decoupled* decay shrinks the weights directly (Loshchilov and Hutter, "Decoupled weight decay
regularization", 2019). Defaults and the places of epsilon are PyTorch's.
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
