"""Tables from .npz and .npy files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from anyback.tables import DataError, load
from tests.datasets.idx_files import one_line


def test_npz_with_x_and_y(tmp_path):
    file = tmp_path / "data.npz"
    x = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    np.savez(file, x=x, y=np.array([0, 1, 1, 0], dtype=np.int8), other=np.ones(4))
    table = load(file)
    assert table.x.dtype == np.uint8 and table.x.shape == (4, 2, 3)
    assert table.y.dtype == np.int64 and table.y.tolist() == [0, 1, 1, 0]
    assert table.target == "y" and table.test is None
    assert load(file, "other").y.tolist() == [[1], [1], [1], [1]]


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("u1", "u1"),
        ("f4", "f4"),
        ("f8", "f8"),
        ("f2", "f8"),
        ("i4", "f8"),
        ("?", "f8"),
        (">f4", "f4"),
        (">f8", "f8"),
    ],
)
def test_npz_types(tmp_path, dtype, read):
    np.savez(tmp_path / "data.npz", x=np.eye(3).astype(dtype), y=np.eye(3))
    table = load(tmp_path / "data.npz")
    assert table.x.dtype == np.dtype(read)
    assert table.y.dtype == np.float64 and table.y.shape == (3, 3) and table.kind == "reals"


def test_npz_with_a_held_out_part(tmp_path):
    file = tmp_path / "data.npz"
    x = np.arange(8.0).reshape(4, 2)
    np.savez(file, x_train=x, y_train=np.array([0, 1, 2, 0]), x_test=x[:2], y_test=np.array([2, 2]))
    table = load(file)
    assert table.kind == "labels" and table.test[1].tolist() == [2, 2] and table.test[1].dtype == np.int64
    names = np.array(["bee", "ant", "bee", "ant"])
    np.savez(file, x_train=x, y_train=names, x_test=x[:1], y_test=names[:1])
    table = load(file)
    assert (
        table.classes == ("ant", "bee") and table.y.tolist() == [1, 0, 1, 0] and table.test[1].tolist() == [1]
    )
    np.savez(file, x_train=x, y_train=names, x_test=x[:1], y_test=np.array(["cow"]))
    with pytest.raises(DataError, match="row 0: expected one of the classes ant, bee, got 'cow'"):
        load(file)


def test_npy_is_a_matrix_with_the_target_in_a_column(tmp_path):
    file = tmp_path / "data.npy"
    np.save(file, np.array([[1, 2, 0], [3, 4, 1], [5, 6, 1]], dtype=np.float32))
    table = load(file)
    assert table.x.dtype == np.float32 and table.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert table.y.tolist() == [0, 1, 1]
    assert load(file, "0").y.tolist() == [[1], [3], [5]]
    with pytest.raises(DataError, match=r"columns have no names: the target must be in \[0, 3\), got 'y'"):
        load(file, "y")


@pytest.mark.parametrize(
    ("arrays", "target", "parts"),
    [
        ({"x": np.eye(2)}, None, ["expected the arrays x and y", "got x"]),
        ({"x": np.eye(2), "labels": np.ones(2)}, "label", ["no array 'label'", "did you mean 'labels'"]),
        (
            {"a": np.eye(2), "b": np.eye(2), "y": np.ones(2)},
            None,
            ["expected inputs in an array x", "a, b, y"],
        ),
        (
            {"x": np.eye(2), "y": np.ones(3)},
            None,
            ["x and y must have the same number of rows, got (2, 2) and (3,)"],
        ),
        ({"x": np.ones(2), "y": np.ones(2)}, None, ["at least two axes", "x is (2,)"]),
        ({"x": np.ones((0, 3)), "y": np.ones(0)}, None, ["y is empty"]),
        (
            {"x": np.array([[1, np.nan]]), "y": np.ones(1)},
            None,
            ["x must be finite, got nan at row 0, column 1"],
        ),
        ({"x": np.eye(2), "y": np.array([1, np.inf])}, None, ["y must be finite, got inf at row 1"]),
        ({"x": np.eye(2) * 1j, "y": np.ones(2)}, None, ["x must hold numbers, got dtype complex128"]),
        ({"x": np.array([["a", "b"]]), "y": np.ones(1)}, None, ["x must hold numbers"]),
        ({"x": np.array([[None]]), "y": np.ones(1)}, None, ["x would have to be unpickled"]),
    ],
)
def test_bad_npz_is_named(tmp_path, arrays, target, parts):
    file = tmp_path / "data.npz"
    np.savez(file, **arrays)
    with pytest.raises(DataError) as error:
        load(file, target)
    one_line(error, str(file), *parts)


def test_bad_npy_is_named(tmp_path):
    file = tmp_path / "data.npy"
    for array, message in (
        (np.ones(3), r"expected a matrix .* got the shape \(3,\)"),
        (np.ones((3, 1)), r"expected a matrix .* got the shape \(3, 1\)"),
        (np.array([[1, None]]), "would have to be unpickled"),
        (np.zeros(2, dtype=[("a", "f4")]), "expected a matrix"),
    ):
        np.save(file, array)
        with pytest.raises(DataError, match=message):
            load(file)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_numpy_files_are_named(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    file = tmp_path / f"data{suffix}"
    for data in (b"", b"hello", pickle.dumps(Bomb()), b"PK\x03\x04 and no archive", b"\x93NUMPY\x01\x00"):
        file.write_bytes(data)
        with pytest.raises(DataError) as error:
            load(file)
        one_line(error, str(file), "the file is empty" if not data else "")
    good = tmp_path / "good"
    with good.open("wb") as sink:
        (np.save if suffix == ".npy" else np.savez)(sink, np.ones((50, 3)))
    file.write_bytes(good.read_bytes()[:-400])
    with pytest.raises(DataError, match="damaged"):
        load(file)


def test_numpy_files_with_the_other_ones_name(tmp_path):
    np.savez(tmp_path / "a.npz", np.ones((2, 2)))
    np.save(tmp_path / "b.npy", np.ones((2, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"should end in \.npz"):
        load(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"should end in \.npy"):
        load(tmp_path / "b.npz")
