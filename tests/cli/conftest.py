"""The command line in this process, small data files, and runs that several tests read."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.cli.command_line import BACKEND, command, write


@pytest.fixture(autouse=True)
def on_one_backend(monkeypatch):
    monkeypatch.setenv("ANYBACK_BACKEND", BACKEND)


@pytest.fixture
def call(capsys):
    """Run a command line in this process: (exit code, standard output, standard error)."""
    from anyback.cli import app

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app([str(arg) for arg in args], prog_name="anyback")
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture
def refused(call):
    """Run a command line that must fail with one line, and return the line."""

    def run(*args):
        code, out, err = call(*args)
        assert code == 2, (out, err)
        assert out == ""
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Small files of every kind."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (rng.normal(size=(90, 3)) + 3.0 * np.eye(3)[y]).round(4)
    t = (x @ [1.0, -1.0, 0.5]).round(4)
    names = ["ant", "bee", "cat"]
    write(folder / "species.csv", "a,b,c,species", [[*row, names[i]] for row, i in zip(x, y, strict=True)])
    write(folder / "two.csv", "ok,a,b,c", [["yes" if i else "no", *row] for row, i in zip(x, y, strict=True)])
    write(folder / "price.csv", "a,b,c,price", [[*row, v] for row, v in zip(x, t, strict=True)])
    write(
        folder / "share.csv",
        "a,b,c,share",
        [[*row, v] for row, v in zip(x, 1 / (1 + np.exp(-t)), strict=True)],
    )
    np.save(folder / "counts.npy", np.column_stack([x, rng.poisson(np.exp(0.3 * x[:, 0]))]))
    np.savez(folder / "multi.npz", x=x, y=np.stack([t, t * t], axis=1))
    np.savez(
        folder / "pictures.npz", x=rng.integers(0, 255, (60, 4, 4)).astype(np.uint8), y=np.arange(60) % 2
    )
    return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """What `anyback train digits` leaves: (process, folder it ran in, seconds)."""
    folder = tmp_path_factory.mktemp("work")
    start = time.perf_counter()
    done = command("train", "digits", cwd=folder)
    return done, folder, time.perf_counter() - start


@pytest.fixture(scope="session")
def species_run(folder, tmp_path_factory):
    """A run of few epochs on species.csv."""
    from anyback.cli import app

    out = tmp_path_factory.mktemp("runs") / "species"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setenv("ANYBACK_BACKEND", BACKEND)
        app(
            [
                "train",
                str(folder / "species.csv"),
                "--epochs",
                "40",
                "--lr",
                "0.01",
                "--quiet",
                "--out",
                str(out),
            ]
        )
    assert end.value.code == 0
    return out
