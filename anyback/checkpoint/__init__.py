"""Checkpoints: one safetensors file with everything that exact resuming needs.

`anyback.Trainer.save` and `anyback.Trainer.load` use it; `newest` finds the newest intact file.
"""

from anyback.checkpoint.files import CheckpointError, newest, versions
from anyback.checkpoint.save_load import load, save
from anyback.lookup import set_module

__all__ = ["CheckpointError", "load", "newest", "save", "versions"]

set_module(__name__, __all__)
