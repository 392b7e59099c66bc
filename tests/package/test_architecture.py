"""The structure of the package: who may import whom, and how large a file may become."""

from __future__ import annotations

import ast
import io
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "anyback"
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = {"array_api_strict", "cupy", "cupyx", "dpnp", "jax", "jaxlib", "ndonnx", "tensorflow", "torch"}

# The modules and packages of anyback. Each imports from its own line and those above it, never from below:
# formulas know no backend, layers no trainer, the trainer no command line.
ORDER = [
    "arrays pytree lookup validation docstrings criterion",
    "engine",
    "activations gates losses metrics regularizers schedules optimizers",
    "random initializers parameters layers",
    "gradcheck graph",
    "backends interrupt checkpoint",
    "training",
    "callbacks solvers parity",
    "datasets tables plots",
    "__init__",
    "cli",
    "__main__",
]
LINE = {name: i for i, names in enumerate(ORDER) for name in names.split()}


def module(path: Path) -> str:
    """The dotted name of a file; a package's is that of its __init__.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path) for path in FILES}


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports: in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func).split(".")[-1]
            found |= {str(node.args[0].value)} if function in ("import_module", "__import__") else set()
    return found


IMPORTS = {module(path): imported(path) for path in FILES}


def top(name: str) -> str:
    """The module or package directly under anyback to which a dotted name belongs."""
    return name.split(".")[1] if "." in name else "__init__"


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_imports_go_upwards_in_the_order_only(name):
    assert top(name) in LINE, f"{top(name)} needs its place in ORDER"
    own = {"anyback"} if top(name) in ("cli", "__main__") else set()  # for __version__
    others = {other for other in IMPORTS[name] - own if other.split(".")[0] == "anyback"}
    below = {other for other in others if LINE[top(other)] > LINE[top(name)]}
    assert not below


def test_no_module_imports_itself_through_others():
    graph = {name: {other for other in IMPORTS[name] if other in MODULES} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_array_libraries_are_named_in_backends_only(path):
    libraries = {name.split(".")[0] for name in IMPORTS[module(path)]} & LIBRARIES
    if top(module(path)) == "backends":
        assert len({name.removesuffix("lib").removesuffix("x") for name in libraries}) <= 1, "one a file"
    elif top(module(path)) != "interop":
        assert not libraries


FORMULAS = ["activations", "losses", "gates", "metrics", "optimizers", "regularizers"]


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if top(name) in FORMULAS])
def test_formulas_do_not_even_import_numpy(name):
    assert not {other.split(".")[0] for other in IMPORTS[name]} & {"numpy", "scipy"}


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_nothing_is_pickled(name):
    assert not {other.split(".")[0] for other in IMPORTS[name]} & {"pickle", "dill", "joblib", "shelve"}


# --- names and sizes ------------------------------------------------------------------------------


def one_letter_apart(a: str, b: str) -> bool:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    if len(longer) == len(shorter):
        return sum(x != y for x, y in zip(a, b, strict=True)) <= 1
    return any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=str)
def test_no_two_names_in_a_folder_differ_by_one_letter(folder):
    names = sorted(path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir())
    assert not [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if one_letter_apart(a, b)]


def test_the_top_level_stays_small():
    assert len(list(PACKAGE.glob("*.py"))) <= 22


def code_lines(source: str) -> int:
    """Lines that hold code: neither blank, nor comments, nor docstrings."""
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            lines -= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    return len(lines)


@pytest.mark.parametrize("path", [path for path in FILES if "engine" not in path.parts], ids=named)
def test_files_stay_short(path):
    assert code_lines(path.read_text(encoding="utf-8")) <= 320


def test_the_trainer_stays_short():
    source = (PACKAGE / "training" / "trainer.py").read_text(encoding="utf-8")
    (found,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    assert code_lines(ast.get_source_segment(source, found)) <= 250


# --- attributes -----------------------------------------------------------------------------------


def attributes(node: ast.AST) -> set[str]:
    """Names x that are assigned as ``self.x`` in a method."""
    targets = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    return {n.attr for n in targets if isinstance(n.value, ast.Name) and n.value.id == "self"}


def declared(node: ast.ClassDef) -> set[str]:
    """Names that a class declares: in its body, as its methods, or in __init__."""
    found = set()
    for part in node.body:
        if isinstance(part, ast.AnnAssign | ast.Assign):
            found |= {
                n.id for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
        elif isinstance(part, ast.FunctionDef):
            found |= {part.name} | (attributes(part) if part.name in ("__init__", "__post_init__") else set())
    return found


CLASSES = [
    (path, node)
    for path in FILES
    if "engine" not in path.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef)
]


@pytest.mark.parametrize(("path", "node"), CLASSES, ids=[f"{named(p)}-{n.name}" for p, n in CLASSES])
def test_attributes_are_declared(path, node):
    by_name = {other.name: other for _, other in CLASSES}
    known, bases = declared(node), [ast.unparse(base) for base in node.bases]
    while bases:
        if (base := by_name.get(bases.pop())) is not None:
            known |= declared(base)
            bases += [ast.unparse(b) for b in base.bases]
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    assert not {name for method in methods for name in attributes(method)} - known


def test_the_readers_above_see_what_they_must(tmp_path):
    """Planted violations: the tests would pass for readers that saw nothing."""
    planted = tmp_path / "planted.py"
    planted.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import anyback.cli\n"
        "class A:\n    def f(self):\n        import torch.nn\n        from anyback import layers\n"
        "        importlib.import_module('jax')\n        self.late = 1\n"
    )
    assert imported(planted) >= {"anyback.cli", "torch.nn", "anyback.layers", "jax"}
    node = next(n for n in ast.walk(ast.parse(planted.read_text())) if isinstance(n, ast.ClassDef))
    assert attributes(node) == {"late"} and declared(node) == {"f"}
    assert code_lines('"""Doc."""\n\n# why\nx = [\n    1,\n]\n') == 3
    assert one_letter_apart("loss", "losses") is False and one_letter_apart("table", "tables")
