"""anyback itself, inside `fit`."""

from __future__ import annotations

from typing import Any

import anyback as ab
from anyback.callbacks import Lambda

FOREVER = 10**9


def train(case: Any, x: Any, y: Any, laps: Any, *, backend: str) -> Any:
    model = ab.MLP(case.sizes[1:-1], case.sizes[-1])
    trainer = ab.Trainer(model, "softmax_cross_entropy", ab.Adam(lr=1e-3), backend=backend)

    def lap(trainer: ab.Trainer, logs: dict[str, float]) -> None:
        trainer.stop = laps.lap()

    trainer.fit(
        x,
        y,
        epochs=laps.epochs or FOREVER,
        batch_size=case.batch,
        callbacks=[Lambda(on_epoch_end=lap)],
        verbose=0,
    )
    return trainer.predict
