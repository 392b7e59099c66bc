"""The same training steps on several backends, compared operation by operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from anyback.arrays import Array
from anyback.backends import Backend
from anyback.layers import Layer
from anyback.optimizers._base import Optimizer
from anyback.parameters import Layout
from anyback.pytree import tree_map
from anyback.random import Purpose, Stream, step_seed
from anyback.training.bound_model import BoundModel
from anyback.training.hooks import NaNGuard
from anyback.training.inputs import Scaler
from anyback.training.probe import Operation, probed
from anyback.training.step import Data
from anyback.training.trainer import Trainer
from anyback.validation import integer, number

__all__ = ["Difference", "Parity", "parity"]

State: TypeAlias = tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]
"""Weights, slots and running statistics before a step, on the host."""


@dataclass(frozen=True)
class Difference:
    """The difference between the result of one operation and that of the reference.

    Attributes
    ----------
    step : int
        Counted from 1.
    backend : str
        The backend that computed it.
    operation : str
        Such as "layer 1 (Activation relu) backward", "loss huber", "gradient of 0.weight", "Adam slot m of
        0.weight" or "Adam update of 0.weight".
    ulp, relative : float
        The largest difference of an element, in units in the last place and as a share: of the largest
        number that went into the operation or came out of it, see `parity`. Infinite if shapes or dtypes
        differ, or only one is NaN.

    Examples
    --------
    >>> print(Difference(1, "torch", "layer 0 (Dense) forward", 3.0, 3.3e-16))
    step 1, layer 0 (Dense) forward: 3 ULP, relative 3.3e-16
    """

    step: int
    backend: str
    operation: str
    ulp: float
    relative: float

    def __str__(self) -> str:
        return f"step {self.step}, {self.operation}: {self.ulp:.3g} ULP, relative {self.relative:.1e}"


@dataclass(frozen=True)
class Parity:
    """The result of `parity`; printed, a line for each step and the first difference of each backend.

    Attributes
    ----------
    reference : str
        The backend that the others are compared with.
    backends : tuple of str
        The others.
    dtype : str
        Of training.
    tolerance : float
        Largest difference that passes, in ULP.
    differences : tuple of Difference
        One for every operation, in the order of training.
    drift : tuple of Difference
        That of the weights after each step of `Trainer.fit`, where each backend trains independently.

    Examples
    --------
    >>> wrong = Difference(1, "torch", "loss huber", 4e12, 1e-3)
    >>> Parity("numpy", ("torch",), "float64", 64.0, (wrong,), ()).first == wrong
    True
    """

    reference: str
    backends: tuple[str, ...]
    dtype: str
    tolerance: float
    differences: tuple[Difference, ...]
    drift: tuple[Difference, ...]

    @property
    def first(self) -> Difference | None:
        """The first difference above the tolerance, or None."""
        return next((d for d in self.differences if not d.ulp <= self.tolerance), None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; an infinite difference is None."""
        values: dict[str, Any] = {name: getattr(self, name) for name in ("reference", "dtype", "tolerance")}
        values |= {"backends": list(self.backends), "first": self.first and _plain(self.first)}
        return values | {name: [*map(_plain, getattr(self, name))] for name in ("differences", "drift")}

    def __str__(self) -> str:
        rows = [("step", "backend", "largest difference", "ULP", "relative", "drift of weights, ULP")]
        for drift in self.drift:
            same = [d for d in self.differences if (d.step, d.backend) == (drift.step, drift.backend)]
            most = max(same, key=lambda d: d.ulp)
            columns = f"{most.ulp:.3g}", f"{most.relative:.1e}", f"{drift.ulp:.3g}"
            rows.append((str(drift.step), drift.backend, most.operation if most.ulp else "none", *columns))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)) for row in rows]
        for name in self.backends:
            first = replace(self, differences=tuple(d for d in self.differences if d.backend == name)).first
            result = "agrees in every operation" if first is None else f"differs first in {first}"
            lines.append(
                f"{name} {result} ({self.reference}, {self.dtype}, tolerance {self.tolerance:g} ULP)"
            )
        return "\n".join(map(str.rstrip, lines))


def parity(
    model: Layer,
    x: Any,
    y: Any,
    *,
    loss: str | Callable[..., Any],
    backends: Sequence[str | Backend],
    optimizer: str | Optimizer = "Adam",
    steps: int = 5,
    batch_size: int | None = 32,
    dtype: str = "float64",
    seed: int = 0,
    tolerance: float = 64.0,
) -> Parity:
    """Do the same training steps on several backends, and compare every operation with the first backend's.

    Initial weights, order of samples and random numbers are those of `Trainer.fit`. Each operation gets its
    inputs from the reference, so that a difference is its own and not inherited from earlier ones. Compared
    are the batch, the output of each layer, the loss, the gradients that the loss and each layer pass back,
    those of the parameters, and the optimizer's slots and new parameters.

    Parameters
    ----------
    model : Layer
        Such as `anyback.MLP`.
    x : array (n, ...)
        Inputs, of any library; they are not standardised.
    y : array
        Targets: labels (n,), or (n, k), or (n,) where the model has one output.
    loss : str or Loss
        As `Trainer` takes it.
    backends : sequence of str
        Names that `anyback.backend` takes, the reference first.
    optimizer : str or Optimizer
        As `Trainer` takes it.
    steps : int
        Number of steps; they may span several epochs.
    batch_size : int or None
        Samples a batch; None is all of them.
    dtype : {"float32", "float64"}
        Of weights and training.
    seed : int
        Of initial weights, shuffles and dropout.
    tolerance : float
        Largest difference that passes, in ULP. Different rounding gives a few ULP, and some tens in long
        sums; 64 ULP are 1.4e-14 of the largest number in float64, 7.6e-6 in float32.

    Returns
    -------
    Parity
        The differences, of which `first` is the first above the tolerance, and the drift of the weights.

    Raises
    ------
    TypeError, ValueError
        For bad input, as `Trainer` raises them, for fewer than two backends, and if values of the
        reference are not finite.
    BackendError
        If a backend cannot run.

    Notes
    -----
    In the ULP of a single element, a difference is meaningless where terms cancel. One ULP is here the
    spacing of the dtype at the largest magnitude among the results and the inputs of the operation: the input
    of a layer forward; the upstream gradient, backward and for its parameters; the predictions for a loss;
    only the result for batches and optimizers. Layers inside a `Sequential` or in fields of custom layers
    are named by their path, like parameters.

    Single steps run as plain calls; the drift is that of `Trainer.fit`, which replays and compiles.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback import MLP
    >>> x = np.linspace(-1.0, 1.0, 64)[:, None]
    >>> report = parity(MLP([8], 1), x, x**2, loss="huber", backends=["numpy", "numpy"], steps=2)
    >>> print(report.first)
    None
    >>> report.differences[2].operation, report.differences[2].ulp
    ('layer 1 (Activation relu) forward', 0.0)
    """
    steps = integer("steps", steps)
    if isinstance(backends, str) or len(backends) < 2:
        raise ValueError(f"backends must be two names or more, the reference first, got {backends!r}")
    tolerance = number("tolerance", tolerance, "finite and not negative", "be a number of ULP, at least 0")
    trainers = [Trainer(model, loss, optimizer, backend=b, dtype=dtype, seed=seed) for b in backends]
    weights = [_fit(trainer, x, y, steps, batch_size) for trainer in trainers]
    reference, *others = (_Replica.of(trainer, x, y) for trainer in trainers)
    differences: list[Difference] = []
    drift: list[Difference] = []
    w, stats = (part.astype(dtype) for part in trainers[0].layout.initial(seed))
    state: State = w, reference.optimizer.init(w), stats
    for t in range(1, steps + 1):
        rows = _rows(reference.data[1].shape[0], batch_size, seed, t - 1)
        expected, after = reference.step(state, rows, t)
        if lost := next((s.operation for s in expected if not np.isfinite(s.value).all()), None):
            raise ValueError(
                f"{lost} of {reference.backend.name} is not finite in step {t}, and what others compute says "
                "nothing: take a lower learning rate or fewer steps"
            )
        for other, own in zip(others, weights[1:], strict=True):
            compare = partial(_difference, t, other.backend.name, np.dtype(dtype))
            values, _ = other.step(state, rows, t, expected)
            differences += map(compare, expected, values)
            drift.append(compare(*(_Value("weights", w[t - 1]) for w in (weights[0], own))))
        state = after
    names = tuple(other.backend.name for other in others)
    return Parity(reference.backend.name, names, dtype, float(tolerance), tuple(differences), tuple(drift))


@dataclass(frozen=True)
class _Value:
    """The result of an operation on the host, with the largest magnitude of its input."""

    operation: str
    value: np.ndarray
    source_size: float = 0.0


@dataclass
class _Recorder:
    """A probe that records every result; with a reference, the step continues with the reference's values."""

    backend: Backend
    reference: list[_Value] | None = None
    values: list[_Value] = field(default_factory=list)

    def __call__(self, operation: Operation, result: Array, source: Array | None = None) -> Array:
        size = 0.0 if source is None else _largest(self.backend.to_numpy(source))
        self.values.append(_Value(str(operation), self.backend.to_numpy(result), size))
        if self.reference is None:
            return result
        return self.backend.asarray(self.reference[len(self.values) - 1].value)

    def vector(self, kind: str, names: tuple[str, ...], result: Array, layout: Layout) -> Array:
        parts, first = layout.arrays(self.backend.to_numpy(result)), len(self.values)
        self.values += [_Value(str(Operation(kind, (*names, name))), part) for name, part in parts.items()]
        if self.reference is None:
            return result
        parts_of_reference = self.reference[first : len(self.values)]
        return self.backend.asarray(np.concatenate([v.value.ravel() for v in parts_of_reference]))


@dataclass(frozen=True)
class _Replica:
    """A training run on one backend, whose single steps are recorded."""

    model: BoundModel
    optimizer: Optimizer
    data: Data
    mask: Array
    seed: int

    @classmethod
    def of(cls, trainer: Trainer, x: Any, y: Any) -> _Replica:
        """Return the run of a trainer that is built."""
        model, spec = trainer.bound, trainer.bound.input_spec(Scaler())
        mask = trainer.backend.asarray(model.layout.decays(), trainer.dtype)
        data: Any = spec.put(*spec.check(x, y))
        return cls(model, trainer.optimizer, data, mask, trainer.seed)

    @property
    def backend(self) -> Backend:
        """Where it computes."""
        return self.model.backend

    def step(
        self, state: State, rows: np.ndarray | None, t: int, reference: list[_Value] | None = None
    ) -> tuple[list[_Value], State]:
        """Do step `t`; return the recorded values and the state after it."""
        recorder, backend = _Recorder(self.backend, reference), self.backend
        w, slots, stats = tree_map(backend.asarray, state)
        sums, seed = {"loss": 0.0, "weight": 0.0}, step_seed(self.seed, t - 1)
        at = None if rows is None else backend.indices(rows)
        step = probed(self.model.step, recorder, self.model.loss.name, self.optimizer)
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are looked for
            after = backend.call(
                step.step, w, slots, stats, sums, self.mask, self.data, at, self.optimizer.scalars(t), seed
            )
        return recorder.values, tree_map(backend.to_numpy, after[:3])


class _WeightsOfSteps(NaNGuard):
    """Keep the weights after each of some steps; values that are not finite are compared, not refused."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.weights: list[np.ndarray] = []

    def on_update(self, trainer: Trainer) -> None:
        """Copy them to the host."""
        self.weights.append(trainer.backend.to_numpy(trainer.weights))
        trainer.stop = len(self.weights) == self.steps

    def on_fit_start(self, trainer: Trainer) -> None:
        """Take no snapshot."""

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Accept any loss."""

    def on_stop(self, trainer: Trainer) -> None:
        """Accept any state."""


def _fit(trainer: Trainer, x: Any, y: Any, steps: int, batch_size: int | None) -> list[np.ndarray]:
    """Return the weights after each step of a fit, which also checks all input."""
    kept = _WeightsOfSteps(steps)
    trainer.fit(x, y, epochs=steps, batch_size=batch_size, callbacks=[kept], verbose=0)
    return kept.weights


def _largest(x: np.ndarray) -> float:
    """Return the largest finite magnitude, 0.0 if there is none."""
    return float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0))


def _rows(samples: int, batch_size: int | None, seed: int, step: int) -> np.ndarray | None:
    """Return the rows of a batch in the order of `Trainer.fit`, None where they are all."""
    size = min(batch_size or samples, samples)
    epoch, batch = divmod(step, math.ceil(samples / size))
    if size == samples:
        return None
    return Stream(seed, Purpose.SHUFFLE, epoch).permutation(samples)[batch * size : (batch + 1) * size]


def _difference(
    step: int, backend: str, dtype: np.dtype[Any], reference: _Value, other: _Value
) -> Difference:
    a, b = reference.value, other.value
    size = max(_largest(a), reference.source_size, float(np.finfo(dtype).tiny))
    gap = math.inf
    if a.shape == b.shape and (a.dtype == b.dtype or a.dtype.kind == b.dtype.kind == "i"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        gap = math.inf if np.isnan(apart).any() else float(np.max(apart, initial=0.0))
    return Difference(
        step, backend, reference.operation, gap / float(np.spacing(dtype.type(size))), gap / size
    )


def _plain(difference: Difference) -> dict[str, Any]:
    return {k: None if v == math.inf else v for k, v in asdict(difference).items()}
