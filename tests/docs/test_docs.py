"""The programs in README.md and docs/ run as printed: blocks of one page continue each other."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

import anyback as ab
from tests.conftest import require
from tests.package.test_architecture import ORDER

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A block under this comment is a fragment.
NOT_RUN = "<!-- not run -->"
LIBRARY = "import numpy as xp"


def blocks(text: str) -> list[str]:
    """Return the Python blocks of a page that are to be run, at the lines where they stand in it."""
    found = []
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: block.start(1)]
        if not before.removesuffix("```python\n").rstrip().endswith(NOT_RUN):
            found.append("\n" * before.count("\n") + block[1])
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYBACK_BACKEND", "numpy")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)  # which a page may handle


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page.read_text("utf-8"))], ids=lambda page: page.stem
)
def test_the_programs_of_a_page_run(page, monkeypatch):
    program = ModuleType(f"program_of_{page.stem}")
    monkeypatch.setitem(sys.modules, program.__name__, program)  # dataclasses look themselves up there
    for block in blocks(page.read_text(encoding="utf-8")):
        exec(compile(block, str(page), "exec"), vars(program))


@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy"])
def test_the_loop_by_hand_runs_on_arrays_of_any_library(library, capsys):
    require(library.partition(".")[0])
    (loop,) = (b for b in blocks((ROOT / "docs" / "custom.md").read_text("utf-8")) if LIBRARY in b)
    names: dict[str, object] = {"__name__": "loop"}
    exec(loop.replace(LIBRARY, f"import {library} as xp"), names)
    assert names["w"].__class__.__module__.partition(".")[0].startswith(library.partition(".")[0])
    assert names["accuracy"] > 0.9 and "accuracy" in capsys.readouterr().out


def test_the_reference_has_an_entry_for_every_public_name(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import reference

    linked = set(re.findall(r"`ab\.(\w+) <anyback", reference.index()))
    assert linked == {name for name in ab.__all__ if not isinstance(getattr(ab, name), ModuleType | str)}
    for module, sections in reference.SECTIONS.items():
        page = reference.page(module)
        assert all(f"anyback.{module}.{name}\n" in page for names in sections.values() for name in names)


def test_the_architecture_page_names_every_module_and_the_import_order():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {path.stem for path in (ROOT / "anyback").glob("[!_]*") if path.suffix in ("", ".py")}
    assert not {name for name in names if f"`{name}`" not in text and f"`{name}/`" not in text}
    assert "\n".join("  ".join(line.split()) for line in ORDER if line[0] != "_") in text


def test_the_reader_of_pages_sees_what_it_must():
    text = f"```python\na = 1\n```\n\n{NOT_RUN}\n```python\nno\n```\n```sh\nls\n```\n\n```python\nb\n```\n"
    assert [block.strip() for block in blocks(text)] == ["a = 1", "b"]
    assert blocks(text)[0].count("\n") == 2
