"""Options are declared once: parameters, help and run.json follow from the fields of `Options`."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import asdict, fields

import pytest

from tests.cli.command_line import FAST
from tests.conftest import require

require("typer")
from anyback.cli import commands  # noqa: E402
from anyback.cli.options import Options  # noqa: E402

# Names and defaults of released versions: scripts and stored runs depend on them.
DEFAULTS = {
    "target": None,
    "drop": None,
    "hidden": "128,64",
    "activation": "relu",
    "dropout": None,
    "loss": "auto",
    "optimizer": "AdamW",
    "lr": None,
    "weight_decay": None,
    "clip_norm": None,
    "epochs": 60,
    "batch_size": "32",
    "validation": 0.15,
    "test": 0.2,
    "patience": 20,
    "metrics": "auto",
    "standardize": True,
    "dtype": "float32",
    "seed": 0,
    "keep": 2,
}


def defaults(command):
    return {p.name: p.default for p in inspect.signature(command).parameters.values()}


def test_train_has_every_field_as_an_option():
    assert asdict(Options()) == DEFAULTS and list(asdict(Options())) == list(DEFAULTS)
    parameters = defaults(commands.train.train)
    assert {name: parameters[name] for name in DEFAULTS} == DEFAULTS
    assert parameters.keys() - DEFAULTS.keys() == {"ctx", "data", "backend", "out", "resume", "quiet"}


def test_parity_has_some_of_them_with_other_defaults():
    parameters = defaults(commands.parity.parity)
    shared = {name: value for name, value in parameters.items() if name in DEFAULTS}
    assert set(shared) == {
        *("target", "drop", "hidden", "activation", "dropout"),
        *("loss", "optimizer", "batch_size", "dtype", "seed"),
    }
    different = {name: value for name, value in shared.items() if value != DEFAULTS[name]}
    assert different == {"hidden": "32,32", "dropout": 0.2, "dtype": "float64"}


def test_run_json_stores_the_options_in_their_order(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    typed = ("--weight-decay", "0.1", "--no-standardize", "-q")
    assert call("train", folder / "price.csv", *FAST, *typed, "--out", tmp_path / "run")[0] == 0
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["options"]
    assert list(stored) == list(DEFAULTS)
    changed = {"epochs": 3, "hidden": "8", "weight_decay": 0.1, "standardize": False, "dropout": 0.0}
    assert stored == DEFAULTS | changed


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_a_resumed_run_changes_three_options_only(name):
    stored = asdict(Options())
    value = {"standardize": False, "batch_size": "64"}.get(name, 7)
    if name in ("validation", "test"):
        value = 0.5
    new = Options(**{name: value})
    assert new.resumed(stored, set(), "run") == Options()
    if name in ("epochs", "patience", "keep"):
        assert new.resumed(stored, {name}, "run") == new
    else:
        flag = f"--{name.replace('_', '-')}"
        message = f"^{flag} was .* in run, got {value}: only --epochs, --patience, --keep and --backend may"
        with pytest.raises(ValueError, match=message):
            new.resumed(stored, {name}, "run")


def test_options_of_older_runs_get_defaults():
    stored = asdict(Options(hidden="4"))
    del stored["clip_norm"]
    assert Options().resumed(stored, set(), "run") == Options(hidden="4")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"validation": 1.0}, "--validation must be in [0, 1), got 1.0"),
        ({"test": float("nan")}, "--test must be in [0, 1), got nan"),
        ({"keep": 0}, "--keep must be at least 1, got 0"),
    ],
)
def test_bounds_are_checked(option, message):
    with pytest.raises(ValueError) as error:
        Options(**option)
    assert str(error.value) == message


def test_train_is_the_first_command_of_the_help(call):
    lines = [line.strip("│ ") for line in call("--help")[1].split("Commands")[1].splitlines()]
    names = [line.split()[0] for line in lines if re.match("[a-z]+  ", line)]
    assert names == ["train", "evaluate", "predict", "backends", "gradcheck", "parity"]


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "backends", "gradcheck", "parity"])
def test_the_help_of_an_option_is_short(call, name, monkeypatch):
    """At 80 columns: three lines, and the default."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(name, "--help")[1].splitlines()
    assert max(map(len, lines)) <= 80
    length = 0
    for line in lines:
        first = re.match(r"│[ *]{1,6}[^ *│]", line)  # the lines that follow are indented to the help
        length = 1 if first else length + 1
        assert length <= 4 or not line.startswith("│"), line
