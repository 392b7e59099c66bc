"""MNIST from folders, the cache and a mirror; nothing here needs a network."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from anyback.datasets import _mnist, mnist
from tests.datasets.idx_files import idx, one_line, write_part


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_reads_a_folder(tmp_path, packed):
    train, test = (
        write_part(tmp_path, part, seed, 7 - seed, packed) for seed, part in enumerate(("train", "t10k"))
    )
    read = mnist(tmp_path, download=False)
    for (x, y), (images, labels) in zip(read, (train, test), strict=True):
        assert x.dtype == np.float32 and y.dtype == np.int64
        np.testing.assert_array_equal(x.reshape(-1, 28, 28) * np.float32(255), images.astype(np.float32))
        np.testing.assert_array_equal(y, labels)


def test_mnist_part_asks_for_its_own_files_only(tmp_path):
    x, y = write_part(tmp_path, "t10k", seed=1, n=5)
    x_test, y_test = mnist(tmp_path, part="test", download=False)
    assert (x_test * 255).round().tolist() == x.reshape(5, 784).tolist() and y_test.tolist() == y.tolist()
    with pytest.raises(FileNotFoundError, match="MNIST: train-images-idx3-ubyte.gz, train-labels"):
        mnist(tmp_path, part="train", download=False)
    with pytest.raises(ValueError, match="part must be 'train', 'test' or None, got 't10k'"):
        mnist(tmp_path, part="t10k")


def test_mnist_takes_the_dotted_names_too(tmp_path):
    for part in ("train", "t10k"):
        write_part(tmp_path, part, 0, 3, packed=False)
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / file.name.replace("-idx", ".idx"))
    assert mnist(tmp_path, download=False)[0][0].shape == (3, 784)


def test_mnist_names_what_is_missing(tmp_path):
    write_part(tmp_path, "t10k", 0, 3)
    with pytest.raises(FileNotFoundError) as error:
        mnist(tmp_path, download=False)
    one_line(
        error,
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz are missing",
        str(tmp_path),
        "ANYBACK_DATA",
    )
    assert "t10k" not in str(error.value)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2, 2), "u1"), np.zeros(2, "u1"), "3 images"),
        (np.zeros((3, 4), "u1"), np.zeros(3, "u1"), r"expected uint8 images .* got uint8 \(3, 4\)"),
        (np.zeros((3, 2, 2), "u1"), np.zeros(3, "i4"), r"expected uint8 labels .* got int32 \(3,\)"),
    ],
)
def test_mnist_parts_that_do_not_fit_are_named(tmp_path, x, y, message):
    write_part(tmp_path, "train", 0, 3)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(x))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(y))
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path, download=False)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ANYBACK_DATA": "{}/data"}, "data/mnist"),
        ({"XDG_CACHE_HOME": "{}/cache"}, "cache/anyback/mnist"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "{}/me"}, "me/.cache/anyback/mnist"),
        ({"HOME": "{}/me"}, "me/.cache/anyback/mnist"),
    ],
)
def test_mnist_looks_into_the_cache(tmp_path, monkeypatch, variables, folder):
    for name in ("ANYBACK_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    for part in ("train", "t10k"):
        write_part(tmp_path / folder, part, 0, 4)
    assert mnist(download=False)[1][1].shape == (4,)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that serves small files in MNIST's place, behind a mirror that has none."""
    folder = tmp_path / "mirror"
    for part in ("train", "t10k"):
        write_part(folder, part, 1, 5)
    sums = {name: hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest() for name in _mnist._SHA256}
    monkeypatch.setattr(_mnist, "_SHA256", sums)
    monkeypatch.setattr(_mnist, "_MIRRORS", ((tmp_path / "gone").as_uri() + "/", folder.as_uri() + "/"))
    return folder


def test_mnist_is_downloaded_once(tmp_path, mirror):
    cache = tmp_path / "cache"
    assert mnist(cache)[0][0].shape == (5, 784)
    assert sorted(file.name for file in cache.iterdir()) == sorted(f"{name}.gz" for name in _mnist._SHA256)
    for file in mirror.iterdir():
        file.unlink()
    assert mnist(cache)[1][1].shape == (5,)


def test_mnist_downloads_only_what_is_missing(tmp_path, mirror):
    _, labels = write_part(tmp_path / "cache", "t10k", 9, 6)
    (_, y), (_, y_test) = mnist(tmp_path / "cache")
    assert len(y) == 5
    np.testing.assert_array_equal(y_test, labels)


def test_a_download_that_was_altered_leaves_nothing(tmp_path, mirror):
    file = mirror / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(FileNotFoundError) as error:
        mnist(tmp_path / "cache")
    one_line(error, "train-labels-idx1-ubyte.gz", "SHA-256", "could not be downloaded", "ANYBACK_DATA")
    assert "train-images" not in str(error.value).split(" missing ")[0]
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_a_mirror_out_of_reach_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(_mnist, "_MIRRORS", ((tmp_path / "gone").as_uri() + "/",))
    with pytest.raises(FileNotFoundError) as error:
        mnist(tmp_path / "cache")
    one_line(
        error, *(f"{name}.gz" for name in _mnist._SHA256), str(tmp_path / "cache"), "put the files there"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, mirror):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileNotFoundError) as error:
        mnist(tmp_path / "file" / "cache")
    one_line(error, "could not be downloaded")
