"""IDX files of every type and shape."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from anyback.datasets import read_idx
from tests.conftest import require
from tests.datasets.idx_files import CODES, idx, one_line

require("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402


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
        (b"", ["not an IDX file", "an empty file"]),
        (b"PK\x03\x04", ["not an IDX file", "50 4b 03 04"]),
        (b"\0\0\x07\x01\0\0\0\0", ["not an IDX file", "00 00 07 01"]),
        (b"\0\0\x08\x00", ["not an IDX file"]),
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
