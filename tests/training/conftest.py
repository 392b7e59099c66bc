"""A regression problem."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def line():
    """A linear problem with noise: x (40, 3), y (40,)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    return x, x @ [1.0, -2.0, 0.5] + 0.3 + 0.1 * rng.normal(size=40)
