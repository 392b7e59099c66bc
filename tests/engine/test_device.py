"""What kernels of a GPU compute: on one where there is one, and by an emulator everywhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import anyback as ab
from anyback import activations, losses, optimizers
from anyback.arrays import namespace
from anyback.engine import fusion, program
from anyback.engine.device import Compiled, Stepped
from anyback.engine.placing import arranged
from anyback.engine.program import Program
from anyback.pytree import leaves
from tests.engine.emulated_gpu import Emulated, EmulatedGPU
from tests.engine.programs import agree, emulated, rng, trained

pytestmark = pytest.mark.usefixtures("at_once")


def test_every_activation_loss_and_rule(gpu):
    """One program of all of them: forward, backward, and each optimizer's rule."""

    def everything(x, dy, pred, signs, unit, counts, labels, w, g, lr):
        found = []
        for name in activations.__all__:
            y, vjp = getattr(activations, name)(x)
            found += [y, vjp(dy[:, : y.shape[1]])]
        targets = {"signs": signs, "unit interval": unit, "counts": counts, "reals": x, "labels": labels}
        for name in losses.__all__:
            loss = getattr(losses, name)
            if hasattr(loss, "sums"):
                value, _, vjp = loss.sums(pred, targets[loss.targets])
                found += [value, vjp(0.5)]
        for name in optimizers.__all__:
            optimizer = getattr(optimizers, name)()
            slots = [g * g for _ in optimizer.init(w0)]
            found += leaves(optimizer.update(w, g, *slots, 1.0, *optimizer.scalars(3, lr0)[:-1], lr))
        return tuple(found)

    w0, lr0 = np.ones(5), 0.01
    x = rng.normal(size=(6, 4)) * 2.0
    signs, unit, counts = np.sign(x) + (x == 0.0), rng.random((6, 4)), np.floor(4.0 * rng.random((6, 4)))
    arguments = (x, x[::-1] + 0.5, 2.0 * x[::-1] - 0.2, signs, unit, counts, np.arange(6) % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agree(gpu, everything, *arguments, w0, rng.normal(size=5), 0.01, rtol=1e-9)


def test_sums_of_every_kind(gpu):
    def sums(x, y):
        xp = namespace(x)
        norm = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))
        z = y - xp.sum(y, axis=0, keepdims=True) / y.shape[0]
        z = z / xp.sqrt(xp.sum(z * z, axis=0, keepdims=True))
        return (
            x / norm,
            xp.sum(xp.abs(x)),
            xp.max(y, axis=1, keepdims=True),
            xp.min(y, axis=0),
            xp.sum(xp.sum(y, axis=-1) ** 2.0),
            xp.sum(z * z, axis=(0, 1)),
            z,
            xp.sum(y > 0.0, axis=0),
            xp.max(x, axis=0),
        )

    program = agree(gpu, sums, rng.normal(size=70_001), rng.normal(size=(300, 37)), rtol=1e-11)
    assert any(launch.grid[1] > 1 for launch in program.launches), "a long sum is made in parts"


@pytest.mark.parametrize(("tall", "wide"), [(1 << 12, 5000), (600, 1 << 22)])
def test_sums_down_columns_in_parts(gpu, tall, wide, monkeypatch):
    monkeypatch.setattr(fusion, "TALL", tall)
    monkeypatch.setattr(fusion, "WIDE", wide)

    def down(x, y):
        xp = namespace(x)
        dx = x * xp.astype(y > 0.0, x.dtype)
        return dx, xp.sum(dx, axis=0), xp.max(x, axis=-2, keepdims=True), dx / xp.sum(dx * dx, axis=0)

    program = agree(gpu, down, rng.normal(size=(1100, 7)), rng.normal(size=(1100, 7)), rtol=1e-11)
    assert {launch.grid[1] for launch in program.launches} == {1, 3}


def test_constants_rows_from_the_end_and_functions_without_c(gpu):
    steps, table = np.arange(1.0, 9.0)[::2], np.arange(12.0).reshape(4, 3)

    def odd(x, rows, labels):
        xp = namespace(x)
        found = x * steps, xp.take(x, rows, axis=0), x % 2.0, xp.logaddexp(x, 0.0), x.T * 2.0
        return *found, xp.roll(x, 1), xp.max(x > 0.0), labels == 2**32 + 3, xp.take(table, rows, axis=0)

    agree(gpu, odd, rng.normal(size=(3, 4)), np.array([-1, 0, 2]), np.arange(5, dtype="i4"))


def test_a_population(gpu):
    """Stacks of weights, and biases that are the same along the batch but not along the stack."""

    def networks(w, b, x, y):
        xp = namespace(w)
        h = xp.matmul(x, w.mT) + b[..., None, :]
        h, vjp = activations.relu(h)
        loss, _, dloss = losses.mean_squared_error.sums(h, y)
        dh = vjp(dloss(1.0))
        return loss, xp.matmul(dh.mT, x), xp.sum(dh, axis=-2)

    w, b = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5))
    agree(gpu, networks, w, b, rng.normal(size=(7, 4)), rng.normal(size=(3, 7, 5)))
    agree(gpu, networks, w, b, rng.normal(size=(3, 7, 4)), rng.normal(size=(3, 7, 5)))


def test_views_and_joined_arrays(gpu):
    def turned(x, y):
        xp = namespace(x)
        joined = xp.concat([x, y * 2.0, x[:, ::-1]], axis=1)
        flat = xp.concat([xp.reshape(x.mT, (-1,)), xp.reshape(y + 1.0, (-1,)), xp.sum(x, axis=0)], axis=0)
        return (
            joined * 3.0,
            flat - 1.0,
            x.mT + 1.0,
            x[1, 2],
            x[0] * 2.0,
            xp.argmax(x, axis=-1),
            xp.cumulative_sum(y, axis=1),
        )

    agree(gpu, turned, rng.normal(size=(5, 4)), rng.normal(size=(5, 3)))


def test_numbers_and_empty_arrays(gpu):
    def scaled(x, n, k, empty):
        xp = namespace(x)
        nothing = xp.sum(empty * 2.0), xp.sum(x[:0], axis=0)
        return (
            x * n + k,
            xp.where(x > n * 2.0, x, float("-inf")),
            empty * 2.0,
            xp.astype(x, xp.float32),
            nothing,
        )

    agree(gpu, scaled, rng.normal(size=(3, 4)), 0.3, 7, np.zeros((0,)))


@emulated
def test_results_take_the_place_of_arguments():
    machine = EmulatedGPU()
    step = Compiled(lambda w, v, g, lr: (w - lr * (v + g), v + g), machine, donate=2)
    w, v, g = np.ones(4), np.zeros(4), np.full(4, 0.5)
    kept = g.copy()
    for k in range(3):
        w1, v1 = step(w, v, g, 0.1)
        if k:
            assert w1 is w and v1 is v
        w, v = w1, v1
    np.testing.assert_allclose(v, 1.5)
    np.testing.assert_allclose(w, 1.0 - 0.1 * (0.5 + 1.0 + 1.5))
    np.testing.assert_array_equal(g, kept)
    swapped = Compiled(lambda a, b: (b, a), machine, donate=2)
    a, b = np.arange(3.0), np.ones(3)
    a, b = swapped(a, b)
    np.testing.assert_array_equal(a, 1.0)
    np.testing.assert_array_equal(b, [0.0, 1.0, 2.0])


def test_shifted_results_do_not_overwrite_what_is_still_read(gpu):
    def shifted(w, s):
        xp = namespace(w)
        return w[::-1] + xp.sum(w), s + xp.max(w)

    agree(gpu, shifted, rng.normal(size=700), np.ones(()), donate=2)


@emulated
def test_updates_beside_a_sum_in_parts(gpu):
    """Each part is a block of its own: what all of them would write in place is written elsewhere."""

    def beside(w, n, x):
        return w * 0.9, n + 1.0, namespace(x).sum(x, axis=0), namespace(x).sum(x)

    agree(gpu, beside, rng.normal(size=4), np.ones(()), rng.normal(size=(20_000, 4)), donate=2)


@emulated
def test_arguments_that_changed_places():
    f = Compiled(lambda a, b, g: (a * 2.0 + 1.0, b + a + g), EmulatedGPU(), donate=2, fresh=1)
    a, b = f(np.full(3, 1.0), np.full(3, 10.0), np.ones(3))
    c, d = f(b, a, a)
    np.testing.assert_array_equal(c, 2.0 * 12.0 + 1.0)
    np.testing.assert_array_equal(d, 3.0 + 12.0 + 3.0)
    with pytest.warns(UserWarning, match="it returns what it was given to overwrite"):
        Compiled(lambda w: (w + 1.0, w[1:]), EmulatedGPU(), donate=1)(np.ones(3))


@emulated
def test_arguments_that_were_to_stay_and_did_not():
    """A small one is copied from then on, a large one bound anew."""
    f = Compiled(lambda w, x: (w + x,), EmulatedGPU(), donate=1)
    w = np.zeros(3)
    for k in range(5):
        (w,) = f(w, np.full(3, float(k)))
    np.testing.assert_array_equal(w, 10.0)


@emulated
def test_numbers_of_another_kind_run_plainly():
    steps = Stepped(lambda w, n, lr: (w * 2.0**n - lr,), EmulatedGPU(), donate=1)
    (w,) = steps((np.ones(2),), (1,), [(1,), (1,)])
    (w,) = steps((w,), (-1,), [(0.5,), (0.25,)])
    expected = 1.0
    for n, lr in (1, 1), (1, 1), (-1, 0.5), (-1, 0.25):
        expected = expected * 2.0**n - lr
    np.testing.assert_allclose(w, expected)


@emulated
def test_a_result_that_cannot_take_the_place_of_an_argument_is_said():
    f = Compiled(lambda w: (namespace(w).astype(w, np.float32),), EmulatedGPU(), donate=1)
    with pytest.warns(UserWarning, match="it returns .*float32.* for .*float64"):
        assert f(np.ones(3))[0].dtype == np.float32


@emulated
@pytest.mark.parametrize("instead", ["a + b * (T)0.9", "(a + b) * (T)NAN"])
def test_kernels_that_compute_something_else_are_not_believed(instead, monkeypatch):
    wrong = program.PREAMBLE.replace("return a + b", f"return {instead}")
    monkeypatch.setattr(program, "PREAMBLE", wrong)
    f = Compiled(lambda x: namespace(x).sum(x, axis=0), EmulatedGPU())
    with pytest.warns(UserWarning, match="they give a result of size .* off by"):
        np.testing.assert_array_equal(f(np.ones((64, 3))), 64.0)
    assert list(f.programs.values()) == [None]


def to_bfloat16(x):
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


def to_float16(x):
    scale = 2.0 ** (14 - np.floor(np.log2(np.abs(x).max())))
    return (x * scale).astype("f2") / np.float32(scale)


@emulated
@pytest.mark.parametrize("rounded", [to_bfloat16, to_float16])
def test_products_of_rounded_operands(rounded):
    half = rounded.__name__[3:]

    def product(x, w):
        return namespace(x).matmul(x * 1.0, w[:40].mT)

    x, w = rng.normal(size=(8, 20)).astype("f4"), rng.normal(size=(50, 20)).astype("f4")
    for size in (1e-7, 1.0, 1e7):
        machine = EmulatedGPU(half)
        found = Program(product, (x * size, w), machine, 0, 0)((x * size, w)) / size
        np.testing.assert_allclose(found, rounded(x * size) @ rounded(w)[:40].T / size, rtol=1e-5, atol=1e-5)
        assert 1e-5 < np.abs(found - x @ w[:40].T).max() < 0.1
    gpu = Emulated(half)
    ours, plain = (trained(ab.MLP([16], 3), b, "float32") for b in (gpu, "numpy"))
    assert f"{half}(" in gpu.machine.sources[0].split("step0")[1]
    assert ours.history["loss"] == pytest.approx(plain.history["loss"], rel=0.02)
    w[0, 0] = np.inf  # is told of, whatever it does to the others
    found = Program(product, (x, w), EmulatedGPU(half), 0, 0)((x, w))
    assert not np.isfinite(found[:, 0]).any()


def test_results_that_live_at_once_lie_apart():
    lives = {object(): (int(a), int(a + b)) for a, b in rng.integers(0, 20, (60, 2))}
    sizes = {node: int(n) for node, n in zip(lives, rng.integers(1, 5000, 60), strict=True)}
    starts, room = arranged(sizes, lives)
    for a in lives:
        assert starts[a] % 256 == 0 and starts[a] + sizes[a] <= room
        for b in lives:
            together = lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]
            apart = starts[a] + sizes[a] <= starts[b] or starts[b] + sizes[b] <= starts[a]
            assert a is b or apart or not together
    assert room < sum(sizes.values()), "nothing is used again"
