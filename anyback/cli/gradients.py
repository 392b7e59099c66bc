"""Every formula's gradient against central differences, on any array library."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import typer

from anyback import activations, gates, losses, regularizers
from anyback.backends import Backend, backend
from anyback.cli.app import console
from anyback.cli.report import table
from anyback.gradcheck import gradcheck
from anyback.lookup import lookup
from anyback.random import Draw, Purpose

__all__ = ["check", "formulas"]

_ROOMS = {"activations": activations, "losses": losses, "gates": gates, "regularizers": regularizers}
_ROWS, _COLUMNS = 5, 6


def formulas() -> dict[str, tuple[str, Any]]:
    """Return every public formula with the room it is in."""
    return {name: (room, getattr(module, name)) for room, module in _ROOMS.items() for name in module.__all__}


def check(names: list[str], backend_name: str | None, tol: float) -> None:
    """Check the formulas called so, or all, print a figure for each, and exit with 1 if one is wrong."""
    known = formulas()
    room_of_all = ModuleType("formulas")
    vars(room_of_all).update(known, __all__=list(known))
    for name in names:
        lookup("formula", name, room_of_all)
    where = backend(backend_name)
    where.check("float64")
    made = table("formula", "error", "calls", "where it is largest, or what is wrong")
    made.columns[3].justify = "left"
    failed = 0
    for name in names or known:
        room, function = known[name]
        f, arguments = _case(room, name, function)
        try:
            report = gradcheck(f, *(_put(where, a) for a in arguments), tol=tol)
            made.add_row(f"{room}.{name}", f"{report.max_error:.1e}", str(report.evaluations), report.worst)
        except Exception as error:  # whatever a formula does wrong is what is to be told
            failed += 1
            made.add_row(f"{room}.{name}", "wrong", "", " ".join(str(error).split()), style="red")
    out = console()
    out.print(made)
    count = len(names or known)
    agree = f"{count - failed} of {count} gradients agree with central differences"
    out.print(f"{agree} within {tol:g} (relative, float64, {where.name})")
    if failed:
        raise typer.Exit(1)


def _case(room: str, name: str, function: Any) -> tuple[Any, list[np.ndarray]]:
    """Return a formula, its options bound, with arguments that lie away from its kinks."""
    pred = _away(name, (_ROWS, _COLUMNS))
    if room == "losses":
        return function, [pred, _target(function.targets, name)]
    if room == "gates":
        # Positive, so that logarithms and powers are defined.
        given = {p: _away(f"{name} {p}", (_ROWS, _ROWS), 0.5, 2.0) for p in _required(function)}
        options = {p: 3.0 for p in given if p == "exponent"}
        return partial(function, **options), [a for p, a in given.items() if p not in options]
    return function, [pred if room == "activations" else pred[0]]


def _required(function: Any) -> Iterator[str]:
    parameters = inspect.signature(function).parameters.values()
    return (p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD)


def _away(name: str, shape: tuple[int, ...], low: float = -4.0, high: float = 4.0) -> np.ndarray:
    """Return numbers halfway between multiples of 1/8, where the kinks of formulas are, but no two alike."""
    u = Draw(0, Purpose.CHECK, name).uniform((2, *shape))
    return np.asarray(np.floor((low + (high - low) * u[0]) * 8) / 8 + 1 / 16 + (u[1] - 0.5) / 32)


def _target(kind: str, name: str) -> np.ndarray:
    """Return targets of a kind: multiples of 1/8, so that differences from predictions lie halfway again."""
    u = Draw(0, Purpose.CHECK, f"{name} target").uniform((_ROWS, _COLUMNS))
    if kind == "labels":
        return np.asarray(np.floor(u[:, 0] * _COLUMNS), dtype=np.int64)
    if kind == "unit interval":
        return np.asarray((u + 0.1) / (u + 0.1).sum(axis=1, keepdims=True))
    return {
        "signs": np.where(u < 0.5, -1.0, 1.0),
        "counts": np.floor(u * 6),
        "reals": np.floor(u * 32) / 8 - 2,
    }[kind]


def _put(where: Backend, a: np.ndarray) -> Any:
    return where.asarray(a, None if a.dtype.kind == "i" else "float64")
