"""The task that a data set's targets define: loss, number of outputs, classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import activations, losses
from anyback.lookup import lookup
from anyback.tables import Table, load

__all__ = ["Task", "flatten", "read_table", "split_names"]


@dataclass(frozen=True)
class Task:
    """Classification or regression with a loss.

    Attributes
    ----------
    loss : str
        Name of the loss.
    outputs : int
        Outputs of the network.
    classes : tuple of str or None
        Names of the classes; None for regression.
    """

    loss: str
    outputs: int
    classes: tuple[str, ...] | None

    @classmethod
    def from_table(cls, table: Table, loss: str) -> Task:
        """Return the task for a table's targets; the loss "auto" depends on their kind."""
        if table.y is None:
            raise ValueError("the data has no targets")
        labels = table.kind == "labels"
        if loss == "auto":
            loss = "softmax_cross_entropy" if labels else "mean_squared_error"
        kind = _target_kind(loss)
        if not labels:
            return cls(loss, table.y.shape[1], None)
        if kind in ("reals", "counts"):
            raise ValueError(
                f"loss {loss!r} needs {kind} as targets, but the targets are class labels: "
                "use softmax_cross_entropy, or for two classes binary_cross_entropy or hinge"
            )
        if table.classes is None:
            labels_of_splits = [table.y] if table.test is None else [table.y, table.test[1]]
            count = max(int(y.max()) + 1 for y in labels_of_splits)
        else:
            count = len(table.classes)
        if count < 2:
            raise ValueError(
                f"targets must have at least two classes, got one: {(table.classes or ['0'])[0]!r}"
            )
        single = count == 2 and kind != "labels" and getattr(losses, loss).link != "softmax"
        return cls(loss, 1 if single else count, table.classes or tuple(map(str, range(count))))

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return labels (n,) as targets of the loss: unchanged, as -1 and 1, or as 0 and 1."""
        kind = _target_kind(self.loss)
        if self.classes is None or kind == "labels":
            return y
        one_hot = (y[:, None] == (1 if self.outputs == 1 else np.arange(self.outputs))).astype(float)
        encoded: np.ndarray = 2.0 * one_hot - 1.0 if kind == "signs" else one_hot
        return encoded

    @property
    def metrics(self) -> tuple[str, ...]:
        """Default metrics."""
        if self.classes is not None:
            return ("accuracy",)
        return ("r2", "root_mean_squared_error") if _target_kind(self.loss) == "reals" else ()

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return class indices (n,) or predicted means (n, k) from network outputs (n, k)."""
        if self.classes is not None:
            decoded: np.ndarray = (z[:, 0] > 0).astype(int) if self.outputs == 1 else z.argmax(axis=1)
            return decoded
        link = "exp" if _target_kind(self.loss) == "counts" else getattr(losses, self.loss).link
        if link == "exp":
            return np.asarray(np.exp(z))
        means: np.ndarray = getattr(activations, link)(z)[0] if link else z
        return means


def read_table(
    data: str | os.PathLike[str],
    target: str | None,
    loss: str,
    classes: tuple[str, ...] | None = None,
    features: tuple[str, ...] | None = None,
    drop: str | None = None,
) -> Table:
    """Read a data set for a loss, with flattened samples (n, features)."""
    kind = None if loss == "auto" else _target_kind(loss)
    # `Task.encode` maps class names to -1 and 1 or to 0 and 1; fractions between 0 and 1 stay numbers.
    required = None if kind in ("signs", "unit interval") else kind
    table = load(data, target, kind=required, classes=classes, features=features, drop=split_names(drop))
    test = None if table.test is None else (flatten(table.test[0]), table.test[1])
    return Table(flatten(table.x), table.y, table.kind, table.features, table.classes, table.target, test)


def split_names(names: str | None) -> list[str]:
    """Return the column names in an option such as ``--drop id,name``."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def flatten(x: np.ndarray) -> np.ndarray:
    """Return samples (n, ...) as rows (n, features)."""
    return x.reshape(len(x), -1)


def _target_kind(loss: str) -> str:
    function: Any = lookup("loss", loss, losses)
    return str(function.targets)
