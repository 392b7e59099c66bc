"""scikit-learn's MLPClassifier."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier


def train(case: Any, x: Any, y: Any, laps: Any) -> Any:
    model = MLPClassifier(
        case.sizes[1:-1], alpha=0.0, batch_size=case.batch, learning_rate_init=1e-3, random_state=0
    )
    if laps.epochs:
        model.set_params(max_iter=laps.epochs, n_iter_no_change=laps.epochs)  # all of them
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model.fit(x, y)
    else:
        for _ in laps:
            model.partial_fit(x, y, classes=np.arange(case.sizes[-1]))  # one epoch
    return model.predict_proba
