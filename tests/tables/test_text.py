"""Tables from text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyback.tables import DataError, load, load_inputs
from tests.conftest import require
from tests.datasets.idx_files import one_line, write_part

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402


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
    for drop, part in (
        (["c"], "no column 'c' to drop; the columns are id, b, y"),
        (["y"], "cannot be dropped"),
    ):
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
        ("a,y\n", None, ["a header but no rows"]),
        ("a\n1\n2\n", None, ["expected inputs and a target separated by commas", "'a'"]),
        ("a|y\n1|2\n", None, ["separated by commas", "'a|y'"]),
        ("a;b;y\n1;2,5;3\n", None, ["line 2, column 'b': expected a number, got '2,5'", "with a point"]),
        ("a,y\n1,2\n3\n", None, ["line 3 has 1 cells, expected 2 as in line 1"]),
        ("1,2\n3,4,5\n", None, ["line 2 has 3 cells, expected 2 as in line 1"]),
        ("a,b,y\n1,2,3\n4,,6\n", None, ["line 3, column 'b': missing value, got ''"]),
        ("a,b,y\n1,2,3\n4,NA,6\n", None, ["line 3, column 'b': missing value, got 'NA'"]),
        ("1,?,3\n4,5,6\n", None, ["line 1, column 1: missing value, got '?'"]),
        ("a,b,y\n1,2,3\n4,nan,6\n", None, ["line 3, column 'b': missing value, got nan"]),
        ("a,b,y\n1,2,3\n4,inf,6\n", None, ["line 3, column 'b': expected a finite number, got inf"]),
        ("a,b,y\n1,2,3\n4,Paris,6\n", None, ["line 3, column 'b': expected a number, got 'Paris'"]),
        (
            "a,the b,y\n1,Rome,3\n4,Paris,6\n",
            None,
            ["got 'Rome': drop the column with --drop 'the b', or encode it"],
        ),
        ("a,b,y\n1,2,3\n4,?,6\n", None, ["missing value, got '?': fill it in or remove the row"]),
        ("a,b,y\n1,2,3\n4,1_000,6\n", None, ["line 3, column 'b': expected a number, got '1_000'"]),
        ("a,b,y\n1,2,3\n4,5,\n", None, ["line 3, column 'y': missing target, got ''"]),
        ("a,y\n1,2\n,\n", None, ["line 3: all values are missing"]),
        (
            "a,y\n1,2.5\n2,3.5\n3,oops\n",
            None,
            ["line 4, column 'y': expected a number as in other rows", "'oops'"],
        ),
        (
            "a,y\n1,ant\n2,bee\n3,7\n",
            None,
            ["line 4, column 'y': expected a class name as in other rows", "'7'"],
        ),
        ("a,y\n1,2.5\n2,inf\n", None, ["line 3, column 'y': expected a finite number, got 'inf'"]),
        ("length,y\n1,2\n", "lenght", ["no target column 'lenght'", "did you mean 'length'"]),
        ("a,y\n1,2\n", "quality", ["no target column 'quality'", "the columns are a, y"]),
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
