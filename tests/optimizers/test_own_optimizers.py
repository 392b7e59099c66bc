"""Optimizers that users write: what a subclass defines, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import anyback as ab
from anyback.optimizers import Optimizer


@dataclass(frozen=True)
class Descent(Optimizer):
    def _update(self, w: Any, g: Any, lr: Any) -> Any:
        return (w - lr * g,)


@dataclass(frozen=True)
class Decaying(Descent):
    weight_decay: float = 0.5


@dataclass(frozen=True)
class Shrinking(Decaying):
    decoupled: ClassVar[bool] = True


W, G, MASK = np.asarray([1.0, -2.0]), np.asarray([0.5, 0.25]), np.asarray([1.0, 0.0])


def test_an_update_is_all_that_a_subclass_must_define():
    w, slots = Descent(0.5).step(W, G, (), 1, mask=None)
    np.testing.assert_array_equal(w, W - 0.5 * G)
    assert slots == () and Descent(0.5).scalars(1) == (0.0, 0.5)


def test_both_kinds_of_weight_decay_come_from_the_base_class():
    coupled, _ = Decaying(0.1).step(W, G, (), 1, mask=MASK)
    np.testing.assert_array_equal(coupled, W - 0.1 * (G + 0.5 * MASK * W))
    decoupled, _ = Shrinking(0.1).step(W, G, (), 1, mask=MASK)
    np.testing.assert_array_equal(decoupled, (1.0 - 0.1 * 0.5 * MASK) * W - 0.1 * G)
    assert Shrinking(0.1).scalars(1) == (0.1 * 0.5, 0.1)


@pytest.mark.parametrize("optimizer", [Descent(0.1), Decaying(0.1), Shrinking(0.1)], ids=repr)
def test_a_trainer_takes_it(optimizer):
    x = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    trainer = ab.Trainer(ab.MLP([3], 1), "huber", optimizer, backend="numpy", dtype="float64")
    before = trainer.fit(x, x[:, :1], epochs=1, verbose=0).last["loss"]
    assert trainer.fit(x, x[:, :1], epochs=20, verbose=0).last["loss"] < before


def test_an_optimizer_without_an_update_cannot_be_made():
    class Empty(Optimizer):
        pass

    with pytest.raises(TypeError, match="abstract.*_update"):
        Empty(0.1)  # type: ignore[abstract]


@pytest.mark.parametrize("base", [Optimizer, ab.Adam])
@pytest.mark.parametrize(("old", "new"), [("at", r"_scalars\(t, lr\)"), ("rule", r"_update\(w, g, \*slots")])
def test_methods_of_earlier_versions_are_named(base, old, new):
    with pytest.raises(TypeError, match=f"Old must define {new}.*, got {old}"):
        type("Old", (base,), {old: lambda self, *rest: rest})


def test_slots_of_another_number_are_refused():
    w = np.ones(3)
    big = ab.AdamW(amsgrad=True)
    w, slots = big.step(w, w, big.init(w), 1)
    with pytest.raises(ValueError, match=r"slots must be those of AdamW \(m, v\), got 3"):
        ab.AdamW().step(w, w, slots, 2)
