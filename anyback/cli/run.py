"""One training run: data in, run folder out."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from anyback import __version__, losses, metrics, plots
from anyback.callbacks import Callback, Checkpoint, CSVLog, DivergenceError, EarlyStopping, JSONLog
from anyback.cli import run_dir
from anyback.cli.app import fail, note
from anyback.cli.options import Options
from anyback.cli.report import summary
from anyback.cli.splits import Parts
from anyback.cli.task import Task, read
from anyback.interrupt import Interrupted
from anyback.layers import MLP
from anyback.tables import SHIPPED, Table
from anyback.training.inputs import fingerprint
from anyback.training.trainer import Trainer

__all__ = ["resume", "train"]


def train(
    options: Options, data: str, out: Path | None, backend: str | None, quiet: bool, command: list[str]
) -> None:
    """Train a new network and leave a run folder."""
    table = read(data, options.target, options.loss, drop=options.drop)
    twice = [name for name, count in Counter(table.features or ()).items() if count > 1]
    if twice:
        fail(f"{data}: columns must have names of their own, got {twice[0]!r} more than once")
    task = Task.of(table, options.loss)
    options = options.settled(classes=task.classes is not None)
    parts = Parts.of(table, task, validation=options.validation, test=options.test, seed=options.seed)
    trainer = Trainer(
        MLP(options.units, task.outputs, activation=options.activation, dropout=options.dropout or 0.0),
        task.loss,
        options.make_optimizer(),
        backend=backend,
        dtype=options.dtype,
        seed=options.seed,
        metrics=options.metric_names(task.metrics),
        clip_norm=options.clip_norm,
        standardize=options.standardize,
    ).build(table.x.shape[1])
    trainer.check(table.x, task.encode(np.asarray(table.y)))  # rows are counted in the whole table
    about = _about(options, data, table, task, trainer, command)
    _mind_the_header(data, table)
    _mind_the_kind(options, data, table)
    _mind_the_scale(task, parts)
    with run_dir.create(out, data) as folder:
        run_dir.note_down(folder, about)
        _run(trainer, task, parts, options, folder, about, quiet)


def resume(
    options: Options,
    given: set[str],
    data: str | None,
    run: Path,
    backend: str | None,
    quiet: bool,
    command: list[str],
) -> None:
    """Continue a run where its newest intact checkpoint stands, by default with the data it had."""
    folder = run if run.is_dir() else run.parent
    # What is no run is refused when it is opened, and nothing of it is touched.
    with run_dir.claimed(folder) if run_dir.kept(folder) else nullcontext():
        opened = run_dir.open_run(run, backend, same=True)
        if not opened.about:
            fail(f"--resume {run} needs a run folder with a run.json")
        options = options.resumed(opened.about["options"], given, str(run))
        path, absolute = opened.data["path"], opened.data.get("absolute")
        data = data or (absolute if absolute and Path(absolute).exists() else path)
        table = read(data, options.target, options.loss, drop=options.drop)
        if fingerprint(table.x, table.y) != opened.data["fingerprint"]:
            fail(
                f"{data} is not the data of {run}, which learned from {opened.data['path']}: "
                "its values differ"
            )
        if opened.features and opened.features != table.features:
            fail(
                f"{data} has its columns in another order or by other names than {run} learned from: "
                f"{', '.join(opened.features)}"
            )
        task, trainer = opened.task, opened.trainer
        parts = Parts.of(table, task, validation=options.validation, test=options.test, seed=options.seed)
        _mind_the_end(options, trainer)
        options = replace(options, epochs=max(options.epochs, trainer.epoch))
        about = _about(options, data, table, task, trainer, command)
        run_dir.note_down(folder, about)
        if run.is_dir():  # else that checkpoint was asked for
            run_dir.set_aside(opened)
        _run(trainer, task, parts, options, folder, about, quiet)


def _run(
    trainer: Trainer,
    task: Task,
    parts: Parts,
    options: Options,
    folder: Path,
    about: dict[str, Any],
    quiet: bool,
) -> None:
    checkpoint = folder / run_dir.CHECKPOINT
    bar = not quiet and sys.stderr.isatty() and trainer.epoch < options.epochs
    start = time.perf_counter()
    try:
        with _saved(trainer, options, folder, about, start):
            trainer.fit(
                *parts.training,
                epochs=options.epochs,
                batch_size=options.batch,
                validation_data=parts.validation,
                callbacks=_callbacks(folder, options, parts, lines=not quiet and not bar),
                verbose=int(bar),
            )
    except KeyboardInterrupt:
        # The trainer may stand in the middle of a step; its file stands between two.
        left = f"continue with {_again(folder)}" if run_dir.kept(folder) else "nothing is kept"
        note(f"interrupted before the batch was over, or saved: {left}")
        raise typer.Exit(130) from None
    except DivergenceError as error:
        if trainer.epoch:
            raise DivergenceError(f"{error}; the epochs before it are kept in {folder}") from error
        raise
    finally:
        if not run_dir.kept(folder):
            run_dir.discard(folder)
    ended = "stopped early" if trainer.epoch < options.epochs else "to the end"
    trainer.save(checkpoint)  # the last epoch's once more, now with the best weights shown
    about["training"] = _ended(ended, trainer, start)
    about["figures"] = {
        name: {"rows": len(x), **trainer.evaluate(x, y)} for name, (x, y) in parts.named().items()
    }
    run_dir.note_down(folder, about)
    try:
        _draw(trainer, task, parts, folder, about)
    except Exception as error:  # a picture that cannot be drawn is no reason to lose the summary of a run
        note(f"note: no pictures of this run: {str(error).splitlines()[0]}")
    if quiet:
        print(folder)
    else:
        summary(about, str(folder))


@contextmanager
def _saved(
    trainer: Trainer, options: Options, folder: Path, about: dict[str, Any], start: float
) -> Iterator[None]:
    """Save a training that is interrupted after a whole batch, and exit."""
    try:
        yield
    except Interrupted as interrupted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it often comes twice, and saving takes no time
        # At an epoch's end it has been saved: then the file of before is still that.
        trainer.save(folder / run_dir.CHECKPOINT, keep=options.keep if trainer.batch else 1)
        about["training"] = _ended("interrupted", trainer, start)
        run_dir.note_down(folder, about)
        where = f"within epoch {trainer.epoch + 1}" if trainer.batch else f"after epoch {trainer.epoch}"
        note(f"interrupted {where}: continue with {_again(folder)}")
        raise typer.Exit(128 + interrupted.number) from None


def _again(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"anyback train --resume {shlex.quote(str(folder))}"


def _ended(how: str, trainer: Trainer, start: float) -> dict[str, Any]:
    """Return what run.json tells of a training that is over."""
    return {
        "ended": how,
        "epochs": trainer.epoch,
        "best_epoch": plots.best_epoch(list(trainer.history)),
        "updates": trainer.updates,
        "seconds": round(time.perf_counter() - start, 3),
    }


def _callbacks(folder: Path, options: Options, parts: Parts, *, lines: bool) -> list[Callback]:
    callbacks: list[Callback] = [
        CSVLog(folder / "history.csv"),
        JSONLog(folder / "history.jsonl"),
        # Braces in a folder's name are no fields of the callback's.
        Checkpoint(str(folder / run_dir.CHECKPOINT).replace("{", "{{").replace("}", "}}"), keep=options.keep),
        _HeldOut(parts),
    ]
    callbacks += [EarlyStopping("val_loss", options.patience)] if parts.validation is not None else []
    return [*callbacks, _Lines(options.epochs)] if lines else callbacks


def _mind_the_header(data: str, table: Table) -> None:
    """Say so if what was taken as a row of data may be a header whose names are numbers."""
    if table.features or table.classes is None or table.y is None or not data.endswith((".csv", ".tsv")):
        return
    if np.count_nonzero(table.y == table.y[0]) == 1:
        only = table.classes[table.y[0]]
        note(f"note: {data} has no header, and its first row alone is of class {only!r}: is that row one?")


def _mind_the_kind(options: Options, data: str, table: Table) -> None:
    """Say so if whole numbers, which may be amounts, are taken as classes."""
    if options.loss != "auto" or table.kind != "labels" or table.y is None or not Path(data).is_file():
        return
    names = table.classes or tuple(map(str, np.unique(table.y)))
    if len(names) > 2 and all(name.lstrip("-").isdecimal() for name in names):
        target = table.target or options.target or "the last column"
        note(
            f"note: target {target}: {len(names)} integers taken as classes; "
            "--loss mean_squared_error for numbers"
        )


def _mind_the_end(options: Options, trainer: Trainer) -> None:
    """Say so, and why, if a resumed run has nothing left to train."""
    if trainer.epoch >= options.epochs:
        note(
            f"nothing is left to train: {trainer.epoch} epochs done, {options.epochs} asked for "
            "(--epochs is the total)"
        )
        return
    states = dict(trainer.train_state.callback_states)
    waited = states.get("EarlyStopping", {}).get("waited", 0)
    if waited > options.patience:
        note(
            f"nothing is left to train: the validation loss has not fallen for {waited} epochs, and "
            f"--patience is {options.patience}; to go on, give --patience {waited} or more"
        )


def _mind_the_scale(task: Task, parts: Parts) -> None:
    """Say so if a regression's targets are far from what a fresh network gives."""
    if task.classes is not None:
        return
    mean, spread = (float(np.abs(f(parts.training[1], axis=0)).max()) for f in (np.mean, np.std))
    if getattr(losses, task.loss).targets == "reals" and (mean > 10 or not 0.1 < spread < 10):
        note(
            f"note: targets have mean {mean:.3g} and standard deviation {spread:.3g}; "
            "a network learns faster and better where they are near 0 and 1: scale them"
        )


def _draw(trainer: Trainer, task: Task, parts: Parts, folder: Path, about: dict[str, Any]) -> None:
    plots.curves(trainer.history, folder / "curves.png", loss=task.loss)
    part, (x, y) = list(parts.named().items())[-1]
    z = trainer.predict(x)
    if task.classes is not None:
        matrix = metrics.confusion_matrix(z, y)
        plots.confusion(matrix, task.classes, folder / "confusion_matrix.png", part=part)
    else:
        name = about["data"]["target"] or "target"
        plots.predicted_against_true(
            task.decide(z), y, folder / "predicted_against_true.png", name=name, part=part
        )


def _about(
    options: Options, data: str, table: Table, task: Task, trainer: Trainer, command: list[str]
) -> dict[str, Any]:
    """Return what run.json tells before training."""
    library = sys.modules.get(trainer.backend.name.partition(":")[0])
    version = getattr(library, "__version__", "")
    # Without a header a column's number is no name, and only an option that was given counts.
    named = table.target if table.features or data.endswith(".npz") else None
    return {
        "command": shlex.join(["anyback", *command]),
        "data": {
            "path": data,
            "absolute": str(Path(data).absolute()) if Path(data).exists() and data not in SHIPPED else None,
            "fingerprint": fingerprint(table.x, table.y),
            "width": table.x.shape[1],
            "features": table.features,
            "target": options.target if named is None else named,
            "classes": task.classes,
        },
        "loss": task.loss,
        "outputs": task.outputs,
        "units": options.units,
        "parameters": trainer.layout.size,
        "optimizer": type(trainer.optimizer).__name__,
        "lr": trainer.lr,
        "options": options.stored(),
        "backend": {"name": trainer.backend.name, "version": version, "reason": trainer.backend.reason},
        "versions": {"anyback": __version__, "python": sys.version.split()[0]},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


class _HeldOut(Callback):
    """Refuse held-out rows that the loss or the network cannot take before training, not after."""

    def __init__(self, parts: Parts) -> None:
        self.rows = parts.held_out

    def on_fit_start(self, trainer: Trainer) -> None:
        """Measure them once."""
        if self.rows is not None:
            try:
                trainer.evaluate(*self.rows)
            except (TypeError, ValueError) as error:
                raise ValueError(f"held-out rows: {error}") from error


class _Lines(Callback):
    """Progress for a log file, where a bar would be garbage: a line on standard error every ten seconds."""

    def __init__(self, epochs: int, seconds: float = 10.0) -> None:
        self.epochs, self.seconds, self.last = epochs, seconds, time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Print a line if it is time."""
        if time.perf_counter() - self.last >= self.seconds:
            self.last = time.perf_counter()
            shown = ", ".join(
                f"{name} {value:.4g}" for name, value in logs.items() if name not in ("epoch", "lr")
            )
            note(f"epoch {trainer.epoch}/{self.epochs}: {shown}")
