"""CONTRIBUTING.md is up to date: its loss, added as it says, is tested, listed and documented."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with the loss of CONTRIBUTING.md added where it says."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = re.search(r"```python\n(@loss.*?)```", text, re.DOTALL).group(1)
    name = re.search(r"def (\w+)", source).group(1)
    root = tmp_path_factory.mktemp("contributed")
    for folder in ("anyback", "tests", "docs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    shutil.copy(ROOT / "pyproject.toml", root)
    losses = root / "anyback" / "losses" / "regression.py"
    code = losses.read_text(encoding="utf-8").replace("__all__ = [", f'__all__ = [\n    "{name}",', 1)
    losses.write_text(f"{code}\n\n{source}", encoding="utf-8")
    return root, name


def run(root, *command):
    return subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, timeout=280)


def test_its_tests(copy):
    root, name = copy
    done = run(
        root,
        "-m",
        "pytest",
        "tests/laws/test_laws.py",
        "-k",
        name,
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= 10


def test_its_doctest(copy):
    root, name = copy
    done = run(
        root,
        "-m",
        "pytest",
        "--doctest-modules",
        "anyback/losses/__init__.py",
        "-k",
        name,
        "-q",
        "-p",
        "no:cacheprovider",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_its_choice_on_the_command_line(copy):
    root, name = copy
    pytest.importorskip("typer")
    assert name in run(root, "-m", "anyback", "train", "--help").stdout
    checked = run(root, "-m", "anyback", "gradcheck", name)
    assert checked.returncode == 0 and name in checked.stdout, checked.stdout + checked.stderr


def test_its_entry_in_the_reference(copy):
    root, name = copy
    code = "import sys; sys.path.insert(0, 'docs'); import reference; print(reference.page('losses'))"
    assert f"anyback.losses.{name}" in run(root, "-c", code).stdout
