"""Data sets, IDX files and the files the command line reads; nothing here needs a network."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from anyback.datasets import _mnist, digits, mnist, read_idx
from anyback.tables import DataError, load, load_inputs
from tests.conftest import require

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file that holds `array`."""
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pictures(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def write_part(
    folder: Path, part: str, seed: int, n: int, packed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = pictures(seed, n)
    for name, array in ((f"{part}-images-idx3-ubyte", x), (f"{part}-labels-idx1-ubyte", y)):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
        else:
            (folder / name).write_bytes(idx(array))
    return x, y


def one_line(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# --- digits -------------------------------------------------------------------------------------------


def test_digits_have_their_shapes_types_and_range():
    (x_train, y_train), (x_test, y_test) = digits()
    assert x_train.shape == (1438, 64) and x_test.shape == (359, 64)
    assert y_train.shape == (1438,) and y_test.shape == (359,)
    for x, y in ((x_train, y_train), (x_test, y_test)):
        assert x.dtype == np.float32 and y.dtype == np.int64
        assert x.min() == 0 and x.max() == 1
        assert x.flags.c_contiguous and x.flags.writeable
        np.testing.assert_array_equal(x * 16, np.round(x * 16))


def test_digits_are_split_by_class_and_always_alike():
    (x_train, y_train), (x_test, y_test) = digits()
    total = np.bincount(np.concatenate([y_train, y_test]), minlength=10)
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(y_test).tolist() == [round(n / 5) for n in total]
    rows = {bytes(row) for row in x_train}
    assert not any(bytes(row) in rows for row in x_test), "a held-out picture is in the training part"
    assert y_train[:12].tolist() == [2, 4, 5, 4, 8, 2, 0, 6, 3, 3, 6, 7]
    assert y_test[:12].tolist() == [2, 3, 0, 5, 8, 7, 9, 4, 1, 3, 6, 2]
    labels = np.concatenate([y_train, y_test]).astype(np.uint8)
    assert hashlib.sha256(labels.tobytes()).hexdigest()[:16] == "495552468d14f8ac"
    pixels = (np.concatenate([x_train, x_test]) * 16).astype(np.uint8)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "c21c4592a82737a2"


def test_digits_are_new_arrays_at_every_call():
    digits()[0][0][:] = -1
    assert digits()[0][0].min() == 0


def test_digits_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    x, y = sklearn_datasets.load_digits(return_X_y=True)
    (x_train, y_train), (x_test, y_test) = digits()

    def ordered(x, y):
        return sorted((*row, label) for row, label in zip(x.tolist(), y.tolist(), strict=True))

    ours = ordered(np.concatenate([x_train, x_test]) * 16, np.concatenate([y_train, y_test]))
    assert ours == ordered(x, y)


# --- IDX ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_of_every_type_comes_back(tmp_path, dtype, packed):
    array = np.arange(-12, 12).reshape(2, 3, 4).astype(dtype)
    file = tmp_path / "data"
    file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    back = read_idx(file)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable


@settings(deadline=None)
@given(hnp.arrays(st.sampled_from(["u1", "<i4", "<f8"]), hnp.array_shapes(max_dims=4, max_side=4)))
def test_idx_of_any_shape_comes_back(tmp_path_factory, array):
    file = tmp_path_factory.mktemp("idx") / "data"
    file.write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(str(file)), array)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ["no IDX file", "an empty file"]),
        (b"PK\x03\x04", ["no IDX file", "50 4b 03 04"]),
        (b"\0\0\x07\x01\0\0\0\0", ["no IDX file", "00 00 07 01"]),
        (b"\0\0\x08\x00", ["no IDX file"]),
        (b"\0\0\x08\x03\0\0\0\x01", ["expected 16 bytes of IDX header, got 8"]),
        (idx(np.zeros(5, "u1"))[:-1], ["expected 13 bytes for the shape (5,) of uint8, got 12 bytes"]),
        (idx(np.zeros(5, "u1")) + b"!", ["expected 13 bytes", "got 14 bytes"]),
        (gzip.compress(idx(np.zeros(5, "u1")), mtime=0)[:-9], ["damaged gzip data"]),
        (gzip.compress(idx(np.zeros(5, "u1")), mtime=0)[:-8] + bytes(8), ["damaged gzip data"]),
    ],
)
def test_damaged_idx_is_named(tmp_path, data, parts):
    file = tmp_path / "train-labels"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="train-labels") as error:
        read_idx(file)
    one_line(error, *parts)


# --- MNIST --------------------------------------------------------------------------------------------


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
        (np.zeros((3, 2, 2), "u1"), np.zeros(2, "u1"), "3 pictures"),
        (np.zeros((3, 4), "u1"), np.zeros(3, "u1"), r"expected uint8 pictures .* got uint8 \(3, 4\)"),
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


# --- tables: what ships, and folders ------------------------------------------------------------------


def test_load_knows_the_digits():
    table = load("digits")
    (x_train, _), (_, y_test) = digits()
    assert table.kind == "labels" and table.classes is None and table.features is None
    np.testing.assert_array_equal(table.x, x_train)
    np.testing.assert_array_equal(table.test[1], y_test)
    np.testing.assert_array_equal(load_inputs("digits").x, table.test[0])


def test_load_knows_mnist_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYBACK_DATA", str(tmp_path))
    monkeypatch.setattr(_mnist, "_MIRRORS", ())
    with pytest.raises(DataError) as error:
        load("mnist")
    one_line(error, "train-images-idx3-ubyte.gz", str(tmp_path / "mnist"))
    for part in ("train", "t10k"):
        write_part(tmp_path / "mnist", part, 0, 4)
    assert load("mnist").test[0].shape == (4, 784)


def test_load_reads_a_folder_of_idx_files_or_one_part(tmp_path):
    with pytest.raises(DataError) as error:
        load(tmp_path)
    one_line(error, str(tmp_path), "t10k-images-idx3-ubyte")
    write_part(tmp_path, "t10k", 0, 4)
    table = load(tmp_path)
    assert table.x.shape == (4, 784) and table.test is None
    write_part(tmp_path, "train", 1, 6)
    table = load(str(tmp_path))
    assert table.x.shape == (6, 784) and table.test[1].shape == (4,)
    with pytest.raises(DataError, match="'label'"):
        load(tmp_path, "label")


# --- tables: text -------------------------------------------------------------------------------------


def write(tmp_path: Path, text: str | bytes, name: str = "data.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_csv_with_header_and_class_names(tmp_path):
    file = write(tmp_path, "a, b ,kind\r\n1,2.5,yes\r\n-3e1,4,no\r\n\r\n5,6,yes\r\n")
    table = load(file)
    assert table.x.dtype == np.float64 and table.y.dtype == np.int64
    assert table.x.tolist() == [[1, 2.5], [-30, 4], [5, 6]]
    assert table.y.tolist() == [1, 0, 1]
    assert (table.kind, table.classes, table.features, table.target) == (
        "labels",
        ("no", "yes"),
        ("a", "b"),
        "kind",
    )


def test_csv_without_header(tmp_path):
    table = load(write(tmp_path, "5.1,3.5,setosa\n4.9,3,setosa\n7,3.2,virginica\n"))
    assert table.features is None and table.target is None
    assert table.x.shape == (3, 2) and table.y.tolist() == [0, 0, 1]
    assert load(write(tmp_path, "1,2,0.5\n3,4,0.25\n")).y.tolist() == [[0.5], [0.25]]


@pytest.mark.parametrize("target", ["y", 1, "1", -2, "-2"])
def test_csv_target_by_name_and_number(tmp_path, target):
    table = load(write(tmp_path, "a,y,b\n1,10.5,2\n3,20.5,4\n"), target)
    assert table.y.tolist() == [[10.5], [20.5]] and table.kind == "reals" and table.features == ("a", "b")


def test_csv_names_that_are_numbers(tmp_path):
    file = write(tmp_path, "0,1,2,target\n1.5,2.5,3.5,0\n4.5,5.5,6.5,1\n7.5,8.5,9.5,1\n")
    table = load(file, "1")
    assert table.features == ("0", "2", "target") and table.y.tolist() == [[2.5], [5.5], [8.5]]
    assert load(file).features == ("0", "1", "2")


def test_csv_header_that_only_the_target_tells(tmp_path):
    file = write(tmp_path, "0,1,species\n5,3,setosa\n4,3,virginica\n")
    assert load(file, "species").x.shape == (2, 2)


def test_csv_byte_order_mark_quotes_and_tabs(tmp_path):
    assert load(write(tmp_path, b'\xef\xbb\xbf"a, too",y\n1,0.5\n')).features == ("a, too",)
    assert load(write(tmp_path, "a\ty\n1\t0.5\n", "data.tsv")).x.tolist() == [[1]]


@pytest.mark.parametrize(
    ("column", "kind", "classes"),
    [
        ([0, 1, 2, 0], "labels", None),
        (["0.0", "1.0", "1.0"], "labels", None),
        ([1, 2, 3, 1], "labels", ("1", "2", "3")),
        ([-1, 1, 1], "labels", ("-1", "1")),
        ([10, 9, 9], "labels", ("9", "10")),
        ([1, 2, 3], "reals", None),
        ([5, 5, 5], "reals", None),
        ([0.5, 1, 1], "reals", None),
        ([*range(30), 0], "labels", None),
        ([*range(1, 31), 1], "reals", None),
    ],
)
def test_what_numbers_mean(tmp_path, column, kind, classes):
    table = load(write(tmp_path, "x,y\n" + "".join(f"1.5,{value}\n" for value in column)))
    assert (table.kind, table.classes) == (kind, classes)
    values = np.array([float(value) for value in column])
    if kind == "reals":
        assert table.y.shape == (len(column), 1)
        np.testing.assert_array_equal(table.y[:, 0], values)
    elif classes:
        assert [float(classes[label]) for label in table.y] == values.tolist()
    else:
        np.testing.assert_array_equal(table.y, values)


def test_kind_says_what_targets_are(tmp_path):
    file = write(tmp_path, "x,y\n1,0\n2,1\n3,1\n")
    assert load(file, kind="reals").y.tolist() == [[0], [1], [1]]
    assert load(file, kind="signs").kind == "signs"
    assert load(write(tmp_path, "x,y\n1,3\n2,a\n3,b\n"), kind="labels").classes == ("3", "a", "b")
    assert load(write(tmp_path, "x,y\n1,0.5\n2,1.5\n"), kind="labels").classes == ("0.5", "1.5")


def test_a_second_file_is_counted_by_the_first_ones_names(tmp_path):
    file = write(tmp_path, "b,y,a,z\n2,dog,1,0\n4,cat,3,0\n")
    table = load(file, "y", classes=("ant", "cat", "dog"), features=("a", "b"))
    assert table.y.tolist() == [2, 1] and table.x.tolist() == [[1, 2], [3, 4]]
    assert table.classes == ("ant", "cat", "dog")
    with pytest.raises(DataError) as error:
        load(file, "y", classes=("ant", "dog"))
    one_line(error, "line 3, column 'y'", "ant, dog", "'cat'")
    with pytest.raises(DataError, match="no column 'aa'; did you mean 'a'"):
        load(file, "y", features=("aa", "b"))
    assert load(write(tmp_path, "x,y\n1,3\n2,7\n"), classes=("1", "3", "7")).y.tolist() == [1, 2]
    with pytest.raises(DataError, match="expected 3 columns of inputs, got 1"):
        load(write(tmp_path, "1,2\n3,4\n"), features=("a", "b", "c"))


@pytest.mark.parametrize("sign", [";", "\t", ","])
def test_a_csv_may_be_separated_otherwise(tmp_path, sign):
    text = '"a, in m",b,y\n1,2,dog\n3,4,cat\n'.replace(",", sign).replace(f"a{sign}", "a,")
    table = load(write(tmp_path, text))
    assert table.x.tolist() == [[1, 2], [3, 4]] and table.features == ("a, in m", "b")


def test_columns_can_be_dropped(tmp_path):
    file = write(tmp_path, "id,b,a,y\nu1,2,1,0.5\nu2,4,3,1.5\n")
    for drop in (["id"], ["0"], ["-4"]):
        table = load(file, "y", drop=drop)
        assert table.x.tolist() == [[2, 1], [4, 3]] and table.features == ("b", "a")
    assert load_inputs(file, ignore=["y"], drop=["id"]).x.tolist() == [[2, 1], [4, 3]]
    # Names that are asked for need no others.
    assert load_inputs(file, ["a", "b"], drop=["colour"]).x.tolist() == [[1, 2], [3, 4]]
    bare = write(tmp_path, "u1,2,0.5\nu2,4,1.5\n")
    assert load(bare, drop=["0"]).x.tolist() == [[2], [4]]
    assert load_inputs(bare, drop=["0", "2"], width=1).x.tolist() == [[2], [4]]
    assert load_inputs(write(tmp_path, "2\n4\n"), drop=["0"], width=1).x.tolist() == [[2], [4]]
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(2, 4))
    assert load(tmp_path / "x.npy", 0, drop=["-1"]).x.tolist() == [[1, 2], [5, 6]]
    file = write(tmp_path, "id,b,y\nu1,2,0.5\nu2,4,1.5\n")
    for drop, part in ((["c"], "no column 'c' to drop; there are id, b, y"), (["y"], "cannot be dropped")):
        with pytest.raises(DataError, match=part):
            load(file, drop=drop)
    with pytest.raises(DataError, match="digits: columns can be dropped from"):
        load("digits", drop=["0"])


def test_inputs_alone(tmp_path):
    file = write(tmp_path, "b,y,a\n2,dog,1\n4,cat,3\n")
    table = load_inputs(file, ("a", "b"))
    assert table.x.tolist() == [[1, 2], [3, 4]] and table.y is None and table.features == ("a", "b")
    assert load_inputs(file, ignore=("y",)).x.tolist() == [[2, 1], [4, 3]]
    assert load_inputs(write(tmp_path, "1\n2\n")).x.tolist() == [[1], [2]]
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    assert load_inputs(tmp_path / "x.npy").x.shape == (2, 3)
    np.savez(tmp_path / "x.npz", x_train=np.ones((2, 3)), x_test=np.ones((1, 3)), y_test=np.ones(1))
    assert load_inputs(tmp_path / "x.npz").x.shape == (1, 3)
    np.savez(tmp_path / "x.npz", anything=np.ones((4, 3)))
    assert load_inputs(tmp_path / "x.npz").x.shape == (4, 3)
    np.savez(tmp_path / "x.npz", a=np.ones((4, 3)), b=np.ones((4, 3)))
    with pytest.raises(DataError, match="expected an array x, got a, b"):
        load_inputs(tmp_path / "x.npz")
    write_part(tmp_path / "idx", "t10k", 0, 3)
    assert load_inputs(tmp_path / "idx").x.shape == (3, 784)


@pytest.mark.parametrize(
    ("text", "target", "parts"),
    [
        ("", None, ["the file is empty"]),
        ("\n \n", None, ["the file is empty"]),
        ("a,y\n", None, ["a header and no rows"]),
        ("a\n1\n2\n", None, ["expected inputs and a target separated by commas", "'a'"]),
        ("a|y\n1|2\n", None, ["separated by commas", "'a|y'"]),
        ("a;b;y\n1;2,5;3\n", None, ["line 2, column 'b': expected a number, got '2,5'", "with a point"]),
        ("a,y\n1,2\n3\n", None, ["line 3 has 1 cells, expected 2 as in line 1"]),
        ("1,2\n3,4,5\n", None, ["line 2 has 3 cells, expected 2 as in line 1"]),
        ("a,b,y\n1,2,3\n4,,6\n", None, ["line 3, column 'b': the cell is missing, got ''"]),
        ("a,b,y\n1,2,3\n4,NA,6\n", None, ["line 3, column 'b': the cell is missing, got 'NA'"]),
        ("1,?,3\n4,5,6\n", None, ["line 1, column 1: the cell is missing, got '?'"]),
        ("a,b,y\n1,2,3\n4,nan,6\n", None, ["line 3, column 'b': the cell is missing, got nan"]),
        ("a,b,y\n1,2,3\n4,inf,6\n", None, ["line 3, column 'b': expected a finite number, got inf"]),
        ("a,b,y\n1,2,3\n4,Paris,6\n", None, ["line 3, column 'b': expected a number, got 'Paris'"]),
        ("a,the b,y\n1,Rome,3\n4,Paris,6\n", None, ["got 'Rome': drop it with --drop 'the b', or encode it"]),
        ("a,b,y\n1,2,3\n4,?,6\n", None, ["the cell is missing, got '?': fill it in or remove the row"]),
        ("a,b,y\n1,2,3\n4,1_000,6\n", None, ["line 3, column 'b': expected a number, got '1_000'"]),
        ("a,b,y\n1,2,3\n4,5,\n", None, ["line 3, column 'y': the target is missing, got ''"]),
        ("a,y\n1,2\n,\n", None, ["line 3: every cell is missing"]),
        (
            "a,y\n1,2.5\n2,3.5\n3,oops\n",
            None,
            ["line 4, column 'y': expected a number as elsewhere", "'oops'"],
        ),
        ("a,y\n1,ant\n2,bee\n3,7\n", None, ["line 4, column 'y': expected a class name as elsewhere", "'7'"]),
        ("a,y\n1,2.5\n2,inf\n", None, ["line 3, column 'y': expected a finite number, got 'inf'"]),
        ("length,y\n1,2\n", "lenght", ["no column 'lenght'", "did you mean 'length'"]),
        ("a,y\n1,2\n", "quality", ["no column 'quality'", "there are a, y"]),
        ("1,2\n3,4\n", "y", ["its columns have no names", "[0, 2)", "'y'"]),
        ("a,y\n1,2\n", 2, ["the target must be in [0, 2)", "got 2"]),
        ("a,a,b\n1,2,3\n", "a", ["more than one column 'a'"]),
        ('a,y\n1,"2\n3,4\n', None, ["line 2", "unexpected end of data"]),
        ("a,y\n1,\xe9\n".encode("latin-1"), None, ["line 2 is not UTF-8 text", "0xe9"]),
        ("a,y\n1,2\n".encode("utf-16"), None, ["line 1 is not UTF-8 text", "0xff"]),
    ],
)
def test_bad_text_is_named(tmp_path, text, target, parts):
    file = write(tmp_path, text)
    with pytest.raises(DataError) as error:
        load(file, target)
    one_line(error, str(file), *parts)


def test_text_where_the_loss_needs_numbers(tmp_path):
    with pytest.raises(DataError) as error:
        load(write(tmp_path, "a,y\n1,cat\n2,dog\n"), kind="reals")
    one_line(error, "line 2, column 'y'", "this loss needs numbers", "'cat'")


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2), elements=st.floats(-1e300, 1e300)
    )
)
def test_csv_keeps_every_bit_as_numpy_reads_it(tmp_path_factory, x):
    file = tmp_path_factory.mktemp("csv") / "data.csv"
    file.write_text("".join(",".join(map(repr, row)) + "\n" for row in x.tolist()))
    table = load(file, kind="reals")
    np.testing.assert_array_equal(np.concatenate([table.x, table.y], axis=1), x)
    np.testing.assert_array_equal(np.loadtxt(file, delimiter=",", ndmin=2), x)


# --- tables: NumPy's files ----------------------------------------------------------------------------


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
        ({"x": np.eye(2), "y": np.ones(3)}, None, ["x and y must have as many rows, got (2, 2) and (3,)"]),
        ({"x": np.ones(2), "y": np.ones(2)}, None, ["two axes or more", "x is (2,)"]),
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


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digit", ["no such file: 'digit'", "did you mean 'digits'"]),
        ("irsi.csv", ["no such file: 'irsi.csv'", "did you mean 'iris.csv'"]),
        ("elsewhere/data.csv", ["no such file: 'elsewhere/data.csv'"]),
        ("model.pkl", [".csv, .tsv, .npz, .npy", "got '.pkl'"]),
        ("plain", ["got 'no ending'"]),
        ("zero\0byte.csv", ["no such file: 'zero\\x00byte.csv'"]),
    ],
)
def test_files_that_are_not_there_or_of_another_kind(tmp_path, monkeypatch, name, parts):
    monkeypatch.chdir(tmp_path)
    for other in ("iris.csv", "model.pkl", "plain"):
        (tmp_path / other).write_text("")
    for read in (load, load_inputs):
        with pytest.raises(DataError) as error:
            read(name)
        one_line(error, *parts)
