"""Metrics: values reported beside the loss, in units that are easy to interpret.

``accuracy(pred, target)`` is a value of shape (...) for raw outputs (..., B, k). A metric consists of a
function that sums over a batch and one that makes the value from the sums, so that training adds up the sums
of all batches on the device and reads the result once; no metric reads a value back to the host.

Metrics of classes take integer labels (..., B), or probabilities (..., B, k), of which the largest is the
class. With k = 1 the class is ``pred > 0`` and targets are (..., B, 1), {0, 1} or {-1, +1}.
Metrics of reals take targets of the same (B, k) as the predictions. Sums are kept in the widest real
dtype that the library and device have. ``top_k_accuracy.bind(k=3)`` is the same metric with another
default.
"""

from anyback.lookup import set_module
from anyback.metrics import classification, regression
from anyback.metrics._base import Metric as Metric
from anyback.metrics._base import metric as metric
from anyback.metrics.classification import *  # noqa: F403
from anyback.metrics.regression import *  # noqa: F403

# The registry of metrics: names for a trainer, the command line, the tests and the reference pages.
__all__ = sorted([*classification.__all__, *regression.__all__])

set_module(__name__, [*__all__, "Metric", "metric"])
