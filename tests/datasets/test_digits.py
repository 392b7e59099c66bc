"""The digits that ship."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from anyback.datasets import digits


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
