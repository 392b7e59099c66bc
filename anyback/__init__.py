"""anyback: one set of formulas, every array library."""

import sys

from anyback import (
    activations,
    callbacks,
    datasets,
    gates,
    graph,
    initializers,
    losses,
    metrics,
    optimizers,
    plots,
    schedules,
    solvers,
    training,
)
from anyback.backends import BackendError, available_backends, backend
from anyback.checkpoint import CheckpointError
from anyback.gradcheck import gradcheck
from anyback.layers import (
    MLP,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Residual,
    Sequential,
)
from anyback.optimizers import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RAdam,
    RMSProp,
)
from anyback.parity import parity
from anyback.training import History, Trainer

__version__ = "0.1.0"

# Old import paths of modules that are now in packages; they work until 1.0.
for _old, _module in {
    "clipping": optimizers.clipping,
    "history": training.history,
    "loss": losses._base,
    "metric": metrics._base,
    "optimizer": optimizers._base,
    "trainer": training.trainer,
}.items():
    sys.modules[f"anyback.{_old}"] = globals()[_old] = _module
del _old, _module

__all__ = [
    "MLP",
    "SGD",
    "Activation",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "BackendError",
    "BatchNorm",
    "CheckpointError",
    "Dense",
    "Dropout",
    "Flatten",
    "History",
    "Layer",
    "LayerNorm",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "RAdam",
    "RMSProp",
    "Residual",
    "Sequential",
    "Trainer",
    "__version__",
    "activations",
    "available_backends",
    "backend",
    "callbacks",
    "datasets",
    "gates",
    "gradcheck",
    "graph",
    "initializers",
    "losses",
    "metrics",
    "optimizers",
    "parity",
    "plots",
    "schedules",
    "solvers",
]
