"""Runs of ``anyback train`` in separate processes, and the checksum of their results."""

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
# A run takes about two seconds, half of them training; the last of 31 batches per epoch is smaller.
OPTIONS = ("--hidden", "16", "--batch-size", "40", "--patience", "1000", "--backend", "numpy")

GO = [sys.executable, "-m", "anyback"]
GO_ON = f"import os, sys; os.execv(sys.executable, [*{GO}, *sys.argv[1:]])"


@dataclass
class Run:
    """One training run in a folder that can be started, killed and resumed.

    Attributes
    ----------
    folder : Path
        Its run folder.
    epochs : int
        Total number.
    options : tuple of str
        Further command-line options of a new run.
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
        """Start the run, or resume it if it has a checkpoint."""
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
        """Return temporary files, unfinished or left over: all of them, or those of one file."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name.startswith(f".{of}") and name.endswith(".tmp")]

    def epoch(self) -> int:
        """Return the number of epochs in its history."""
        try:
            return (self.folder / "history.jsonl").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def unlike(self, whole: Run) -> str | None:
        """Finish the run, and return how it differs from an uninterrupted one; None if it does not."""
        code, err = self.finish()
        if code or "which is older" in err:  # an older file, for a damaged one
            return f"resuming exits with {code}: {err.strip()}"
        if digest(self.checkpoint) != digest(whole.checkpoint):
            return "other weights, slots or history"
        if (self.folder / "history.csv").read_bytes() != (whole.folder / "history.csv").read_bytes():
            return "another history.csv"
        left = {file.name for file in self.folder.iterdir()} - {file.name for file in whole.folder.iterdir()}
        return f"files are left: {', '.join(sorted(left))}" if left else None

    def position(self) -> tuple[int, int]:
        """Return epoch and batch of its newest checkpoint; it and those kept before must be intact.

        Raises
        ------
        CheckpointError
            If one is not intact.
        """
        found = [read(file)[1]["position"] for file in versions(self.checkpoint)]
        return (found[0][0], found[0][1]) if self.checkpoint.exists() else (0, 0)

    def lost(self) -> str | None:
        """Return what a stop at any moment has lost; None if nothing."""
        try:
            epoch, _ = self.position()
        except CheckpointError as error:
            return str(error)
        # The history is written first, and then the checkpoint.
        missing = self.epoch() - 1 - epoch
        return f"{missing} finished epochs are not in the checkpoint" if missing > 0 else None


def left_alone(run: Run) -> Run:
    """Return an uninterrupted run, with which others are compared."""
    code, err = run.finish()
    if code:
        raise RuntimeError(f"the uninterrupted run failed: {err.strip()}")
    return run


def ended(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str]:
    """Return exit status and standard error of a process, killing it if it does not end."""
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1, f"did not end within {timeout:g} s"
    return process.returncode, err


def wait_for(true: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 60) -> bool:
    """Poll until a condition is true; return whether it became true while a process ran."""
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
