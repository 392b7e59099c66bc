"""Steps that are run several at a time give the bits of steps that are run one by one."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import namespace
from anyback.backends import backend
from anyback.backends.base import Backend
from tests.conftest import require

GROUPS = [[1, 1, 1], [3], [2, 1], [1, 2]]
rng = np.random.default_rng(0)
X = rng.normal(size=(70, 4))
Y = np.arange(70) % 3


def trained(name, groups, *, rows=True, dtype="float32", optimizer="Adam", weights=True, steps=3):
    """The host arrays of the state after `steps` batches that were run in groups of such sizes."""
    trainer = ab.Trainer(
        ab.MLP([5], 3, norm="batch", dropout=0.3), "softmax_cross_entropy", optimizer, backend=name,
        dtype=dtype, metrics=["accuracy"], l2=0.01, clip_norm=1.0,
    ).build(4)  # fmt: skip
    found = trainer.backend
    weight = found.asarray(np.linspace(0, 2, 70), dtype) if weights else None
    fixed = trainer.bound.mask, (found.asarray(X, dtype), found.asarray(Y), weight)
    order = found.indices(np.random.default_rng(1).permutation(70))
    state, batches = (
        (
            trainer.train_state.w,
            trainer.train_state.slots,
            trainer.train_state.stats,
            trainer.train_state.sums,
        ),
        [],
    )
    for t in range(steps):
        batch = order[t % 3 * 20 : t % 3 * 20 + 20] if rows else None
        batches.append(
            (
                batch,
                trainer.optimizer.scalars(t + 1, trainer.train_state.lr(trainer.optimizer.lr, t)),
                12345 - 2**31 * (t % 2),
            )
        )
    for size in groups:
        state = trainer.bound.steps(state, fixed, batches[:size])
        batches = batches[size:]
    assert not batches
    trainer.train_state.w, trainer.train_state.slots, trainer.train_state.stats, trainer.train_state.sums = (
        state
    )
    return {key: found.to_numpy(value) for key, value in trainer.state().items()}, trainer


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        assert a[name].dtype == b[name].dtype


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_groups_of_any_size_give_the_same_bits(backend_name, rows, dtype):
    first, *others = (trained(backend_name, groups, rows=rows, dtype=dtype)[0] for groups in GROUPS)
    for other in others:
        assert_same(first, other)
    alike, tolerance = trained("numpy", [3], rows=rows, dtype=dtype)[0], 1e-12 if dtype == "float64" else 1e-5
    for name, value in first.items():
        np.testing.assert_allclose(value, alike[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_more_steps_than_one_call_takes(backend_name):
    assert_same(trained(backend_name, [150], steps=150)[0], trained(backend_name, [64, 64, 22], steps=150)[0])
    assert_same(trained(backend_name, [150], steps=150)[0], trained(backend_name, [1] * 150, steps=150)[0])


def test_steps_of_any_function(backend_name):
    found = backend(backend_name)
    steps = found.repeat(lambda w, c, rows, scalars, word: (w + c * scalars[0],), donate=1)
    (w,) = steps((found.asarray(np.zeros(3)),), (2.0,), [(None, (float(i),), i) for i in range(1, 5)])
    assert found.to_numpy(w).tolist() == [20.0] * 3


def fitted(name, hooks, epochs=3, trainer=None, **options):
    trainer = trainer or ab.Trainer(
        ab.MLP([6], 3, dropout=0.2, norm="layer"),
        "softmax_cross_entropy",
        ab.Adam(ab.schedules.Cosine(0.1, period=30)),
        backend=name,
        **options,
    )
    trainer.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, callbacks=hooks)
    return trainer


class Stop(ab.callbacks.Callback):
    """Stop in the middle of an epoch."""

    def on_update(self, trainer):
        trainer.stop = trainer.updates == 13


def test_hooks_and_resuming_change_no_bit(backend_name, tmp_path):
    whole = fitted(backend_name, [])
    watched = fitted(backend_name, [ab.callbacks.Lambda(on_update=lambda trainer: None)])
    halved = fitted(backend_name, [Stop()])
    assert 0 < halved.batch < 9
    halved.save(tmp_path / "half")
    resumed = fitted(backend_name, [], trainer=ab.Trainer.load(tmp_path / "half", backend=backend_name))
    for other in watched, resumed:
        assert other.updates == whole.updates == 27
        np.testing.assert_array_equal(
            whole.backend.to_numpy(whole.weights), other.backend.to_numpy(other.weights)
        )
        assert [row["loss"] for row in other.history.rows] == [row["loss"] for row in whole.history.rows]


def test_jax_compiles_one_loop_for_each_size_of_batch():
    require("jax")
    trainer = fitted("jax", [])
    (loop,) = trainer.bound.steps.args
    assert loop._cache_size() == 2, "of 8 samples, and of the 6 that are left"
    fitted("jax", [ab.callbacks.Lambda(on_update=lambda trainer: None)], epochs=5, trainer=trainer)
    assert loop._cache_size() == 2, "hooks go through the same loop"


def test_jax_keeps_the_precision_of_numbers():
    """A third is rounded once, to what the weights are of."""
    found = backend("jax") if require("jax") else None
    for dtype in "float32", "float64":
        steps = found.repeat(lambda w, rows, scalars, word: (w + scalars[0],), donate=1)
        (w,) = steps((found.asarray(np.zeros(1), dtype),), (), [(None, (1 / 3,), 0)])
        assert w.dtype == dtype
        assert found.to_numpy(w)[0] == np.dtype(dtype).type(1 / 3)


def test_jax_makes_room_for_fewer_large_batches():
    jax = require("jax")
    found, seen = backend("jax"), []

    def step(w, rows, scalars, word):
        return (w + jax.numpy.sum(rows) * scalars[0],)

    steps = found.repeat(step, donate=1)
    (compiled,) = steps.args
    counting = partial(steps.func, lambda *args: seen.append(args) or compiled(*args))
    rows = np.ones(40_000, "int32")
    (w,) = counting((found.asarray(np.zeros(1)),), (), [(rows, (0.5,), 0)] * 3)
    assert found.to_numpy(w)[0] == 60_000.0
    assert [args[3] for args in seen] == [1, 1, 1]


def test_jax_off_the_cpu_is_called_step_by_step(monkeypatch):
    """A loop on a GPU would make the host wait for each of its rounds."""
    require("jax")
    found = backend("jax")
    called = []
    monkeypatch.setattr(Backend, "repeat", lambda self, step, donate: called.append((step, donate)))
    monkeypatch.setattr(found, "device", type("Device", (), {"platform": "gpu"})())
    found.repeat(len, donate=4)
    assert called == [(len, 4)]


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_jax_puts_vectors_together_as_its_own_concat_does(platform):
    jax = require("jax")
    from jax import export

    backend("jax")

    def together(*pieces):
        return namespace(pieces[0]).concat(pieces, axis=-1)

    pieces = [np.arange(3.0), np.zeros(0), np.arange(5.0)]
    assert jax.jit(together)(*pieces).tolist() == np.concatenate(pieces).tolist()
    text = export.export(jax.jit(together), platforms=[platform])(*pieces).mlir_module()
    assert ("concatenate" in text) == (platform == "cuda"), "piece after piece on a CPU only"
    mixed = [np.arange(2), np.arange(3.0)]
    assert jax.jit(together)(*mixed).tolist() == [0.0, 1.0, 0.0, 1.0, 2.0]
    square = [np.ones((2, 1)), np.zeros((2, 2))]
    assert jax.jit(together)(*square).tolist() == [[1.0, 0.0, 0.0]] * 2


def test_torch_hands_out_ordinary_tensors():
    """The steps run in inference mode, whose tensors autograd does not take."""
    torch = require("torch")
    trainer = fitted("torch", [ab.callbacks.Lambda(on_update=lambda trainer: None)])
    assert not trainer.weights.is_inference()
    assert not torch.is_inference_mode_enabled()
    w = trainer.weights.requires_grad_()
    (w * w).sum().backward()
    assert w.grad is not None


def test_torch_takes_rows_by_one_call():
    torch = require("torch")
    found = backend("torch")
    x = torch.arange(6.0).reshape(3, 2)
    assert namespace(x) is found.namespace
    assert found.namespace.take(x, torch.tensor([2, 0]), axis=0).tolist() == [[4.0, 5.0], [0.0, 1.0]]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_torch_compile_trains_alike():
    require("torch")
    plain, compiled = (trained(name, [3], dtype="float64")[0] for name in ("torch", "torch:compile"))
    for name, value in plain.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-12, atol=1e-12, err_msg=name)
    assert_same(compiled, trained("torch:compile", [2, 1], dtype="float64")[0])


def test_torch_compile_that_fails_says_so_once(monkeypatch):
    torch = require("torch")

    def fail(*args, **options):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(
        UserWarning, match="steps run without torch.compile, which failed: no compiler$"
    ) as told:
        state, trainer = trained("torch:compile", [2, 1])
    assert len(told) == 1
    assert_same(state, trained("torch", [3])[0])
    assert trainer.backend.name == "torch:compile"


@pytest.mark.parametrize("name, device", [("torch:compile", "cpu"), ("torch:meta:compile", "meta")])
def test_torch_compile_is_part_of_the_name(name, device):
    torch = require("torch")
    found = backend(name)
    assert found.device == torch.device(device)
    assert found.name == name
    assert found.compiled
    assert not backend("torch").compiled
