"""Docstrings: shared sections are complete, `help` shows them, and every example runs exactly once."""

from __future__ import annotations

import ast
import doctest
import inspect
import pydoc
import re
from importlib import import_module
from pathlib import Path

import pytest

import anyback as ab
from anyback import activations, gates, losses, metrics
from anyback.docstrings import complete
from anyback.losses import loss

PACKAGE = Path(ab.__file__).parent
FORMULAS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (activations, gates, losses, metrics)
    for name in module.__all__
}
formula = pytest.mark.parametrize("name", FORMULAS)


def sections(doc):
    """The sections of a docstring, in order, each as its lines."""
    parts = re.split(r"^(\w+)\n-+$", doc, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip("\n").splitlines() for part in parts[2::2]), strict=True))


def entries(lines):
    return [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]


@formula
def test_every_parameter_and_result_is_described_in_order(name):
    function = FORMULAS[name]
    found = sections(inspect.getdoc(function))
    order = ["Parameters", "Returns", "Raises", "See", "Notes", "References", "Examples"]
    assert list(found) == [title for title in order if title in found]
    assert entries(found["Parameters"]) == list(inspect.signature(function).parameters)
    results = {"activations": ["y", "vjp"], "losses": ["value", "vjp"], "metrics": ["value"]}
    module = name.split(".")[1]
    assert entries(found["Returns"]) in (
        [results[module]] if module in results else [["y", "vjp"], ["z", "vjp"]]
    )
    if module in ("losses", "metrics"):
        assert entries(found["Raises"]) == ["TypeError", "ValueError"]
    for title in ("Parameters", "Returns", "Raises"):
        for line, following in zip(found.get(title, []), [*found.get(title, []), ""][1:], strict=False):
            assert line.startswith("    ") or following.startswith("    "), f"{line} is not described"


@formula
def test_help_shows_signature_and_docstring(name):
    function = FORMULAS[name]
    shown = pydoc.plain(pydoc.render_doc(function))
    assert f"{function.__name__}{inspect.signature(function)}" in shown
    assert all(line.strip() in shown for line in function.__doc__.splitlines())


def test_a_users_own_docstring_takes_precedence():
    @loss(targets="labels", link="softmax")
    def mine(pred, target, *, factor=1.0):
        """Mine.

        Parameters
        ----------
        target : array of integers (B,)
            Classes.
        factor : float
            A factor.

        Returns
        -------
        value : array (...)
            The loss.

        Notes
        -----
        Slow.
        """

    assert mine.__doc__.split("\n\n")[0] == "Mine." and mine.__doc__.endswith("Notes\n-----\nSlow.")
    found = sections(mine.__doc__)
    assert list(found) == ["Parameters", "Returns", "Raises", "Notes"]
    assert entries(found["Parameters"]) == ["pred", "target", "sample_weight", "factor"]
    assert "    Classes." in found["Parameters"] and "    The loss." in found["Returns"]
    assert "    Logits z of one choice among k classes." in found["Parameters"]


def test_what_is_missing_stays_missing():
    assert complete(None, "Shared.") is None and complete("Own.", None) == "Own."  # as under python -OO

    @loss(targets="reals")
    def silent(pred, target):
        return pred

    assert silent.__doc__ is None and "silent(pred, target, *" in pydoc.plain(pydoc.render_doc(silent))


def examples(path):
    """Qualified names of the functions and classes of a file whose docstrings have examples."""

    def walk(node, prefix):
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.ClassDef | ast.FunctionDef):
                if ">>>" in (ast.get_docstring(part) or ""):
                    yield f"{prefix}{part.name}"
                yield from walk(part, f"{prefix}{part.name}.")

    return list(walk(ast.parse(path.read_text(encoding="utf-8")), ""))


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "backends"}), ids=str
)
def test_every_example_is_found_exactly_once(folder):
    written, found = [], []
    for path in folder.glob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if path.stem == "__main__":
            continue
        try:
            module = import_module(name)
        except ImportError:
            pytest.skip(f"{name} needs what is not installed")
        written += examples(path)
        tests = doctest.DocTestFinder(exclude_empty=True).find(module)
        found += [test.name.removeprefix(f"{name}.") for test in tests if test.examples and test.name != name]
    assert sorted(found) == sorted(written)
