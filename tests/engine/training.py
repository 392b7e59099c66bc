"""Training on NumPy plainly and with recorded steps, and running one recorded function."""

from __future__ import annotations

import numpy as np
import pytest

import anyback as ab
from anyback.backends.base import Backend
from anyback.backends.numpy import NumpyBackend
from anyback.engine import replay
from anyback.engine.calls import calls
from anyback.engine.layout import lay_out
from anyback.engine.recording import record
from anyback.pytree import leaves
from tests.conftest import require


class Plain(NumpyBackend):
    """NumPy with nothing recorded."""

    compile, repeat = Backend.compile, Backend.repeat


def data(n=70, width=6, classes=4, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, width)).astype(dtype), rng.integers(0, classes, n)


def trained(backend, model, y, *, dtype="float32", fit=None, width=6, **options):
    x = data(width=width)[0]
    given = {"loss": "softmax_cross_entropy", "optimizer": "Adam", "metrics": ["accuracy"]} | options
    trainer = ab.Trainer(model, backend=backend, dtype=dtype, seed=3, **given)
    trainer.fit(x, y, **({"epochs": 4, "batch_size": 16, "verbose": 0} | (fit or {})))
    return trainer


def state(trainer):
    named = trainer.state()
    assert all(np.isfinite(np.asarray(v, float)).all() for v in named.values())
    return {name: np.asarray(v).tobytes() for name, v in named.items()} | {
        "history": repr(list(trainer.history))
    }


def same(model, y=None, **options):
    """Train plainly and replayed: the same bits, and replays it must have been."""
    y = data()[1] if y is None else y
    plain = trained(Plain(), model, y, **options)
    run, tables = replay._Plan.run, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay._Plan, "run", lambda plan: tables.append(plan.table is not None) or run(plan))
        replayed = trained(NumpyBackend(), model, y, **options)
    assert len(tables) > 5  # and not the first of a kind alone
    assert any(tables) == (replay.PATIENCE < 0)
    assert state(plain) == state(replayed)


def run(f, *args, donated=0, executor="replayed"):
    recording = record(f, *args)
    bound = list(leaves(args))
    operations, places, numbers = lay_out(recording, bound, donated, 2048)
    for (node, _), slot in numbers.items():
        slot[()] = node.value
    if executor == "loops":
        from anyback.engine.table import Table

        Table(operations)()
    else:
        for call in calls(operations):
            call()
    return [places.get(node) for node in leaves(recording.result)], operations


def table_module():
    require("llvmlite")
    from anyback.engine import table

    return table
