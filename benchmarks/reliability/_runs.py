"""Runs of ``anyback train`` in processes of their own, and the sum of what they end in."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyback.checkpoint.files import CheckpointError, read, versions
from benchmarks.turns import ROOT

CHECKPOINT = "checkpoint.safetensors"
# Of about two seconds, half of them training; the last of 31 batches an epoch is smaller.
OPTIONS = ("--hidden", "16", "--batch-size", "40", "--patience", "1000", "--backend", "numpy")

GO = [sys.executable, "-m", "anyback"]
GO_ON = f"import os, sys; os.execv(sys.executable, [*{GO}, *sys.argv[1:]])"


@dataclass
class Run:
    """One training run in a folder, that can be begun, killed and gone on with.

    Attributes
    ----------
    folder : Path
        Its run folder.
    epochs : int
        In all.
    options : tuple of str
        Further ones of the command line, of a run that begins.
    before : str
        Python code that its process runs first.
    """

    folder: Path
    epochs: int = 200
    options: tuple[str, ...] = OPTIONS
    before: str = ""

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def start(self) -> subprocess.Popen[str]:
        """Begin the run, or go on with it where it has a checkpoint."""
        where = ("--resume",) if self.checkpoint.exists() else (*self.options, "--out")
        command = ["train", "digits", "--epochs", self.epochs, *where, self.folder, "-q"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        python = [sys.executable, "-c", f"{self.before}\n{GO_ON}"] if self.before else GO
        return subprocess.Popen(
            [*python, *map(str, command)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, timeout: float = 300) -> tuple[int, str]:
        """Run to the end, and return exit status and standard error."""
        return ended(self.start(), timeout)

    def temporaries(self, of: str = "") -> list[str]:
        """Return the temporary files of what is being written, or never will be, or of one file alone."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name.startswith(f".{of}") and name.endswith(".tmp")]

    def epoch(self) -> int:
        """Return how many epochs its history has."""
        try:
            return (self.folder / "history.jsonl").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def unlike(self, whole: Run) -> str | None:
        """Go on to the end, and return what is not as in a run that was left alone; None if nothing."""
        code, err = self.finish()
        if code or "which is older" in err:  # an older file, for a damaged one
            return f"going on exits with {code}: {err.strip()}"
        if digest(self.checkpoint) != digest(whole.checkpoint):
            return "other weights, slots or history"
        if (self.folder / "history.csv").read_bytes() != (whole.folder / "history.csv").read_bytes():
            return "another history.csv"
        left = {file.name for file in self.folder.iterdir()} - {file.name for file in whole.folder.iterdir()}
        return f"files are left: {', '.join(sorted(left))}" if left else None

    def position(self) -> tuple[int, int]:
        """Return epoch and batch of its newest checkpoint, which must be intact, as those kept before it.

        Raises
        ------
        CheckpointError
            If one is not.
        """
        found = [read(file)[1]["position"] for file in versions(self.checkpoint)]
        return (found[0][0], found[0][1]) if self.checkpoint.exists() else (0, 0)

    def lost(self) -> str | None:
        """Return what a stop at whatever moment has lost; None if nothing."""
        try:
            epoch, _ = self.position()
        except CheckpointError as error:
            return str(error)
        # The history is written first, and then the checkpoint.
        missing = self.epoch() - 1 - epoch
        return f"{missing} finished epochs are not in the checkpoint" if missing > 0 else None


def left_alone(run: Run) -> Run:
    """Return a run that has gone to its end undisturbed, which others are compared with."""
    code, err = run.finish()
    if code:
        raise RuntimeError(f"the run that is left alone failed: {err.strip()}")
    return run


def ended(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str]:
    """Return exit status and standard error of a process; one that does not end is killed."""
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1, f"did not end within {timeout:g} s"
    return process.returncode, err


def wait_for(true: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 60) -> bool:
    """Look until something is true, and return whether it became so while a process ran."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        if process.poll() is not None:
            return False
    return False


def digest(checkpoint: Path) -> str:
    """Return the SHA-256 over a checkpoint's weights, slots, best weights, position and history."""
    arrays, described = read(checkpoint)
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        found.update(arrays[name].tobytes())
    kept = ("history", "position", "lr_factor", "showing_best", "callbacks")
    found.update(json.dumps({name: described[name] for name in kept}, sort_keys=True).encode())
    return found.hexdigest()
