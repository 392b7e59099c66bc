"""The data of one call of fit: checked, split, standardised, cast and placed on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from anyback.arrays import Array
from anyback.backends import Backend
from anyback.losses import Loss
from anyback.random import Purpose, Stream
from anyback.training.inputs import (
    Scaler,
    as_inputs,
    as_targets,
    as_weights,
    cast,
    class_weights,
    fingerprint,
    fits,
    one_class,
    some_weight,
)
from anyback.training.step import Data
from anyback.validation import integer

__all__ = ["FitData", "HostData", "InputSpec", "chunks"]

Checked: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class HostData(tuple[Any, ...]):
    """Inputs, targets and weights that do not fit on the device: batches are copied there one by one.

    Examples
    --------
    >>> x, y, weight = HostData((np.ones((4, 2)), np.zeros(4), None))
    >>> x.shape
    (4, 2)
    """


@dataclass(frozen=True)
class InputSpec:
    """What the data of a model must look like, and where they are placed.

    Training only reads its data. Where a backend shares the host's memory (NumPy; PyTorch on the CPU),
    inputs that have the training dtype, are contiguous and are neither standardised nor split are not
    copied: training reads the user's own array, which must keep its values until training ends.

    Attributes
    ----------
    loss : Loss
        Defines the kind of the targets.
    in_shape : tuple of int
        Shape of a sample.
    outputs : int
        Number of the model's outputs.
    backend, dtype
        Where the data are placed.
    scaler : Scaler
        How inputs are standardised.
    classes : bool
        Whether a metric takes each sample to be of one class.
    """

    loss: Loss
    in_shape: tuple[int, ...]
    outputs: int
    backend: Backend
    dtype: str
    scaler: Scaler
    classes: bool = False

    def check(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        name: str = "",
    ) -> Checked:
        """Return inputs, targets and weights as host arrays that fit the model, or raise an error."""
        x = as_inputs(x, f"{name}x", self.in_shape)
        soft = self.loss.probabilities or self.loss.link == "softmax"
        y = as_targets(y, self.loss.targets, self.outputs, len(x), soft=soft, name=f"{name}y")
        if self.classes and y.ndim == 2 and self.outputs > 1 and self.loss.link != "softmax":
            one_class(y, f"{name}y")
        return x, y, as_weights(sample_weight, len(y), f"{name}sample_weight")

    def weigh_classes(self, data: Checked, given: Mapping[int, float] | Sequence[float]) -> Checked:
        """Multiply the weight of each sample by that of its class."""
        kind, alone = self.loss.targets, self.outputs == 1
        if kind in ("reals", "counts") or not (kind == "labels" or self.loss.link == "softmax" or alone):
            raise ValueError(f"class_weight needs one class a sample, got it with loss {self.loss.name!r}")
        x, y, weight = data
        own = class_weights(given, y, self.outputs)
        return x, y, some_weight(own if weight is None else own * weight, "class_weight of the samples")

    def put(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, name: str = "") -> Data | HostData:
        """Standardise, cast and place checked data on the device, or on the host if they do not fit there.

        Data that need no conversion stay in their own memory.
        """
        made = (
            self.scaler(x, self.dtype, f"{name}x"),
            y if y.dtype.kind == "i" else cast(y, self.dtype, f"{name}y"),
            None if weight is None else cast(weight, self.dtype, f"{name}sample_weight"),
        )
        if not self.backend.fits(sum(part.nbytes for part in made if part is not None)):
            return HostData(made)
        put = self.backend.share
        return put(made[0]), put(made[1]), None if made[2] is None else put(made[2])


@dataclass(frozen=True)
class FitData:
    """The data of a fit and how they are divided into batches.

    Attributes
    ----------
    spec : InputSpec
        With the scaler learned from the training data.
    data, validation : tuple of arrays
        On the device (inputs perhaps in the user's own memory), or `HostData`; validation may be None.
    samples, batch_size, accumulate : int
        Training samples, samples a batch, batches an update.
    shuffle : bool
        Whether each epoch has its own order.
    config : dict
        Batch size, splits and a fingerprint of the data: the same are needed to resume within an epoch.
    """

    spec: InputSpec
    data: Data | HostData
    validation: Data | HostData | None
    samples: int
    batch_size: int
    accumulate: int
    shuffle: bool
    config: dict[str, Any]

    @property
    def batches(self) -> int:
        """Batches an epoch; the last may be smaller."""
        return math.ceil(self.samples / self.batch_size)

    @classmethod
    def of(
        cls,
        spec: InputSpec,
        train: Checked,
        held: Checked | None,
        *,
        seed: int,
        standardize: bool,
        batch_size: int | None,
        validation_split: float,
        shuffle: bool,
        accumulate: int,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
    ) -> FitData:
        """Split, weight classes, standardise and place; mean and scale are those of the training part."""
        config: dict[str, Any] = {
            "data": fingerprint(*train, *held or ()),
            "batch_size": batch_size,
            "validation_split": validation_split,
            "shuffle": shuffle,
            "accumulate": accumulate,
            "class_weight": None,
        }
        if validation_split:
            # Checked before the split: an error after it would count rows within the part.
            if not standardize:
                fits(train[0], spec.dtype, "x")
            fits(train[1], spec.dtype, "y")
            train, held = _split(train, validation_split, seed)
        if class_weight is not None:
            train = spec.weigh_classes(train, class_weight)
            config["class_weight"] = fingerprint(train[2])
        if standardize and spec.scaler.mean is None:
            spec = replace(spec, scaler=Scaler.fit(train[0]))
        samples = len(train[0])
        size = samples if batch_size is None else min(integer("batch_size", batch_size), samples)
        validation = None if held is None else spec.put(*held, name="validation ")
        return cls(spec, spec.put(*train), validation, samples, size, accumulate, shuffle, config)


def _split(data: Checked, share: float, seed: int) -> tuple[Checked, Checked]:
    """Return the training and the validation part; the seed determines which rows are in which."""
    x, y, weight = data
    order = Stream(seed, Purpose.SPLIT).permutation(len(x))
    size = round(len(x) * share)
    if not 0 < size < len(x):
        raise ValueError(f"validation_split={share} of {len(x)} samples leaves one part empty")

    def part(rows: np.ndarray, name: str) -> Checked:
        return x[rows], y[rows], None if weight is None else some_weight(weight[rows], name)

    return part(order[size:], "sample_weight of the training part"), part(
        order[:size], "sample_weight of the validation part"
    )


def chunks(data: Data | HostData, size: int, backend: Backend) -> Iterator[tuple[int, Data, Array | None]]:
    """Yield chunks of `size` rows: the first row, data on the device, and the rows of the chunk in them."""
    samples = data[0].shape[0]
    rows, starts = np.arange(samples), range(0, samples, size)
    if isinstance(data, HostData):
        parts = backend.feed(data, (rows[start : start + size] for start in starts))
        yield from ((start, part, None) for start, part in zip(starts, parts, strict=True))
    else:
        rows = backend.indices(rows)
        yield from ((start, data, rows[start : min(start + size, samples)]) for start in starts)
