"""Data sets by name, folders, and files of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from anyback.datasets import _mnist, digits
from anyback.tables import DataError, load, load_inputs
from tests.datasets.idx_files import one_line, write_part


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
