"""Nothing is lost: what is killed, stopped, or has no disk any more, goes on as if nothing had happened."""

from __future__ import annotations

import ast
import csv
import errno
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import require

import anyback as ab
from anyback.callbacks import Checkpoint, CSVLog, DivergenceError, EarlyStopping, JSONLog, Lambda
from anyback.checkpoint import CheckpointError, files, newest
from anyback.checkpoint.locks import lock
from anyback.interrupt import Interrupted, terminable, terminate

require("safetensors")
require("typer")
ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from anyback.cli import app, run_dir  # noqa: E402
from anyback.cli.app import note  # noqa: E402
from benchmarks.reliability import (  # noqa: E402
    Settings,
    __main__,
    _runs,
    covered,
    crash,
    descriptors,
    disk,
    mutation,
    signals,
)
from benchmarks.reliability import suite as suite_of_tests  # noqa: E402

CHECKPOINT = "checkpoint.safetensors"
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def on_one_backend(monkeypatch):
    monkeypatch.setenv("ANYBACK_BACKEND", "numpy")
    monkeypatch.setattr("anyback.cli.run._draw", lambda *args: None)


@pytest.fixture
def call(capsys):
    """Train digits by the command line in this process: (exit code, standard error)."""

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app(["train", "digits", "-q", *map(str, args)], prog_name="anyback")
        return end.value.code, capsys.readouterr().err

    return run


def begun(call, run, *options):
    assert call("--epochs", 2, "--hidden", 8, "--out", run, *options) == (0, "")
    return run / CHECKPOINT


def made():
    return ab.Trainer(ab.MLP([4], 2, dropout=0.2), "softmax_cross_entropy", "Adam", backend="numpy")


def fit(trainer, *callbacks, epochs=3):
    return trainer.fit(X, Y, epochs=epochs, batch_size=7, callbacks=callbacks, verbose=0)


def one_line(err, *parts):
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert all(str(part) in err for part in parts), err


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# --- kills and signals ---------------------------------------------------------------------------


@posix
def test_killed_runs_end_in_the_bits_of_one_that_was_left_alone(tmp_path):
    rows = crash.run(Settings(kills=3, seed=0, folder=tmp_path))
    assert sum(row["tried"] for row in rows) >= 3 and not sum(row["lost"] for row in rows), rows


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_that_is_stopped_ends_after_a_batch(tmp_path, number):
    whole, stopped = made(), made()
    fit(whole)
    ask = Lambda(on_update=lambda trainer: trainer.updates == 8 and os.kill(os.getpid(), number))
    with terminable(), pytest.raises(Interrupted) as error:
        fit(stopped, ask)
    assert error.value.number == number and stopped.updates == 8 and stopped.batch == 2
    stopped.save(tmp_path / "run")
    resumed = ab.Trainer.load(tmp_path / "run", backend="numpy")
    fit(resumed)
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    assert resumed.history.rows == whole.history.rows


@posix
@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([signal.SIGTERM, signal.SIGTERM], Interrupted),
        ([signal.SIGTERM, signal.SIGINT], KeyboardInterrupt),
        ([signal.SIGINT, signal.SIGINT], KeyboardInterrupt),
    ],
)
def test_a_second_ctrl_c_acts_at_once_and_a_second_sigterm_waits_too(numbers, kind):
    def ask(trainer):
        for number in numbers:
            os.kill(os.getpid(), number)

    with terminable(), pytest.raises(KeyboardInterrupt) as error:
        fit(made(), Lambda(on_update=ask))
    assert error.type is kind


@posix
def test_sigterm_outside_of_training_exits_in_order():
    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is terminate
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

    def elsewhere():
        with terminable():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [before]


# --- checkpoints that are kept -------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_the_last_checkpoints_are_kept(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*args):
            raise PermissionError(1, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "run.safetensors"
    fit(made(), Checkpoint(path, keep=3), epochs=5)
    files = ["run.1.safetensors", "run.2.safetensors", "run.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == files
    assert [ab.Trainer.load(tmp_path / file).epoch for file in files] == [4, 3, 5]
    for file in ("run.safetensors", "run.1.safetensors"):
        assert newest(path) == str(tmp_path / file)
        damage(tmp_path / file)
    assert newest(path) == str(tmp_path / "run.2.safetensors")
    damage(tmp_path / "run.2.safetensors")
    each = r"run\.safetensors was altered.*; .*run\.1\.safetensors was altered.*; .*run\.2\.safetensors was"
    with pytest.raises(CheckpointError, match=each):
        newest(path)
    with pytest.raises(CheckpointError, match="nothing is not there"):
        newest(tmp_path / "nothing")


def test_fewer_are_kept_from_now_on(tmp_path):
    path, own = tmp_path / "run.safetensors", tmp_path / "run.9.safetensors"
    fit(trainer := made(), Checkpoint(path, keep=4), epochs=5)
    own.write_bytes(b"of somebody else")  # behind a gap
    fit(trainer, Checkpoint(path, keep=2), epochs=6)
    files = [path, tmp_path / "run.1.safetensors"]
    assert sorted(tmp_path.iterdir()) == sorted([*files, own])
    assert [ab.Trainer.load(file).epoch for file in files] == [6, 5]
    trainer.save(path)  # keep=1 touches no other file
    assert sorted(tmp_path.iterdir()) == sorted([*files, own])


def test_files_that_are_one_file_are_kept_too(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(trainer := made(), Checkpoint(path), epochs=1)
    os.link(path, tmp_path / "run.1.safetensors")
    fit(trainer, Checkpoint(path, keep=2), epochs=3)
    assert {file.name for file in tmp_path.iterdir()} == {"run.safetensors", "run.1.safetensors"}
    assert ab.Trainer.load(tmp_path / "run.1.safetensors").epoch == 2


def test_a_run_keeps_epochs_that_differ(call, tmp_path):
    """The last save of a run, and a resume with nothing left, repeat no epoch."""
    checkpoint = begun(call, tmp_path / "run", "--epochs", 3)
    assert call("--resume", tmp_path / "run", "--epochs", 3)[0] == 0
    older = checkpoint.with_name("checkpoint.1.safetensors")
    assert [ab.Trainer.load(file).epoch for file in (checkpoint, older)] == [3, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": 0}, "keep must be at least 1, got 0"), ({"path": "e{epoch}", "keep": 2}, "without {epoch}")],
)
def test_what_cannot_be_kept_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(**{"path": "run", **options})


def test_the_newest_intact_checkpoint_is_resumed(call, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    begun(call, whole)
    begun(call, run, "--keep", 3, "--epochs", 3)
    assert {file.name for file in run.glob("checkpoint*")} == {
        CHECKPOINT,
        "checkpoint.1.safetensors",
        "checkpoint.2.safetensors",
    }
    assert call("--resume", whole, "--epochs", 4) == (0, "")
    damage(run / CHECKPOINT)
    damage(run / "checkpoint.1.safetensors")
    code, err = call("--resume", run, "--epochs", 4)
    assert code == 0 and "checkpoint.2.safetensors, of before it, is taken" in err
    assert (run / f"{CHECKPOINT}.damaged").exists()  # and pushes no good one out
    first, second = (ab.Trainer.load(newest(path / CHECKPOINT)) for path in (whole, run))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.history.rows == second.history.rows
    one_line(call("--resume", run, "--keep", 0)[1], "--keep must be at least 1, got 0")


def test_what_killed_saves_left_is_swept_and_what_lives_is_not(tmp_path):
    dead, other = tmp_path / f".run.{'0a' * 6}.tmp", tmp_path / ".mine.tmp"
    for path in (dead, other):
        path.write_bytes(b"half")
    with files._created(str(tmp_path / ".run")) as file:
        living = Path(file.name)
        fit(made(), Checkpoint(tmp_path / "run"), epochs=1)
        assert {file.name for file in tmp_path.iterdir()} == {living.name, other.name, "run"}
    files.sweep(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {other.name, "run"}


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    swept = []

    def late(descriptor):
        if not swept:
            swept.extend(tmp_path.iterdir())
            files.sweep(tmp_path)
        return lock(descriptor)

    lock = files.lock
    monkeypatch.setattr(files, "lock", late)
    files.replace(tmp_path / "run", b"new")
    assert len(swept) == 1 and [file.name for file in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run").read_bytes() == b"new"
    answers = [False, True]  # a sweeper has the first
    monkeypatch.setattr(files, "lock", lambda descriptor: answers.pop(0))
    files.replace(tmp_path / "run", b"newer")
    assert answers == [] and (tmp_path / "run").read_bytes() == b"newer"


def test_two_writers_of_one_checkpoint_do_not_trip(tmp_path):
    def write(number):
        for _ in range(200):
            files.replace(tmp_path / "run.txt", str(number).encode() * 100, keep=2, durable=False)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(write, (1, 2)))
    names = {file.name for file in tmp_path.iterdir()}
    assert names <= {"run.txt", "run.1.txt", ".run.txt.older"} and "run.1.txt" in names


def test_a_checkpoint_that_was_asked_for_sets_no_newer_one_aside(call, tmp_path):
    checkpoint = begun(call, tmp_path / "run", "--epochs", 3)
    older = checkpoint.with_name("checkpoint.1.safetensors")
    assert call("--resume", older, "--epochs", 4) == (0, "")
    assert sorted(file.name for file in checkpoint.parent.glob("checkpoint*")) == [older.name, CHECKPOINT]
    assert ab.Trainer.load(checkpoint).epoch == 4


def test_a_folder_that_cannot_be_waited_for_is_no_reason_to_fail(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace(tmp_path / "run", b"new")
    assert (tmp_path / "run").read_bytes() == b"new"


def test_logs_are_replaced_as_a_whole_and_written_to_where_they_are_no_files(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "log.csv")
    fit(made(), CSVLog(tmp_path / "link.csv"), JSONLog(os.devnull), epochs=2)
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "log.csv").read_text().count("\n") == 3
    assert not os.path.isfile(os.devnull)


def test_logs_grow_by_a_row_and_are_written_anew_for_a_new_column(tmp_path, monkeypatch):
    anew, log = [], tmp_path / "log.csv"
    rewrite = files.rewrite
    monkeypatch.setattr(
        "anyback.callbacks.rewrite", lambda path, data: (anew.append(path), rewrite(path, data))
    )
    trainer = made()
    fit(trainer, CSVLog(log), epochs=4)
    assert anew == [log] and log.read_text().count("\n") == 5
    add = Lambda(on_epoch_end=lambda trainer, logs: trainer.epoch > 6 and logs.update(more=1.0))
    fit(trainer, add, CSVLog(log), epochs=9)
    assert anew == [log] * 3  # the fit's first epoch, and the seventh
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [row["more"] for row in rows] == [""] * 6 + ["1.0"] * 3
    assert [float(row["loss"]) for row in rows] == trainer.history["loss"]
    monkeypatch.setattr("anyback.checkpoint.files.open", refused, raising=False)
    with pytest.raises(OSError, match="log.csv cannot be written: no room"):
        files.append(log, b"more")


def refused(*args, **options):
    raise OSError(errno.ENOSPC, "no room")


def test_figures_of_any_kind_of_number_are_logged(tmp_path):
    add = Lambda(on_epoch_end=lambda trainer, logs: logs.update(a=np.float32(0.5), b=3, c=np.int64(7)))
    fit(made(), add, CSVLog(tmp_path / "log.csv"), JSONLog(tmp_path / "log.jsonl"), epochs=1)
    assert (tmp_path / "log.csv").read_text().splitlines()[1].endswith(",0.5,3.0,7.0")
    assert (tmp_path / "log.jsonl").read_text().endswith('"a": 0.5, "b": 3.0, "c": 7.0}\n')


# --- one run a folder ----------------------------------------------------------------------------


def test_two_runs_in_one_folder_are_refused(call, tmp_path):
    run = tmp_path / "run"
    checkpoint = begun(call, run)
    before = checkpoint.read_bytes()
    with run_dir.claimed(run):
        for options in (("--resume", run), ("--resume", checkpoint), ("--out", run)):
            code, err = call(*options)
            assert code == 2 and checkpoint.read_bytes() == before
            one_line(err, f"{run} is in use by process {os.getpid()} on ")
    assert call("--resume", run, "--epochs", 3) == (0, "")
    assert not (run / ".lock").exists()


def test_what_is_no_run_is_left_as_it_is(call, tmp_path):
    left = tmp_path / f".mine.{'0a' * 6}.tmp"
    left.write_bytes(b"")
    (empty := tmp_path / "empty").mkdir()
    for place in (tmp_path, empty):
        one_line(call("--resume", place)[1], "is no run folder: it holds no checkpoint.safetensors")
    assert left.exists() and empty.is_dir()
    one_line(call("--out", empty, "--lr", "-1")[1], "lr")
    one_line(call("--out", empty, "--epochs", 0)[1], "epochs")
    assert empty.is_dir() and not list(empty.iterdir())


def test_what_a_resumed_run_was_asked_for_is_kept_when_it_is_killed(call, tmp_path, monkeypatch):
    run = tmp_path / "run"
    begun(call, run)

    def killed(self, *args, **options):
        raise MemoryError("as good as a kill")

    with monkeypatch.context() as patched:
        patched.setattr(ab.Trainer, "fit", killed)
        assert call("--resume", run, "--epochs", 5, "--patience", 7)[0] == 2
    assert call("--resume", run) == (0, "")
    assert ab.Trainer.load(run / CHECKPOINT).epoch == 5
    assert json.loads((run / "run.json").read_text())["options"]["patience"] == 7


@posix
def test_a_run_that_is_interrupted_twice_says_so(call, tmp_path, monkeypatch):
    """The second time while it saves: the file of before stays."""
    checkpoint = begun(call, tmp_path / "run")
    save = ab.Trainer.save

    def interrupted(trainer, *args, **options):
        if isinstance(sys.exc_info()[1], Interrupted):
            raise KeyboardInterrupt
        save(trainer, *args, **options)

    monkeypatch.setattr(ab.Trainer, "save", interrupted)
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", lambda *args: os.kill(os.getpid(), signal.SIGINT))
    code, err = call("--resume", checkpoint.parent, "--epochs", 9)
    assert code == 130 and err.startswith("interrupted before the batch was over, or saved: continue with")
    assert err.count("\n") == 1 and ab.Trainer.load(checkpoint).epoch == 3


@posix
def test_numbers_that_are_lost_take_no_good_files_place(tmp_path):
    """Asked to stop within an epoch that has diverged, a run goes back first, and says so."""
    path = tmp_path / "run"

    def spoil(trainer):
        if trainer.updates == 8:
            trainer.set_state({**trainer.state(), "w": trainer.weights * np.inf})
            os.kill(os.getpid(), signal.SIGTERM)

    with terminable(), pytest.raises(DivergenceError, match="the state is not finite within epoch 2: try"):
        fit(trainer := made(), Checkpoint(path), Lambda(on_update=spoil))
    assert trainer.finite and (trainer.epoch, trainer.batch) == (1, 0)
    np.testing.assert_array_equal(trainer.weights, ab.Trainer.load(path).weights)


def test_a_message_that_nobody_reads_ends_no_run(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    note("epoch 1 of many")


@posix
def test_a_killed_run_leaves_no_lock(tmp_path):
    code = (
        "import sys, time, pathlib; from anyback.cli import run_dir\n"
        "with run_dir.claimed(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"in use by process {process.pid} on"), run_dir.claimed(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / ".lock").exists()
    with run_dir.claimed(tmp_path):
        (tmp_path / "mine").touch()
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_without_locks_a_run_is_not_refused(call, tmp_path, monkeypatch):
    def none(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_dir, "lock", none)
    code, err = call("--epochs", 1, "--hidden", 8, "--out", tmp_path / "run")
    assert code == 0 and "file system without locks" in err


@posix
def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch):
    def none(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="not supported"):
        lock(file.fileno())


# --- disks ---------------------------------------------------------------------------------------


@contextmanager
def largest(size):
    """No file may become longer than `size`."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
def test_a_full_disk_ends_a_run_with_one_line_and_leaves_its_checkpoint(call, tmp_path):
    run = tmp_path / "run"
    checkpoint = begun(call, run)
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.suffix == ".safetensors"}
    with largest(len(before[CHECKPOINT]) // 2):
        code, err = call("--resume", run, "--epochs", 4)
    assert code == 2
    one_line(err, checkpoint, "cannot be written: File too large")
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.name in before} == before
    assert not [file.name for file in run.iterdir() if file.name.startswith(".")]
    assert call("--resume", run, "--epochs", 4) == (0, "")


@posix
@posix
def test_a_resume_without_the_newest_that_fails_loses_nothing(call, tmp_path):
    """What was kept before it is still a run: its run.json and history stay."""
    checkpoint = begun(call, tmp_path / "run")
    names = {file.name for file in checkpoint.parent.iterdir()}
    checkpoint.unlink()
    with largest(200):
        code, err = call("--epochs", 4, "--resume", checkpoint.parent)
    assert code == 2 and "cannot be written" in err
    assert {file.name for file in checkpoint.parent.iterdir()} == names - {CHECKPOINT}
    code, err = call("--epochs", 4, "--resume", checkpoint.parent)
    assert code == 0 and "checkpoint.1.safetensors" in err
    assert len((checkpoint.parent / "history.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize("way", [disk.full, disk.read_only, disk.forbidden], ids=lambda way: way.__name__)
def test_a_disk_without_room_or_leave_ends_a_run(tmp_path, way, monkeypatch):
    monkeypatch.setattr(disk.Run, "unlike", lambda run, whole: None)  # which costs another run
    try:
        assert way(tmp_path, disk.Run(tmp_path)) is None
    except disk.Absent as why:
        pytest.skip(str(why))


def test_a_folder_that_vanishes_ends_a_run_with_one_line(call, tmp_path, monkeypatch):
    run = tmp_path / "run"
    begun(call, run)
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", lambda self, trainer, logs: shutil.rmtree(run))
    code, err = call("--resume", run, "--epochs", 4)
    assert code == 2
    one_line(err, "needs the folder", run)


@pytest.mark.parametrize("place", descriptors.PLACES[:1])
def test_open_files_are_as_many_after_many_checkpoints(tmp_path, monkeypatch, place):
    if not os.path.isdir(place):
        pytest.skip(f"no {place} here")
    monkeypatch.setattr(descriptors, "EPOCHS", 20)
    assert descriptors.run(Settings(1, 0, tmp_path))["survived"] == 1


# --- wrong formulas ------------------------------------------------------------------------------

MUTANTS = [
    "activations.relu: y > 0.0 -> y >= 0.0",
    "activations.sigmoid: 1.0 + e -> 1.0 - e",
    "activations.elu: xp.where(above, 1.0, y + alpha) -> xp.where(above, y + alpha, 1.0)",
    "activations.softmax: xp.sum(y, axis=-1, keepdims=True) -> xp.sum(y, axis=0, keepdims=True)",
    "clipping.clip_by_value: namespace(g).clip(g, -limit, limit) -> g",
    "gates.divide: dx * z -> dx / z",
    "gates.subtract: (_unbroadcast(dz, shape_x), -_unbroadcast(dz, shape_y)) -> "
    "(_unbroadcast(dz, shape_x), _unbroadcast(dz, shape_y))",
    "initializers._uniform: 3.0 * variance -> 3.0 / variance",
    "initializers.orthogonal: matrices[-2] < matrices[-1] -> matrices[-2] > matrices[-1]",
    "layers._normalise: var + eps -> eps",
    "layers.BatchNorm.train: m * mean -> mean",
    "losses.huber: d - 0.5 * c -> d + 0.5 * c",
    "losses.hinge: -1.0 / k -> 1.0 / k",
    "losses.log_cosh: xp.expm1(-2.0 * a) -> xp.exp(-2.0 * a)",
    "losses.poisson: rate - target -> rate + target",
    "metrics.root_mean_squared_error: e * e -> e",
    "optimizers.Adam._update: xp.sqrt(v_max[0] if self.amsgrad else v) -> v_max[0] if self.amsgrad else v",
    "optimizers.Lion._update: namespace(w).sign(mean) -> mean",
    "regularizers.l2: 2.0 * _upstream(xp, dvalue) -> 3.0 * _upstream(xp, dvalue)",
    "schedules.Cosine.rate: 1.0 + math.cos(math.pi * now / period) -> 1.0 - math.cos(math.pi * now / period)",
]
HIDDEN = "clipping.clip_by_norm: excess <= 1.0 -> excess <= 1.5"  # no example is between the two


@posix
def test_mutants_of_formulas_are_found(tmp_path):
    examples = [f"anyback/{module}.py" for module in mutation.FORMULAS]
    found = mutation.hunted(mutation.FORMULAS, examples, tmp_path / "found", only=[*MUTANTS, HIDDEN])
    by = {mutant.partition(": ")[2]: test for mutant, test in found["mutants"].items()}
    assert {name for name, test in by.items() if test is None} == {HIDDEN.partition(".")[2]}
    assert set(by) == {mutant.partition(".")[2] for mutant in [*MUTANTS, HIDDEN]}


def test_mutants_that_do_not_count_are_there():
    for module, changes in mutation.EQUIVALENT.items():
        tree = ast.parse((ROOT / f"anyback/{module}.py").read_text("utf-8"))
        every = {(mutant.function, mutant.change) for mutant in mutation.mutants(module, tree)}
        assert set(changes) <= every and all(changes.values())


def test_formulas_are_changed_and_texts_are_not():
    tree = ast.parse(
        "def f(x: 'a + b' = 1.0):\n"
        "    'Return 1 + 1.'\n"
        "    if x < 0 and not isinstance(x, int | float):\n"
        "        raise ValueError(f'{x + 1} is not 1' + '!')\n"
        "    return -xp.maximum(x, axis=-1, keepdims=True)\n"
    )
    assert {str(mutant).split(": ", 2)[2] for mutant in mutation.mutants("m", tree)} == {
        "if x < 0 and (not isinstance(x, int | float)) -> "
        "if not (x < 0 and (not isinstance(x, int | float)))",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0 or not isinstance(x, int | float)",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0",
        "x < 0 and (not isinstance(x, int | float)) -> not isinstance(x, int | float)",
        "x < 0 -> x <= 0",
        "x < 0 -> x > 0",
        "x < 0 and (not isinstance(x, int | float)) -> x < 0 and isinstance(x, int | float)",
        "x < 0 -> x < 1",
        "-xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.minimum(x, axis=-1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=0, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=1, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-2, keepdims=True)",
        "xp.maximum(x, axis=-1, keepdims=True) -> xp.maximum(x, axis=-1, keepdims=False)",
    }


@posix
@posix
def test_processes_that_die_answer_nothing_and_errors_of_ours_are_raised():
    """In a process of its own: libraries that other tests have loaded warn of every fork."""
    code = """
import os, signal
from benchmarks.reliability import mutation
assert mutation.forked(lambda: 3) == 3
assert mutation.forked(lambda: os.kill(os.getpid(), signal.SIGPROF)) is None
try:
    mutation.forked(lambda: 1 // 0)
except ZeroDivisionError:
    print("raised")
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "raised\n", ended.stderr


def test_coverage_is_counted_by_lines_and_branches():
    def summary(*counts):
        names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        return {"summary": dict(zip(names, counts, strict=True))}

    report = {
        "files": {"a.py": summary(8, 10, 1, 2), "b.py": summary(0, 0, 0, 0)},
        "totals": summary(8, 10, 1, 2)["summary"],
    }
    row = covered.row("it", report)
    assert (row["tried"], row["survived"], row["lost"]) == (12, 9, 3)
    assert row["details"] == {
        "share, %": 75.0,
        "least of a file, %": 75.0,
        "files": ["a.py: 9 of 12", "b.py: 0 of 0"],
    }


def test_failed_and_skipped_cases_of_the_suite_are_told_apart():
    suite = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="4" /></testsuites>'
    row = suite_of_tests.row("it", suite)
    assert (row["tried"], row["survived"], row["lost"], row["details"]) == (5, 2, 3, {"not tried": 4})


# --- the harness ---------------------------------------------------------------------------------


def test_what_is_not_as_in_a_run_left_alone_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(_runs.Run, "finish", lambda run: (0, ""))
    whole, other = _runs.Run(tmp_path / "whole"), _runs.Run(tmp_path / "other")
    for run in (whole, other):
        run.folder.mkdir()
        fit(made(), Checkpoint(run.checkpoint), CSVLog(run.folder / "history.csv"))
    assert other.unlike(whole) is None
    arrays, described = files.read(other.checkpoint)
    rows = described["history"]
    for change in ("w", "slots.0", "slots.1"):
        files.write(other.checkpoint, {**arrays, change: np.nextafter(arrays[change], 9)}, described)
        assert other.unlike(whole) == "other weights, slots or history"
    rows[1]["loss"] = float(np.nextafter(rows[1]["loss"], 9))
    files.write(other.checkpoint, arrays, described)
    assert other.unlike(whole) == "other weights, slots or history"
    shutil.copy(whole.checkpoint, other.checkpoint)
    (other.folder / ".run.tmp").touch()
    assert other.unlike(whole) == "files are left: .run.tmp"
    (other.folder / "history.csv").write_text("epoch,loss\n")
    assert other.unlike(whole) == "another history.csv"


def test_what_a_stop_has_lost_is_found(tmp_path):
    run = _runs.Run(tmp_path)
    assert run.lost() is None and run.position() == (0, 0)
    fit(made(), Checkpoint(run.checkpoint, keep=2), JSONLog(run.folder / "history.jsonl"))
    assert run.lost() is None and run.position() == (3, 0)
    older = run.folder / "checkpoint.1.safetensors"
    os.replace(older, run.checkpoint)
    assert run.lost() is None  # the history is ahead by one
    run.checkpoint.unlink()
    assert run.lost() == "2 finished epochs are not in the checkpoint"
    for file in (run.checkpoint, older):
        fit(made(), Checkpoint(run.checkpoint, keep=2))
        damage(file)
        assert f"{file} was altered" in run.lost()


def test_what_a_signal_saves_is_compared_with_what_is_said(tmp_path):
    """A run that says that it is saved and is not, or is and says that it is not, is lost."""

    def wrong(said, code=130):
        return signals.wrong(_runs.Run(tmp_path), signal.SIGINT, code, said)

    before = "interrupted before the batch was over, or saved: continue with it\n"
    fit(made(), Checkpoint(tmp_path / CHECKPOINT))
    assert wrong("interrupted after epoch 3: continue with it\n") is None
    assert "has saved batch 0 after epoch 3" in wrong("interrupted within epoch 3: continue with it\n")
    assert "has saved batch 0" in wrong("interrupted after epoch 2: continue with it\n")
    assert "says otherwise" in wrong("") and "exits with 143" in wrong("", 143)
    assert wrong(before) is None
    trainer = made()
    fit(trainer, Lambda(on_update=lambda t: setattr(t, "stop", t.updates == 8)))
    trainer.save(tmp_path / CHECKPOINT)
    assert wrong("interrupted within epoch 2: continue with it\n") is None
    assert "has saved what" in wrong(before)


def test_the_command_finds_experiments_and_keeps_what_was_tried_before(tmp_path, monkeypatch, capsys):
    assert {"covered", "crash", "descriptors", "disk", "mutation", "signals", "suite"} <= set(
        __main__.EXPERIMENTS
    )
    assert all(signals.WAYS) and not any(name.startswith("_") for name in __main__.EXPERIMENTS)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: reliability -->\n<!-- end: reliability -->\nafter\n")
    monkeypatch.setattr(__main__, "PAGE", page)
    rows = {"name": "a thing", "tried": 3, "survived": 3, "lost": 0, "details": {"slowest, s": 0.12345}}
    monkeypatch.setattr(descriptors, "run", lambda settings: dict(rows))
    monkeypatch.setattr(crash, "run", lambda settings: [{**rows, "name": "it", "survived": 2, "lost": 1}])
    for name, code in (("descriptors", 0), ("crash", 1)):
        with pytest.raises(SystemExit) as end:
            __main__.main(["--only", name, "--output", str(tmp_path), "--write-docs"])
        assert end.value.code == code
    results = json.loads((tmp_path / "reliability.json").read_text())["results"]
    assert set(results) == {"crash", "descriptors"} and results["crash"]["rows"][0]["lost"] == 1
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| a thing |     3 |        3 |    0 | slowest, s 0.123 |" in text
    assert "| it      |     3 |        2 |    1 |" in capsys.readouterr().out
