"""The command line: ``anyback train``, ``evaluate``, ``predict``, ``backends``, ``gradcheck`` and ``parity``.

Commands are declared in `train` and `others` and do their work elsewhere, in modules that are imported when
they are needed: matplotlib and the array libraries take time.
"""

from __future__ import annotations

from anyback.cli import others, train  # noqa: F401 - importing them declares the commands
from anyback.cli.app import app

__all__ = ["app"]
