"""The run folder: what is where in it, and how a run is opened again."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from anyback import losses
from anyback.checkpoint import newest
from anyback.checkpoint.files import replace, sweep, versions
from anyback.checkpoint.locks import lock
from anyback.cli.app import fail, note
from anyback.cli.options import Options
from anyback.cli.task import Task
from anyback.criterion import resolve
from anyback.training.trainer import Trainer

__all__ = [
    "CHECKPOINT",
    "Run",
    "claimed",
    "create",
    "describe",
    "discard",
    "fresh",
    "kept",
    "note_down",
    "open_run",
    "set_aside",
]

CHECKPOINT, _ABOUT, _LOCK = "checkpoint.safetensors", "run.json", ".lock"
# It and those that were kept before it.
_CHECKPOINTS = "checkpoint*.safetensors"
# What a run that never finished an epoch may leave.
_UNFINISHED = (_ABOUT, _LOCK, "history.csv", "history.jsonl")


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


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder until this one ends, however it does; sweep what a killed one left.

    Raises
    ------
    ValueError
        If another run works in it.
    """
    path = folder / _LOCK
    with path.open("ab+", buffering=0) as file:
        try:
            free = lock(file.fileno())
        except OSError:
            free = True
            note(f"note: {folder} is on a file system without locks: nothing keeps a second run out of it")
        if not free:
            file.seek(0)
            who = file.read().decode(errors="replace").strip() or "another run"
            fail(f"{folder} is in use by {who}: wait, or choose another folder")
        # Its last user may have removed the file between its opening and its locking.
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            fail(f"{folder} was in use by another run until now: try again")
        with suppress(OSError):  # a full disk is no reason yet
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        try:
            sweep(folder)
            yield
        finally:
            if os.name == "nt":  # where an open file cannot be removed; elsewhere its lock still holds
                file.close()
            with suppress(OSError):  # the folder may be gone or read-only
                path.unlink()


@contextmanager
def create(out: Path | None, data: str) -> Iterator[Path]:
    """Make the folder of a new run and keep others out of it; one that holds anything is refused.

    Raises
    ------
    ValueError
        If `out` is a file, not empty, or in use by another run.
    """
    out = out or fresh(Path(data).stem or "data")
    there = f"--out {out} is there already: choose another folder, or continue that run with --resume {out}"
    if out.exists() and not out.is_dir():
        fail(f"--out {out} is a file: choose a folder")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with claimed(out):
            if any(file.name not in _UNFINISHED for file in out.iterdir()):
                fail(there if kept(out) else f"--out {out} holds other files: choose another folder")
            yield out
    finally:
        if made:
            with suppress(OSError):  # one with files stays
                out.rmdir()


def fresh(name: str) -> Path:
    """Return a folder for a run of that name that is not there yet."""
    name = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = Path("runs", name), 2
    while folder.exists():
        folder, number = Path("runs", f"{name}-{number}"), number + 1
    return folder


def kept(folder: Path) -> bool:
    """Whether a run folder holds a checkpoint, the newest or one of before."""
    return bool(versions(folder / CHECKPOINT))


def note_down(folder: Path, about: dict[str, Any]) -> None:
    """Write run.json, whole or not at all."""
    replace(folder / _ABOUT, (json.dumps(about, indent=2, allow_nan=True) + "\n").encode())


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
        if not {"fingerprint", "path"} <= about["data"].keys():
            fail("the data's fingerprint or path is missing")
        if not isinstance(about.get("backend", {}).get("name", ""), str):
            fail("the backend is none")
        Options.check(about["options"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        fail(f"{file} is damaged: {error!r:.120}")
    return about


def open_run(run: str | Path, backend: str | None, *, same: bool = False) -> Run:
    """Open a run folder, whose newest checkpoint that is intact counts, or a checkpoint.

    Where no backend is named it is the usual one, or the `same` as before.

    Raises
    ------
    ValueError
        If there is none, or it is damaged.
    """
    path = Path(run)
    if path.is_dir():
        if not kept(path):
            fail(f"{run} is no run folder: it holds no {CHECKPOINT}")
        path = Path(newest(path / CHECKPOINT))
        if path.name != CHECKPOINT:
            note(f"note: {CHECKPOINT} of {run} is damaged or missing: {path.name}, of before it, is taken")
    elif not path.exists():
        fail(f"no such run: {str(run)!r} (a run folder or a checkpoint)")
    about = describe(path.parent) if path.match(_CHECKPOINTS) else {}
    before: dict[str, Any] = about.get("backend", {})
    trainer = Trainer.load(path, backend=backend or (before.get("name") if same else None))
    trainer.use_best()
    return Run(path, trainer, _task(trainer, about), about)


def _task(trainer: Trainer, about: dict[str, Any]) -> Task:
    loss = resolve(losses.Loss, trainer.loss, losses)
    outputs = trainer.predict(np.zeros((1, *(trainer.in_shape or ())))).shape[1]
    if about:
        classes = about["data"]["classes"]
        seed = about["options"].get("seed", trainer.seed)
        pairs = {
            "loss": (about["loss"], loss.name),
            "outputs": (about["outputs"], outputs),
            "parameters": (about.get("parameters"), trainer.layout.size),
            "optimizer": (about.get("optimizer"), type(trainer.optimizer).__name__),
            "seed": (seed, trainer.seed),
            "classes": (not classes or len(classes) >= outputs, True),
        }
        other = [name for name, (told, held) in pairs.items() if told != held]
        if other:
            fail(f"{_ABOUT} and {CHECKPOINT} are not of one run: they differ in {', '.join(other)}")
        return Task(loss.name, outputs, None if classes is None else tuple(classes))
    if loss.targets in ("reals", "counts"):
        return Task(loss.name, outputs, None)
    return Task(loss.name, outputs, tuple(map(str, range(max(outputs, 2)))))


def set_aside(run: Run) -> None:
    """Rename a damaged checkpoint that an older one is taken for: no new one is to push that out."""
    damaged = run.path.with_name(CHECKPOINT)
    if run.path != damaged and os.access(damaged, os.R_OK):  # what cannot be read may be whole
        os.replace(damaged, damaged.with_name(f"{CHECKPOINT}.damaged"))


def discard(folder: Path) -> None:
    """Remove what a run left that has no checkpoint."""
    for name in _UNFINISHED:
        if name != _LOCK:
            (folder / name).unlink(missing_ok=True)
