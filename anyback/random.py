"""The one source of random draws: the same numbers on every backend.

Weights, shuffles and splits are drawn on the host from the counter-based generator Philox-4x64-10
(Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). Only its raw
64-bit words are used, which NumPy promises to keep; every conversion is ours. Dropout masks are
drawn where the network runs, by a keyed 32-bit integer hash in plain array operations, so that
they too are the same bits everywhere. docs/draws.md says all of it, with a table of known answers.
"""

from __future__ import annotations

import math
import operator
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from anyback.arrays import Array

__all__ = ["Draw", "Key", "Purpose", "micro_batch_word", "micro_batch_words"]


class Purpose(IntEnum):
    """What a stream of draws is for: the second word of its key.

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
class Draw:
    """A stream of random numbers on the host, named by a seed, a purpose and a path.

    The stream is ``Philox(key=[seed, purpose], counter=[0, 0, a, b]).random_raw`` where ``a`` and
    ``b`` are the CRC-32 of the path, joined by dots, and of the path read backwards. A draw holds
    no state: asking twice gives the same numbers, and different numbers need a different path.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    purpose : int or str
        A member of `Purpose`, any integer in [0, 2**32), or a name of one's own.
    *path : str or int
        What the numbers are for: ``"0.weight"``, an epoch. ``("0", "weight")`` is ``"0.weight"``.

    Raises
    ------
    ValueError
        If the seed or the purpose is no integer in its range.

    Examples
    --------
    >>> draw = Draw(0, Purpose.SHUFFLE, 3)
    >>> draw.permutation(5).tolist()
    [1, 3, 0, 4, 2]
    >>> bool((draw.uniform((2, 3)) == draw.uniform((2, 3))).all())
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
        >>> Draw(0, Purpose.WEIGHTS, "0.weight").bits(2).tolist()
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
        >>> Draw(0, Purpose.WEIGHTS, "0.weight").uniform(2).round(6).tolist()
        [0.531976, 0.805612]
        """
        shape = (shape,) if isinstance(shape, SupportsIndex) else tuple(shape)
        return _uniform(self.bits(math.prod(shape))).reshape(shape)

    def normal(self, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Return standard normal numbers by the transform of Box and Muller (1958).

        With two uniforms u and v in [0, 1): r = sqrt(-2 log(1 - u)) and the pair r cos(2 pi v),
        r sin(2 pi v). As 1 - u lies in (0, 1] the logarithm is always finite.

        Parameters
        ----------
        shape : int or tuple of int
            Shape of the result.

        Returns
        -------
        array of float64
            Filled in row-major order. The last digit may differ between machines, as their
            logarithms and cosines do.

        Examples
        --------
        >>> Draw(0, Purpose.WEIGHTS, "0.weight").normal(2).round(6).tolist()
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
            Every integer of [0, n) once.

        Examples
        --------
        >>> Draw(7, Purpose.SPLIT).permutation(4).tolist()
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
        >>> Draw(0, Purpose.DROPOUT).words(2).tolist() == micro_batch_words(0, 0, 2)
        True
        """
        return _words(self.bits(n))


@dataclass(frozen=True)
class Key:
    """A key of draws inside a training step, made of array operations only.

    Element i (counted in row-major order) of a draw is the hash

        h = mix(mix(i ^ a) ^ word ^ b)

    of 32 bits, where ``a`` and ``b`` are the two words of the path (see `Draw`) and ``mix`` is
    lowbias32 (Wellons, "Prospecting for hash functions", 2018).

    Parameters
    ----------
    word : int or array of int32
        The word of the micro-batch, from `micro_batch_word`: in [-2**31, 2**31), or an array of
        the backend, of shape () or, with one word for each of K networks, of shape (K, 1, 1).
    path : str
        The layer that draws: ``"0"``, ``"0.inner"``.

    Raises
    ------
    ValueError
        If `word` is a Python integer outside the 32-bit range.

    Examples
    --------
    >>> import numpy as np
    >>> key = Key(micro_batch_word(seed=0, n=0)).at("1")
    >>> key.keep(0.5, (2, 6), np).astype(int).tolist()
    [[1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1]]
    """

    word: int | Array
    path: str = ""

    def __post_init__(self) -> None:
        """Refuse a word that an int32 array could not be combined with."""
        if isinstance(self.word, int) and not -(2**31) <= self.word < 2**31:
            raise ValueError(f"word must be an integer in [-2**31, 2**31), got {self.word}")

    def at(self, name: str | int) -> Key:
        """Return the key of a part: the path extended by `name`.

        Parameters
        ----------
        name : str or int
            Name of the part within its container.

        Returns
        -------
        Key
            With the same word.

        Examples
        --------
        >>> Key(5).at(0).at("inner")
        Key(word=5, path='0.inner')
        """
        return Key(self.word, f"{self.path}.{name}" if self.path else str(name))

    def keep(self, probability: float, shape: tuple[int, ...], xp: Any, device: Any = None) -> Array:
        """Return which elements to keep: each with `probability`, independently.

        Element i is kept iff its hash, as a signed integer, is below
        ``floor(probability * 2**32) - 2**31``; the mask is bit-identical on every library.

        Parameters
        ----------
        probability : float
            In [0, 1]: 0 keeps none, 1 keeps all.
        shape : tuple of int
            Shape of one network's elements, such as (B, n).
        xp : module
            Namespace to draw in.
        device : object, optional
            Device to draw on, by default the library's own.

        Returns
        -------
        array of bool
            Of `shape`, or K times that with K words; each network's part equals its solo draw.

        Raises
        ------
        ValueError
            If `probability` is not in [0, 1] or `shape` has more than 2**31 elements.

        Examples
        --------
        >>> import numpy as np
        >>> int(Key(5, "0").keep(0.8, (100, 100), np).sum())
        7991
        """
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability must be in [0, 1], got {probability}")
        n = math.prod(shape)
        if n > 2**31:
            raise ValueError(f"shape must have at most 2**31 elements, got {shape}")
        a, b = _path_words(self.path)
        # Flat throughout: no axis of a word can meet the wrong axis of a shape, and NumPy turns
        # arrays without axes into scalars, which warn when they wrap around.
        h = xp.arange(n, dtype=xp.int32, device=device)
        h ^= _signed(a)
        h = _mix(h)
        if isinstance(self.word, int):
            h ^= self.word ^ _signed(b)
        else:
            if self.word.ndim:
                shape = (self.word.shape[0], *shape)
            h = h ^ (xp.reshape(xp.astype(self.word, xp.int32, copy=False), (-1, 1)) ^ _signed(b))
        h = _mix(h)
        limit = math.floor(probability * 2.0**32) - 2**31
        kept = h < limit if limit < 2**31 else h <= 2**31 - 1
        return xp.reshape(kept, shape)


def micro_batch_word(seed: int, n: int) -> int:
    """Return the word of micro-batch `n`: entry `n` of ``Draw(seed, Purpose.DROPOUT).words``.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    n : int
        Number of micro-batches trained on before; reached directly, whatever its size.

    Returns
    -------
    int
        In [-2**31, 2**31).

    Examples
    --------
    >>> micro_batch_word(0, 1000) == micro_batch_words(0, 998, 1002)[2]
    True
    """
    return micro_batch_words(seed, n, n + 1)[0]


def micro_batch_words(seed: int, start: int, stop: int) -> list[int]:
    """Return the words of the micro-batches ``range(start, stop)``, as `micro_batch_word` would.

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
    >>> len(micro_batch_words(0, 10, 15))
    5
    """
    if not 0 <= start <= stop:
        raise ValueError(f"micro-batches must be a range with 0 <= start <= stop, got {start}, {stop}")
    # Philox makes four words of each value of its counter.
    block, skip = divmod(start, 4)
    philox = _philox(_integer("seed", seed, 64), Purpose.DROPOUT, block, 0, 0)
    words: list[int] = _words(philox.random_raw(skip + stop - start)[skip:]).tolist()
    return words


def _integer(name: str, value: Any, width: int) -> int:
    """Return `value` as a Python integer of `width` bits, or say what is wrong with it."""
    try:
        number = -1 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = -1
    if not 0 <= number < 2**width:
        raise ValueError(f"{name} must be an integer in [0, 2**{width}), got {value!r}")
    return number


def _path_words(path: str) -> tuple[int, int]:
    """Return two unsigned words of 32 bits that name a path (``hash`` differs between processes)."""
    text = path.encode()
    return zlib.crc32(text), zlib.crc32(text[::-1])


def _philox(seed: int, purpose: int | str, block: int, a: int, b: int) -> np.random.Philox:
    """Return the generator of a stream from its counter `block` on."""
    # Names lie above all integers, so that they meet no member of Purpose.
    word = zlib.crc32(purpose.encode()) + 2**32 if isinstance(purpose, str) else purpose
    key = np.asarray([seed, word], dtype=np.uint64)
    counter = np.asarray([block, 0, a, b], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def _uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the upper 53 bits of each word as a number in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _words(bits: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the upper 32 bits of each word as a signed integer."""
    return (bits >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _signed(word: int) -> int:
    """Return an unsigned word of 32 bits as the signed integer of the same bits."""
    return word - 2**32 if word >= 2**31 else word


def _mix(x: Array) -> Array:
    """Return lowbias32 of int32 words; `x` must be the caller's own array, it is overwritten.

    Torch has no unsigned arithmetic, so the logical shifts are arithmetic ones with their sign
    bits masked away. Products wrap around.
    """
    x ^= (x >> 16) & 0xFFFF
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16) & 0xFFFF
    return x
