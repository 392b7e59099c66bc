"""Wrong options, files and runs end a command with one line that names them."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.cli.command_line import FAST, write
from tests.conftest import require

require("typer")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--loss", "hubber"), ("loss", "'hubber'", "did you mean 'huber'")),
        (("--optimizer", "adamm"), ("optimizer", "'adamm'", "'Adam'")),
        (("--activation", "rel"), ("activation", "'rel'", "'relu'")),
        (("--metrics", "accurac"), ("metric", "'accurac'", "'accuracy'")),
        (("--backend", "nunpy"), ("backend", "'nunpy'", "'numpy'")),
        (("--target", "specis"), ("target", "'specis'", "'species'")),
        (("--target", "9"), ("target", "9")),
        (("--hidden", "8,x"), ("--hidden", "'x'")),
        (("--hidden", "8,0"), ("--hidden", "'0'")),
        (("--batch-size", "0"), ("--batch-size", "'0'")),
        (("--batch-size", "many"), ("--batch-size", "'many'")),
        (("--epochs", "0"), ("epochs", "0")),
        (("--epochs", "x"), ("--epochs", "'x'", "anyback train --help")),
        (("--epoch", "3"), ("--epoch", "--epochs")),
        (("--lr", "-1"), ("lr", "-1")),
        (("--lr", "nan"), ("lr", "nan")),
        (("--weight-decay", "-1"), ("weight_decay", "-1")),
        (("--dropout", "1"), ("dropout", "1")),
        (("--validation", "1"), ("--validation", "1")),
        (("--validation", "0.001"), ("--validation", "0.001", "72 rows")),
        (("--test", "-0.1"), ("--test", "-0.1")),
        (("--patience", "-1"), ("patience", "-1")),
        (("--dtype", "float16"), ("dtype", "'float16'")),
        (("--seed", "-1"), ("seed", "-1")),
        (("--metrics", "r2"), ("metric", "'r2'", "labels")),
        (("--loss", "mean_squared_error"), ("species", "'ant'")),
    ],
    ids=lambda value: " ".join(value[:2]) if str(value[0]).startswith("--") else "",
)
def test_bad_options_are_named(refused, folder, tmp_path, options, parts):
    run = tmp_path / "run"
    err = refused("train", folder / "species.csv", *options, "--out", run)
    assert all(part in err for part in parts), err
    assert not run.exists()


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("nan.csv", "a,y\n1,0.5\nnan,1.5\n", ("nan.csv", "line 3", "'a'")),
        ("inf.csv", "a,y\n1,0.5\ninf,1.5\n", ("inf.csv", "line 3", "inf")),
        ("nan_y.csv", "a,y\n1,0.5\n2,nan\n", ("nan_y.csv", "line 3", "'y'")),
        ("empty.csv", "", ("empty.csv", "empty")),
        ("header.csv", "a,y\n", ("header.csv", "no rows")),
        ("short.csv", "a,b,y\n1,2,3\n1,2\n", ("short.csv", "line 3", "2 cells")),
        ("one.csv", "a,y\n1,yes\n2,yes\n", ("classes", "'yes'")),
        ("data.xls", "a", ("data.xls", "'.xls'")),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and "\n" not in value else "",
)
def test_bad_files_are_named(refused, tmp_path, name, text, parts):
    (tmp_path / name).write_text(text)
    err = refused("train", tmp_path / name, "--validation", "0", "--test", "0", "--out", tmp_path / "run")
    assert all(part in err for part in parts), err


def test_bad_arrays_are_named(refused, tmp_path):
    x = np.ones((10, 2))
    for name, arrays, parts in [
        ("length", {"x": x, "y": np.arange(9) % 2}, ("(10, 2)", "(9,)")),
        ("nan", {"x": np.where(np.eye(10, 2) > 0, np.nan, x), "y": np.arange(10) % 2}, ("nan at row 0",)),
        ("void", {"x": x[:0], "y": np.zeros(0)}, ("empty",)),
        ("pickle", {"x": np.array([{}] * 10, dtype=object), "y": np.zeros(10)}, ("unpickled",)),
    ]:
        np.savez(tmp_path / f"{name}.npz", **arrays)
        err = refused("train", tmp_path / f"{name}.npz", "--out", tmp_path / "run")
        assert all(part in err for part in (f"{name}.npz", *parts)), err
    np.savez(
        tmp_path / "range.npz", x_train=x, y_train=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 2 - 1
    )
    assert "got -1 at row" in refused("train", tmp_path / "range.npz", *FAST, "--out", tmp_path / "run")


def test_bad_data_for_a_run_is_named(refused, species_run, folder, tmp_path):
    for name in ("predict", "evaluate"):
        err = refused(name, species_run, "digits")
        assert "digits has 64 input columns, the run expects 3: a, b, c" in err
    write(tmp_path / "strange.csv", "a,b,c,species", [[1, 2, 3, "dog"], [1, 2, 3, "ant"]])
    err = refused("evaluate", species_run, tmp_path / "strange.csv")
    assert "'dog'" in err and "ant, bee, cat" in err
    write(tmp_path / "lacking.csv", "a,b", [[1, 2]])
    assert "'c'" in refused("predict", species_run, tmp_path / "lacking.csv")
    assert "no such file: 'digit'; did you mean 'digits'?" in refused("predict", species_run, "digit")
    assert "'p.txt'" in refused("predict", species_run, folder / "species.csv", "--out", "p.txt")


def test_bad_checkpoints_are_named(refused, species_run, folder, tmp_path):
    whole = (species_run / "checkpoint.safetensors").read_bytes()
    middle = len(whole) // 2
    altered = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for name, data, part in [
        ("truncated", whole[:-10], "truncated"),
        ("altered", altered, "altered"),
        ("pickle", pickle.dumps({"w": 1}), "pickle"),
        ("text", b"hello", "truncated"),
    ]:
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(data)
        for command in ("evaluate", "predict"):
            err = refused(command, file, folder / "species.csv")
            assert str(file) in err and part in err
    assert "no such run: 'nowhere'" in refused("evaluate", "nowhere", "digits")
    assert "checkpoint.safetensors" in refused("evaluate", tmp_path, "digits")


def test_what_describes_a_run_must_be_whole_and_of_that_run(refused, species_run, folder, tmp_path):
    data, run = folder / "species.csv", tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.safetensors").write_bytes((species_run / "checkpoint.safetensors").read_bytes())
    about = json.loads((species_run / "run.json").read_text())
    for text in ("{", "[]", json.dumps({**about, "options": None}), json.dumps({**about, "data": {}})):
        (run / "run.json").write_text(text)
        err = refused("evaluate", run, data)
        assert f"{run / 'run.json'} is damaged" in err
    for backend in (None, "numpy", {"name": 5}):
        (run / "run.json").write_text(json.dumps({**about, "backend": backend}))
        assert "is damaged" in refused("train", "--resume", run)
    damaged = {"options": {"hidden": 5}}, {"options": {"batch_size": None}}, {"data": {"path": None}}
    for part in damaged:
        ((kind, values),) = part.items()
        changed = {**about[kind], **values}
        kept = {name: value for name, value in changed.items() if name != "path" or value}
        (run / "run.json").write_text(json.dumps({**about, kind: kept}))
        assert "is damaged" in refused("evaluate", run, data)
    others = {"outputs": 7, "parameters": 1, "optimizer": "SGD", "seed": 9}
    for name, value in others.items():
        other = {"options": {**about["options"], name: value}} if name == "seed" else {name: value}
        (run / "run.json").write_text(json.dumps({**about, **other}))
        err = refused("evaluate", run, data)
        assert f"are of different runs: they differ in {name}\n" in err


def test_a_header_of_numbers_is_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    data = tmp_path / "data.csv"
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(40)]
    for first, said in (("0,1,label", True), ("0,1,a", False), ("u,v,label", False)):
        data.write_text("\n".join([first, *rows]) + "\n")
        code, _, err = call("train", data, *FAST, "--out", tmp_path / first)
        assert code == 0 and ("only its first row has class 'label': is it a header?" in err) == said, err


def test_columns_of_another_order_are_not_those_of_a_run(refused, species_run, folder, tmp_path):
    header, *rows = (folder / "species.csv").read_text().splitlines()
    first, second, *rest = header.split(",")
    swapped = tmp_path / "swapped.csv"
    swapped.write_text("\n".join([",".join([second, first, *rest]), *rows]) + "\n")
    err = refused("train", swapped, "--resume", species_run, "--epochs", 99)
    assert "other column names, or another order of columns" in err and f"{first}, {second}" in err


def test_held_out_rows_are_checked_before_training(refused, tmp_path):
    rng = np.random.default_rng(0)
    data, run = tmp_path / "data.npz", tmp_path / "run"
    np.savez(data, x=rng.normal(size=(40, 2)), y=np.ones(40), x_test=np.ones((4, 2)), y_test=-np.ones(4))
    err = refused("train", data, "--loss", "poisson", "--out", run)
    assert "held-out rows: y must be counts" in err and not run.exists()
    y = np.ones(40)
    y[29] = -1.0
    np.savez(data, x=rng.normal(size=(40, 2)), y=y)  # rows are counted in the file, not in a part of it
    for seed in range(3):
        err = refused("train", data, "--loss", "poisson", "--out", run, "--seed", seed)
        assert "y must be counts, not negative, got -1.0 at (29, 0)" in err and not run.exists()


def test_usage_errors_are_short(refused):
    assert "DATA is missing" in refused("train")
    assert "'DATA'" in refused("evaluate", "a")
    assert "'trian'" in refused("trian", "digits")
    assert "--proba" in refused("predict", "a", "b", "--prob")
    assert "'relux'" in refused("gradcheck", "relux")


def test_columns_of_one_name_are_refused(refused, tmp_path):
    write(tmp_path / "twice.csv", "a,a,kind", [[i, i, "uv"[i % 2]] for i in range(20)])
    assert "'a' more than once" in refused("train", tmp_path / "twice.csv", *FAST, "--out", tmp_path / "run")
