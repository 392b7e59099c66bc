"""A disk that is full, read-only or gone: a nonzero exit status, one line, the checkpoint as it was.

When the disk works again the run resumes, and ends bit-identical to an uninterrupted one. The full and the
read-only disk are small ones in memory, if this user may mount them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyback.checkpoint.files import read
from benchmarks.reliability import Settings, outcome
from benchmarks.reliability._runs import Run, ended, left_alone, wait_for

BEGUN = 5  # epochs before the fault
SIZE = 1 << 20
# Drops root's right to ignore permissions: PR_CAPBSET_DROP, CAP_DAC_OVERRIDE.
BOUND = "import ctypes; assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0"


class Absent(Exception):
    """Not possible on this machine or for this user."""


def run(settings: Settings) -> list[dict[str, Any]]:
    whole = left_alone(Run(settings.folder / "whole"))
    rows = []
    for name, broken in WAYS.items():
        folder = settings.folder / broken.__name__
        folder.mkdir()
        try:
            problem = broken(folder, whole)
        except Absent as why:
            rows.append(outcome(name, 0, 0, skipped=str(why)))
        else:
            rows.append(
                outcome(name, not problem, bool(problem), **({"problem": problem} if problem else {}))
            )
        settings.say(f"{name}: {rows[-1]['details'] or 'survived'}")
    return rows


def limited(folder: Path, whole: Run) -> str | None:
    """Limit files to half the size of a checkpoint."""
    if sys.platform == "win32":
        raise Absent("Windows has no RLIMIT_FSIZE")
    trial = _begun(folder)
    size = trial.checkpoint.stat().st_size // 2
    limit = f"from resource import *; setrlimit(RLIMIT_FSIZE, ({size}, {size}))"
    return _refused(trial, replace(trial, before=limit).start()) or trial.unlike(whole)


def full(folder: Path, whole: Run) -> str | None:
    """The disk is too full for a checkpoint when the run resumes."""
    with _mounted(folder):
        trial = _begun(folder)
        ballast = _fill(folder, left=16384)  # enough for its history, not for a checkpoint
        problem = _refused(trial, trial.start())
        ballast.unlink()
        return problem or trial.unlike(whole)


def filling(folder: Path, whole: Run) -> str | None:
    """The disk fills up while the run trains."""
    with _mounted(folder):
        trial = _begun(folder)
        process = trial.start()
        wait_for(lambda: trial.epoch() > BEGUN, process)
        ballast = _fill(folder)
        problem = _refused(trial, process, same=False)
        ballast.unlink()
        return problem or trial.unlike(whole)


def read_only(folder: Path, whole: Run) -> str | None:
    """The folder cannot be written to, not even by root."""
    with _mounted(folder):
        trial = _begun(folder)
        _system("mount", "-o", "remount,ro", folder)
        problem = _refused(trial, trial.start())
        _system("mount", "-o", "remount,rw", folder)
        return problem or trial.unlike(whole)


def forbidden(folder: Path, whole: Run) -> str | None:
    """The folder's permissions forbid writing."""
    bound, trial = _bound(), _begun(folder)
    trial.folder.chmod(0o555)
    try:
        problem = _refused(trial, replace(trial, before=bound).start())
    finally:
        trial.folder.chmod(0o755)
    return problem or trial.unlike(whole)


def forbidding(folder: Path, whole: Run) -> str | None:
    """The folder's permissions are changed while the run trains."""
    bound, trial = _bound(), _begun(folder)
    process = replace(trial, before=bound).start()
    wait_for(lambda: trial.epoch() > BEGUN, process)
    trial.folder.chmod(0o555)
    try:
        problem = _refused(trial, process, same=False)
    finally:
        trial.folder.chmod(0o755)
    return problem or trial.unlike(whole)


def vanishing(folder: Path, whole: Run) -> str | None:
    """The folder is moved away while the run trains."""
    trial = _begun(folder)
    process, away = trial.start(), replace(trial, folder=folder / "away")
    wait_for(lambda: trial.epoch() > BEGUN, process)
    trial.folder.rename(away.folder)
    return _refused(away, process, same=False) or away.unlike(whole)


WAYS = {
    "size of files limited": limited,
    "disk full at the start": full,
    "disk fills up in training": filling,
    "disk read-only": read_only,
    "folder's permissions": forbidden,
    "permissions removed in training": forbidding,
    "folder vanishes in training": vanishing,
}


def _bound() -> str:
    """Return code after which permissions apply to the process, even for root."""
    if sys.platform == "win32":
        raise Absent("Windows has other permissions")
    if os.geteuid() != 0:
        return ""
    if subprocess.run([sys.executable, "-c", BOUND], capture_output=True).returncode:
        raise Absent("permissions do not bind root")
    return BOUND


def _begun(folder: Path) -> Run:
    """Return a run that has finished its first epochs, equal to those of another run."""
    trial = Run(folder / "trial", epochs=BEGUN)
    code, err = trial.finish()
    if code:
        raise RuntimeError(f"the first epochs failed: {err.strip()}")
    return replace(trial, epochs=Run.epochs)


def _refused(trial: Run, process: subprocess.Popen[str], same: bool = True) -> str | None:
    """Return what is wrong with the end of a run on a broken disk; `same` if it cannot have written to it."""
    before = trial.checkpoint.read_bytes()
    code, err = ended(process)
    if code <= 0:
        return f"exits with {code}: {err.strip()}"
    if err.count("\n") != 1 or not err.startswith("error: ") or "Traceback" in err:
        return f"more than a line: {err.strip()}"
    if same and trial.checkpoint.read_bytes() != before:
        return "the checkpoint is another"
    read(trial.checkpoint)  # raises if it is damaged
    return None


def _fill(folder: Path, left: int = 0) -> Path:
    """Fill a small disk with a file, and return it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - left)
    return ballast


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    """Mount a disk in memory of `SIZE` bytes, or raise `Absent`."""
    if not sys.platform.startswith("linux"):
        raise Absent("tmpfs is of Linux")
    _system("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder)
    try:
        yield
    finally:
        for _ in range(50):
            if not subprocess.run(["umount", folder], capture_output=True).returncode:
                break
            time.sleep(0.1)


def _system(*command: str | Path) -> None:
    if shutil.which(command[0]) is None:
        raise Absent(f"there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Absent(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{command[0]} failed")
