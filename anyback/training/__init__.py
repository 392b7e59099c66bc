"""Training: from the data a user has to a fitted model and its history.

`trainer` is what users call; `data_checks` and `fit_data` check, split and place the data; `bound_model`
compiles the functions of `step` for a backend; `loop` runs epochs over the `state` and calls the `hooks`.
"""

from anyback.lookup import set_module
from anyback.training.history import History
from anyback.training.trainer import Trainer

__all__ = ["Trainer", "History"]

set_module(__name__, __all__)
