"""`anyback evaluate` and `anyback predict`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.command_line import BACKEND, FAST, ROOT, rows_of, write
from tests.conftest import require

require("typer")


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


def test_a_file_without_names_is_predicted_as_it_was_learned_from(call, tmp_path, monkeypatch):
    """With its target's column, which may be text, or without."""
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    data, bare = tmp_path / "data.csv", tmp_path / "bare.csv"
    data.write_text("".join(f"{'ab'[i % 2]},{i % 7},{i % 5}\n" for i in range(40)))
    bare.write_text("".join(f"{i % 7},{i % 5}\n" for i in range(40)))
    assert call("train", data, *FAST, "--target", "0", "--out", tmp_path / "run")[0] == 0
    first, second = (call("predict", tmp_path / "run", file) for file in (data, bare))
    assert first[:2] == second[:2] and first[0] == 0 and first[1].count("\n") == 41
    assert first[2] == "note: ignored column 0, the target\n" and second[2] == ""


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


def test_predictions_never_replace_the_data(refused, digits_run, tmp_path):
    data = tmp_path / "mine.csv"
    write(data, "a,b", [[1, 2]])
    assert "is the input file" in refused("predict", digits_run[1], data, "--out", data)
