"""The command line as its users meet it: what it prints, what it leaves behind, and how it refuses."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback import losses, optimizers
from anyback.training.trainer import Trainer
from tests.conftest import require

Abort = require("typer").Abort
from anyback.cli import (  # noqa: E402
    app,
    gradients,
    report,
    run_dir,
)

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
FAST = ("--epochs", "3", "--hidden", "8")
# Whatever there is on this machine, unless somebody asks for more: `python -m benchmarks.gpu` does.
BACKEND = os.environ.get("ANYBACK_BACKEND", "numpy")


@pytest.fixture(autouse=True)
def on_one_backend(monkeypatch):
    monkeypatch.setenv("ANYBACK_BACKEND", BACKEND)


@pytest.fixture
def call(capsys):
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app([str(arg) for arg in args], prog_name="anyback")
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture
def refused(call):
    """Run a command line that must fail with one line, and return the line."""

    def run(*args):
        code, out, err = call(*args)
        assert code == 2, (out, err)
        assert out == ""
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small files of every kind."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (rng.normal(size=(90, 3)) + 3.0 * np.eye(3)[y]).round(4)
    t = (x @ [1.0, -1.0, 0.5]).round(4)
    names = ["ant", "bee", "cat"]
    write(folder / "species.csv", "a,b,c,species", [[*row, names[i]] for row, i in zip(x, y, strict=True)])
    write(folder / "two.csv", "ok,a,b,c", [["yes" if i else "no", *row] for row, i in zip(x, y, strict=True)])
    write(folder / "price.csv", "a,b,c,price", [[*row, v] for row, v in zip(x, t, strict=True)])
    write(
        folder / "share.csv",
        "a,b,c,share",
        [[*row, v] for row, v in zip(x, 1 / (1 + np.exp(-t)), strict=True)],
    )
    np.save(folder / "counts.npy", np.column_stack([x, rng.poisson(np.exp(0.3 * x[:, 0]))]))
    np.savez(folder / "multi.npz", x=x, y=np.stack([t, t * t], axis=1))
    np.savez(
        folder / "pictures.npz", x=rng.integers(0, 255, (60, 4, 4)).astype(np.uint8), y=np.arange(60) % 2
    )
    return folder


def write(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """What `anyback train digits` leaves: (process, folder it ran in, seconds)."""
    folder = tmp_path_factory.mktemp("work")
    start = time.perf_counter()
    done = command("train", "digits", cwd=folder)
    return done, folder, time.perf_counter() - start


@pytest.fixture(scope="module")
def species_run(folder, tmp_path_factory):
    """A run of few epochs on species.csv."""
    out = tmp_path_factory.mktemp("runs") / "species"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setenv("ANYBACK_BACKEND", BACKEND)
        app(
            [
                "train",
                str(folder / "species.csv"),
                "--epochs",
                "40",
                "--lr",
                "0.01",
                "--quiet",
                "--out",
                str(out),
            ]
        )
    assert end.value.code == 0
    return out


def command(*args, cwd=ROOT, code="from anyback.__main__ import main; main()", **options):
    """Run a command line in a process of its own."""
    environment = os.environ | {"ANYBACK_BACKEND": BACKEND, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def weights(run):
    return Trainer.load(run / "checkpoint.safetensors", backend="numpy").parameters()


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


# --- train --------------------------------------------------------------------------------------------


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
    from anyback.cli.splits import held_out
    from anyback.tables import load

    table = load(folder / "price.csv")
    (x, y), held = held_out(table, 0.2)
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
        note = "note: target n: 11 integers taken as classes; --loss mean_squared_error for numbers\n"
        assert (code, err) == (0, note if noted else "")


def test_columns_that_are_dropped_stay_dropped(call, folder, tmp_path, monkeypatch, refused):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    rows = [[f"u{i}", i % 5, "red" if i % 2 else "blue", i % 7, (i % 5) / 4] for i in range(40)]
    write(tmp_path / "named.csv", "id,a,colour,b,y", rows)
    write(tmp_path / "bare.csv", "u,1,red,1,0.25", rows)
    err = refused("train", tmp_path / "named.csv", "--out", tmp_path / "run")
    assert "'u0': drop it with --drop id" in err
    for name, drop in (("named", "id,colour"), ("bare", "0,2")):
        run, data = tmp_path / name, tmp_path / f"{name}.csv"
        code, _, err = call("train", data, *FAST, "--drop", drop, "-q", "--out", run)
        assert code == 0, err
        assert json.loads((run / "run.json").read_text())["data"]["width"] == 2
        assert call("evaluate", run, data)[0] == 0
        assert call("train", data, "--resume", run, "--epochs", "4", "-q")[0] == 0
        code, out, err = call("predict", run, data)
        assert code == 0 and ("column 4, the target's, is left out" in err) == (name == "bare")
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
    assert "of inputs, the run takes 3\n" in refused_line(
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
        assert report._why({"name": name, "reason": reason}) == shown


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
    assert err.endswith(f"; the epochs before it are kept in {run}\n") and "Traceback" not in err
    trainer = Trainer.load(run / "checkpoint.safetensors", backend="numpy")
    assert trainer.epoch >= 1 and trainer.finite


# --- resume and interruption --------------------------------------------------------------------------

# How much longer things may take where many tests run at once.
PATIENCE = 4


def started(run, *args, code="from anyback.__main__ import main; main()", until="checkpoint.safetensors"):
    """Start a run that would never end, and return its process once it has written a file."""
    args = ("--epochs", "100000", "--patience", "100000", "--hidden", "16", "-q", "--out", run, *args)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", "digits", *map(str, args)],
        cwd=ROOT,
        env=os.environ | {"ANYBACK_BACKEND": BACKEND},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (run / until).exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    return process


def left_behind(run):
    """Hidden files: temporaries and locks."""
    return [file.name for file in run.iterdir() if file.name.startswith(".")]


def test_a_resumed_run_equals_an_uninterrupted_one(call, folder, tmp_path, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    monkeypatch.chdir(folder)
    data, options = "species.csv", ("--hidden", "16", "--lr", "0.01")
    assert call("train", data, *options, "--epochs", "9", "-q", "--out", whole)[0] == 0
    assert call("train", data, *options, "--epochs", "4", "-q", "--out", halves)[0] == 0
    monkeypatch.chdir(tmp_path)  # and the data are found again
    code, out, _ = call("train", "--resume", halves, "--epochs", "9")
    assert code == 0 and "9 of 9" in out
    first, second = weights(whole), weights(halves)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    histories = [rows_of((run / "history.csv").read_text()) for run in (whole, halves)]
    assert histories[0] == histories[1] and len(histories[0]) == 9
    figures = [json.loads((run / "run.json").read_text())["figures"] for run in (whole, halves)]
    assert figures[0] == figures[1]
    code, out, err = call("train", folder / data, "--resume", halves, "--epochs", "5")
    assert code == 0 and "nothing is left to train: 9 epochs done, 5 asked for" in err and "9 of 9" in out


def test_a_run_that_stopped_early_says_how_to_go_on(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run, data = tmp_path / "run", folder / "price.csv"
    options = ("--hidden", "8", "--lr", "0.3", "--epochs", "300", "--patience", "2")
    assert "stopped early" in call("train", data, *options, "--out", run)[1]
    done = json.loads((run / "run.json").read_text())["training"]["epochs"]
    code, out, err = call("train", data, "--resume", run)
    assert code == 0 and f"{done} of 300" in out
    assert "has not fallen for 3 epochs, and --patience is 2; to go on, give --patience 3 or more" in err
    code, out, err = call("train", data, "--resume", run, "--patience", "3", "--epochs", str(done + 1))
    assert (code, err) == (0, "") and f"{done + 1} of {done + 1}" in out


def test_resume_refuses_other_options_and_other_data(refused, folder, species_run, tmp_path):
    data = folder / "species.csv"
    err = refused("train", data, "--resume", species_run, "--lr", "0.5")
    assert "--lr was 0.01" in err and "0.5" in err and "--epochs, --patience, --keep and --backend" in err
    assert "--hidden was 128,64" in refused("train", data, "--resume", species_run, "--hidden", "4")
    other = tmp_path / "other.csv"
    other.write_text("\n".join([*data.read_text().splitlines()[:-1], "0,0,0,ant"]) + "\n")
    assert "is not the data of" in refused("train", other, "--resume", species_run)
    assert "exclude each other" in refused("train", data, "--resume", species_run, "--out", tmp_path / "x")
    assert "no such run" in refused("train", data, "--resume", tmp_path / "nothing")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "checkpoint.safetensors").write_bytes((species_run / "checkpoint.safetensors").read_bytes())
    assert "needs a run folder with a run.json" in refused("train", data, "--resume", bare)


def test_an_existing_run_is_never_overwritten(refused, folder, species_run):
    before = (species_run / "checkpoint.safetensors").read_bytes()
    assert "--resume" in refused("train", folder / "species.csv", "--out", species_run)
    assert (species_run / "checkpoint.safetensors").read_bytes() == before
    file = folder / "price.csv"
    assert f"--out {file} is a file" in refused("train", folder / "species.csv", "--out", file)


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for name in ("digits-now", "digits-now-2", "digits-now-3"):
        found = run_dir.fresh("digits")
        assert found == Path("runs", name)
        found.mkdir(parents=True)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_stopped_finishes_its_batch_and_saves(tmp_path, number):
    run = tmp_path / "run"
    process = started(run)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert time.monotonic() - began < 2 * PATIENCE
    assert out == "" and err.startswith("interrupted within epoch ") and err.endswith(f"--resume {run}\n")
    trainer = Trainer.load(run / "checkpoint.safetensors", backend="numpy")
    assert trainer.epoch == len(trainer.history) >= 1 and trainer.train_state.showing_best
    assert json.loads((run / "run.json").read_text())["training"]["ended"] == "interrupted"
    assert left_behind(run) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_second_ctrl_c_does_not_wait(tmp_path):
    run = tmp_path / "run"
    # A batch that lasts: the second signal comes while the first waits for it.
    slow = (
        "import time; from anyback import step; program = step.Program.step\n"
        "step.Program.step = lambda *args: (time.sleep(30), program(*args))[1]\n"
        "from anyback.__main__ import main; main()"
    )
    process = started(run, code=slow, until="run.json")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=5 * PATIENCE)
    assert process.returncode == 130 and "nothing is kept" in err and "Traceback" not in err
    assert not run.exists()


def test_ctrl_c_in_the_middle_of_the_first_batch_leaves_nothing(call, folder, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    code, out, err = call("train", folder / "species.csv", "--out", tmp_path / "run")
    assert (code, out) == (130, "") and "nothing is kept" in err
    assert not (tmp_path / "run").exists()


# --- evaluate and predict -----------------------------------------------------------------------------


def test_evaluate_prints_figures_of_each_class(call, species_run, folder):
    about = json.loads((species_run / "run.json").read_text())
    for run in (species_run, species_run / "checkpoint.safetensors"):
        code, out, err = call("evaluate", run, folder / "species.csv")
        assert code == 0, err
        for part in (
            "held out",
            "18",
            f"{about['figures']['held out']['accuracy']:.4f}",
            "precision",
            "recall",
            "f1",
        ):
            assert part in out
        assert all(name in out for name in ("ant", "bee", "cat"))
    code, out, _ = call("evaluate", species_run, folder / "species.csv", "--all")
    assert "all rows" in out and "90" in out


def test_evaluate_on_a_part_without_one_of_the_classes(call, species_run, folder, tmp_path):
    lines = (folder / "species.csv").read_text().splitlines()
    (tmp_path / "part.csv").write_text(
        "\n".join([lines[0], *(line for line in lines if line.endswith("cat"))])
    )
    code, out, _ = call("evaluate", species_run, tmp_path / "part.csv")
    assert code == 0
    (row,) = (line.split() for line in out.splitlines() if line.strip().startswith("cat "))
    assert float(row[2]) > 0.8 and row[4] == "30"
    assert [line.split()[2] for line in out.splitlines() if line.strip().startswith("ant ")] == ["-"]


def test_predict_writes_names_and_probabilities(call, species_run, folder, tmp_path):
    data = folder / "species.csv"
    code, out, _ = call("predict", species_run, data, "--proba")
    rows = rows_of(out)
    assert code == 0 and list(rows[0]) == ["prediction", "p_ant", "p_bee", "p_cat"]
    truth = [line.rpartition(",")[2] for line in data.read_text().splitlines()[1:]]
    assert np.mean([row["prediction"] == name for row, name in zip(rows, truth, strict=True)]) > 0.8
    for row in rows:
        p = {name: float(row[f"p_{name}"]) for name in ("ant", "bee", "cat")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-6) and max(p, key=p.get) == row["prediction"]
    # Columns are found by name: in any order, and without the target.
    lines = [line.split(",")[:3] for line in data.read_text().splitlines()]
    (tmp_path / "new.csv").write_text("\n".join(f"{c},{a},{b}" for a, b, c in lines) + "\n")
    assert call("predict", species_run, tmp_path / "new.csv", "--proba")[1] == out
    assert call("predict", species_run, data, "--out", tmp_path / "p.csv") == (0, "", "")
    assert rows_of((tmp_path / "p.csv").read_text()) == [{"prediction": row["prediction"]} for row in rows]
    assert call("predict", species_run, data, "--out", tmp_path / "p.npy", "--proba") == (0, "", "")
    assert np.load(tmp_path / "p.npy").shape == (90, 3)
    assert call("predict", species_run, data, "--out", tmp_path / "names.npy") == (0, "", "")
    assert np.load(tmp_path / "names.npy").tolist() == [row["prediction"] for row in rows]


def test_probabilities_of_two_classes_with_one_output(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run = tmp_path / "run"
    options = ("--loss", "binary_cross_entropy", "--target", "ok", "-q", "--out", run)
    assert call("train", folder / "two.csv", *FAST, *options)[0] == 0
    rows = rows_of(call("predict", run, folder / "two.csv", "--proba")[1])
    for row in rows:
        no, yes = float(row["p_no"]), float(row["p_yes"])
        assert no + yes == pytest.approx(1, abs=1e-6) and row["prediction"] == ("yes" if yes > no else "no")


def test_predictions_can_be_piped_away(species_run, folder):
    shell = f"{sys.executable} -m anyback predict {species_run} {folder / 'species.csv'} | head -1"
    done = subprocess.run(
        shell,
        shell=True,
        cwd=ROOT,
        env=os.environ | {"ANYBACK_BACKEND": BACKEND},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "prediction\n" and "Traceback" not in done.stderr


# --- other commands -----------------------------------------------------------------------------------


def test_backends_lists_every_library(call):
    code, out, _ = call("backends")
    assert code == 0 and f"numpy              yes     {np.__version__}" in out
    assert all(name in out for name in ("cupy", "torch", "jax", "array_api_strict", "auto takes"))


def test_gradcheck_covers_every_formula(call):
    code, out, err = call("gradcheck")
    assert code == 0, out + err
    names = [name for module in (ab.activations, ab.losses, ab.gates) for name in module.__all__]
    assert all(f".{name} " in out for name in names)
    count = len(gradients.formulas())
    assert f"{count} of {count} gradients agree" in out


def test_gradcheck_finds_a_wrong_gradient(call, monkeypatch):
    def relu(x):
        return x * (x > 0), lambda dy: dy * (x > 0) * 1.001

    monkeypatch.setattr(ab.activations, "relu", relu)
    code, out, _ = call("gradcheck", "tanh", "relu")
    assert code == 1 and "1 of 2" in out and "wrong" in out and "central difference" in out


def test_version_and_help(call):
    assert call("--version") == (0, f"anyback {ab.__version__}\n", "")
    assert call("--help")[:1] == call()[:1] == (0,)
    for name in ("train", "evaluate", "predict", "backends", "gradcheck", "parity"):
        assert name in call("--help")[1]
        code, out, _ = call(name, "--help")
        assert code == 0 and "Usage" in out
    text = " ".join(call("train", "--help")[1].replace("│", " ").split())
    for choice in (*losses.__all__, *optimizers.__all__, "relu", "accuracy", "[default: 128,64]", "Examples"):
        assert choice in text
    assert "numpy, cupy" in text and "[default: 0.15]" in text


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_same_training_on_another_backend(call, folder, tmp_path, library, monkeypatch):
    require(library)
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    found = []
    for name in ("numpy", library):
        options = (*FAST, "--dtype", "float64", "--backend", name, "-q", "--out", tmp_path / name)
        code, _, err = call("train", folder / "species.csv", *options)
        assert code == 0, err
        found.append(weights(tmp_path / name))
    for name, w in found[0].items():
        np.testing.assert_allclose(found[1][name], w, rtol=0, atol=1e-10)
    code, out, err = call("evaluate", tmp_path / "numpy", folder / "species.csv", "--backend", library)
    assert code == 0 and "held out" in out, err


# --- wrong input --------------------------------------------------------------------------------------


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
        assert "digits has 64 columns of inputs, the run takes 3: a, b, c" in err
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
        assert f"are not of one run: they differ in {name}\n" in err


def test_a_header_of_numbers_is_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    data = tmp_path / "data.csv"
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(40)]
    for first, said in (("0,1,label", True), ("0,1,a", False), ("u,v,label", False)):
        data.write_text("\n".join([first, *rows]) + "\n")
        code, _, err = call("train", data, *FAST, "--out", tmp_path / first)
        assert code == 0 and ("its first row alone is of class 'label': is that row one?" in err) == said, err


def test_a_file_without_names_is_predicted_as_it_was_learned_from(call, tmp_path, monkeypatch):
    """With its target's column, which may be text, or without."""
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    data, bare = tmp_path / "data.csv", tmp_path / "bare.csv"
    data.write_text("".join(f"{'ab'[i % 2]},{i % 7},{i % 5}\n" for i in range(40)))
    bare.write_text("".join(f"{i % 7},{i % 5}\n" for i in range(40)))
    assert call("train", data, *FAST, "--target", "0", "--out", tmp_path / "run")[0] == 0
    first, second = (call("predict", tmp_path / "run", file) for file in (data, bare))
    assert first[:2] == second[:2] and first[0] == 0 and first[1].count("\n") == 41
    assert first[2] == "note: column 0, the target's, is left out\n" and second[2] == ""


def test_a_resumed_run_stays_on_its_backend(call, folder, tmp_path, monkeypatch):
    require("array_api_strict")
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    run, data = tmp_path / "run", folder / "species.csv"
    assert call("train", data, *FAST, "--backend", "array_api_strict", "--out", run)[0] == 0
    for options, name in (
        (("--epochs", "4"), "array_api_strict"),
        (("--epochs", "5", "--backend", "numpy"), "numpy"),
    ):
        assert call("train", "--resume", run, *options)[0] == 0
        assert json.loads((run / "run.json").read_text())["backend"]["name"] == name


def test_a_resumed_run_finds_its_data(call, folder, tmp_path, monkeypatch):
    """Those that ship, whatever lies beside the user; and, moved with the run, those of the same path."""
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert call("train", "digits", *FAST, "--out", "shipped")[0] == 0
    assert call("train", "--resume", "shipped", "--epochs", "4")[0] == 0
    (old := tmp_path / "old").mkdir()
    (old / "data.csv").write_bytes((folder / "species.csv").read_bytes())
    monkeypatch.chdir(old)
    assert call("train", "data.csv", *FAST, "--out", "run")[0] == 0
    monkeypatch.chdir(tmp_path)
    os.rename(old, tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    assert call("train", "--resume", "run", "--epochs", "4")[0] == 0


def test_columns_of_another_order_are_not_those_of_a_run(refused, species_run, folder, tmp_path):
    header, *rows = (folder / "species.csv").read_text().splitlines()
    first, second, *rest = header.split(",")
    swapped = tmp_path / "swapped.csv"
    swapped.write_text("\n".join([",".join([second, first, *rest]), *rows]) + "\n")
    err = refused("train", swapped, "--resume", species_run, "--epochs", 99)
    assert "columns in another order or by other names" in err and f"{first}, {second}" in err


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


def test_predictions_replace_a_file_as_a_whole(call, refused, species_run, folder, tmp_path, monkeypatch):
    for name in ("old.csv", "old.npy"):
        (out := tmp_path / name).write_text("before")

        def full(*args, **options):
            raise OSError(28, "no room")

        with monkeypatch.context() as patched:
            patched.setattr("anyback.checkpoint.files.os.fsync", full)
            patched.setattr("anyback.checkpoint.files.os.replace", full)
            err = refused("predict", species_run, folder / "species.csv", "--out", out)
        assert f"{out} cannot be written: no room" in err
        assert out.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
        out.unlink()


def test_help_needs_no_docstrings():
    code = "from anyback.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-OO", "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_checkpoint_alone_is_evaluated(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    for file in ("species.csv", "price.csv"):
        run, alone = tmp_path / file, tmp_path / f"{file}.safetensors"
        assert call("train", folder / file, *FAST, "--out", run)[0] == 0
        (run / "checkpoint.safetensors").rename(alone)
        if file == "price.csv":
            code, out, err = call("evaluate", alone, folder / file)
            assert (code, err) == (0, "") and "90" in out
        else:  # it knows classes by their numbers only
            code, out, err = call("evaluate", alone, folder / file)
            assert (code, out) == (2, "") and "'ant'" in err


def test_what_stops_a_command(call, monkeypatch):
    def stopped(error):
        def backends():
            raise error

        monkeypatch.setattr("anyback.cli.backends.available_backends", backends)
        return call("backends")

    assert stopped(KeyboardInterrupt()) == (130, "", "error: interrupted\n")
    assert stopped(Abort()) == (130, "", "error: interrupted\n")
    with pytest.raises(RuntimeError, match="ours"):  # no mistake of the user's
        stopped(RuntimeError("ours"))


def test_a_command_may_return_to_its_caller(capsys):
    assert app(["backends"], prog_name="anyback", standalone_mode=False) is None
    assert "numpy" in capsys.readouterr().out


def test_ctrl_c_amid_the_imports_is_one_line():
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'anyback.cli':\n"
        "            raise KeyboardInterrupt\n"
        "from anyback.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "main()"
    )
    done = command("backends", code=code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_usage_errors_are_short(refused):
    assert "DATA is missing" in refused("train")
    assert "'DATA'" in refused("evaluate", "a")
    assert "'trian'" in refused("trian", "digits")
    assert "--proba" in refused("predict", "a", "b", "--prob")
    assert "'relux'" in refused("gradcheck", "relux")


def test_a_backend_that_is_not_installed_is_named(folder, tmp_path):
    code = "import sys; sys.modules['jax'] = None; from anyback.__main__ import main; main()"
    done = command("train", folder / "species.csv", "--backend", "jax", cwd=tmp_path, code=code)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "jax" in done.stderr and "anyback[jax]" in done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "matplotlib"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from anyback.__main__ import main; main()"
    done = command("train", "digits", code=code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the command line needs anyback[cli]: pip install 'anyback[cli]'\n"


def test_pictures_without_matplotlib_say_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\nfrom anyback.plots import curves\n"
        "try:\n    curves([{'epoch': 1, 'loss': 1.0}])\nexcept ImportError as error:\n    print(error)"
    )
    assert command(code=code).stdout == "pictures need matplotlib: pip install 'anyback[cli]'\n"


def test_help_does_not_load_what_it_does_not_need():
    code = (
        "import sys\nfrom anyback.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    print([name for name in ('matplotlib', 'torch', 'jax', 'cupy') if name in sys.modules])"
    )
    done = command("--help", code=code)
    assert done.stdout.endswith("[]\n")


def test_odd_names_are_only_names(call, tmp_path):
    rows = [[i % 2 + 0.1 * i, i % 3, "$^$" if i % 2 else "a{0}"] for i in range(40)]
    write(tmp_path / "odd{b}.csv", "x,y{,cost $x_$ ^", rows)
    out = tmp_path / "run{epoch}{{x}}"
    code, _, err = call("train", tmp_path / "odd{b}.csv", *FAST, "--out", out)
    assert code == 0, err
    assert "no pictures" not in err
    assert (out / "confusion_matrix.png").exists()


def test_predictions_never_replace_the_data(refused, digits_run, tmp_path):
    data = tmp_path / "mine.csv"
    write(data, "a,b", [[1, 2]])
    assert "is the data itself" in refused("predict", digits_run[1], data, "--out", data)


def test_columns_of_one_name_are_refused(refused, tmp_path):
    write(tmp_path / "twice.csv", "a,a,kind", [[i, i, "uv"[i % 2]] for i in range(20)])
    assert "'a' more than once" in refused("train", tmp_path / "twice.csv", *FAST, "--out", tmp_path / "run")


def test_a_folder_that_a_killed_run_left_can_be_used(call, tmp_path):
    write(tmp_path / "data.csv", "a,kind", [[i % 2 + 0.1 * i, "uv"[i % 2]] for i in range(20)])
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_text("{}")
    code, _, err = call("train", tmp_path / "data.csv", *FAST, "--out", out)
    assert code == 0, err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_lose_a_run(tmp_path, closed):
    command = f"{sys.executable} -m anyback train digits --epochs 1 --hidden 8 --out run {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "curves.png").exists()
