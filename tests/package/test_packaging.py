"""The package as users get it: version, what ships, and README's commands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import anyback

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "anyback"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

ARRAY_LIBRARIES = {
    "array_api_strict",
    "cupy",
    "cupyx",
    "dpnp",
    "jax",
    "jaxlib",
    "ndonnx",
    "tensorflow",
    "torch",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_importing_anyback_loads_numpy_and_no_other_array_library():
    others = {"llvmlite", "matplotlib", "pandas", "rich", "scipy", "sklearn", "typer"}
    heavy = sorted(ARRAY_LIBRARIES | others)
    code = f"import sys, anyback; print('numpy' in sys.modules, *{{*{heavy}}} & {{*sys.modules}})"
    environment = {name: value for name, value in os.environ.items() if name != "ANYBACK_BACKEND"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True"]


# --- what ships ---------------------------------------------------------------------------------------


def test_the_version_has_one_source():
    assert PYPROJECT["project"]["dynamic"] == ["version"] and "version" not in PYPROJECT["project"]
    source = ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]
    versions = re.findall(r'^__version__ = "(.+)"$', source.read_text(encoding="utf-8"), re.MULTILINE)
    assert versions == [anyback.__version__]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", anyback.__version__)
    others = [
        p
        for p in modules()
        if p != source and re.search(r"^__version__ =", p.read_text("utf-8"), re.MULTILINE)
    ]
    assert not others


def test_types_digits_and_their_licence_ship():
    assert files("anyback").joinpath("py.typed").is_file()
    assert len(files("anyback.datasets").joinpath("digits.npz").read_bytes()) < 100_000
    text = files("anyback.datasets").joinpath("digits.txt").read_text(encoding="utf-8")
    for part in ("Alpaydin", "Kaynak", "1998", "CC BY 4.0", "https://archive.ics.uci.edu/dataset/80"):
        assert part in text


def test_licence_files_that_are_named_exist():
    assert all((ROOT / name).is_file() for name in PYPROJECT["project"]["license-files"])
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License") and "2026, The anyback developers" in text


def test_the_console_script_leads_to_a_function():
    module, function = PYPROJECT["project"]["scripts"]["anyback"].split(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    names |= {
        alias.asname or alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom)
        for alias in n.names
    }
    assert function in names


def test_every_array_library_has_an_extra():
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert {"cli", "cuda12", "cuda13", "torch", "jax", "fast", "sklearn", "test", "lint", "docs"} <= set(
        extras
    )
    core = {re.split(r"[^\w-]", requirement)[0] for requirement in PYPROJECT["project"]["dependencies"]}
    assert core == {"array-api-compat", "numpy", "safetensors", "tqdm"}


# --- README and .ci/run -------------------------------------------------------------------------------


def sh_blocks(text: str) -> list[str]:
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def commands(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``.ci/run --commands``, from a folder that is not the checkout."""
    return subprocess.run(
        ["bash", ROOT / ".ci" / "run", "--commands", *arguments],
        cwd=ROOT.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_readme_starts_with_two_commands_that_need_nothing_else():
    first, second, *_ = sh_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "\n" not in first and "\n" not in second
    assert first.startswith("pip install") and "anyback train digits" in first
    assert second.startswith("pip install") and "pytest" in second


def test_ci_takes_its_commands_from_the_readme():
    run = commands()
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == sh_blocks((ROOT / "README.md").read_text(encoding="utf-8"))[:2]


def test_ci_is_executable_and_valid_bash():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert subprocess.run(["bash", script, "--what"], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a\n```sh\none\n```\n```python\nx\n```\n~~~ sh\n# why\ntwo && three\n~~~\n```sh\nfour\n```\n",
            "one\ntwo && three\n",
        ),
        ("```sh\none\n```\n", "expected two fenced sh blocks, got 1"),
        (
            "```sh\none\ntwo\n```\n```sh\nthree\n```\n",
            "block 1 must be a single command line, got ['one', 'two']",
        ),
        ("```sh\none\n```\n```sh\n```\n", "block 2 must be a single command line, got []"),
        ("```sh\none \\\n  two\n```\n```sh\nthree\n```\n", "block 1 must be a single command line"),
    ],
)
def test_ci_refuses_a_readme_without_two_single_commands(tmp_path, text, expected):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    run = commands(readme)
    if run.returncode == 0:
        assert run.stdout == expected
    else:
        assert expected in run.stderr and "\n" not in run.stderr.strip()
