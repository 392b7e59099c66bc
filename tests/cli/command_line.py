"""Running the command line in a process of its own, and reading what it leaves behind."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from anyback.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
FAST = ("--epochs", "3", "--hidden", "8")
# Whatever there is on this machine, unless somebody asks for more: `python -m benchmarks.gpu` does.
BACKEND = os.environ.get("ANYBACK_BACKEND", "numpy")


def write(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


def command(*args, cwd=ROOT, code="from anyback.__main__ import main; main()", **options):
    """Run a command line in a process of its own."""
    environment = os.environ | {"ANYBACK_BACKEND": BACKEND, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def weights(run):
    return Trainer.load(run / "checkpoint.safetensors", backend="numpy").parameters()


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))
