"""Training digits by the command line in this process."""

from __future__ import annotations

import pytest


@pytest.fixture
def on_one_backend(monkeypatch):
    monkeypatch.setenv("ANYBACK_BACKEND", "numpy")
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)


@pytest.fixture
def call(capsys):
    """Train digits by the command line in this process: (exit code, standard error)."""
    from anyback.cli import app

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app(["train", "digits", "-q", *map(str, args)], prog_name="anyback")
        return end.value.code, capsys.readouterr().err

    return run
