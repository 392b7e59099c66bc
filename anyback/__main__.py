"""``python -m anyback``, and what the command ``anyback`` runs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("typer", "rich", "matplotlib")


def main() -> None:
    """Run the command line, or say in one line what it lacks and exit with code 2."""
    if any(find_spec(name) is None for name in _NEEDED):
        print("the command line needs anyback[cli]: pip install 'anyback[cli]'", file=sys.stderr)
        raise SystemExit(2)
    from anyback.cli import app

    app(prog_name="anyback")


if __name__ == "__main__":
    main()
