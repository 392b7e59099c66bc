"""The run folder: its files, its lock, and how a run is opened."""

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
from anyback.checkpoint.files import remove_stale, replace, versions
from anyback.checkpoint.locks import lock
from anyback.cli.app import note
from anyback.cli.options import Options
from anyback.cli.task import Task
from anyback.criterion import resolve
from anyback.training.trainer import Trainer

__all__ = [
    "CHECKPOINT",
    "Run",
    "create",
    "has_checkpoint",
    "locked",
    "new_run_dir",
    "open_run",
    "read_run_json",
    "remove_unfinished",
    "rename_damaged",
    "write_run_json",
]

CHECKPOINT, _RUN_JSON, _LOCK = "checkpoint.safetensors", "run.json", ".lock"
# The newest checkpoint and the older ones.
_CHECKPOINTS = "checkpoint*.safetensors"
# Files of a run that was killed before its first checkpoint.
_UNFINISHED = (_RUN_JSON, _LOCK, "history.csv", "history.jsonl")


@dataclass(frozen=True)
class Run:
    """A trained model and the content of its run folder.

    Attributes
    ----------
    path : Path
        The checkpoint.
    trainer : Trainer
        With the best weights, if the checkpoint has them.
    task : Task
        Loss, outputs and classes.
    metadata : dict
        The content of run.json; empty for a checkpoint outside a run folder.
    """

    path: Path
    trainer: Trainer
    task: Task
    metadata: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """Metadata of the training data."""
        data: dict[str, Any] = self.metadata.get("data", {})
        return data

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the input columns, or None."""
        return tuple(self.data["features"]) if self.data.get("features") else None

    @property
    def width(self) -> int:
        """Number of inputs."""
        return prod(self.trainer.in_shape or ())

    @property
    def drop(self) -> str | None:
        """The value of --drop in training."""
        drop: str | None = self.metadata.get("options", {}).get("drop")
        return drop


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Lock a run folder against other processes, and remove temporary files of killed runs.

    Raises
    ------
    ValueError
        If another run holds the lock.
    """
    path = run_dir / _LOCK
    with path.open("ab+", buffering=0) as file:
        try:
            acquired = lock(file.fileno())
        except OSError:
            acquired = True
            note(f"note: {run_dir} is on a file system without locks: a second run could overwrite it")
        if not acquired:
            file.seek(0)
            owner = file.read().decode(errors="replace").strip() or "another run"
            raise ValueError(f"{run_dir} is in use by {owner}: wait, or choose another folder")
        # The previous owner may have removed the file after it was opened here and before it was locked.
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise ValueError(f"{run_dir} was in use by another run until now: try again")
        with suppress(OSError):  # a full disk does not stop the run here
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        try:
            remove_stale(run_dir)
            yield
        finally:
            if os.name == "nt":  # an open file cannot be removed there; elsewhere the lock is held until then
                file.close()
            with suppress(OSError):  # the folder may be gone or read-only
                path.unlink()


@contextmanager
def create(out: Path | None, data: str) -> Iterator[Path]:
    """Create and lock the folder of a new run.

    Raises
    ------
    ValueError
        If `out` is a file, is not empty, or is in use by another run.
    """
    out = out or new_run_dir(Path(data).stem or "data")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: choose a folder")
    created = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out):
            if has_checkpoint(out):
                raise ValueError(
                    f"--out {out} holds a run: choose another folder, or resume that run with --resume {out}"
                )
            if any(file.name not in _UNFINISHED for file in out.iterdir()):
                raise ValueError(f"--out {out} holds other files: choose another folder")
            yield out
    finally:
        if created:
            with suppress(OSError):  # a folder with files stays
                out.rmdir()


def new_run_dir(name: str) -> Path:
    """Return the path runs/NAME-TIME, with a number appended if it exists."""
    name = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = Path("runs", name), 2
    while path.exists():
        path, number = Path("runs", f"{name}-{number}"), number + 1
    return path


def has_checkpoint(run_dir: Path) -> bool:
    """Return whether a run folder holds a checkpoint, the newest or an older one."""
    return bool(versions(run_dir / CHECKPOINT))


def write_run_json(run_dir: Path, metadata: dict[str, Any]) -> None:
    """Write run.json atomically."""
    replace(run_dir / _RUN_JSON, (json.dumps(metadata, indent=2, allow_nan=True) + "\n").encode())


def read_run_json(run_dir: Path) -> dict[str, Any]:
    """Return the content of run.json, or an empty dict if the file is missing.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    file = run_dir / _RUN_JSON
    if not file.exists():
        return {}
    try:
        metadata: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        Task(metadata["loss"], metadata["outputs"], metadata["data"]["classes"])
        if not {"fingerprint", "path"} <= metadata["data"].keys():
            raise ValueError("the fingerprint or path of the data is missing")
        if not isinstance(metadata.get("backend", {}).get("name", ""), str):
            raise ValueError("the name of the backend is not a string")
        Options.check_stored(metadata["options"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error!r:.120}") from None
    return metadata


def open_run(run: str | Path, backend: str | None, *, same_backend: bool = False) -> Run:
    """Open a checkpoint, or the newest intact checkpoint of a run folder.

    The default backend is the usual one, or with `same_backend` the one of the run.

    Raises
    ------
    ValueError
        If there is no checkpoint, or it is damaged.
    """
    path = Path(run)
    if path.is_dir():
        if not has_checkpoint(path):
            raise ValueError(f"{run} is not a run folder: it holds no {CHECKPOINT}")
        path = Path(newest(path / CHECKPOINT))
        if path.name != CHECKPOINT:
            note(f"note: {CHECKPOINT} of {run} is damaged or missing: using {path.name}, which is older")
    elif not path.exists():
        raise ValueError(f"no such run: {str(run)!r} (a run folder or a checkpoint)")
    metadata = read_run_json(path.parent) if path.match(_CHECKPOINTS) else {}
    previous: dict[str, Any] = metadata.get("backend", {})
    trainer = Trainer.load(path, backend=backend or (previous.get("name") if same_backend else None))
    trainer.use_best()
    return Run(path, trainer, _task(trainer, metadata), metadata)


def _task(trainer: Trainer, metadata: dict[str, Any]) -> Task:
    loss = resolve(losses.Loss, trainer.loss, losses)
    outputs = trainer.predict(np.zeros((1, *(trainer.in_shape or ())))).shape[1]
    if metadata:
        classes = metadata["data"]["classes"]
        seed = metadata["options"].get("seed", trainer.seed)
        pairs = {
            "loss": (metadata["loss"], loss.name),
            "outputs": (metadata["outputs"], outputs),
            "parameters": (metadata.get("parameters"), trainer.layout.size),
            "optimizer": (metadata.get("optimizer"), type(trainer.optimizer).__name__),
            "seed": (seed, trainer.seed),
            "classes": (not classes or len(classes) >= outputs, True),
        }
        different = [name for name, (stored, actual) in pairs.items() if stored != actual]
        if different:
            raise ValueError(
                f"{_RUN_JSON} and {CHECKPOINT} are of different runs: they differ in {', '.join(different)}"
            )
        return Task(loss.name, outputs, None if classes is None else tuple(classes))
    if loss.targets in ("reals", "counts"):
        return Task(loss.name, outputs, None)
    return Task(loss.name, outputs, tuple(map(str, range(max(outputs, 2)))))


def rename_damaged(run: Run) -> None:
    """Rename a damaged newest checkpoint, so that the next one does not rotate out the intact one in use."""
    damaged = run.path.with_name(CHECKPOINT)
    if run.path != damaged and os.access(damaged, os.R_OK):  # an unreadable file may be intact
        os.replace(damaged, damaged.with_name(f"{CHECKPOINT}.damaged"))


def remove_unfinished(run_dir: Path) -> None:
    """Remove the files of a run that has no checkpoint."""
    for name in _UNFINISHED:
        if name != _LOCK:
            (run_dir / name).unlink(missing_ok=True)
