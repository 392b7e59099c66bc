"""IDX, the file format of MNIST and similar data sets."""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod

import numpy as np

from anyback.arrays import Array

__all__ = ["read_idx"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Return the array in an IDX file, gzip-compressed or not.

    The format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database", 1998): two zero bytes, a type
    code, the number of axes, the length of each axis as a big-endian 32-bit integer, then the values,
    big-endian, in C order.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Its name does not matter: gzip is recognized by its first bytes.

    Returns
    -------
    numpy.ndarray
        An array in the byte order of this machine: uint8, int8, int16, int32, float32 or
        float64.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not an IDX file, is damaged, or its size does not match its shape.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels")
    ...     with open(path, "wb") as file:
    ...         size = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip data: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES or data[3] == 0:
        raise ValueError(
            f"{path}: not an IDX file: expected two zero bytes, a type code in "
            f"{{{', '.join(f'0x{code:02x}' for code in _DTYPES)}}} and the number of axes, "
            f"got {data[:4].hex(' ') or 'an empty file'}"
        )
    dtype, start = np.dtype(_DTYPES[data[2]]), 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path}: expected {start} bytes of IDX header, got {len(data)} bytes")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    size = start + prod(shape) * dtype.itemsize
    if len(data) != size:
        raise ValueError(
            f"{path}: expected {size} bytes for the shape {shape} of {dtype.name}, got {len(data)} bytes"
        )
    # A view of the bytes would be read-only: astype copies, and converts to native byte order.
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
