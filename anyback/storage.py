"""One safetensors file for a run: written whole or not at all, and refused if a bit has changed.

The format stores no code, and pickles are never opened. A SHA-256 over every name, dtype, shape and
byte, and over the description, stands in the file's own metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMAT", "CheckpointError", "read", "write"]

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or is truncated, altered or none at all."""


def write(path: str | Path, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write arrays and a JSON description to `path`, atomically and durably.

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name at
    once: a crash leaves the old file or the new one.

    Raises
    ------
    CheckpointError
        If what would be read back is not what was given.
    OSError
        If the file cannot be written.
    """
    from safetensors.numpy import load, save

    # safetensors stores the memory of arrays that are not C-contiguous in the wrong order.
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    text = json.dumps({"format": FORMAT, **description})
    data = save(arrays, {"anyback": text, "sha256": _digest(arrays, text)})
    stored = load(data)
    if any(stored[name].tobytes() != array.tobytes() for name, array in arrays.items()):
        raise CheckpointError(f"checkpoint {path} would not hold what it was given")
    _replace(os.fspath(path), data)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, altered, of a later format, or no checkpoint of anyback.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    # A header's length can look like the start of a pickle or an archive; the brace after it cannot.
    if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") and data[8:9] != b"{":
        raise CheckpointError(f"checkpoint {path} is a pickle or an archive, which could run code: refused")
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        text, digest = metadata["anyback"], metadata["sha256"]
        arrays: dict[str, np.ndarray] = load(data)
        description: dict[str, Any] = json.loads(text)
        version = int(description["format"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"checkpoint {path} is truncated, altered, or not of anyback ({error!r:.80})"
        ) from error
    if _digest(arrays, text) != digest:
        raise CheckpointError(f"checkpoint {path} was altered: its SHA-256 is not {str(digest)[:16]}...")
    if not 1 <= version <= FORMAT:
        raise CheckpointError(f"checkpoint {path} has format {version}, this anyback reads up to {FORMAT}")
    return arrays, description


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    import hashlib

    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _replace(path: str, data: bytes) -> None:
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        raise FileNotFoundError(f"checkpoint {path} needs the folder {folder}, which is not there")
    # A name of its own for each writer, and never one that is there already.
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")
    # Opened with 0o666 the file gets the permissions that the user's umask leaves.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
