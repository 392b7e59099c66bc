"""`anyback train`: its summary, its files, the kinds of target, and its notes."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

import anyback as ab
from anyback import losses
from anyback.training.trainer import Trainer
from tests.cli.command_line import BACKEND, FAST, PNG, rows_of, weights, write
from tests.conftest import require

require("typer")
from anyback.cli import report  # noqa: E402


def test_train_digits_reaches_the_accuracy_that_is_promised(digits_run):
    done, folder, seconds = digits_run
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs").iterdir()
    about = json.loads((run / "run.json").read_text())
    assert about["figures"]["held out"]["rows"] == 359
    assert about["figures"]["held out"]["accuracy"] >= 0.97
    assert seconds < 60
    assert run.name.startswith("digits-")


def test_train_prints_a_summary_and_no_control_characters(digits_run):
    done, folder, _ = digits_run
    for part in (BACKEND, "64 > 128 > 64 > 10", "17,226 parameters", "held out", "accuracy", "best epoch"):
        assert part in done.stdout
    assert f"run folder: {next((folder / 'runs').iterdir()).relative_to(folder)}" in done.stdout
    assert "\x1b" not in done.stdout and "\r" not in done.stdout + done.stderr


def test_the_run_folder_is_complete(species_run, folder):
    assert {file.name for file in species_run.iterdir()} == {
        "checkpoint.safetensors",
        "checkpoint.1.safetensors",
        "history.csv",
        "history.jsonl",
        "curves.png",
        "confusion_matrix.png",
        "run.json",
    }
    for name in ("curves.png", "confusion_matrix.png"):
        assert (species_run / name).read_bytes()[:8] == PNG and (species_run / name).stat().st_size > 5000
    rows = rows_of((species_run / "history.csv").read_text())
    lines = [json.loads(line) for line in (species_run / "history.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 40
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"} == set(rows[0]) == set(lines[0])
    about = json.loads((species_run / "run.json").read_text())
    assert about["command"].startswith("anyback train ") and "--lr 0.01" in about["command"]
    assert about["data"]["classes"] == ["ant", "bee", "cat"]
    assert about["data"]["features"] == ["a", "b", "c"] and about["data"]["target"] == "species"
    assert about["versions"]["anyback"] == ab.__version__ and about["backend"]["name"] == BACKEND
    assert about["training"]["epochs"] == 40
    losses_of_epochs = [line["val_loss"] for line in lines]
    assert about["training"]["best_epoch"] == int(np.argmin(losses_of_epochs)) + 1
    assert about["figures"]["validation"]["loss"] == pytest.approx(min(losses_of_epochs), rel=1e-6)


def test_the_held_out_part_decides_nothing(call, folder, tmp_path):
    """Other values in the held-out rows leave every weight as it is."""
    from anyback.cli.splits import split_test
    from anyback.tables import load

    table = load(folder / "price.csv")
    (x, y), held = split_test(table, 0.2)
    assert len(held[0]) == 18 and len(x) == 72
    runs = []
    for i, extra in enumerate((0.0, 100.0)):
        np.savez(
            tmp_path / f"{i}.npz", x_train=x, y_train=y, x_test=held[0] + extra, y_test=held[1].reshape(-1, 1)
        )
        runs.append(tmp_path / f"run{i}")
        assert call("train", tmp_path / f"{i}.npz", *FAST, "-q", "--out", runs[-1])[0] == 0
    first, second = map(weights, runs)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("file", "options", "loss", "outputs"),
    [
        ("species.csv", (), "softmax_cross_entropy", 3),
        ("species.csv", ("--loss", "hinge"), "hinge", 3),
        ("two.csv", ("--loss", "hinge", "--target", "ok"), "hinge", 1),
        ("two.csv", ("--loss", "binary_cross_entropy", "--target", "0"), "binary_cross_entropy", 1),
        ("share.csv", ("--loss", "binary_cross_entropy"), "binary_cross_entropy", 1),
        ("price.csv", ("--batch-size", "full", "--test", "0", "--validation", "0"), "mean_squared_error", 1),
        ("counts.npy", ("--loss", "poisson"), "poisson", 1),
        ("multi.npz", ("--loss", "huber", "--optimizer", "nadam"), "huber", 2),
        ("pictures.npz", ("--hidden", ""), "softmax_cross_entropy", 2),
    ],
)
def test_every_kind_of_target(call, folder, tmp_path, file, options, loss, outputs, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run = tmp_path / "run"
    code, out, err = call("train", folder / file, *FAST, *options, "--out", run)
    assert code == 0, err
    assert "run folder" in out
    about = json.loads((run / "run.json").read_text())
    assert (about["loss"], about["outputs"]) == (loss, outputs)
    assert all(np.isfinite(list(part.values())).all() for part in about["figures"].values())
    code, out, err = call("evaluate", run, folder / file)
    assert code == 0 and ("held out" if "--test" not in options else "all rows") in out
    code, out, err = call("predict", run, folder / file)
    assert code == 0
    predictions = rows_of(out)
    assert len(predictions) == (60 if file == "pictures.npz" else 90)
    if about["data"]["classes"]:
        assert {row["prediction"] for row in predictions} <= set(about["data"]["classes"])
    else:
        values = np.array([[float(v) for v in row.values()] for row in predictions])
        assert values.shape[1] == outputs and np.isfinite(values).all()
        if file == "share.csv":
            assert (values > 0).all() and (values < 1).all()


def test_a_regression_leaves_its_own_picture(call, folder, tmp_path):
    run = tmp_path / "run"
    assert call("train", folder / "price.csv", *FAST, "--quiet", "--out", run) == (0, f"{run}\n", "")
    assert (run / "predicted_against_true.png").read_bytes()[:8] == PNG
    assert not (run / "confusion_matrix.png").exists()


def test_targets_far_from_zero_are_pointed_out(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(tmp_path / "far.npz", x=x, y=1000 + 50 * x[:, 0])
    code, _, err = call("train", tmp_path / "far.npz", *FAST, "--out", tmp_path / "run")
    assert code == 0 and "scale them" in err and "mean 1.01e+03" in err


def test_whole_numbers_taken_as_classes_are_pointed_out(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    for name, k, noted in (("n", 11, True), ("two", 2, False)):
        write(tmp_path / f"{name}.csv", f"a,{name}", [[i % 7, 3 * (i % k)] for i in range(60)])
        options = ("--validation", "0", "-q", "--out", tmp_path / name)
        code, _, err = call("train", tmp_path / f"{name}.csv", *FAST, *options)
        note = "note: target n: 11 integers used as classes; --loss mean_squared_error for regression\n"
        assert (code, err) == (0, note if noted else "")


def test_columns_that_are_dropped_stay_dropped(call, folder, tmp_path, monkeypatch, refused):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    rows = [[f"u{i}", i % 5, "red" if i % 2 else "blue", i % 7, (i % 5) / 4] for i in range(40)]
    write(tmp_path / "named.csv", "id,a,colour,b,y", rows)
    write(tmp_path / "bare.csv", "u,1,red,1,0.25", rows)
    err = refused("train", tmp_path / "named.csv", "--out", tmp_path / "run")
    assert "'u0': drop the column with --drop id" in err
    for name, drop in (("named", "id,colour"), ("bare", "0,2")):
        run, data = tmp_path / name, tmp_path / f"{name}.csv"
        code, _, err = call("train", data, *FAST, "--drop", drop, "-q", "--out", run)
        assert code == 0, err
        assert json.loads((run / "run.json").read_text())["data"]["width"] == 2
        assert call("evaluate", run, data)[0] == 0
        assert call("train", data, "--resume", run, "--epochs", "4", "-q")[0] == 0
        code, out, err = call("predict", run, data)
        assert code == 0 and ("ignored column 4, the target" in err) == (name == "bare")
        write(tmp_path / "inputs.csv", "a,b" if name == "named" else "1,1", [row[1:4:2] for row in rows])
        assert call("predict", run, tmp_path / "inputs.csv", "--drop", "")[1] == out
        assert call("predict", run, tmp_path / "inputs.csv") == (0, out, "")


def test_dropout_is_for_classes_unless_asked_for(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    for file, typed, expected in (
        ("price.csv", (), 0.0),
        ("price.csv", ("--dropout", "0.1"), 0.1),
        ("species.csv", (), 0.2),
    ):
        run = tmp_path / f"{file}{expected}"
        assert call("train", folder / file, *FAST, *typed, "-q", "--out", run)[0] == 0
        assert json.loads((run / "run.json").read_text())["options"]["dropout"] == expected


def test_the_gradient_can_be_clipped(call, folder, tmp_path, refused):
    run = tmp_path / "run"
    assert call("train", folder / "price.csv", *FAST, "--clip-norm", "0.5", "-q", "--out", run)[0] == 0
    assert Trainer.load(run / "checkpoint.safetensors", backend="numpy").limits["clip_norm"] == 0.5
    assert "clip_norm" in refused("train", folder / "price.csv", "--clip-norm", "0", "--out", tmp_path / "x")


def test_a_checkpoint_of_a_loss_with_options(call, folder, tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 3))
    np.savez(tmp_path / "data.npz", x=x, y=x[:, 0])
    loss = partial(losses.huber, delta=2.0)
    trainer = Trainer(ab.MLP([4], 1), loss, backend="numpy")
    trainer.fit(x, x[:, 0], epochs=2, verbose=0)
    trainer.save(tmp_path / "own.safetensors")
    code, out, err = call("evaluate", tmp_path / "own.safetensors", tmp_path / "data.npz")
    assert code == 0 and f"{trainer.evaluate(x, x[:, 0])['loss']:.4f}" in out, err
    assert "input columns, the run expects 3\n" in refused_line(
        call("predict", tmp_path / "own.safetensors", "digits")
    )


def refused_line(result):
    code, out, err = result
    assert (code, out) == (2, "")
    return err


def test_the_summary_says_shortly_why_a_backend_was_taken():
    for name, reason, shown in (
        ("numpy", "asked for", ""),
        (
            "numpy",
            "auto: backend 'cupy' needs CuPy, which cannot be imported (No module)",
            " (auto: no CuPy)",
        ),
        ("numpy", "auto: backend 'cupy': CuPy 14 found no CUDA GPU", " (auto: no CUDA GPU)"),
        ("cupy", "auto: a CUDA GPU works", " (auto: a CUDA GPU works)"),
    ):
        assert report._auto_reason({"name": name, "reason": reason}) == shown


def test_a_diverging_run_says_so(call, folder, tmp_path):
    run = tmp_path / "run"
    options = ("--optimizer", "sgd", "--lr", "1e8", "--no-standardize")
    code, out, err = call("train", folder / "price.csv", *FAST, *options, "--out", run)
    assert (code, out) == (1, "") and "learning rate" in err and err.count("\n") == 1
    assert not run.exists()


def test_a_run_that_diverges_later_keeps_what_was_good(call, folder, tmp_path):
    run = tmp_path / "run"
    options = ("--hidden", "8", "--optimizer", "sgd", "--lr", "1", "--no-standardize", "-q", "--epochs", "30")
    code, out, err = call("train", folder / "price.csv", *options, "--out", run)
    assert (code, out) == (1, "") and "not finite first in" in err and "layer 2 (Dense)" in err
    assert err.endswith(f"; the epochs before it are saved in {run}\n") and "Traceback" not in err
    trainer = Trainer.load(run / "checkpoint.safetensors", backend="numpy")
    assert trainer.epoch >= 1 and trainer.finite


def test_odd_names_are_only_names(call, tmp_path):
    rows = [[i % 2 + 0.1 * i, i % 3, "$^$" if i % 2 else "a{0}"] for i in range(40)]
    write(tmp_path / "odd{b}.csv", "x,y{,cost $x_$ ^", rows)
    out = tmp_path / "run{epoch}{{x}}"
    code, _, err = call("train", tmp_path / "odd{b}.csv", *FAST, "--out", out)
    assert code == 0, err
    assert "no plots" not in err
    assert (out / "confusion_matrix.png").exists()
