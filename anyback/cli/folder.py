"""The run folder: what is where in it, and how a run is opened again."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from anyback import losses
from anyback.cli.door import fail
from anyback.cli.task import Task
from anyback.objective import Objective
from anyback.trainer import Trainer

__all__ = ["CHECKPOINT", "Run", "create", "describe", "discard", "note_down", "open_run"]

CHECKPOINT, _ABOUT = "checkpoint.safetensors", "run.json"
# What a run that never finished an epoch may leave.
_UNFINISHED = (_ABOUT, f".{_ABOUT}", "history.csv", "history.jsonl")


@dataclass(frozen=True)
class Run:
    """A trained model with what its run folder tells of it.

    Attributes
    ----------
    path : Path
        The checkpoint.
    trainer : Trainer
        With the best weights where there are any.
    task : Task
        What it learned.
    about : dict
        The content of run.json; empty for a checkpoint that stands alone.
    """

    path: Path
    trainer: Trainer
    task: Task
    about: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """What is known of the data it learned from."""
        found: dict[str, Any] = self.about.get("data", {})
        return found

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, where they have any."""
        return tuple(self.data["features"]) if self.data.get("features") else None

    @property
    def width(self) -> int:
        """Number of its inputs."""
        return prod(self.trainer.in_shape or ())

    @property
    def drop(self) -> str | None:
        """The columns that were no inputs, as typed."""
        dropped: str | None = self.about.get("options", {}).get("drop")
        return dropped


def create(out: Path | None, data: str) -> Path:
    """Make the folder of a new run and return it; one that holds anything is refused.

    Raises
    ------
    ValueError
        If `out` is a file or not empty.
    """
    if out is None:
        name = f"{Path(data).stem or 'data'}-{time.strftime('%Y%m%d-%H%M%S')}"
        out = Path("runs", name)
        number = 2
        while out.exists():
            out, number = Path("runs", f"{name}-{number}"), number + 1
    elif out.exists() and (not out.is_dir() or any(file.name not in _UNFINISHED for file in out.iterdir())):
        fail(f"--out {out} is there already: choose another folder, or continue that run with --resume {out}")
    out.mkdir(parents=True, exist_ok=True)
    return out


def note_down(folder: Path, about: dict[str, Any]) -> None:
    """Write run.json, whole or not at all."""
    temporary = folder / f".{_ABOUT}"
    temporary.write_text(json.dumps(about, indent=2, allow_nan=True) + "\n", encoding="utf-8")
    temporary.replace(folder / _ABOUT)


def describe(folder: Path) -> dict[str, Any]:
    """Return what run.json tells, or nothing if there is none.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    file = folder / _ABOUT
    if not file.exists():
        return {}
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        Task(about["loss"], about["outputs"], about["data"]["classes"])
        if not isinstance(about["options"], dict) or "fingerprint" not in about["data"]:
            fail("options or fingerprint are missing")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        fail(f"{file} is damaged: {error!r:.120}")
    return about


def open_run(run: str | Path, backend: str | None) -> Run:
    """Open a run folder or a checkpoint.

    Raises
    ------
    ValueError
        If there is none, or it is damaged.
    """
    path = Path(run)
    if path.is_dir():
        path = path / CHECKPOINT
        if not path.exists():
            fail(f"{run} is no run folder: it holds no {CHECKPOINT}")
    elif not path.exists():
        fail(f"no such run: {str(run)!r} (a run folder or a checkpoint)")
    about = describe(path.parent) if path.name == CHECKPOINT else {}
    trainer = Trainer.load(path, backend=backend)
    trainer.use_best()
    return Run(path, trainer, _task(trainer, about), about)


def _task(trainer: Trainer, about: dict[str, Any]) -> Task:
    loss = Objective.of("loss", trainer.loss, losses)
    outputs = trainer.predict(np.zeros((1, *(trainer.in_shape or ())))).shape[1]
    if about:
        classes = about["data"]["classes"]
        if (about["loss"], about["outputs"]) != (loss.name, outputs) or (classes and len(classes) < outputs):
            fail(f"{_ABOUT} and {CHECKPOINT} are not of one run: their losses, outputs or classes differ")
        return Task(loss.name, outputs, None if classes is None else tuple(classes))
    if loss.targets in ("reals", "counts"):
        return Task(loss.name, outputs, None)
    return Task(loss.name, outputs, tuple(map(str, range(max(outputs, 2)))))


def discard(folder: Path) -> None:
    """Remove the folder of a run that never finished an epoch."""
    for name in _UNFINISHED:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # the working folder, or one with files of others, stays
        folder.rmdir()
