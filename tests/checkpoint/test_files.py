"""How checkpoints are written: headers, arrays, permissions, and failures."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from anyback.checkpoint import files
from tests.checkpoint.trainers import FIT, X, Y, make
from tests.conftest import require

require("safetensors")


def test_a_header_of_any_length_is_read(tmp_path):
    """A header of 640 or 1,152 bytes begins as a pickle does, one of 19,280 as an archive."""
    path = tmp_path / "run"
    seen = set()
    files.write(path, {"w": np.ones(2)}, {"padding": ""})
    shortest = int.from_bytes(path.read_bytes()[:8], "little")
    for length in (640, 896, 1152, 1408, 19280):
        padding = "x" * (length - shortest)
        files.write(path, {"w": np.ones(2)}, {"padding": padding})
        seen.add(path.read_bytes()[:2])
        assert files.read(path)[1]["padding"] == padding
    assert seen == {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"}


@pytest.mark.parametrize("array", [
    np.arange(12.0).reshape(3, 4).T, np.arange(12)[::-2], np.float32(3.0), np.zeros((0, 3)),
    np.arange(24, dtype="float32").reshape(2, 3, 4).swapaxes(0, 2), np.array([np.nan, -0.0, np.inf]),
    np.asfortranarray(np.arange(6, dtype="int32").reshape(2, 3)),
])  # fmt: skip
def test_arrays_of_any_layout_come_back(tmp_path, array):
    files.write(tmp_path / "run", {"a": array}, {"x": [1, None, "é"]})
    arrays, described = files.read(tmp_path / "run")
    np.testing.assert_array_equal(arrays["a"], array)
    assert arrays["a"].shape == np.shape(array)
    assert described == {"format": files.FORMAT, "x": [1, None, "é"]}


def test_nothing_is_left_and_the_umask_rules(tmp_path):
    old = os.umask(0o027)
    try:
        files.write(tmp_path / "run", {"a": np.ones(2)}, {})
    finally:
        os.umask(old)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o640


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_old_file_survives_a_failure(tmp_path, monkeypatch, failing):
    trainer = make()
    trainer.fit(X, Y, **FIT)
    trainer.save(tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    trainer.fit(X, Y, epochs=2, **FIT)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        trainer.save(tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r".*run needs the folder .*nowhere, which is not"):
        make().build(4).save(tmp_path / "nowhere" / "run")
