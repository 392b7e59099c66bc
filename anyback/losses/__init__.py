"""Losses: each compares predictions with targets and returns a value with its vector-Jacobian product.

``value, vjp = huber(pred, target)`` is the mean over the batch, and ``vjp()`` its gradient with respect to
`pred`. Predictions are (..., B, k): B samples of k outputs, and any axes before them are
independent networks trained at once, so that the value has shape (...). A loss of several outputs is
their mean, except for the losses of classes, where the k outputs describe one choice.

Each is a function of (..., B, k) that returns the losses of single samples (..., B); the decorator `loss`
adds the rest: checks, sample weights, sums and means. ``huber.bind(delta=2.0)`` is the same loss
with another default.
"""

from anyback.lookup import set_module
from anyback.losses import classification, regression
from anyback.losses._base import Loss as Loss
from anyback.losses._base import loss as loss
from anyback.losses.classification import *  # noqa: F403
from anyback.losses.regression import *  # noqa: F403

# The registry of losses: names for a trainer, the command line, the tests and the reference pages.
__all__ = sorted([*classification.__all__, *regression.__all__])

set_module(__name__, [*__all__, "Loss", "loss"])
