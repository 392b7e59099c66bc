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
    from safetensors.numpy import load

    try:
        data = _bytes(path)
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"checkpoint {path} cannot be read: {reason}") from error
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = _parsed(data[8 : 8 + size])["__metadata__"]
        text, digest = metadata["anyback"], metadata["sha256"]
        arrays: dict[str, np.ndarray] = load(data)
        description: dict[str, Any] = _parsed(text)
        version = int(description["format"])
        intact = _digest(arrays, text) == digest
    except Exception as error:  # parsers raise what they like at what is no header
        raise CheckpointError(
            f"checkpoint {path} is truncated, altered, or not of anyback ({error!r:.80})"
        ) from error
    if not intact:
        raise CheckpointError(f"checkpoint {path} was altered: its SHA-256 is not {digest!r:.16}...")
    if not 1 <= version <= FORMAT:
        raise CheckpointError(f"checkpoint {path} has format {version}, this anyback reads up to {FORMAT}")
    return arrays, description


def _bytes(path: str | Path) -> bytes:
    """Return what is in a file, once its first bytes look like a header that has room in it."""
    with open(path, "rb") as file:
        start = file.read(9)
        # A header's length can look like the start of a pickle or an archive; the brace after it cannot.
        if start[8:] != b"{" or int.from_bytes(start[:8], "little") > os.fstat(file.fileno()).st_size - 8:
            if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                what = "a pickle or an archive, which could run code: refused"
            else:
                what = "truncated, altered, or not of anyback (it does not begin with a header)"
            raise CheckpointError(f"checkpoint {path} is {what}")
        file.seek(0)
        return file.read()


def _parsed(text: str | bytes) -> Any:
    """Return JSON values; of two members of one name, which parsers tell apart in their own ways, none."""

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(members)) < len(members):
            raise ValueError("a name stands there twice")
        return made

    return json.loads(text, object_pairs_hook=once)


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
