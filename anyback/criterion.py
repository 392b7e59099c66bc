"""What losses and metrics share: a function of predictions and targets that describes itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from types import ModuleType
from typing import Any, Self, TypeVar

import numpy as np

from anyback.docstrings import complete
from anyback.lookup import lookup

__all__ = ["TARGETS", "Criterion", "distinct", "resolve"]

TARGETS = ("labels", "signs", "unit interval", "counts", "reals")


class Criterion:
    """A function of predictions and targets, called with sample weights and its own options.

    Criteria with the same bound options are equal.

    Parameters
    ----------
    function : callable
        Its first parameters are positional, its options have default values.
    targets : str
        Kind of the targets: "labels", "signs", "unit interval", "counts" or "reals".
    **entries
        Descriptions of parameters in its docstring, see `anyback.docstrings.complete`.

    Attributes
    ----------
    targets : str
        As given.
    options : dict
        Names and default values of the options.
    base : Criterion
        The criterion without bound options.
    bound : dict
        The options that `bind` has bound.

    Raises
    ------
    ValueError
        If `targets` is none of the five kinds.

    Examples
    --------
    >>> from anyback.losses import huber
    >>> huber.targets, huber.options
    ('reals', {'delta': 1.0})
    >>> huber.bind(delta=2.0)
    anyback.losses.huber(delta=2.0)
    """

    __call__: Callable[..., Any]
    __name__: str
    __wrapped__: Callable[..., Any]
    __signature__: inspect.Signature
    options: dict[str, Any]

    def __init__(self, function: Callable[..., Any], targets: str, **entries: str) -> None:
        if targets not in TARGETS:
            raise ValueError(f"targets must be one of {', '.join(map(repr, TARGETS))}, got {targets!r}")
        itself: Any = self
        update_wrapper(itself, function)
        self.__doc__ = complete(function.__doc__, type(self).__call__.__doc__, **entries)
        self.targets = targets
        self.base, self.bound = self, dict[str, Any]()
        self._wrap(function)

    def _wrap(self, function: Callable[..., Any]) -> None:
        """Set the function that is called, and what depends on its signature."""
        self.__wrapped__ = function
        signature = inspect.signature(function)
        pred, target, *rest = signature.parameters.values()
        options = [p for p in rest if p.default is not p.empty]
        self.options = {p.name: p.default for p in options}
        call = inspect.signature(type(self).__call__)
        parameters = [pred, target, call.parameters["sample_weight"], *options]
        self.__signature__ = call.replace(parameters=parameters)

    def bind(self, **options: Any) -> Self:
        """Return the same criterion with other default values of options.

        Parameters
        ----------
        **options
            Values of some of its options; those bound before stay bound.

        Returns
        -------
        Loss or Metric
            It has the same name, and is equal to every other with the same bound options.

        Raises
        ------
        TypeError
            For an option that it does not have.

        Examples
        --------
        >>> import numpy as np
        >>> from anyback.losses import huber
        >>> wide = huber.bind(delta=2.0)
        >>> value, vjp = wide(np.asarray([[1.0], [3.0]]), np.zeros((2, 1)))
        >>> print(value)
        2.25
        >>> wide == huber.bind(delta=2.0), wide == huber
        (True, False)
        """
        if unknown := sorted(options.keys() - self.options.keys()):
            kind = type(self).__name__.lower()
            raise TypeError(f"{kind} {self.name!r} has options {sorted(self.options)}, got {unknown}")
        if not options:
            return self
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, bound={**self.bound, **options})
        new._wrap(
            partial(self.base.__wrapped__, **new.bound)
        )  # cheaper than merging the options at each call
        return new

    def placed(self, put: Callable[[Any], Any]) -> Self:
        """Return the same with `put` applied to bound options of several numbers, such as class weights."""
        several = {k: v for k, v in self.bound.items() if isinstance(v, list | tuple | np.ndarray)}
        return self.bind(**{k: put(v) for k, v in several.items()})

    @property
    def name(self) -> str:
        """The name under which it is listed and reported."""
        return self.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Self:
        """Return itself: `help` shows signature and docstring of objects that have this method only."""
        return self

    def __repr__(self) -> str:
        """Return the name under which it is imported, and the bound options."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.bound.items())
        return f"{self.__module__}.{self.name}" + (f"({options})" if options else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Criterion) and self.base is other.base and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((object.__hash__(self.base), self._values()))

    def _values(self) -> frozenset[tuple[str, Any]]:
        """Return the bound options in a form that compares and hashes by value."""
        return frozenset((name, _hashable(value)) for name, value in self.bound.items())

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle as functions do: by name, and bind the options again."""
        return (partial(self.base.bind, **self.bound), ()) if self.bound else self.__name__


def _hashable(value: Any) -> Any:
    """Return an option with lists and arrays as nested tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return frozenset((key, _hashable(entry)) for key, entry in value.items())
    shape = getattr(value, "shape", None)
    if shape is None:
        return value
    return tuple(_hashable(value[i]) for i in range(shape[0])) if shape else float(value)


C = TypeVar("C", bound=Criterion)


def resolve(kind: type[C], given: str | Callable[..., Any], module: ModuleType) -> C:
    """Return the loss or metric that a user named or gave, with options bound by `functools.partial`.

    Parameters
    ----------
    kind : type
        Loss or Metric.
    given : str or callable
        A name that `module` lists, a `kind`, or a `functools.partial` of one.
    module : module
        Where to look for names: `anyback.losses` or `anyback.metrics`.

    Raises
    ------
    ValueError
        If `module` lists no such name.
    TypeError
        If `given` is none of these, or binds an option that does not exist.

    Examples
    --------
    >>> from anyback import losses
    >>> resolve(losses.Loss, partial(losses.huber, delta=2.0), losses)
    anyback.losses.huber(delta=2.0)
    """
    name = kind.__name__.lower()
    found: Any = lookup(name, given, module)
    options: dict[str, Any] = {}
    if isinstance(found, partial):
        if found.args and isinstance(found.func, kind):
            raise TypeError(f"{name}: options must be bound by name, got positional {found.args!r}")
        found, options = found.func, found.keywords
    if not isinstance(found, kind):
        raise TypeError(
            f"{name} must be a name, or made by the decorator {module.__name__}.{name}, got {given!r}"
        )
    return found.bind(**options)


def distinct(names: Sequence[str]) -> None:
    """Raise ValueError if a metric has the name of another, or of what the trainer itself reports."""
    taken = {"epoch", "loss", "weight", "samples", "penalty", "lr"}
    for name in names:
        if name in taken:
            raise ValueError(f"metrics must have names of their own in the history, got {name!r} again")
        taken.add(name)
