"""The command line: ``anyback train``, ``evaluate``, ``predict``, ``backends``, ``gradcheck`` and ``parity``.

A command is declared in `commands`, its options in `options`. Modules that are slow to import (matplotlib,
array libraries, file readers) are imported when a command runs, so that ``--help`` is fast.
"""

from __future__ import annotations

from anyback.cli import commands  # noqa: F401 - importing the commands registers them
from anyback.cli.app import app

__all__ = ["app"]
