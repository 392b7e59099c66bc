"""``python -m anyback``, which is also the command ``anyback``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("typer", "rich", "matplotlib")


def main() -> None:
    """Run the command line, or print one line and exit with code 2 if its dependencies are missing."""
    if any(find_spec(name) is None for name in _NEEDED):
        print("the command line needs anyback[cli]: pip install 'anyback[cli]'", file=sys.stderr)
        raise SystemExit(2)
    # A stream that the shell has closed is None, and printing to it would raise.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        from anyback.cli import app

        app(prog_name="anyback")
    except KeyboardInterrupt:  # during the imports
        print("error: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
