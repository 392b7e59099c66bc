"""A run as arrays and a description: everything exact resuming needs.

Weights, slots, running statistics, the current epoch's sums, the best weights, a half-gathered
gradient, position, history (it has no wall times), standardisation, callback states, the learning
rate's factor, the data's fingerprint, and the configuration.
"""

from anyback.checkpoint.files import CheckpointError, newest, versions
from anyback.checkpoint.save_load import load, save
from anyback.lookup import set_module

__all__ = ["CheckpointError", "load", "newest", "save", "versions"]

set_module(__name__, __all__)
