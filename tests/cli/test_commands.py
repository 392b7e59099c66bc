"""The other commands, help texts, exits, and missing libraries."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import anyback as ab
from anyback import losses, optimizers
from tests.cli.command_line import FAST, command, weights
from tests.conftest import require

Abort = require("typer").Abort
from anyback.cli import (  # noqa: E402
    app,
    commands,
)


def test_backends_lists_every_library(call):
    code, out, _ = call("backends")
    assert code == 0 and f"numpy              yes     {np.__version__}" in out
    assert all(name in out for name in ("cupy", "torch", "jax", "array_api_strict", "auto selects"))


def test_gradcheck_covers_every_formula(call):
    code, out, err = call("gradcheck")
    assert code == 0, out + err
    names = [name for module in (ab.activations, ab.losses, ab.gates) for name in module.__all__]
    assert all(f".{name} " in out for name in names)
    count = len(commands.gradcheck.formulas())
    assert f"{count} of {count} gradients agree" in out


def test_gradcheck_finds_a_wrong_gradient(call, monkeypatch):
    def relu(x):
        return x * (x > 0), lambda dy: dy * (x > 0) * 1.001

    monkeypatch.setattr(ab.activations, "relu", relu)
    code, out, _ = call("gradcheck", "tanh", "relu")
    assert code == 1 and "1 of 2" in out and "wrong" in out and "central difference" in out


def test_version_and_help(call):
    assert call("--version") == (0, f"anyback {ab.__version__}\n", "")
    assert call("--help")[:1] == call()[:1] == (0,)
    for name in ("train", "evaluate", "predict", "backends", "gradcheck", "parity"):
        assert name in call("--help")[1]
        code, out, _ = call(name, "--help")
        assert code == 0 and "Usage" in out
    text = " ".join(call("train", "--help")[1].replace("│", " ").split())
    for choice in (*losses.__all__, *optimizers.__all__, "relu", "accuracy", "[default: 128,64]", "Examples"):
        assert choice in text
    assert "numpy, cupy" in text and "[default: 0.15]" in text


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_same_training_on_another_backend(call, folder, tmp_path, library, monkeypatch):
    require(library)
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)
    found = []
    for name in ("numpy", library):
        options = (*FAST, "--dtype", "float64", "--backend", name, "-q", "--out", tmp_path / name)
        code, _, err = call("train", folder / "species.csv", *options)
        assert code == 0, err
        found.append(weights(tmp_path / name))
    for name, w in found[0].items():
        np.testing.assert_allclose(found[1][name], w, rtol=0, atol=1e-10)
    code, out, err = call("evaluate", tmp_path / "numpy", folder / "species.csv", "--backend", library)
    assert code == 0 and "held out" in out, err


def test_help_needs_no_docstrings():
    code = "from anyback.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-OO", "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_stops_a_command(call, monkeypatch):
    def stopped(error):
        def backends():
            raise error

        monkeypatch.setattr("anyback.cli.commands.backends.available_backends", backends)
        return call("backends")

    assert stopped(KeyboardInterrupt()) == (130, "", "error: interrupted\n")
    assert stopped(Abort()) == (130, "", "error: interrupted\n")
    with pytest.raises(RuntimeError, match="ours"):  # no mistake of the user's
        stopped(RuntimeError("ours"))


def test_a_command_may_return_to_its_caller(capsys):
    assert app(["backends"], prog_name="anyback", standalone_mode=False) is None
    assert "numpy" in capsys.readouterr().out


def test_ctrl_c_amid_the_imports_is_one_line():
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'anyback.cli':\n"
        "            raise KeyboardInterrupt\n"
        "from anyback.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "main()"
    )
    done = command("backends", code=code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_a_backend_that_is_not_installed_is_named(folder, tmp_path):
    code = "import sys; sys.modules['jax'] = None; from anyback.__main__ import main; main()"
    done = command("train", folder / "species.csv", "--backend", "jax", cwd=tmp_path, code=code)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "jax" in done.stderr and "anyback[jax]" in done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "matplotlib"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from anyback.__main__ import main; main()"
    done = command("train", "digits", code=code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the command line needs anyback[cli]: pip install 'anyback[cli]'\n"


def test_pictures_without_matplotlib_say_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\nfrom anyback.plots import curves\n"
        "try:\n    curves([{'epoch': 1, 'loss': 1.0}])\nexcept ImportError as error:\n    print(error)"
    )
    assert command(code=code).stdout == "plots need matplotlib: pip install 'anyback[cli]'\n"


def test_help_does_not_load_what_it_does_not_need():
    code = (
        "import sys\nfrom anyback.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    print([name for name in ('matplotlib', 'torch', 'jax', 'cupy') if name in sys.modules])"
    )
    done = command("--help", code=code)
    assert done.stdout.endswith("[]\n")
