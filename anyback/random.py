"""Random numbers: the same for a seed on every backend.

Weights, shuffles and splits are drawn on the host from the counter-based generator Philox-4x64-10
(Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). Only its raw
64-bit words are used, which NumPy guarantees to keep; every conversion is ours. Dropout masks are
drawn on the device of the network, by a keyed 32-bit integer hash in plain array operations, so that
they too have the same bits everywhere. docs/draws.md specifies all of it, with a table of known answers.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from anyback.arrays import Array
from anyback.validation import integer, number

__all__ = ["Key", "Purpose", "Stream", "step_seed", "step_seeds"]


class Purpose(IntEnum):
    """What a stream of random numbers is for: the second word of the generator's key.

    Streams of different purposes never overlap, whatever the seed. The numbers are part of every
    published known answer: add new ones, never change one.

    Examples
    --------
    >>> Purpose.WEIGHTS.value
    1
    """

    WEIGHTS = 1
    SHUFFLE = 2
    SPLIT = 3
    DROPOUT = 4
    DATA = 5
    CHECK = 6


@dataclass(frozen=True, init=False)
class Stream:
    """A stream of random numbers on the host, identified by a seed, a purpose and a path.

    The stream is ``Philox(key=[seed, purpose], counter=[0, 0, a, b]).random_raw`` where ``a`` and
    ``b`` are the CRC-32 of the path, joined by dots, and of the path reversed. A stream has no state:
    each call returns the same numbers, and other numbers need another path.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    purpose : int or str
        A member of `Purpose`, any integer in [0, 2**32), or any name.
    *path : str or int
        What the numbers are for: ``"0.weight"``, an epoch. ``("0", "weight")`` is ``"0.weight"``.

    Raises
    ------
    ValueError
        If the seed or the purpose is no integer in its range.

    Examples
    --------
    >>> stream = Stream(0, Purpose.SHUFFLE, 3)
    >>> stream.permutation(5).tolist()
    [1, 3, 0, 4, 2]
    >>> bool((stream.uniform((2, 3)) == stream.uniform((2, 3))).all())
    True
    """

    seed: int
    purpose: int | str
    path: str

    def __init__(self, seed: int, purpose: int | str, *path: str | int) -> None:
        word = purpose if isinstance(purpose, str) else _integer("purpose", purpose, 32)
        object.__setattr__(self, "seed", _integer("seed", seed, 64))
        object.__setattr__(self, "purpose", word)
        object.__setattr__(self, "path", ".".join(str(part) for part in path))

    def bits(self, n: int) -> NDArray[np.uint64]:
        """Return the first `n` raw words of the stream.

        Parameters
        ----------
        n : int
            How many, at least 0.

        Returns
        -------
        array of uint64, shape (n,)
            Uniform over all 64-bit words.

        Examples
        --------
        >>> Stream(0, Purpose.WEIGHTS, "0.weight").bits(2).tolist()
        [9813234117217069896, 14860920267963454738]
        """
        a, b = _path_words(self.path)
        raw: NDArray[np.uint64] = _philox(self.seed, self.purpose, 0, a, b).random_raw(n)
        return raw

    def uniform(self, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Return uniform numbers ``(bits >> 11) * 2**-53``.

        Parameters
        ----------
        shape : int or tuple of int
            Shape of the result.

        Returns
        -------
        array of float64
            Multiples of 2**-53 in [0, 1), filled in row-major order.

        Examples
        --------
        >>> Stream(0, Purpose.WEIGHTS, "0.weight").uniform(2).round(6).tolist()
        [0.531976, 0.805612]
        """
        shape = (shape,) if isinstance(shape, SupportsIndex) else tuple(shape)
        return _uniform(self.bits(math.prod(shape))).reshape(shape)

    def normal(self, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Return standard normal numbers by the Box-Muller transform (1958).

        With two uniforms u and v in [0, 1): r = sqrt(-2 log(1 - u)) and the pair r cos(2 pi v),
        r sin(2 pi v). As 1 - u lies in (0, 1] the logarithm is always finite.

        Parameters
        ----------
        shape : int or tuple of int
            Shape of the result.

        Returns
        -------
        array of float64
            Filled in row-major order. The last digit may differ between machines, because their
            logarithms and cosines do.

        Examples
        --------
        >>> Stream(0, Purpose.WEIGHTS, "0.weight").normal(2).round(6).tolist()
        [0.42187, -1.157799]
        """
        shape = (shape,) if isinstance(shape, SupportsIndex) else tuple(shape)
        n = math.prod(shape)
        pairs = _uniform(self.bits(n + n % 2)).reshape(-1, 2)
        radius = np.sqrt(-2.0 * np.log1p(-pairs[:, 0]))
        angle = (2.0 * math.pi) * pairs[:, 1]
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        return z.reshape(-1)[:n].reshape(shape)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return a random order of ``range(n)``: the stable argsort of `n` raw words.

        Parameters
        ----------
        n : int
            How many, at least 0.

        Returns
        -------
        array of int64, shape (n,)
            Each integer in [0, n) once.

        Examples
        --------
        >>> Stream(7, Purpose.SPLIT).permutation(4).tolist()
        [2, 3, 0, 1]
        """
        return np.argsort(self.bits(n), kind="stable").astype(np.int64, copy=False)

    def words(self, n: int) -> NDArray[np.int32]:
        """Return 32-bit words: the upper halves of `n` raw words, read as signed integers.

        Parameters
        ----------
        n : int
            How many, at least 0.

        Returns
        -------
        array of int32, shape (n,)
            Uniform over all 32-bit words.

        Examples
        --------
        >>> Stream(0, Purpose.DROPOUT).words(2).tolist() == step_seeds(0, 0, 2)
        True
        """
        return _words(self.bits(n))


@dataclass(frozen=True)
class Key:
    """The key of random numbers within a training step, drawn by array operations only.

    Element i, in row-major order, has the 32-bit hash

        h = mix(mix(i ^ a) ^ step_seed ^ b)

    where ``a`` and ``b`` are the two words of the path (see `Stream`) and ``mix`` is lowbias32
    (Wellons, "Prospecting for hash functions", 2018).

    Parameters
    ----------
    step_seed : int or array of int32
        Seed of the micro-batch, from the function `step_seed`: in [-2**31, 2**31), or an array of the
        backend, of shape () or, with one seed for each of K networks, of shape (K, 1, 1).
    path : str
        Path of the layer: ``"0"``, ``"0.inner"``.

    Raises
    ------
    ValueError
        If `step_seed` is a Python integer outside the 32-bit range.

    Examples
    --------
    >>> import numpy as np
    >>> key = Key(step_seed(seed=0, n=0)).at("1")
    >>> key.bernoulli(0.5, (2, 6), np).astype(int).tolist()
    [[1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1]]
    """

    step_seed: int | Array
    path: str = ""

    def __post_init__(self) -> None:
        """Refuse a seed that cannot be combined with an int32 array."""
        if isinstance(self.step_seed, int) and not -(2**31) <= self.step_seed < 2**31:
            raise ValueError(f"step_seed must be an integer in [-2**31, 2**31), got {self.step_seed}")

    def at(self, name: str | int) -> Key:
        """Return the key of a part: the path extended by `name`.

        Parameters
        ----------
        name : str or int
            Name of the part within its container.

        Returns
        -------
        Key
            With the same seed.

        Examples
        --------
        >>> Key(5).at(0).at("inner")
        Key(step_seed=5, path='0.inner')
        """
        return Key(self.step_seed, f"{self.path}.{name}" if self.path else str(name))

    def bernoulli(self, probability: float, shape: tuple[int, ...], xp: Any, device: Any = None) -> Array:
        """Return independent booleans that are True with `probability`.

        Element i is True if its hash, as a signed integer, is below
        ``floor(probability * 2**32) - 2**31``; the result is bit-identical on every library.

        Parameters
        ----------
        probability : float
            In [0, 1]: with 0 all are False, with 1 all are True.
        shape : tuple of int
            Shape for one network, such as (B, n).
        xp : module
            Namespace to draw in.
        device : object, optional
            Device to draw on, by default the library's own.

        Returns
        -------
        array of bool
            Of `shape`, or (K, *shape) with K seeds; each network has what it would draw alone.

        Raises
        ------
        ValueError
            If `probability` is not in [0, 1] or `shape` has more than 2**31 elements.

        Examples
        --------
        >>> import numpy as np
        >>> int(Key(5, "0").bernoulli(0.8, (100, 100), np).sum())
        7991
        """
        probability = number("probability", probability, "in [0, 1]")
        n = math.prod(shape)
        if n > 2**31:
            raise ValueError(f"shape must have at most 2**31 elements, got {shape}")
        a, b = _path_words(self.path)
        # Flat throughout: an axis of the seeds cannot broadcast with the wrong axis of a shape, and NumPy
        # turns arrays without axes into scalars, which warn when they wrap around.
        h = xp.arange(n, dtype=xp.int32, device=device)
        h ^= _signed(a)
        h = _mix(h)
        if isinstance(self.step_seed, int):
            h ^= self.step_seed ^ _signed(b)
        else:
            if self.step_seed.ndim:
                shape = (self.step_seed.shape[0], *shape)
            h = h ^ (xp.reshape(xp.astype(self.step_seed, xp.int32, copy=False), (-1, 1)) ^ _signed(b))
        h = _mix(h)
        limit = math.floor(probability * 2.0**32) - 2**31
        drawn = h < limit if limit < 2**31 else h <= 2**31 - 1
        return xp.reshape(drawn, shape)

    # Names of earlier versions, here and at the end of the module, for layers and loops of users.
    keep = bernoulli

    @property
    def word(self) -> int | Array:
        """The seed of the step."""
        return self.step_seed


def step_seed(seed: int, n: int) -> int:
    """Return the seed of micro-batch `n`: entry `n` of ``Stream(seed, Purpose.DROPOUT).words``.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    n : int
        Number of micro-batches trained on before; a large number takes no longer than a small one.

    Returns
    -------
    int
        In [-2**31, 2**31).

    Examples
    --------
    >>> step_seed(0, 1000) == step_seeds(0, 998, 1002)[2]
    True
    """
    return step_seeds(seed, n, n + 1)[0]


def step_seeds(seed: int, start: int, stop: int) -> list[int]:
    """Return the seeds of the micro-batches ``range(start, stop)``, as `step_seed` would.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    start, stop : int
        0 <= start <= stop.

    Returns
    -------
    list of int
        Each in [-2**31, 2**31).

    Raises
    ------
    ValueError
        If the seed is no integer in its range or the micro-batches are no range.

    Examples
    --------
    >>> len(step_seeds(0, 10, 15))
    5
    """
    if not 0 <= start <= stop:
        raise ValueError(f"micro-batches must be a range with 0 <= start <= stop, got {start}, {stop}")
    # Philox makes four words from each value of its counter.
    block, skip = divmod(start, 4)
    philox = _philox(_integer("seed", seed, 64), Purpose.DROPOUT, block, 0, 0)
    seeds: list[int] = _words(philox.random_raw(skip + stop - start)[skip:]).tolist()
    return seeds


def _integer(name: str, value: Any, width: int) -> int:
    """Return `value` as a Python integer of `width` bits."""
    return integer(name, value, 0, 2**width, f"be an integer in [0, 2**{width})")


def _path_words(path: str) -> tuple[int, int]:
    """Return two unsigned 32-bit words for a path (``hash`` differs between processes)."""
    data = path.encode()
    return zlib.crc32(data), zlib.crc32(data[::-1])


def _philox(seed: int, purpose: int | str, block: int, a: int, b: int) -> np.random.Philox:
    """Return the generator of a stream that begins at `block` of its counter."""
    # Names are mapped above all integers, so that none equals a member of Purpose.
    word = zlib.crc32(purpose.encode()) + 2**32 if isinstance(purpose, str) else purpose
    key = np.asarray([seed, word], dtype=np.uint64)
    counter = np.asarray([block, 0, a, b], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def _uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) from the upper 53 bits of each word."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _words(bits: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the upper 32 bits of each word as a signed integer."""
    return (bits >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _signed(word: int) -> int:
    """Return the signed integer with the same bits as an unsigned 32-bit word."""
    return word - 2**32 if word >= 2**31 else word


def _mix(x: Array) -> Array:
    """Return lowbias32 of int32 words in place: `x` is overwritten.

    Torch has no unsigned arithmetic, so the logical shifts are arithmetic shifts with the sign bits
    masked out. Products wrap around.
    """
    x ^= (x >> 16) & 0xFFFF
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16) & 0xFFFF
    return x


Draw = Stream
micro_batch_word, micro_batch_words = step_seed, step_seeds
