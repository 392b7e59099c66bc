"""What losses and metrics share: a formula of predictions and targets, and what it says of itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

__all__ = ["TARGETS", "Criterion"]

TARGETS = ("labels", "signs", "unit interval", "counts", "reals")


class Criterion:
    """A function of predictions and targets, called with sample weights and its own options.

    Parameters
    ----------
    function : callable
        Its first parameters are positional, its options have default values.
    targets : str
        What it compares with: "labels", "signs", "unit interval", "counts" or "reals".

    Attributes
    ----------
    targets : str
        As given.
    options : dict
        Names of the options with their default values.

    Raises
    ------
    ValueError
        If `targets` is none of the five kinds.

    Examples
    --------
    >>> from anyback.losses import huber
    >>> huber.targets, huber.options
    ('reals', {'delta': 1.0})
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], targets: str) -> None:
        if targets not in TARGETS:
            raise ValueError(f"targets must be one of {', '.join(map(repr, TARGETS))}, got {targets!r}")
        itself: Any = self
        update_wrapper(itself, function)
        self.targets = targets
        signature = inspect.signature(function)
        pred, target, *rest = signature.parameters.values()
        options = [p for p in rest if p.default is not p.empty]
        self.options: dict[str, Any] = {p.name: p.default for p in options}
        weight = inspect.Parameter("sample_weight", inspect.Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = signature.replace(parameters=[pred, target, weight, *options])

    def __repr__(self) -> str:
        """Return the name under which it is imported."""
        return f"{self.__module__}.{self.__name__}"

    def __reduce__(self) -> str:
        """Copy and pickle as functions do: by name."""
        return self.__name__
