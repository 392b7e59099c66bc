"""A layer with random parameters."""

from __future__ import annotations

import numpy as np

from anyback.parameters import Layout

rng = np.random.default_rng(0)


def bound(layer, in_shape=(4,), seed=1):
    """A bound layer, its layout, and random parameters and statistics."""
    layer, _ = layer.bind(in_shape)
    layout, draw = Layout(layer.specs()), np.random.default_rng(seed)
    return layer, layout, draw.normal(size=layout.size), draw.uniform(0.5, 2.0, layout.statistics_size)
