"""Mutation testing: each formula is changed in one place at a time, and the tests have to find the change.

A change, a mutant, is one of `replacements` in the body of a function or method. The tests are those of the
file, the examples of its docstrings, and the cases of its names in `tests/laws/test_laws.py`, on NumPy,
array-api-strict and PyTorch. They are collected once and run once, which records the functions that each test
enters. Then for each mutant a forked process, whose function gets the changed code, runs the tests that enter
it, those that found most so far first, until one fails; a test that hangs or dies counts as failed. Survived
are mutants that are found, lost those that are not.

Signatures, annotations, strings and exceptions are not changed. Changes that cannot change a result, listed
in `_equivalent.py` with the reasons, do not count.
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._equivalent import EQUIVALENT
from benchmarks.turns import ROOT

FORMULAS = (
    "activations",
    "gates",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "schedules",
)
TESTS = {  # if they are not in a file of that name in tests/formulas
    "layers": "layers",
    "losses": "losses",
    "metrics": "metrics",
    "optimizers": "optimizers",
    "regularizers": "optimizers/test_clipping.py",
    "schedules": "optimizers/test_schedules.py",
}
NO_ANSWER = "the process hung or died"
QUICK = ("numpy", "array_api_strict", "torch")  # libraries that start fast
LIMIT = 20.0  # seconds of processor time for a test, which may import a library; most take milliseconds

SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
COMPARED = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
PAIRS = (
    "maximum minimum, max min, exp expm1, log log1p, sin cos, argmax argmin, any all, zeros_like ones_like"
)
CALLED = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}
DROPPED = {"sqrt", "abs", "sign", "tanh", "clip"}  # calls that become their argument


@dataclass(frozen=True)
class Place:
    """A position in a tree: a field of its parent, with an index if the field is a list."""

    parent: ast.AST
    field: str
    index: int | None
    around: ast.AST  # the node to print

    def get(self) -> Any:
        found = getattr(self.parent, self.field)
        return found if self.index is None else found[self.index]

    def put(self, new: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, new)
        else:
            getattr(self.parent, self.field)[self.index] = new


@dataclass(frozen=True)
class Mutant:
    """One change: a replaced node inside a function of a module's tree."""

    module: str
    function: str
    line: int
    column: int
    change: str
    place: Place
    new: ast.AST

    def __str__(self) -> str:
        return f"anyback/{self.module}.py:{self.line}:{self.column}: {self.function}: {self.change}"

    def apply(self, functions: dict[str, list[FunctionType]], tree: ast.Module) -> None:
        """Give the existing functions of this name the changed code; this cannot be undone."""
        self.place.put(self.new)
        file = functions[self.function][0].__code__.co_filename
        code = _code(compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True), self.function)
        for function in functions[self.function]:
            function.__code__ = code


def run(settings: Settings) -> list[dict[str, Any]]:
    return [tried(module, settings) for module in FORMULAS]


def tried(module: str, settings: Settings) -> dict[str, Any]:
    """Return the row of one file, whose mutants are tried in a separate process."""
    name = f"mutants of {module} that tests find"
    if not hasattr(os, "fork"):
        return outcome(name, 0, 0, skipped="this system does not fork")
    own = [
        f"tests/{TESTS.get(module, f'formulas/test_{module}.py')}",
        str(_path(module)),
        "tests/laws/test_laws.py",
    ]
    found = hunted([module], own, settings.folder / f"{module}.json", settings.kills, settings.seed)
    lost = [mutant for mutant, test in found["mutants"].items() if test is None]
    settings.say(f"{module}: {len(found['mutants'])} mutants, {len(lost)} not found")
    details = {"all": found["all"], "equivalent": found["equivalent"]} | ({"not found": lost} if lost else {})
    if hung := sum(test == NO_ANSWER for test in found["mutants"].values()):
        details["hang"] = hung
    return outcome(name, len(found["mutants"]) - len(lost), len(lost), **details)


def hunted(
    modules: Sequence[str],
    tests: Sequence[str],
    output: Path,
    most: int = 200,
    seed: int = 0,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Try mutants in a new process, and return the test that found each; None if none did."""
    command = [sys.executable, "-m", "benchmarks.reliability.mutation", *modules, "--tests", *tests]
    options = ["--output", output, "--most", most, "--seed", seed, *(["--only", *only] if only else [])]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    done = subprocess.run(
        [*command, *map(str, options)],
        cwd=ROOT,
        env={**os.environ, **threads, **paths},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the mutants of {', '.join(modules)} cannot be tried: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


def _path(module: str) -> Path:
    """Return the file of a module, or the folder of a package, from the root of the checkout."""
    path = Path("anyback", module)
    return path if (ROOT / path).is_dir() else path.with_suffix(".py")


def files_of(module: str) -> list[Path]:
    """Return the file of a module, or the files of a package but its __init__.py."""
    path = ROOT / _path(module)
    return [*sorted(path.glob("[!_]*.py")), path / "_base.py"] if path.is_dir() else [path]


def tree_of(module: str) -> ast.Module:
    """Return the functions and classes of a module's files as one tree."""
    bodies = [ast.parse(file.read_text("utf-8")).body for file in files_of(module)]
    first, *others = bodies
    later = [node for body in others for node in body if not _is_future(node)]
    return ast.Module([*first, *later], [])


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


# --- changes -------------------------------------------------------------------------------------


def mutants(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Yield every mutant of a module's functions and methods."""
    for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        prefix = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
        for function in owner.body:
            if isinstance(function, ast.FunctionDef) and function.name != "__repr__":
                for place in list(_places(ast.Module(function.body, []))):
                    old = place.get()
                    for new in replacements(old):
                        where = (prefix + function.name, old.lineno, old.col_offset + 1)
                        yield Mutant(module, *where, _shown(place, new), place, new)


def replacements(old: ast.AST) -> Iterator[ast.AST]:
    """Yield the replacements of a statement or expression."""
    match old:
        case ast.BinOp(left, op, right) if type(op) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(op)](), right)
            yield left
            if not isinstance(op, ast.Sub | ast.Div | ast.Pow | ast.FloorDiv | ast.Mod | ast.LShift):
                yield right
        case ast.AugAssign(target, op, value):
            yield ast.AugAssign(target, SWAPPED[type(op)](), value)
            yield ast.Pass()
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                for other in COMPARED[type(op)]:
                    yield ast.Compare(left, [*ops[:i], other(), *ops[i + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(SWAPPED[type(op)](), values)
            for i in range(len(values)):
                rest = [*values[:i], *values[i + 1 :]]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield ast.Constant(1.5 * value or 1.0)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.If(ast.Name() | ast.Attribute() | ast.Call() | ast.BoolOp() as test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(ast.Call(function)):
            yield ast.Expr(function)  # looked up and not called
        case ast.Call(function, arguments, keywords):
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name == "where" and len(arguments) == 3:
                yield ast.Call(function, [arguments[0], arguments[2], arguments[1]], keywords)
            if name in CALLED and isinstance(function, ast.Attribute):
                yield ast.Call(ast.Attribute(function.value, CALLED[name], ast.Load()), arguments, keywords)
            elif name in CALLED:
                yield ast.Call(ast.Name(CALLED[name], ast.Load()), arguments, keywords)
            if name in DROPPED and arguments:
                yield arguments[0]
        case ast.keyword("axis", ast.UnaryOp()):
            yield ast.keyword("axis", ast.Constant(0))


def _places(node: ast.AST, around: ast.AST | None = None) -> Iterator[Place]:
    """Yield the positions of computed parts in a statement or expression."""
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    around = node if isinstance(node, ast.expr) and not isinstance(node, ast.UnaryOp) else around
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "ops", "op", "ctx"):
            continue
        if field == "args" and isinstance(node, ast.Call) and _text(node.func) == "isinstance":
            value = value[:1]
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield Place(node, field, index if isinstance(value, list) else None, around or child)
                yield from _places(child, around)


def _shown(place: Place, new: ast.AST) -> str:
    """Return the change as text; for a number or a sign with the enclosing expression."""
    old, before = place.get(), _text(place.around)
    if place.around is old or not isinstance(old, ast.Constant | ast.UnaryOp | ast.keyword):
        return f"{_text(old)} -> {_text(new)}"
    place.put(new)
    after = _text(place.around)
    place.put(old)
    return f"{before} -> {after}"


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {_text(node.test)}"
    return ast.unparse(ast.fix_missing_locations(node))


# --- running the tests ---------------------------------------------------------------------------


class Hunt:
    """A plugin of pytest that runs the collected tests again for each mutant."""

    def __init__(self, modules: Sequence[str], most: int, seed: int, only: Sequence[str]) -> None:
        self.trees = {name: tree_of(name) for name in modules}
        # y * y without either factor is the same mutant twice.
        every = list({str(m): m for name, tree in self.trees.items() for m in mutants(name, tree)}.values())
        known = {(module, *change) for module, changes in EQUIVALENT.items() for change in changes}
        self.mutants = [m for m in every if (m.module, m.function, m.change) not in known]
        self.equivalent = len(every) - len(self.mutants)
        self.all = len(self.mutants)
        if only:
            self.mutants = [m for m in self.mutants if f"{m.module}.{m.function}: {m.change}" in only]
        if len(self.mutants) > most:
            drawn = random.Random(seed).sample(range(len(self.mutants)), most)
            self.mutants = [self.mutants[i] for i in sorted(drawn)]
        self.found: dict[str, str | None] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        public = {name for module in self.trees for name in import_module(f"anyback.{module}").__all__}
        items[:] = [item for item in items if _matters(item, public)]

    def pytest_runtestloop(self, session: Any) -> bool:
        if any(ROOT / "tests" in item.path.parents for item in session.items):
            with suppress(ImportError):
                import_module("torch._dynamo")  # which its optimizers import; once, and not in every process
        functions = {name: _functions(name) for name in self.trees}
        gc.freeze()
        seen = forked(lambda: [_entered(item, set(self.trees)) for item in session.items])
        if seen is None or not all(passed for passed, _, _ in seen):
            bad = [
                item.nodeid
                for item, (passed, _, _) in zip(session.items, seen or (), strict=False)
                if not passed
            ]
            raise RuntimeError(f"tests fail where nothing is changed: {bad}")
        found: Counter[int] = Counter()
        for mutant in self.mutants:
            where = f"{mutant.module}.{mutant.function}"
            order = [i for i, (_, _, entered) in enumerate(seen) if where in entered]
            order.sort(key=lambda i: (-found[i], seen[i][1]))

            def failing(mutant: Mutant = mutant, order: list[int] = order) -> int:
                mutant.apply(functions[mutant.module], self.trees[mutant.module])
                for i in order:
                    signal.setitimer(signal.ITIMER_PROF, LIMIT)  # which ends the process
                    if not _passes(session.items[i]):
                        return i
                return -1

            which = forked(failing)
            found.update([] if which in (None, -1) else [which])
            by = None if which == -1 else NO_ANSWER if which is None else session.items[which].nodeid
            self.found[str(mutant)] = by
        return True


def forked(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a forked process; None if that dies."""
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            try:
                result = function()
            except Exception as error:  # errors of this program: tests report their own
                result = error
            with open(write, "wb") as pipe:
                pipe.write(pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    result = pickle.loads(said) if said else None
    if isinstance(result, Exception):
        raise result
    return result


def _entered(item: Any, modules: set[str]) -> tuple[bool, float, set[str]]:
    """Run a test: whether it passes, its seconds, and the functions of formula files that it enters."""
    entered = set()
    files = {str(file): name for name in modules for file in files_of(name)}

    def note(frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in files:
            entered.add(f"{files[code.co_filename]}.{code.co_qualname.split('.<locals>')[0]}")

    began = time.process_time()
    sys.setprofile(note)
    try:
        passed = _passes(item)
    finally:
        sys.setprofile(None)
    return passed, time.process_time() - began, entered


def _passes(item: Any) -> bool:
    from _pytest.runner import runtestprotocol

    return not any(report.failed for report in runtestprotocol(item, log=False))


def _matters(item: Any, public: set[str]) -> bool:
    """Whether a test is of a fast library and, if it is one of the laws, of one of these names."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if "jit" in item.name or any(getattr(value, "module", QUICK[0]) not in QUICK for value in values):
        return False
    names = {str(value).rpartition(".")[2] for value in values}
    return item.path.name != "test_laws.py" or not names.isdisjoint(public)


def _functions(module: str) -> dict[str, list[FunctionType]]:
    """Return every existing function that a module's source defines, by its qualified name."""
    files, found = {str(file) for file in files_of(module)}, {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename in files:
            found.setdefault(thing.__code__.co_qualname, []).append(thing)
    return found


def _code(code: CodeType, name: str) -> CodeType:
    """Return the code of a function by its qualified name, from that of its module."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for constant in inner:
        if constant.co_qualname == name:
            return constant
    return next(_code(c, name) for c in inner if name.startswith(f"{c.co_qualname}."))


def main() -> None:
    import pytest

    parser = argparse.ArgumentParser("python -m benchmarks.reliability.mutation")
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--tests", nargs="+", required=True)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    hunt = Hunt(options.modules, options.most, options.seed, options.only)
    without = [part for name in ("cacheprovider", "xdist") for part in ("-p", f"no:{name}")]
    status = pytest.main(["-q", "-o", "timeout=0", *without, *options.tests], plugins=[hunt])
    if status:
        sys.exit(int(status))
    found = {"all": hunt.all, "equivalent": hunt.equivalent, "mutants": hunt.found}
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
