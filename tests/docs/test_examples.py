"""Every example, as a user runs it, on every backend: the text's own figures, the same everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import require
from tests.docs.figures import FIGURES

require("matplotlib")


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ("textbook", "gpu_training"))
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w])", re.IGNORECASE)


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, f"{EXAMPLES / script}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=240)


@cache
def printed(script: str, backend: str, folder: Path) -> str:
    """What a script prints; its pictures go to a folder of the backend."""
    done = run(script, "--backend", backend, "--output", backend, folder=folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_figures_of_the_text_on_every_backend(script, backend_name, folder):
    out = printed(script, backend_name, folder)
    FIGURES[script](out)
    saved = {path.name for path in (folder / backend_name).glob(f"{script}*.png")}
    assert saved and saved <= shown(script)
    same_figures(out, printed(script, "numpy", folder))


def same_figures(out: str, reference: str) -> None:
    """Compare every line but those that tell of time, numbers to the last place that is printed."""
    lines, expected = ([x for x in o.splitlines() if not x.startswith("time")] for o in (out, reference))
    assert [NUMBER.sub("#", line) for line in lines] == [NUMBER.sub("#", line) for line in expected]
    for line, other in zip(lines, expected, strict=True):
        for a, b in zip(NUMBER.findall(line), NUMBER.findall(other), strict=True):
            assert abs(float(a) - float(b)) <= max(1.01 * last_place(b), 1e-9), f"{line!r} is not {other!r}"


def last_place(number: str) -> float:
    """The unit of the last place of a printed number: 0.01 for 3.14, 0 for an integer."""
    mantissa, _, exponent = number.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - digits) if digits or exponent else 0.0


def test_every_script_has_figures_and_no_figure_lacks_its_script():
    assert set(FIGURES) == set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_readme_shows_it(script):
    assert f"({script}.py)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert shown(script), "no picture"
    assert all((EXAMPLES / "pictures" / name).is_file() for name in shown(script))


def shown(script: str) -> set[str]:
    """The pictures of a script in README.md."""
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    return set(re.findall(rf"\(pictures/({script}(?:-\w+)?\.png)\)", text))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_names_no_array_library_and_has_no_plumbing(script):
    text = (EXAMPLES / f"{script}.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^\s*(?:import|from)\s+(\w+)", text, re.MULTILINE))
    assert imported <= {
        "math",
        "time",
        "functools",
        "itertools",
        "matplotlib",
        "numpy",
        "anyback",
        "textbook",
    }
    assert {"anyback", "textbook"} <= imported


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "nosuch"), "backend must be one of .*, got 'nosuch'"),
        (("--backend", "numpy:1"), "backend 'numpy' runs on 'cpu' only"),
        (("--backend", "numpy", "--output", "file"), ".*'file'"),
        (("--backend", "numpy", "--output", "file/folder"), ".*'file/folder'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_at_the_start(arguments, message, tmp_path):
    (tmp_path / "file").touch()
    done = run("neuron", *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"neuron\.py: error: {message}.*\n", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("a", "b"), [("w 2.20", "w 2.23"), ("n 3", "n 4"), ("a 1.0", "b 1.0"), ("x 1.5e-06", "x 1.8e-06")]
)
def test_other_figures_are_seen(a, b):
    same_figures(a, a)
    with pytest.raises(AssertionError):
        same_figures(a, b)
