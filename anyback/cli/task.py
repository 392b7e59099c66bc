"""What is to be learned: which loss, how many outputs, and how a file's targets become the loss's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import activations, losses
from anyback.lookup import lookup
from anyback.tables import Table, load

__all__ = ["Task", "columns", "flat", "read"]


@dataclass(frozen=True)
class Task:
    """A loss with the classes it tells apart, or the number of reals it predicts.

    Attributes
    ----------
    loss : str
        Its name.
    outputs : int
        Outputs of the network.
    classes : tuple of str or None
        Names of the classes; None for a regression.
    """

    loss: str
    outputs: int
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, table: Table, loss: str) -> Task:
        """Return the task that a table's targets set; the loss "auto" follows from what they are."""
        if table.y is None:
            raise ValueError("the data holds no targets to learn")
        labels = table.kind == "labels"
        if loss == "auto":
            loss = "softmax_cross_entropy" if labels else "mean_squared_error"
        kind = _kind(loss)
        if not labels:
            return cls(loss, table.y.shape[1], None)
        if kind in ("reals", "counts"):
            raise ValueError(
                f"loss {loss!r} compares with {kind}, but the targets are class labels: "
                "take softmax_cross_entropy, or for two classes binary_cross_entropy or hinge"
            )
        held = [] if table.test is None else [table.test[1]]
        count = (
            max(int(y.max()) + 1 for y in [table.y, *held]) if table.classes is None else len(table.classes)
        )
        if count < 2:
            raise ValueError(
                f"targets must be of two classes or more, got one: {(table.classes or ['0'])[0]!r}"
            )
        single = count == 2 and kind != "labels" and getattr(losses, loss).link != "softmax"
        return cls(loss, 1 if single else count, table.classes or tuple(map(str, range(count))))

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return labels (n,) as the loss takes them: as they are, -1 and 1, or 0 and 1; reals stay."""
        kind = _kind(self.loss)
        if self.classes is None or kind == "labels":
            return y
        hot = (y[:, None] == (1 if self.outputs == 1 else np.arange(self.outputs))).astype(float)
        encoded: np.ndarray = 2.0 * hot - 1.0 if kind == "signs" else hot
        return encoded

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics worth a look when none are asked for."""
        if self.classes is not None:
            return ("accuracy",)
        return ("r2", "root_mean_squared_error") if _kind(self.loss) == "reals" else ()

    def decide(self, z: np.ndarray) -> np.ndarray:
        """Return outputs (n, k) in the user's terms: class numbers (n,), or the predicted means (n, k)."""
        if self.classes is not None:
            decided: np.ndarray = (z[:, 0] > 0).astype(int) if self.outputs == 1 else z.argmax(axis=1)
            return decided
        link = "exp" if _kind(self.loss) == "counts" else getattr(losses, self.loss).link
        if link == "exp":
            return np.asarray(np.exp(z))
        result: np.ndarray = getattr(activations, link)(z)[0] if link else z
        return result


def read(
    data: str | os.PathLike[str],
    target: str | None,
    loss: str,
    classes: tuple[str, ...] | None = None,
    features: tuple[str, ...] | None = None,
    drop: str | None = None,
) -> Table:
    """Read a data set for a loss; samples are made flat, for the networks of the command line."""
    kind = None if loss == "auto" else _kind(loss)
    # Class names under -1 and 1 or under 0 and 1 are ours to assign; shares between 0 and 1 stay numbers.
    wanted = None if kind in ("signs", "unit interval") else kind
    table = load(data, target, kind=wanted, classes=classes, features=features, drop=columns(drop))
    test = None if table.test is None else (flat(table.test[0]), table.test[1])
    return Table(flat(table.x), table.y, table.kind, table.features, table.classes, table.target, test)


def columns(names: str | None) -> list[str]:
    """Return the columns of an option such as ``--drop id,name``."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def flat(x: np.ndarray) -> np.ndarray:
    """Return samples (n, ...) as rows (n, features)."""
    return x.reshape(len(x), -1)


def _kind(loss: str) -> str:
    found: Any = lookup("loss", loss, losses)
    return str(found.targets)
