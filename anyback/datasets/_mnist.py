"""MNIST from IDX files, downloaded once into a cache folder."""

from __future__ import annotations

import hashlib
import os
import secrets
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Literal, overload

import numpy as np

from anyback.arrays import Array
from anyback.datasets._idx import read_idx

__all__ = ["mnist"]

_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


# The names of the parts in the file names.
_PARTS = {"train": "train", "test": "t10k"}


@overload
def mnist(
    path: str | os.PathLike[str] | None = ..., *, part: None = ..., download: bool = ...
) -> tuple[tuple[Array, Array], tuple[Array, Array]]: ...
@overload
def mnist(
    path: str | os.PathLike[str] | None = ..., *, part: Literal["train", "test"], download: bool = ...
) -> tuple[Array, Array]: ...
def mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    part: Literal["train", "test"] | None = None,
    download: bool = True,
) -> tuple[tuple[Array, Array], tuple[Array, Array]] | tuple[Array, Array]:
    """Return MNIST: 60,000 handwritten digits in the training set and 10,000 in the test set.

    Reads the four IDX files, gzip-compressed or not, from `path` or from the cache folder. Missing files are
    downloaded into that folder once; their SHA-256 is checked before they get their name. Other data sets in
    the same four files (Fashion-MNIST, KMNIST) can be read as well: existing files are not checked.

    Parameters
    ----------
    path : str or os.PathLike, optional
        The folder with the files. By default ``$ANYBACK_DATA/mnist``, else ``$XDG_CACHE_HOME/anyback/mnist``,
        else ``~/.cache/anyback/mnist``.
    part : {"train", "test"}, optional
        Return only this part, (x, y), from its two files.
    download : bool, default: True
        Whether missing files may be downloaded (11 MB in total).

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : tuple of tuple of numpy.ndarray
        ``x`` is float32 in [0, 1] of shape (n, 784), ``x.reshape(-1, 28, 28)`` are the images; ``y`` is
        int64 in [0, 10) of shape (n,).

    Raises
    ------
    FileNotFoundError
        If files are missing and cannot be downloaded. `read_idx` reads a single file.
    ValueError
        If a file is damaged, images and labels do not match, or `part` is unknown.

    Notes
    -----
    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998.

    Examples
    --------
    >>> mnist("no/such/folder", download=False)
    Traceback (most recent call last):
    FileNotFoundError: MNIST: train-images-idx3-ubyte.gz, ... are missing in no/such/folder; ...
    """
    if part is not None and part not in _PARTS:
        raise ValueError(f"part must be 'train', 'test' or None, got {part!r}")
    wanted = [_PARTS[part]] if part else list(_PARTS.values())
    folder = _cache() if path is None else Path(path)
    missing = [name for name in _SHA256 if name.startswith(tuple(wanted)) and _find(folder, name) is None]
    reason = ""
    if missing and download:
        try:
            for name in missing:
                _download(folder, name)
            missing = []
        except (OSError, HTTPException, ValueError) as error:
            reason = f" and could not be downloaded ({error})"
            missing = [name for name in missing if _find(folder, name) is None]
    if missing:
        names = ", ".join(f"{name}.gz" for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise FileNotFoundError(
            f"MNIST: {names} {verb} missing in {folder}{reason}; put the files there, "
            f"or give their folder as mnist(path), or its parent in the environment variable ANYBACK_DATA"
        )
    if part is not None:
        return read_part(folder, _PARTS[part])
    return read_part(folder, "train"), read_part(folder, "t10k")


def _cache() -> Path:
    """Return the cache folder of MNIST."""
    if root := os.environ.get("ANYBACK_DATA"):
        return Path(root).expanduser() / "mnist"
    # The XDG specification ignores relative paths.
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "anyback" / "mnist"


def _find(folder: Path, name: str) -> Path | None:
    """Return the file `name`, or the same file under a common variant of its name, or None."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def parts(folder: Path) -> list[str]:
    """Return the parts, "train" and "t10k", of which a folder holds both files."""
    found = {name for name in _SHA256 if _find(folder, name)}
    return [p for p in ("train", "t10k") if all(name in found for name in _SHA256 if name.startswith(p))]


def read_part(folder: Path, part: str) -> tuple[Array, Array]:
    """Return images (n, pixels) and labels (n,) of the part "train" or "t10k"."""
    images, labels = (_find(folder, name) for name in _SHA256 if name.startswith(part))
    if images is None or labels is None:
        raise FileNotFoundError(f"{folder}: {part}-images-idx3-ubyte or {part}-labels-idx1-ubyte is missing")
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or x.dtype != np.uint8:
        raise ValueError(f"{images}: expected uint8 images (n, rows, columns), got {x.dtype} {x.shape}")
    if y.ndim != 1 or y.dtype != np.uint8:
        raise ValueError(f"{labels}: expected uint8 labels (n,), got {y.dtype} {y.shape}")
    if len(x) != len(y):
        raise ValueError(f"{folder}: {len(x)} images in {images.name}, but {len(y)} labels in {labels.name}")
    pixels = x.shape[1] * x.shape[2]
    return x.reshape(len(x), pixels).astype(np.float32) / np.float32(255), y.astype(np.int64)


def _download(folder: Path, name: str) -> None:
    """Download a file from the first mirror that has it, and rename it when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    target, errors = folder / f"{name}.gz", []
    # In the same folder: a rename is atomic only within a file system.
    temporary = folder / f".{target.name}.{secrets.token_hex(4)}"
    for mirror in _MIRRORS:
        try:
            digest = hashlib.sha256()
            with (
                urllib.request.urlopen(mirror + target.name, timeout=30) as source,
                temporary.open("xb") as sink,
            ):
                while chunk := source.read(1 << 16):
                    digest.update(chunk)
                    sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
            if digest.hexdigest() != _SHA256[name]:
                raise ValueError(
                    f"SHA-256 of {target.name} is {digest.hexdigest()}, expected {_SHA256[name]}"
                )
            os.replace(temporary, target)
            return
        except (OSError, HTTPException, ValueError) as error:
            errors.append(f"{mirror}: {error}")
        finally:
            temporary.unlink(missing_ok=True)
    raise OSError("; ".join(errors))
