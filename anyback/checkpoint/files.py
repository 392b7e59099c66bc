"""Checkpoint files: safetensors, written atomically, and refused if a bit has changed.

The format stores no code, and pickles are never opened. A SHA-256 over every name, dtype, shape and
byte, and over the description, is stored in the file's metadata.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anyback.checkpoint.locks import lock
from anyback.validation import integer

if TYPE_CHECKING:
    from pathlib import Path

    Buffer: TypeAlias = bytes | memoryview

__all__ = [
    "FORMAT",
    "CheckpointError",
    "append",
    "newest",
    "read",
    "replace",
    "rewrite",
    "sweep",
    "versions",
    "write",
]

FORMAT = 1
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or the file is truncated, altered or no checkpoint."""


def write(
    path: str | Path, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any], keep: int = 1
) -> None:
    """Write arrays and a JSON description to `path`, atomically and durably.

    The bytes are written to a temporary file in the same folder, synced to the disk, and renamed: a crash
    leaves the old file or the new one.

    Parameters
    ----------
    path : str or Path
        The file.
    tensors, description : mapping
        The content.
    keep : int
        Number of files to keep: the previous one becomes "name.1.safetensors", that one
        "name.2.safetensors", and so on. With 1 no other file is touched; with more, surplus files of this
        numbering are removed.

    Raises
    ------
    CheckpointError
        If reading the bytes back would not give the same arrays.
    OSError
        If the file cannot be written.
    """
    from safetensors.numpy import save

    integer("keep", keep, expected="be at least 1")
    # safetensors stores the memory of arrays that are not C-contiguous in the wrong order.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    text = json.dumps({"format": FORMAT, **description})
    data = save(arrays, {"anyback": text, "sha256": _digest(arrays, text)})
    start = 8 + int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8:start]), memoryview(data)[start:]
    for name, array in arrays.items():
        first, last = header[name]["data_offsets"]
        if values[first:last] != _memory(array):
            raise CheckpointError(f"checkpoint {path} would not hold what it was given")
    # safetensors writes the metadata as its hashes fall; the same run is to write the same bytes.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # the arrays stay aligned
    replace(path, len(head).to_bytes(8, "little") + head, values, keep=keep)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, altered, of a later format, or not a checkpoint of anyback.
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


def newest(path: str | Path) -> str:
    """Return the newest intact file of a checkpoint and its predecessors.

    Raises
    ------
    CheckpointError
        If none is intact; the message says what is wrong with each.
    """
    wrong = []
    for file in versions(path):
        try:
            read(file)
        except CheckpointError as error:
            wrong.append(str(error))
        else:
            return file
    raise CheckpointError("; ".join(wrong) or f"checkpoint {path} is not there")


def replace(path: str | Path, *data: Buffer, keep: int = 1, durable: bool = True) -> None:
    """Replace the content of a file atomically: a crash leaves the old file or the new one.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist.
    *data : bytes or memoryview
        The new content, in pieces.
    keep : int
        See `write`.
    durable : bool
        Whether to wait for the disk, so that it survives a loss of power too.

    Raises
    ------
    OSError
        If that fails; the previous file stays intact.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    folder = folder or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path} needs the folder {folder}, which is not there")
    new = older = ""
    try:
        with _created(os.path.join(folder, f".{name}")) as file:
            new = file.name
            file.writelines(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            _close_on_windows(file)
            if keep > 1 and os.path.exists(path):
                older = os.path.join(folder, f".{name}.older")
                _copy(path, older)
            os.replace(new, path)
    except BaseException as error:
        for left in filter(None, (new, older)):
            with suppress(OSError):
                os.remove(left)
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"{path} cannot be written: {error.strerror}") from error
        raise
    # Only now, when the new file is there, is an older one given up.
    if older:
        _shift(path, older, keep)
    if durable and os.name == "posix":  # elsewhere a folder cannot be opened
        with suppress(OSError):  # nor on some file systems be waited for
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def rewrite(path: str | Path, data: bytes) -> None:
    """Replace a file, or the target of a link, without waiting for the disk; write to a pipe or device.

    Raises
    ------
    OSError
        If that fails; a previous file stays intact.
    """
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a terminal
        with open(path, "wb") as file:
            file.write(data)
    else:
        replace(path, data, durable=False)


def append(path: str | Path, data: bytes) -> None:
    """Append bytes to a file by a single write, which a kill does not split if they are few.

    Raises
    ------
    OSError
        If that fails.
    """
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written: {error.strerror}") from error


def sweep(folder: str | Path) -> None:
    """Remove temporary files that killed processes left in a folder; those of running ones stay."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if _TEMPORARY.fullmatch(name):
            # Where there are no locks nobody knows, and it stays.
            with suppress(OSError), open(path, "r+b") as file:
                if lock(file.fileno()):
                    _close_on_windows(file)
                    os.remove(path)


def _bytes(path: str | Path) -> bytes:
    """Return the content of a file, after checking that its header fits into it."""
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
    """Return JSON values; raise for duplicate names, which parsers treat differently."""

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
        digest.update(_memory(array))
    return digest.hexdigest()


def _memory(array: np.ndarray) -> memoryview:
    """Return the bytes of an array in C order, without a copy if possible."""
    plain: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(plain)


def _created(stem: str) -> IO[bytes]:
    """Open a new file with a unique name, locked: the lock tells `sweep` that its writer is running."""
    while True:
        file = open(f"{stem}.{os.urandom(6).hex()}.tmp", "xb")  # noqa: SIM115 - the caller closes it
        free = True
        with suppress(OSError):
            free = lock(file.fileno())
        if free and os.path.exists(file.name):  # else it is being swept, or was before it was locked
            return file
        file.close()


def _close_on_windows(file: IO[bytes]) -> None:
    """Close a file before it is renamed or removed, on Windows only; elsewhere its lock is kept."""
    if os.name == "nt":
        file.close()


def _copy(path: str, other: str) -> None:
    """Give a file a second name atomically, whoever else writes either or sweeps."""
    while True:
        own = f"{other}.{os.urandom(6).hex()}.tmp"
        try:
            try:
                os.link(path, own)
            except OSError:  # a file system without links
                shutil.copyfile(path, own)
            os.replace(own, other)
            return
        except FileNotFoundError:  # swept, or gone with its folder
            if not os.path.exists(path):
                raise
        finally:
            with suppress(OSError):
                os.remove(own)  # still there if both names were one file's


def _shift(path: str, older: str, keep: int) -> None:
    """Rename each older file of `path` to the next number, the newest of them to `older`."""
    for number in range(keep - 1, 1, -1):
        with suppress(FileNotFoundError):
            os.replace(_older(path, number - 1), _older(path, number))
    with suppress(FileNotFoundError):  # another writer of the same file was faster
        os.replace(older, _older(path, 1))
        os.remove(older)  # still there if both names were one file's
    with suppress(FileNotFoundError):
        for number in count(keep):  # more may have been kept before
            os.remove(_older(path, number))


def _older(path: str, number: int) -> str:
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{number}{suffix}"


def versions(path: str | Path) -> list[str]:
    """Return the existing files of a checkpoint and its predecessors, newest first."""
    path = os.fspath(path)
    folder, name = os.path.split(path)
    stem, suffix = map(re.escape, os.path.splitext(name))
    found = {0: path} if os.path.exists(path) else {}
    for other in os.listdir(folder or ".") if os.path.isdir(folder or ".") else ():
        if match := re.fullmatch(rf"{stem}\.(\d+){suffix}", other):
            found[int(match[1])] = os.path.join(folder, other)
    return [file for _, file in sorted(found.items())]
