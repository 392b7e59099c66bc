"""The experiments of benchmarks/reliability find what they look for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from anyback.callbacks import Checkpoint, CSVLog, JSONLog, Lambda
from anyback.checkpoint import files
from tests.conftest import require
from tests.reliability.runs import CHECKPOINT, damage, fit, made

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import (  # noqa: E402
    __main__,
    _runs,
    covered,
    crash,
    descriptors,
    signals,
)
from benchmarks.reliability import suite as suite_of_tests  # noqa: E402

pytestmark = pytest.mark.usefixtures("on_one_backend")


def test_coverage_is_counted_by_lines_and_branches():
    def summary(*counts):
        names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        return {"summary": dict(zip(names, counts, strict=True))}

    report = {
        "files": {"a.py": summary(8, 10, 1, 2), "b.py": summary(0, 0, 0, 0)},
        "totals": summary(8, 10, 1, 2)["summary"],
    }
    row = covered.row("it", report)
    assert (row["tried"], row["survived"], row["lost"]) == (12, 9, 3)
    assert row["details"] == {
        "share, %": 75.0,
        "least of a file, %": 75.0,
        "files": ["a.py: 9 of 12", "b.py: 0 of 0"],
    }


def test_failed_and_skipped_cases_of_the_suite_are_told_apart():
    suite = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="4" /></testsuites>'
    row = suite_of_tests.row("it", suite)
    assert (row["tried"], row["survived"], row["lost"], row["details"]) == (5, 2, 3, {"not tried": 4})


def test_what_is_not_as_in_a_run_left_alone_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(_runs.Run, "finish", lambda run: (0, ""))
    whole, other = _runs.Run(tmp_path / "whole"), _runs.Run(tmp_path / "other")
    for run in (whole, other):
        run.folder.mkdir()
        fit(made(), Checkpoint(run.checkpoint), CSVLog(run.folder / "history.csv"))
    assert other.unlike(whole) is None
    arrays, described = files.read(other.checkpoint)
    rows = described["history"]
    for change in ("w", "slots.0", "slots.1"):
        files.write(other.checkpoint, {**arrays, change: np.nextafter(arrays[change], 9)}, described)
        assert other.unlike(whole) == "other weights, slots or history"
    rows[1]["loss"] = float(np.nextafter(rows[1]["loss"], 9))
    files.write(other.checkpoint, arrays, described)
    assert other.unlike(whole) == "other weights, slots or history"
    shutil.copy(whole.checkpoint, other.checkpoint)
    (other.folder / ".run.tmp").touch()
    assert other.unlike(whole) == "files are left: .run.tmp"
    (other.folder / "history.csv").write_text("epoch,loss\n")
    assert other.unlike(whole) == "another history.csv"


def test_what_a_stop_has_lost_is_found(tmp_path):
    run = _runs.Run(tmp_path)
    assert run.lost() is None and run.position() == (0, 0)
    fit(made(), Checkpoint(run.checkpoint, keep=2), JSONLog(run.folder / "history.jsonl"))
    assert run.lost() is None and run.position() == (3, 0)
    older = run.folder / "checkpoint.1.safetensors"
    os.replace(older, run.checkpoint)
    assert run.lost() is None  # the history is ahead by one
    run.checkpoint.unlink()
    assert run.lost() == "2 finished epochs are not in the checkpoint"
    for file in (run.checkpoint, older):
        fit(made(), Checkpoint(run.checkpoint, keep=2))
        damage(file)
        assert f"{file} was altered" in run.lost()


def test_what_a_signal_saves_is_compared_with_what_is_said(tmp_path):
    """A run that says that it is saved and is not, or is and says that it is not, is lost."""

    def wrong(said, code=130):
        return signals.wrong(_runs.Run(tmp_path), signal.SIGINT, code, said)

    before = "interrupted before the end of the batch, or while saving: resume with it\n"
    fit(made(), Checkpoint(tmp_path / CHECKPOINT))
    assert wrong("interrupted after epoch 3: resume with it\n") is None
    assert "has saved batch 0 after epoch 3" in wrong("interrupted within epoch 3: resume with it\n")
    assert "has saved batch 0" in wrong("interrupted after epoch 2: resume with it\n")
    assert "says otherwise" in wrong("") and "exits with 143" in wrong("", 143)
    assert wrong(before) is None
    trainer = made()
    fit(trainer, Lambda(on_update=lambda t: setattr(t, "stop", t.updates == 8)))
    trainer.save(tmp_path / CHECKPOINT)
    assert wrong("interrupted within epoch 2: resume with it\n") is None
    assert "has saved what" in wrong(before)


def test_the_command_finds_experiments_and_keeps_what_was_tried_before(tmp_path, monkeypatch, capsys):
    assert {"covered", "crash", "descriptors", "disk", "mutation", "signals", "suite"} <= set(
        __main__.EXPERIMENTS
    )
    assert all(signals.WAYS) and not any(name.startswith("_") for name in __main__.EXPERIMENTS)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: reliability -->\n<!-- end: reliability -->\nafter\n")
    monkeypatch.setattr(__main__, "PAGE", page)
    rows = {"name": "a thing", "tried": 3, "survived": 3, "lost": 0, "details": {"slowest, s": 0.12345}}
    monkeypatch.setattr(descriptors, "run", lambda settings: dict(rows))
    monkeypatch.setattr(crash, "run", lambda settings: [{**rows, "name": "it", "survived": 2, "lost": 1}])
    for name, code in (("descriptors", 0), ("crash", 1)):
        with pytest.raises(SystemExit) as end:
            __main__.main(["--only", name, "--output", str(tmp_path), "--write-docs"])
        assert end.value.code == code
    results = json.loads((tmp_path / "reliability.json").read_text())["results"]
    assert set(results) == {"crash", "descriptors"} and results["crash"]["rows"][0]["lost"] == 1
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| a thing |     3 |      3 |      0 | slowest, s 0.123 |" in text
    assert "| it      |     3 |      2 |      1 |" in capsys.readouterr().out
