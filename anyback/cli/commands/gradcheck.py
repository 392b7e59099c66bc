"""``anyback gradcheck``: gradients of all formulas against central differences, on any array library."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import typer

from anyback import activations, gates, losses, regularizers
from anyback.backends import Backend
from anyback.backends import backend as connect
from anyback.cli.app import command, console
from anyback.cli.options import OUTPUT, BackendName, option
from anyback.cli.report import new_table
from anyback.gradcheck import gradcheck as check_gradient
from anyback.lookup import lookup
from anyback.random import Purpose, Stream

__all__ = ["formulas", "gradcheck"]

_MODULES = {"activations": activations, "losses": losses, "gates": gates, "regularizers": regularizers}
_ROWS, _COLUMNS = 5, 6


@command("anyback gradcheck", "anyback gradcheck huber relu --backend torch")
def gradcheck(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Formulas to check; by default all.", show_default=False),
    ] = None,
    backend: BackendName = None,
    tol: Annotated[float, option(OUTPUT, "ERROR", "Largest relative error that passes.")] = 1e-6,
) -> None:
    """Check gradients of formulas against central differences.

    The formulas are activations, losses, gates and regularizers. The exit code is 1 if a gradient is wrong.
    """
    known = formulas()
    public = ModuleType("formulas")
    vars(public).update({name: function for name, (_, function) in known.items()}, __all__=list(known))
    for name in names or ():
        lookup("formula", name, public)
    where = connect(backend)
    where.check("float64")
    table = new_table("formula", "error", "calls", "largest error at, or what is wrong")
    table.columns[3].justify = "left"
    failed = 0
    for name in names or known:
        module, function = known[name]
        f, arguments = _case(module, name, function)
        try:
            report = check_gradient(f, *(_on_backend(where, a) for a in arguments), tol=tol)
            error, calls = f"{report.max_error:.1e}", str(report.evaluations)
            table.add_row(f"{module}.{name}", error, calls, report.worst)

        except Exception as exception:  # any exception of a formula is a result of the check
            failed += 1
            table.add_row(f"{module}.{name}", "wrong", "", " ".join(str(exception).split()), style="red")
    out = console()
    out.print(table)
    count = len(names or known)
    agree = f"{count - failed} of {count} gradients agree with central differences"
    out.print(f"{agree} within {tol:g} (relative, float64, {where.name})")
    if failed:
        raise typer.Exit(1)


def formulas() -> dict[str, tuple[str, Any]]:
    """Return every public formula by name, with the name of its module."""
    return {name: (key, getattr(module, name)) for key, module in _MODULES.items() for name in module.__all__}


def _case(module: str, name: str, function: Any) -> tuple[Any, list[np.ndarray]]:
    """Return a formula, its options bound, with arguments away from its kinks."""
    pred = _away_from_kinks(name, (_ROWS, _COLUMNS))
    if module == "losses":
        return function, [pred, _target(function.targets, name)]
    if module == "gates":
        # Positive, so that logarithms and powers are defined.
        inputs = {p: _away_from_kinks(f"{name} {p}", (_ROWS, _ROWS), 0.5, 2.0) for p in _required(function)}
        options = {p: 3.0 for p in inputs if p == "exponent"}
        return partial(function, **options), [a for p, a in inputs.items() if p not in options]
    return function, [pred if module == "activations" else pred[0]]


def _required(function: Any) -> Iterator[str]:
    parameters = inspect.signature(function).parameters.values()
    return (p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD)


def _away_from_kinks(name: str, shape: tuple[int, ...], low: float = -4.0, high: float = 4.0) -> np.ndarray:
    """Return distinct numbers halfway between multiples of 1/8: kinks of formulas are at multiples of 1/8."""
    u = Stream(0, Purpose.CHECK, name).uniform((2, *shape))
    return np.asarray(np.floor((low + (high - low) * u[0]) * 8) / 8 + 1 / 16 + (u[1] - 0.5) / 32)


def _target(kind: str, name: str) -> np.ndarray:
    """Return targets of a kind: multiples of 1/8, so that prediction - target also avoids kinks."""
    u = Stream(0, Purpose.CHECK, f"{name} target").uniform((_ROWS, _COLUMNS))
    if kind == "labels":
        return np.asarray(np.floor(u[:, 0] * _COLUMNS), dtype=np.int64)
    if kind == "unit interval":
        return np.asarray((u + 0.1) / (u + 0.1).sum(axis=1, keepdims=True))
    return {
        "signs": np.where(u < 0.5, -1.0, 1.0),
        "counts": np.floor(u * 6),
        "reals": np.floor(u * 32) / 8 - 2,
    }[kind]


def _on_backend(where: Backend, a: np.ndarray) -> Any:
    return where.asarray(a, None if a.dtype.kind == "i" else "float64")
