"""The options of the command line, each declared once.

A field of `Options` gives an option's name, type, default, help and constraints: the commands' parameters,
run.json and the checks of a resumed run follow from it. Types that several commands share stand above it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cache, wraps
from math import inf
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.models import OptionInfo

from anyback import activations, losses, metrics, optimizers
from anyback.backends import LIBRARIES
from anyback.lookup import lookup
from anyback.optimizers._base import Optimizer

__all__ = ["CHOICES", "Options", "expand_options", "ignore_case", "option"]

# Panels of the help, in the order in which it shows them.
DATA, SCALING, NETWORK, TRAINING = "Data", "Feature scaling", "Network", "Training"
BACKEND, RUN, OUTPUT = "Backend", "Run", "Output"
PANELS = (DATA, SCALING, NETWORK, TRAINING, BACKEND, RUN, OUTPUT)

CHOICES = {
    "Activations": activations.__all__,
    "Losses": losses.__all__,
    "Metrics": [name for name in metrics.__all__ if name != "confusion_matrix"],
    "Optimizers": optimizers.__all__,
}

# PyTorch's default of 0.01 hardly regularizes a small network.
_WEIGHT_DECAY = {"AdamW": 0.3}
# Dropout helps classification; in regression it adds noise to the predictions.
_CLASSIFICATION_DROPOUT = 0.2


def option(
    panel: str,
    metavar: str | None,
    help: str,
    *names: str,
    choices: Sequence[str] = (),
    show_default: str | bool = True,
) -> Any:
    """Return an option for an annotation; typer derives ``--weight-decay`` from ``weight_decay``."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return typer.Option(
        *names,
        metavar=metavar,
        help=help,
        show_default=show_default,
        autocompletion=complete if choices else None,
        rich_help_panel=panel,
    )


@dataclass(frozen=True)
class Bounds:
    """Annotation of a field that must lie in [low, high)."""

    low: float
    high: float = inf

    def check(self, name: str, value: float) -> None:
        """Raise ValueError if a value is out of bounds."""
        if not self.low <= value < self.high:
            allowed = f"at least {self.low}" if self.high == inf else f"in [{self.low}, {self.high})"
            raise ValueError(f"{_flag(name)} must be {allowed}, got {value}")


# Annotation of a field that may change when a run resumes.
MAY_CHANGE = object()

_DATA: Any = typer.Argument(
    metavar="DATA",
    help="[bold]digits[/] (included), [bold]mnist[/] (downloaded once, 11 MB), a .csv, .tsv, .npz or .npy "
    "file, or a folder of IDX files.",
    show_default=False,
)
_TARGET = DATA, "NAME|INDEX", "Target column or array; columns count from 0, and -1 is the last."
_DROP = DATA, "NAME,...", "Input columns to leave out, by name or index, such as text columns."
Data = Annotated[str, _DATA]
OptionalData = Annotated[str | None, _DATA]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint in one.", show_default=False)
]
BackendName = Annotated[
    str | None,
    option(
        BACKEND,
        "NAME",
        f"{', '.join(LIBRARIES)}, with a device as in cupy:1 or torch:cuda; auto: a working GPU, else NumPy.",
        choices=[*LIBRARIES, "auto"],
        show_default="$ANYBACK_BACKEND, else auto",
    ),
]
Target = Annotated[str | None, option(*_TARGET, show_default="last column, or array y")]
TargetOfRun = Annotated[str | None, option(*_TARGET, show_default="the run's target")]
Drop = Annotated[str | None, option(*_DROP, show_default=False)]
DropOfRun = Annotated[str | None, option(*_DROP, show_default="those the run dropped")]


@dataclass(frozen=True)
class Options:
    """The options of a training run, with the names, values and order that run.json stores."""

    target: Target = None
    drop: Drop = None
    hidden: Annotated[str, option(NETWORK, "N,N,...", "Hidden layer sizes; '' for a linear model.")] = (
        "128,64"
    )
    activation: Annotated[
        str,
        option(
            NETWORK, "NAME", "Activation of the hidden layers, listed below.", choices=CHOICES["Activations"]
        ),
    ] = "relu"
    dropout: Annotated[
        float | None,
        option(
            NETWORK,
            "RATE",
            "Dropout rate of the hidden layers, in [0, 1).",
            show_default="0.2 for classes, 0 for regression",
        ),
    ] = None
    loss: Annotated[
        str,
        option(
            TRAINING,
            "NAME",
            "auto: softmax_cross_entropy for classes, mean_squared_error for regression.",
            choices=["auto", *CHOICES["Losses"]],
        ),
    ] = "auto"
    optimizer: Annotated[
        str,
        option(TRAINING, "NAME", "Optimizer, listed below; case-insensitive.", choices=CHOICES["Optimizers"]),
    ] = "AdamW"
    lr: Annotated[
        float | None,
        option(TRAINING, "RATE", "Learning rate.", show_default="0.001 for AdamW"),
    ] = None
    weight_decay: Annotated[
        float | None,
        option(
            TRAINING,
            "RATE",
            "Weight decay, for regularization.",
            show_default="0.3 for AdamW, else 0",
        ),
    ] = None
    clip_norm: Annotated[
        float | None,
        option(
            TRAINING,
            "NORM",
            "Clip the gradient to this norm.",
            show_default="off",
        ),
    ] = None
    epochs: Annotated[int, option(TRAINING, "N", "Total number of epochs."), MAY_CHANGE] = 60
    batch_size: Annotated[str, option(TRAINING, "N|full", "Rows per update; full: all training rows.")] = "32"
    validation: Annotated[
        float,
        option(
            DATA,
            "FRACTION",
            "Fraction of the training rows used to select the best epoch; 0: use the last one.",
        ),
        Bounds(0, 1),
    ] = 0.15
    test: Annotated[
        float,
        option(
            DATA,
            "FRACTION",
            "Fraction of all rows held out for final metrics, unless DATA has a test set.",
        ),
        Bounds(0, 1),
    ] = 0.2
    patience: Annotated[
        int,
        option(TRAINING, "N", "Epochs without a lower validation loss before early stopping."),
        MAY_CHANGE,
    ] = 20
    metrics: Annotated[
        str,
        option(
            TRAINING,
            "NAME,...",
            "none, or auto: accuracy for classes, r2 and root_mean_squared_error for regression.",
            choices=["auto", "none", *CHOICES["Metrics"]],
        ),
    ] = "auto"
    standardize: Annotated[
        bool,
        option(SCALING, "", "Scale inputs to mean 0, variance 1."),
    ] = True
    dtype: Annotated[str, option(BACKEND, "NAME", "float32, or float64 (twice the memory and time).")] = (
        "float32"
    )
    seed: Annotated[
        int,
        option(
            TRAINING,
            "N",
            "Seed of weights, shuffling, validation split and dropout, on any backend.",
        ),
    ] = 0
    keep: Annotated[
        int,
        option(
            RUN,
            "N",
            "Checkpoints to keep: the newest and older ones.",
        ),
        Bounds(1),
        MAY_CHANGE,
    ] = 2

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            for bounds in hint.__metadata__:
                if isinstance(bounds, Bounds):
                    bounds.check(name, getattr(self, name))

    @staticmethod
    def check_stored(stored: dict[str, Any]) -> None:
        """Raise ValueError if a stored option has the wrong type."""
        for name, kind in get_type_hints(Options).items():
            if name in stored and not isinstance(stored[name], kind):
                raise ValueError(f"option {name} is {stored[name]!r}")

    def with_dropout(self, *, classification: bool) -> Options:
        """Return the options with the default dropout, which depends on the task."""
        default = _CLASSIFICATION_DROPOUT if classification else 0.0
        return replace(self, dropout=default) if self.dropout is None else self

    @property
    def units(self) -> list[int]:
        """Units of each hidden layer."""
        units = [part.strip() for part in self.hidden.split(",")] if self.hidden.strip() else []
        wrong = next((part for part in units if not part.isdecimal() or int(part) < 1), None)
        if wrong is not None:
            raise ValueError(
                f"--hidden must be positive integers such as 128,64, got {wrong!r} in {self.hidden!r}"
            )
        return [int(part) for part in units]

    @property
    def batch(self) -> int | None:
        """Rows per batch; None for all of them."""
        if self.batch_size == "full":
            return None
        if not self.batch_size.isdecimal() or int(self.batch_size) < 1:
            raise ValueError(f"--batch-size must be a positive integer or 'full', got {self.batch_size!r}")
        return int(self.batch_size)

    def metric_names(self, default: Sequence[str]) -> list[str]:
        """Return the names of the metrics; ``auto`` stands for the default ones."""
        if self.metrics == "auto":
            return list(default)
        names = [] if self.metrics == "none" else [name.strip() for name in self.metrics.split(",")]
        for name in names:
            lookup("metric", name, metrics)
        return names

    def make_optimizer(self) -> Optimizer:
        """Return the optimizer, with its own defaults for options that are None."""
        kind: Any = lookup("optimizer", ignore_case(self.optimizer, optimizers.__all__), optimizers)
        decay = _WEIGHT_DECAY.get(kind.__name__) if self.weight_decay is None else self.weight_decay
        arguments = {"lr": self.lr, "weight_decay": decay}
        return kind(**{name: value for name, value in arguments.items() if value is not None})  # type: ignore[no-any-return]

    def resumed(self, stored: dict[str, Any], typed: set[str], run: str) -> Options:
        """Return the options stored in run.json, updated with those of the typed ones that may change.

        Raises
        ------
        ValueError
            If a typed option that may not change has another value.
        """
        before = replace(self, **{f.name: stored[f.name] for f in fields(self) if f.name in stored})
        may_change = [name for name, hint in _hints().items() if MAY_CHANGE in hint.__metadata__]
        changed = {}
        for name in (f.name for f in fields(self) if f.name in typed):
            old, new = getattr(before, name), getattr(self, name)
            if old == new:
                continue
            if name not in may_change:
                was = "left at its default" if old is None else old
                raise ValueError(
                    f"{_flag(name)} was {was} in {run}, got {new}: only "
                    f"{', '.join(map(_flag, may_change))} and --backend may change when a run resumes"
                )
            changed[name] = new
        return replace(before, **changed)


def ignore_case(name: str, names: Sequence[str]) -> str:
    """Return the element of `names` that equals `name` except for case, else `name`."""
    return next((other for other in names if other.lower() == name.lower()), name)


def expand_options(
    function: Callable[..., None], names: Sequence[str] | None, defaults: Mapping[str, Any]
) -> Callable[..., None]:
    """Return a function with the fields of `Options` as parameters in place of its parameter ``options``.

    Parameters
    ----------
    function : callable
        A command; one without such a parameter is returned unchanged.
    names : sequence of str, optional
        Fields to take; the others keep their defaults. By default all.
    defaults : mapping
        Defaults that differ from those of `Options`.
    """
    parameters = dict(inspect.signature(function, eval_str=True).parameters)
    if parameters.pop("options", None) is None:
        return function
    hints = _hints()
    taken = [f for f in fields(Options) if names is None or f.name in names]
    for field in taken:
        annotation, default = hints[field.name], field.default
        if field.name in defaults:
            info = copy(_info(annotation))
            info.show_default, default = True, defaults[field.name]
            annotation = Annotated[annotation.__origin__, info]
        parameters[field.name] = inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )

    @wraps(function)
    def expanded(**values: Any) -> None:
        options = Options(**{field.name: values.pop(field.name) for field in taken})
        function(options=options, **values)

    ordered = sorted(parameters.values(), key=_panel_number)
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in ordered]
    expanded.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    return expanded


@cache
def _hints() -> dict[str, Any]:
    """Return the annotated type of each field of `Options`."""
    return get_type_hints(Options, include_extras=True)


def _info(annotation: Any) -> Any:
    """Return the typer option in an annotation, or None."""
    return next((n for n in getattr(annotation, "__metadata__", ()) if isinstance(n, OptionInfo)), None)


def _panel_number(parameter: inspect.Parameter) -> int:
    info = _info(parameter.annotation)
    return PANELS.index(info.rich_help_panel) if info else -1


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
