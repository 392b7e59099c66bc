"""How operations are written in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback.engine.fusion import is_number
from anyback.engine.recording import Node, resolved

__all__ = ["REDUCTIONS", "TYPES", "identity", "known", "literal", "spelled"]

TYPES = {
    "b1": "bool",
    "i1": "signed char",
    "i2": "short",
    "i4": "int",
    "i8": "long long",
    "u1": "unsigned char",
    "u2": "unsigned short",
    "u4": "unsigned int",
    "u8": "unsigned long long",
    "f4": "float",
    "f8": "double",
}
# Of numbers of one type {t}; what C would do otherwise than NumPy is spelled out.
_ANY = {
    np.equal: "{0} == {1}",
    np.not_equal: "{0} != {1}",
    np.less: "{0} < {1}",
    np.less_equal: "{0} <= {1}",
    np.greater: "{0} > {1}",
    np.greater_equal: "{0} >= {1}",
    np.logical_not: "!{0}",
    np.logical_and: "{0} && {1}",
    np.logical_or: "{0} || {1}",
    np.logical_xor: "!{0} != !{1}",
}
_NUMBERS = _ANY | {
    np.maximum: "({0} != {0} || {0} > {1}) ? {0} : {1}",
    np.minimum: "({0} != {0} || {0} < {1}) ? {0} : {1}",
    np.positive: "{0}",
    np.isnan: "{0} != {0}",
    np.isfinite: "{0} - {0} == 0",
    np.isinf: "{0} == {0} && {0} - {0} != 0",
}
_REALS = (
    _NUMBERS
    | {
        np.add: "{0} + {1}",
        np.subtract: "{0} - {1}",
        np.multiply: "{0} * {1}",
        np.true_divide: "{0} / {1}",
        np.negative: "-{0}",
        np.square: "{0} * {0}",
        np.reciprocal: "1 / {0}",
        np.absolute: "fabs({0})",
        np.sign: "{0} != {0} ? {0} : ({t})(({0} > 0) - ({0} < 0))",
        np.power: "pow({0}, {1})",
        np.arctan2: "atan2({0}, {1})",
        np.hypot: "hypot({0}, {1})",
        np.copysign: "copysign({0}, {1})",
        np.arctan: "atan({0})",
        np.arcsin: "asin({0})",
        np.arccos: "acos({0})",
        np.arcsinh: "asinh({0})",
        np.arccosh: "acosh({0})",
        np.arctanh: "atanh({0})",
    }
    | {
        getattr(np, name): name + "({0})"
        for name in (
            *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt"),
            *("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil", "trunc", "rint"),
        )
    }
)
# Integers wrap around, which in C only unsigned ones do.
_INTEGERS = _NUMBERS | {
    np.add: "({t})((unsigned {t}){0} + (unsigned {t}){1})",
    np.subtract: "({t})((unsigned {t}){0} - (unsigned {t}){1})",
    np.multiply: "({t})((unsigned {t}){0} * (unsigned {t}){1})",
    np.negative: "({t})(0 - (unsigned {t}){0})",
    np.square: "({t})((unsigned {t}){0} * (unsigned {t}){0})",
    np.absolute: "{0} < 0 ? ({t})(0 - (unsigned {t}){0}) : {0}",
    np.bitwise_and: "{0} & {1}",
    np.bitwise_or: "{0} | {1}",
    np.bitwise_xor: "{0} ^ {1}",
    np.invert: "~{0}",
    np.left_shift: "{1} < 8 * sizeof({t}) ? ({t})((unsigned {t}){0} << {1}) : ({t})0",
    np.right_shift: "{0} >> ({1} < 8 * sizeof({t}) ? {1} : ({t})(8 * sizeof({t}) - 1))",
}
_BOOLEANS = _ANY | {
    np.bitwise_and: "{0} && {1}",
    np.bitwise_or: "{0} || {1}",
    np.bitwise_xor: "{0} != {1}",
    np.invert: "!{0}",
}
_SPELLINGS: dict[str, dict[Any, str]] = {
    "f4": _REALS,
    "f8": _REALS,
    "i4": _INTEGERS,
    "i8": _INTEGERS,
    "b1": _BOOLEANS,
}
REDUCTIONS = {np.add: "Sum", np.maximum: "Largest", np.minimum: "Smallest"}


def known(node: Node) -> bool:
    """Whether there is C for an operation.

    Examples
    --------
    >>> from anyback.engine.recording import record
    >>> [known(node) for node in record(lambda x: np.sort(x + 1.0), np.ones(2)).nodes]
    [True, False]
    """
    arrays = [arg for arg in (node, *node.args) if not isinstance(arg, int | float) and not is_number(arg)]
    dtypes = [getattr(a, "value", a).dtype for a in arrays]
    if not all(dtype.isnative and dtype.str[1:] in TYPES for dtype in dtypes):
        return False
    if node.kind == "reduce":
        return node.f in REDUCTIONS and node.value.dtype.kind in "ifb"
    return node.kind in ("cast", "half", "scale", "take", "where") or (
        node.kind == "ufunc" and spelled(node) is not None
    )


def spelled(node: Node) -> tuple[str, Sequence[np.dtype]] | None:
    """Return how a ufunc is written in C, and the dtypes of what it takes and gives."""
    dtypes = resolved(node.f, (getattr(arg, "value", arg) for arg in node.args))
    table = _SPELLINGS.get(dtypes[0].str[1:], {})
    if not all(_fits(arg, dtype) for arg, dtype in zip(node.args, dtypes, strict=False)):
        return None
    if len({*dtypes[:-1]}) > 1 or node.f not in table or any(d.str[1:] not in TYPES for d in dtypes):
        return None
    return table[node.f], dtypes


def _fits(arg: Any, dtype: np.dtype) -> bool:
    """Whether an integer of Python's is one of a dtype."""
    whole = isinstance(arg, int) and dtype.kind == "i"
    return not whole or np.iinfo(dtype).min <= arg <= np.iinfo(dtype).max


def literal(x: float) -> str:
    """Return a Python number in C."""
    if isinstance(x, bool) or (isinstance(x, int) and -(1 << 31) < x < 1 << 31):
        return str(int(x))
    if isinstance(x, int):
        return f"{x}LL" if x > -(1 << 63) else f"(-{(1 << 63) - 1}LL - 1)"
    if x != x or x in (float("inf"), float("-inf")):
        return "INFINITE - INFINITE" if x != x else f"{'-' if x < 0 else ''}INFINITE"
    return x.hex() if x >= 0 and str(x)[0] != "-" else f"-{(-x).hex()}"


def identity(node: Node) -> str:
    """Return what changes nothing in a reduction."""
    if node.f is np.add:
        return "0"
    dtype = node.value.dtype
    if dtype.kind == "f":
        return "-INFINITE" if node.f is np.maximum else "INFINITE"
    if dtype.kind == "b":
        return "false" if node.f is np.maximum else "true"
    info = np.iinfo(dtype)
    return literal(int(info.min if node.f is np.maximum else info.max))
