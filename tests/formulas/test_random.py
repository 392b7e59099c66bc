"""Draws: known answers, the same on every library, and what makes them random."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import pytest

from anyback.arrays import device, namespace
from anyback.random import Key, Purpose, Stream, step_seed, step_seeds
from tests.conftest import require

WORD = 1843212466


def philox(key, counter):
    """Philox-4x64-10 as the paper has it, in Python's integers."""
    mask = 2**64 - 1
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        p, q = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (q >> 64) ^ b ^ k, q & mask, (p >> 64) ^ d ^ l, p & mask
        k, l = (k + 0x9E3779B97F4A7C15) & mask, (l + 0xBB67AE8584CAA73B) & mask
    return [a, b, c, d]


def lowbias32(x):
    """The hash as published, in unsigned arithmetic."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def packed(mask):
    return np.packbits(mask).tobytes().hex()


# --- on the host ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "purpose", "path", "expected"),
    [
        (
            0,
            Purpose.WEIGHTS,
            ("0.weight",),
            [9813234117217069896, 14860920267963454738, 18191179790256490041],
        ),
        (2**64 - 1, Purpose.SHUFFLE, (5,), [12610247310697421786, 18163979497071090406]),
        (7, "mine", (), [1915663363743651761, 11021729917998204870]),
    ],
)
def test_known_bits(seed, purpose, path, expected):
    assert Stream(seed, purpose, *path).bits(len(expected)).tolist() == expected


def test_bits_are_those_of_the_published_generator():
    a, b = zlib.crc32(b"0.weight"), zlib.crc32(b"thgiew.0")
    # NumPy counts up before it makes the first block.
    blocks = [philox((3, 1), (n, 0, a, b)) for n in (1, 2)]
    assert Stream(3, Purpose.WEIGHTS, "0", "weight").bits(7).tolist() == [*blocks[0], *blocks[1][:3]]


def test_known_numbers():
    draw = Stream(0, Purpose.WEIGHTS, "0.weight")
    assert draw.uniform(3).tolist() == [0.5319764874497809, 0.805612101982992, 0.9861458324335244]
    assert draw.words(3).tolist() == [-2010145681, -834889665, -59503197]
    assert draw.permutation(10).tolist() == [7, 4, 3, 0, 5, 1, 6, 8, 9, 2]
    normal = [0.421870343319682, -1.1577991626774025, 1.9188739148352583]
    np.testing.assert_allclose(draw.normal(3), normal, rtol=1e-14)


def test_known_step_seeds():
    words = [1843212466, -1527358798, 2078466503, 1866587697, 1523679902, 303477542]
    assert step_seeds(0, 0, 6) == words
    assert Stream(0, Purpose.DROPOUT).words(6).tolist() == words
    assert step_seed(2**64 - 1, 10**12) == 1210308122


@pytest.mark.parametrize("start", range(9))
def test_a_range_of_words_equals_its_single_words(start):
    words = step_seeds(11, start, start + 7)
    assert words == [step_seed(11, n) for n in range(start, start + 7)]
    assert all(type(word) is int and -(2**31) <= word < 2**31 for word in words)
    assert step_seeds(11, start, start) == []


def test_the_same_in_another_process():
    code = "from anyback.random import *; print(Stream(1, 'mine', 'a', 2).words(2).tolist(), Key(3, 'a'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {f"{Stream(1, 'mine', 'a', 2).words(2).tolist()} {Key(3, 'a')}\n"}


def test_streams_differ_by_seed_purpose_and_path():
    draws = [
        Stream(s, p, *path)
        for s in (0, 1)
        for p in (*Purpose, "a", "b")
        for path in ((), ("0",), (1,), ("0", 1))
    ]
    assert len({draw.bits(1).item() for draw in draws}) == len(draws)


def test_longer_draws_begin_as_shorter_ones_do():
    draw = Stream(5, Purpose.DATA)
    for kind in ("bits", "uniform", "words", "normal"):
        assert getattr(draw, kind)(4).tolist() == getattr(draw, kind)(9)[:4].tolist()
    np.testing.assert_array_equal(draw.normal((3, 5)).reshape(-1), draw.normal(15))


def test_shapes_and_dtypes():
    draw = Stream(np.int64(5), Purpose.DATA)
    assert draw.uniform((2, 0, 3)).shape == draw.normal((2, 0, 3)).shape == (2, 0, 3)
    assert draw.uniform(()).shape == draw.normal(()).shape == ()
    kinds = [draw.bits(2), draw.uniform(2), draw.normal(3), draw.permutation(2), draw.words(2)]
    assert [x.dtype.name for x in kinds] == ["uint64", "float64", "float64", "int64", "int32"]
    assert draw.permutation(0).tolist() == [] and draw.permutation(1).tolist() == [0]


def test_uniform_numbers_fill_the_interval_evenly():
    u = Stream(1, Purpose.CHECK, "uniform").uniform(64_000)
    assert u.min() >= 0.0 and u.max() < 1.0
    counts = np.bincount((u * 64).astype(int), minlength=64)
    # 63 degrees of freedom: 99.9 % of good generators are below 103
    assert np.sum((counts - 1000.0) ** 2 / 1000.0) < 103.0
    pairs = np.bincount((u[::2] * 8).astype(int) * 8 + (u[1::2] * 8).astype(int), minlength=64)
    assert np.sum((pairs - 500.0) ** 2 / 500.0) < 103.0


def test_normal_numbers_have_the_moments_of_a_normal_law():
    z = Stream(1, Purpose.CHECK, "normal").normal(200_000)
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1.0) < 0.02
    assert abs(np.mean(z**3)) < 0.03 and abs(np.mean(z**4) - 3.0) < 0.1
    assert abs(np.mean(np.abs(z) > 2.0) - 0.0455) < 0.002
    assert abs(np.mean(z[::2] * z[1::2])) < 0.01


def test_a_permutation_is_one_and_all_are_as_likely():
    assert sorted(Stream(2, Purpose.SHUFFLE, 3).permutation(1000).tolist()) == list(range(1000))
    seen: dict[tuple[int, ...], int] = {}
    for epoch in range(2400):
        order = tuple(Stream(2, Purpose.SHUFFLE, epoch).permutation(4).tolist())
        seen[order] = seen.get(order, 0) + 1
    # 23 degrees of freedom: 99.9 % are below 50
    assert len(seen) == 24 and sum((n - 100.0) ** 2 / 100.0 for n in seen.values()) < 50.0


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None, True])
def test_a_bad_seed_is_named(seed):
    message = rf"seed must be an integer in \[0, 2\*\*64\), got {seed!r}"
    with pytest.raises(ValueError, match=message):
        Stream(seed, Purpose.WEIGHTS)
    with pytest.raises(ValueError, match=message):
        step_seed(seed, 0)


def test_bad_purposes_and_ranges_are_named():
    with pytest.raises(ValueError, match=r"purpose must be an integer in \[0, 2\*\*32\), got -3"):
        Stream(0, -3)
    with pytest.raises(ValueError, match=r"0 <= start <= stop, got 3, 2"):
        step_seeds(0, 3, 2)
    with pytest.raises(ValueError, match=r"0 <= start <= stop, got -1, 0"):
        step_seed(0, -1)


def test_draws_and_keys_are_frozen_values():
    assert Stream(1, Purpose.WEIGHTS, "0", "weight") == Stream(1, Purpose.WEIGHTS, "0.weight")
    assert Key(1).at("0").at("inner") == Key(1, "0.inner")
    with pytest.raises(AttributeError):
        Stream(1, 1).seed = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Key(1).step_seed = 2  # type: ignore[misc]


# --- in the graph --------------------------------------------------------------------------------

KNOWN = [
    (Key(WORD, "1"), 0.5, (8, 16), "c15ba85dbbbb94dfe52a6bb084893630"),
    (Key(-(2**31), "0.inner"), 0.9, (8, 16), "fffffffbf7fffffbe7ffefff6f7ffebe"),
]


def kept(library, key, probability, shape):
    """Return a mask drawn in `library`, on the host, and check what kind of array it is."""
    like = library.array(np.zeros(1), np.float32)
    mask = key.bernoulli(probability, shape, namespace(like), device(like))
    assert device(mask) == device(like) and namespace(mask).isdtype(mask.dtype, "bool")
    return library.host(mask) if library.has_values else np.zeros(tuple(mask.shape))


@pytest.mark.parametrize(("key", "probability", "shape", "expected"), KNOWN)
def test_known_masks_on_every_library(library, key, probability, shape, expected):
    mask = kept(library, key, probability, shape)
    assert mask.shape == shape
    if library.has_values:
        assert packed(mask) == expected
        whole = kept(library, Key(WORD, "1"), 0.8, (32, 64))
        assert zlib.crc32(np.packbits(whole).tobytes()) == 3141779457


def test_words_as_arrays_draw_what_they_draw_alone(library):
    words = [WORD, -5, 2**31 - 1]
    column = library.array(np.reshape(words, (3, 1, 1)), np.int32)
    scalar = library.array(np.asarray(WORD), np.int32)
    for shape in ((4, 5), (7,), (2, 3, 2)):
        masks = kept(library, Key(column, "0"), 0.6, shape)
        alone = [kept(library, Key(word, "0"), 0.6, shape) for word in words]
        np.testing.assert_array_equal(masks, np.stack(alone))
        np.testing.assert_array_equal(kept(library, Key(scalar, "0"), 0.6, shape), alone[0])


@pytest.mark.parametrize("x64", [False, True])
def test_known_masks_under_jit(x64):
    jax = require("jax")
    xp = jax.numpy
    with jax.enable_x64(x64):
        for key, probability, shape, expected in KNOWN:

            def draw(word, x, path=key.path, probability=probability, shape=shape):
                return Key(word, path).bernoulli(probability, shape, xp, device(x))

            mask = jax.jit(draw)(key.step_seed, xp.zeros(2))
            assert packed(np.asarray(mask)) == expected
            words = xp.asarray(np.full((2, 1, 1), key.step_seed, np.int32))
            both = np.asarray(jax.jit(draw)(words, xp.zeros(2)))
            assert [packed(mask) for mask in both] == [expected] * 2


def test_masks_are_the_published_hash():
    key = Key(-123456789, "2.inner")
    a, b = zlib.crc32(b"2.inner"), zlib.crc32(b"renni.2")
    hashes = [lowbias32(lowbias32(i ^ a) ^ (key.step_seed % 2**32) ^ b) for i in range(600)]
    signed = [h - 2**32 if h >= 2**31 else h for h in hashes]
    expected = [h < int(0.3 * 2**32) - 2**31 for h in signed]
    assert key.bernoulli(0.3, (20, 30), np).reshape(-1).tolist() == expected


def test_masks_keep_their_share_independently():
    n = 1 << 16
    for probability in (0.1, 0.5, 0.9):
        first = Key(step_seed(0, 0), "0").bernoulli(probability, (n,), np)
        deviation = (probability * (1.0 - probability) / n) ** 0.5
        assert abs(first.mean() - probability) < 4.0 * deviation
        others = [
            Key(step_seed(0, 1), "0").bernoulli(probability, (n,), np),
            Key(step_seed(0, 0), "1").bernoulli(probability, (n,), np),
            Key(step_seed(0, 0) ^ 1, "0").bernoulli(probability, (n,), np),
            np.roll(first, 1),
            np.roll(first, 64),
        ]
        for other in others:
            both = np.mean((first - probability) * (other - probability))
            assert abs(both) < 4.0 * deviation * (probability * (1.0 - probability)) ** 0.5


def test_each_element_keeps_its_share_over_time():
    masks = np.stack([Key(word, "3").bernoulli(0.5, (64,), np) for word in step_seeds(9, 0, 4000)])
    # 64 squares of normal numbers: 99.9 % are below 105
    assert np.sum(((masks.mean(axis=0) - 0.5) / (0.25 / 4000) ** 0.5) ** 2) < 105.0


def test_certain_probabilities_are_exact():
    for word in range(20):
        assert Key(word).bernoulli(1.0, (1000,), np).all()
        assert not Key(word).bernoulli(0.0, (1000,), np).any()


def test_masks_of_any_shape():
    key = Key(WORD, "1")
    assert key.bernoulli(0.5, (), np).shape == () and key.bernoulli(0.5, (3, 0), np).shape == (3, 0)
    np.testing.assert_array_equal(key.bernoulli(0.5, (4, 6), np).reshape(-1), key.bernoulli(0.5, (24,), np))


def test_bad_keys_are_named():
    with pytest.raises(
        ValueError, match=r"step_seed must be an integer in \[-2\*\*31, 2\*\*31\), got 2147483648"
    ):
        Key(2**31)
    for probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"probability must be in \[0, 1\], got {probability}"):
            Key(1).bernoulli(probability, (2,), np)
    with pytest.raises(ValueError, match=r"at most 2\*\*31 elements, got \(65536, 65536\)"):
        Key(1).bernoulli(0.5, (65536, 65536), np)
