"""Damaged files and other files are refused."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest

import anyback as ab
from anyback.checkpoint import CheckpointError, files
from tests.checkpoint.trainers import FIT, X, Y, make, watchers
from tests.conftest import require

require("safetensors")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    trainer = make()
    trainer.fit(X, Y, callbacks=watchers(), **FIT)
    path = tmp_path_factory.mktemp("saved") / "run"
    trainer.save(path)
    return path.read_bytes()


def refused(path, match="."):
    with pytest.raises(CheckpointError, match=match) as error:
        ab.Trainer.load(path, backend="numpy")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.9, 0.9999])
def test_truncated_is_refused(tmp_path, saved, share):
    path = tmp_path / "run"
    path.write_bytes(saved[: int(share * len(saved))])
    refused(path)
    path.write_bytes(saved + b"\0")
    refused(path)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_a_flipped_byte_is_refused_wherever_it_is(tmp_path, saved, flip):
    path = tmp_path / "run"
    header = 8 + int.from_bytes(saved[:8], "little")
    draw = np.random.default_rng(flip)
    for place in [*range(12), *draw.integers(12, header, 60), *draw.integers(header, len(saved), 60), -1]:
        altered = bytearray(saved)
        altered[place] ^= flip
        path.write_bytes(altered)
        refused(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "run"
    refused(path, "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"w": np.ones(3)}, protocol))
        refused(path, "pickle or an archive, which could run code: refused")
    path.write_bytes(pickle.dumps({"w": [1.0]}, 0))
    refused(path)
    np.savez(tmp_path / "w.npz", w=np.ones(3))
    refused(tmp_path / "w.npz", "pickle or an archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"")
    refused(path, "pickle or an archive")
    for content in (b"", b"\n", b'{"w": 1}', b"[" * 100_000, b"\xff" * 100, b"\0" * 100, b"\x93NUMPY"):
        path.write_bytes(content)
        refused(path, "truncated, altered, or not of anyback")


def with_header(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_other_safetensors_are_refused(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "run"
    for content in (
        save({"w": np.ones(3)}),
        save({"w": np.ones(3)}, {"anyback": "{}"}),
        save({"w": np.ones(3)}, {"anyback": "{}", "sha256": "0"}),
        with_header({"__metadata__": {"anyback": "{}", "sha256": "0"}}),
        with_header({"__metadata__": {"anyback": 1, "sha256": 2}}),
        with_header({"__metadata__": []}),
        with_header([1, 2]),
    ):
        path.write_bytes(content)
        refused(path)


def test_files_with_a_right_sum_but_a_wrong_description_are_refused(tmp_path, saved):
    path = tmp_path / "run"
    path.write_bytes(saved)
    arrays, described = files.read(path)
    described.pop("format")
    files.write(path, arrays, described)
    ab.Trainer.load(path, backend="numpy")
    unknown = {**described["model"], "layers": [{"is": "layers.Convolution"}]}
    outside = {**described["model"], "layers": [{"is": "os.system", "command": "true"}]}
    for change, match in (
        ({"format": files.FORMAT + 1}, "has format 2, this anyback reads up to 1"),
        ({"model": unknown}, "description names layers.Convolution, which anyback does not have"),
        ({"model": outside}, "description names os.system, which anyback does not have"),
        ({"loss": {"is": "losses.own_loss"}}, "names losses.own_loss"),
        ({"optimizer": {"is": "optimizers.Adam", "rate": 1}}, "does not describe a trainer"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"in_shape": [5]}, "does not describe a trainer"),
        ({"position": None}, "does not describe a trainer"),
        ({"limits": {"l3": 1}}, "does not describe a trainer"),
        ({"limits": {**described["limits"], "l1": 10**400}}, "does not describe a trainer"),
        ({"position": [1, 2, -3, 4]}, "position must be four counts, got .1, 2, -3, 4"),
        ({"lr_factor": "1"}, "lr_factor must be a number, not negative, got '1'"),
        ({"showing_best": 1}, "showing_best must be true or false, got 1"),
        ({"history": [{"loss": 1.0}]}, "history must be rows of numbers with an epoch, got"),
        ({"callbacks": [["EarlyStopping", []]]}, "callbacks must be names with states, got"),
        ({"fit": {}}, "fit must be what a fit began with, got {}"),
    ):
        files.write(path, arrays, {**described, **change})
        refused(path, match)
    files.write(path, arrays, {name: value for name, value in described.items() if name != "seed"})
    refused(path, "does not describe a trainer: 'seed'")
    files.write(path, {name: a for name, a in arrays.items() if name != "w"}, described)
    refused(path, "the file lacks w")
    files.write(path, {**arrays, "w": arrays["w"][:-1]}, described)
    refused(path, "w has shape .* where the model needs")
    files.write(path, {**arrays, "w": arrays["w"].astype("int32")}, described)
    refused(path, "w is int32 of shape .* where the model needs float32")
    files.write(path, {**arrays, "../w": np.ones(1)}, described)
    refused(path, "the file has '../w' beside it")
    files.write(path, {**arrays, "scaler.mean": np.ones(1)}, described)
    refused(path, "scaler.mean must have shape")
    files.write(path, {name: a for name, a in arrays.items() if name != "scaler.mean"}, described)
    refused(path, "the file lacks scaler.mean")


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"format": "x"}', "not JSON", "[" * 100_000])
def test_a_right_sum_over_a_wrong_description_is_refused(tmp_path, text):
    from safetensors.numpy import save

    arrays = {"w": np.ones(2)}
    data = save(arrays, {"anyback": text, "sha256": files._digest(arrays, text)})
    (tmp_path / "run").write_bytes(data)
    refused(tmp_path / "run", "truncated, altered, or not of anyback")
