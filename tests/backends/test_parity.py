"""Backends agree operation by operation, and an error that is planted in one is found where it is."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import anyback as ab
from anyback import losses, parity
from anyback.losses import loss
from anyback.parity import Difference, Parity, _difference, _Replica, _rows, _Value
from tests.conftest import require, require_backend

rng = np.random.default_rng(5)
Y = np.arange(40) % 3
X = rng.normal(size=(40, 4)) + 2.0 * np.eye(3, 4)[Y]
OTHERS = ["torch", "jax", "array_api_strict", "array_api_strict:device1", "cupy", "torch:cuda"]
DEEP = ab.Sequential(
    [
        ab.Dense(6, bias=False),
        ab.BatchNorm(),
        ab.Activation("gelu"),
        ab.Dropout(0.25),
        ab.Residual([ab.Dense(6), ab.LayerNorm(), ab.Activation("tanh")]),
        ab.Dense(3),
    ]
)


def compared(backend, model=None, **options):
    require_backend(backend)
    arguments = {"loss": "softmax_cross_entropy", "steps": 2, "batch_size": 16} | options
    model = model or ab.MLP([6], 3, activation="tanh")
    return parity(model, X, Y, backends=["numpy", backend], **arguments)


def off(f, when=lambda *arguments, **options: True):
    """Return `f` with a relative error of 1e-3, at some calls only where `when` says so."""

    def bent(*arguments, **options):
        result = f(*arguments, **options)
        return result * 1.001 if when(*arguments, **options) else result

    return bent


def factor(x, backend):
    """Return 1.001 for arrays of one library, 1 for those of any other."""
    return 1.001 if type(x).__module__.startswith(backend) else 1.0


# --- agreement ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "dtype"), [(DEEP, "float64"), (None, "float32")], ids=["double", "single"])
@pytest.mark.parametrize("backend", OTHERS)
def test_backends_agree_in_every_operation(backend, model, dtype):
    report = compared(backend, model, dtype=dtype)
    assert report.first is None, str(report)
    assert len(report.drift) == 2 and f"{backend} agrees in every operation" in str(report)
    assert max(d.ulp for d in report.drift) < 1e6


def test_what_is_seen_is_named_in_the_order_of_training():
    report = compared("numpy", DEEP, optimizer=ab.SGD(momentum=0.9), steps=1)
    names = [d.operation for d in report.differences]
    forward = ["batch inputs", "layer 0 (Dense) forward", "layer 1 (BatchNorm) forward"]
    assert names[:3] == forward and names[3] == "statistics of 1.running_mean"
    expected = [
        *("layer 3 (Dropout) forward", "layer 4.inner.0 (Dense) forward", "layer 4 (Residual) forward"),
        *("batch targets", "loss softmax_cross_entropy", "loss softmax_cross_entropy backward"),
        *("layer 5 (Dense) backward", "gradient of 5.weight", "layer 4.inner.2 (Activation tanh) backward"),
        *("gradient of 4.inner.0.bias", "layer 4 (Residual) backward", "layer 1 (BatchNorm) backward"),
        *("gradient of 0.weight", "flat gradient", "SGD slot v of 0.weight", "SGD update of 5.bias"),
    ]
    assert [name for name in names if name in expected] == expected
    assert "layer 0 (Dense) backward" not in names  # nobody needs it
    assert len(set(names)) == len(names)
    assert all(d.ulp == d.relative == 0.0 for d in (*report.differences, *report.drift))


def test_the_steps_are_those_of_a_fit():
    """With dropout, decay, a smaller last batch and a second epoch."""
    trainer = ab.Trainer(DEEP, "softmax_cross_entropy", "AdamW", backend="numpy", dtype="float64", seed=3)
    trainer.build(4)
    replica = _Replica.of(trainer, X, Y)
    w, stats = trainer.layout.initial(3)
    state = w, trainer.optimizer.init(w), stats
    for t in range(1, 7):
        _, state = replica.step(state, _rows(40, 16, 3, t - 1), t)
    trainer.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    np.testing.assert_array_equal(state[0], trainer.weights)
    np.testing.assert_array_equal(state[2], trainer.state()["stats"])


def test_one_layer_all_rows_and_a_loss_with_arrays_in_its_options():
    from functools import partial

    weighted = partial(losses.softmax_cross_entropy, class_weight=[1.0, 2.0, 3.0])
    report = compared("array_api_strict", ab.Dense(3), loss=weighted, batch_size=None)
    assert report.first is None, str(report)
    assert report.differences[1].operation == "layer (Dense) forward"
    assert "gradient of weight" in [d.operation for d in report.differences]


# --- planted errors -----------------------------------------------------------------------------------

PLANTS = {
    "take": (lambda f: off(f, lambda x, *rest, **options: x.ndim == 2), "batch inputs"),
    "tanh": (off, "layer 1 (Activation tanh) forward"),
    "sum": (
        lambda f: off(f, lambda x, axis=None, **options: axis == -2),
        "gradient of 2.bias",
    ),
    "concat": (off, "flat gradient"),
    "sqrt": (off, "Adam step of 0.weight"),
    "log": (off, "loss softmax_cross_entropy"),
}


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("backend", ["torch", "array_api_strict", "cupy"])
def test_a_wrong_function_of_a_library_is_found(backend, name, monkeypatch):
    require_backend(backend)
    plant, operation = PLANTS[name]
    namespace = ab.backend(backend).namespace
    monkeypatch.setattr(namespace, name, plant(getattr(namespace, name)))
    report = compared(backend)
    assert report.first is not None and report.first.operation == operation, str(report)
    assert (report.first.step, report.first.backend) == (1, backend)
    assert report.first.ulp > 1e9 and 1e-5 < report.first.relative < 2e-3
    assert f"{backend} differs first in step 1, {operation}: " in str(report)


def wrong_activation(backend, forward=False):
    def bent(x):
        y, vjp = ab.activations.tanh(x)
        f = factor(x, backend)
        return (y * f, vjp) if forward else (y, lambda dy: vjp(dy) * f)

    return ab.Activation(bent)


@pytest.mark.parametrize(
    ("backend", "dtype"), [("torch", "float64"), ("torch", "float32"), ("jax", "float64")]
)
def test_a_wrong_vjp_is_found(backend, dtype):
    model = ab.Sequential([ab.Dense(6), wrong_activation(backend), ab.Dense(3)])
    report = compared(backend, model, dtype=dtype, steps=1)
    assert report.first is not None and report.first.operation == "layer 1 (Activation bent) backward"
    assert report.first.relative == pytest.approx(1e-3, rel=0.2)
    # Everything else has the reference's numbers, and is right.
    assert {d.operation for d in report.differences if d.ulp > 64} == {report.first.operation}


def test_a_wrong_layer_is_found_inside_others():
    inner = ab.Sequential([ab.Dense(4), wrong_activation("torch", forward=True)])
    report = compared("torch", ab.Sequential([ab.Residual(inner), ab.Dense(3)]))
    assert report.first is not None
    assert report.first.operation == "layer 0.inner.1 (Activation bent) forward"


@pytest.mark.parametrize("backend", ["torch", "jax", "array_api_strict"])
def test_a_wrong_gradient_of_a_loss_is_found(backend):
    @loss(targets="labels")
    def bent(pred, target):
        l, vjp = losses.softmax_cross_entropy.__wrapped__(pred, target)
        return l, lambda dl: vjp(dl) * factor(pred, backend)

    report = compared(backend, loss=bent, steps=1)
    assert report.first is not None and report.first.operation == "loss bent backward"


@dataclass(frozen=True)
class Bent(ab.Adam):
    backend: str = ""

    def update(self, w, g, *rest):
        w, m, v = super().update(w, g, *rest)
        return w, m, v * factor(v, self.backend)


@pytest.mark.parametrize("backend", ["torch", "jax", "array_api_strict"])
def test_a_wrong_slot_of_an_optimizer_is_found(backend):
    report = compared(backend, optimizer=Bent(backend=backend), steps=1)
    assert report.first is not None and report.first.operation == "Bent slot v of 0.weight"


def test_an_error_that_begins_later_is_found_in_its_step(monkeypatch):
    require("torch")
    calls = []

    def late(step):
        calls.append(step)
        return len(calls) > 4  # two steps of the fit, then those that are seen

    namespace = ab.backend("torch").namespace
    monkeypatch.setattr(namespace, "tanh", off(namespace.tanh, late))
    report = compared("torch", steps=3)
    assert report.first is not None and report.first.step == 2
    assert report.first.operation == "layer 1 (Activation tanh) forward"


# --- the report ---------------------------------------------------------------------------------------


def test_how_a_difference_is_measured():
    def measured(a, b, dtype="float64", entered=0.0):
        a, b = (_Value("f", np.asarray(x), entered) for x in (a, b))
        return _difference(1, "torch", np.dtype(dtype), a, b)

    eps = np.finfo(np.float64).eps
    near = measured([1e-9, 1.0], [1e-9 + eps, 1.0])
    assert near.ulp == pytest.approx(1.0) and near.relative == pytest.approx(eps)
    assert measured([1.0], [1.0 + eps], entered=8.0).ulp == pytest.approx(1 / 8)
    assert measured(np.float32([2.0]), np.float32([2.002]), "float32").relative == pytest.approx(
        1e-3, rel=1e-3
    )
    for same in ([np.nan, 1.0], [np.inf, -np.inf], [0.0], np.zeros((0, 3))):
        assert measured(same, same).ulp == 0.0
    for a, b in (([np.nan], [1.0]), ([np.inf], [1.0]), ([1.0], [[1.0]]), ([1.0], np.float32([1.0]))):
        assert measured(a, b).ulp == measured(b, a).ulp == np.inf
    assert measured(np.int64([1, 2]), np.int32([1, 2])).ulp == 0.0


def test_the_report_goes_to_json_and_back():
    report = compared("array_api_strict", steps=1)
    told = report.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["first"] is None and told["backends"] == ["array_api_strict"]
    assert [d["operation"] for d in told["differences"]] == [d.operation for d in report.differences]
    endless = Difference(1, "torch", "batch inputs", np.inf, np.inf)
    told = Parity("numpy", ("torch",), "float64", 64.0, (endless,), ()).to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["first"]["operation"] == "batch inputs" and told["first"]["ulp"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backends": ["numpy"]}, "backends must be two names or more, the reference first, got ['numpy']"),
        ({"backends": "numpy"}, "backends must be two names"),
        ({"backends": ["numpy", "nunpy"]}, "did you mean 'numpy'"),
        ({"steps": 0}, "steps"),
        ({"tolerance": -1.0}, "tolerance must be a number of ULP, at least 0, got -1.0"),
        ({"tolerance": float("nan")}, "got nan"),
        ({"tolerance": float("inf")}, "got inf"),
        (
            {"loss": "mean_squared_error", "y": 1e200 * X[:, :3]},
            "loss mean_squared_error of numpy is not finite in step 1",
        ),
        ({"dtype": "float16"}, "got 'float16'"),
        ({"loss": "hubber"}, "did you mean 'huber'"),
        ({"y": Y + 1}, "labels must be integers in [0, 3), got 3"),
    ],
)
def test_bad_input_is_named(options, message):
    arguments = {"x": X, "y": Y, "loss": "softmax_cross_entropy", "backends": ["numpy", "numpy"]} | options
    with pytest.raises(ValueError) as error:
        parity(ab.MLP([4], 3), **arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


# --- the command --------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run ``anyback parity`` in an empty folder: (exit code, standard output, standard error)."""
    require("typer")
    from anyback.cli import app

    monkeypatch.chdir(tmp_path)

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app(["parity", *args], prog_name="anyback")
        return end.value.code, *capsys.readouterr()

    return run


SMALL = ("--hidden", "8", "--steps", "2", "--out", "found")


def test_the_command_agrees(call, tmp_path):
    require("array_api_strict")
    code, out, err = call("--backends", "numpy,array_api_strict", *SMALL)
    assert (code, err) == (0, "") and "array_api_strict agrees in every operation" in out
    assert (tmp_path / "found" / "parity.txt").read_text(encoding="utf-8") in out
    told = json.loads((tmp_path / "found" / "parity.json").read_text(encoding="utf-8"))
    assert told["first"] is None and {d["step"] for d in told["differences"]} == {1, 2}
    code, out, err = call("--backends", "numpy,array_api_strict", *SMALL)
    assert (code, out) == (2, "") and "--out found already exists" in err


def test_the_command_finds_an_error_and_makes_a_folder(call, tmp_path, monkeypatch):
    require("torch")
    namespace = ab.backend("torch").namespace
    monkeypatch.setattr(namespace, "sqrt", off(namespace.sqrt))
    code, out, err = call("--backends", "numpy, torch", *SMALL[:-2], "--dtype", "float32")
    assert (code, err) == (1, "") and "torch differs first in step 1, AdamW step of 0.weight: " in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("parity-") and str(folder.relative_to(tmp_path)) in out
    told = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    assert told["first"]["operation"] == "AdamW step of 0.weight"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ((), ("--backends",)),
        (("--backends", "numpy"), ("backends must be two", "['numpy']")),
        (("--backends", "numpy,nunpy"), ("'nunpy'", "'numpy'")),
        (("--backends", "numpy,torch:nowhere"), ("torch",)),
        (("--backends", "numpy,numpy", "--loss", "hubber"), ("'hubber'", "'huber'")),
        (("--backends", "numpy,numpy", "--hidden", "a"), ("--hidden", "'a'")),
        (("--backends", "numpy,numpy", "--dtype", "float16"), ("dtype", "'float16'")),
        (("--backends", "numpy,numpy", "--tolerance", "-1"), ("tolerance", "-1")),
        (("--backends", "numpy,"), ("comma-separated names", "'numpy,'")),
    ],
)
def test_the_command_names_wrong_input(call, tmp_path, options, parts):
    code, out, err = call(*options)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert all(part in err for part in parts), err
    assert not list(tmp_path.iterdir())
