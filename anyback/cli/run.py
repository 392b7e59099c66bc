"""One training run: from a data set to a run folder."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from anyback import __version__, losses, metrics, plots
from anyback.callbacks import Callback, Checkpoint, CSVLog, DivergenceError, EarlyStopping, JSONLog
from anyback.cli import run_dir as run_dirs
from anyback.cli.app import note
from anyback.cli.options import Options
from anyback.cli.report import print_summary
from anyback.cli.run_dir import CHECKPOINT, has_checkpoint, write_run_json
from anyback.cli.splits import Rows, Splits
from anyback.cli.task import Task, read_table
from anyback.interrupt import Interrupted
from anyback.layers import MLP
from anyback.tables import SHIPPED, Table
from anyback.training.data_checks import fingerprint
from anyback.training.trainer import Trainer

__all__ = ["resume", "train"]


def train(
    options: Options, data: str, out: Path | None, backend: str | None, quiet: bool, command: list[str]
) -> None:
    """Train a new network and write a run folder."""
    table = read_table(data, options.target, options.loss, drop=options.drop)
    duplicates = [name for name, count in Counter(table.features or ()).items() if count > 1]
    if duplicates:
        raise ValueError(f"{data}: column names must be unique, got {duplicates[0]!r} more than once")
    task = Task.from_table(table, options.loss)
    options = options.with_dropout(classification=task.classes is not None)
    splits = _split(table, task, options)
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
    trainer.check(table.x, task.encode(np.asarray(table.y)))  # errors count rows of the file, not of a split
    metadata = _metadata(options, data, table, task, trainer, command)
    _note_possible_header(data, table)
    _note_integer_classes(options, data, table)
    _note_target_scale(task, splits)
    with run_dirs.create(out, data) as run_dir:
        write_run_json(run_dir, metadata)
        _fit(trainer, task, splits, options, run_dir, metadata, quiet)


def resume(
    options: Options,
    typed: set[str],
    data: str | None,
    path: Path,
    backend: str | None,
    quiet: bool,
    command: list[str],
) -> None:
    """Resume a run from its newest intact checkpoint, by default with the same data."""
    run_dir = path if path.is_dir() else path.parent
    # A folder that is not a run folder is refused by open_run, and must stay untouched: no lock.
    with run_dirs.locked(run_dir) if has_checkpoint(run_dir) else nullcontext():
        run = run_dirs.open_run(path, backend, same_backend=True)
        if not run.metadata:
            raise ValueError(f"--resume {path} needs a run folder with a run.json")
        options = options.resumed(run.metadata["options"], typed, str(path))
        relative, absolute = run.data["path"], run.data.get("absolute")
        data = data or (absolute if absolute and Path(absolute).exists() else relative)
        table = read_table(data, options.target, options.loss, drop=options.drop)
        if fingerprint(table.x, table.y) != run.data["fingerprint"]:
            raise ValueError(
                f"{data} is not the training data of {path}, which was {relative}: its values differ"
            )
        if run.features and run.features != table.features:
            raise ValueError(
                f"{data} has other column names, or another order of columns, than the training data of "
                f"{path}: {', '.join(run.features)}"
            )
        splits = _split(table, run.task, options)
        _note_nothing_to_train(options, run.trainer)
        options = replace(options, epochs=max(options.epochs, run.trainer.epoch))
        metadata = _metadata(options, data, table, run.task, run.trainer, command)
        write_run_json(run_dir, metadata)
        if path.is_dir():  # else the user chose the checkpoint
            run_dirs.rename_damaged(run)
        _fit(run.trainer, run.task, splits, options, run_dir, metadata, quiet)


def _split(table: Table, task: Task, options: Options) -> Splits:
    return Splits.from_table(table, task, validation=options.validation, test=options.test, seed=options.seed)


def _fit(
    trainer: Trainer,
    task: Task,
    splits: Splits,
    options: Options,
    run_dir: Path,
    metadata: dict[str, Any],
    quiet: bool,
) -> None:
    """Train, then write the results and plots and print the summary."""
    bar = not quiet and sys.stderr.isatty() and trainer.epoch < options.epochs
    start = time.perf_counter()
    try:
        with _save_on_interrupt(trainer, options, run_dir, metadata, start):
            trainer.fit(
                *splits.training,
                epochs=options.epochs,
                batch_size=options.batch,
                validation_data=splits.validation,
                callbacks=_callbacks(run_dir, options, splits, lines=not quiet and not bar),
                verbose=int(bar),
            )
    except KeyboardInterrupt:
        # The trainer may be in the middle of a step; its checkpoint is always between two steps.
        hint = f"resume with {_resume_command(run_dir)}" if has_checkpoint(run_dir) else "nothing was saved"
        note(f"interrupted before the end of the batch, or while saving: {hint}")
        raise typer.Exit(130) from None
    except DivergenceError as error:
        if trainer.epoch:
            raise DivergenceError(f"{error}; the epochs before it are saved in {run_dir}") from error
        raise
    finally:
        if not has_checkpoint(run_dir):
            run_dirs.remove_unfinished(run_dir)
    ended = "stopped early" if trainer.epoch < options.epochs else "to the end"
    trainer.save(run_dir / CHECKPOINT)  # again: predictions now use the best weights
    metadata["training"] = _training_metadata(ended, trainer, start)
    metadata["figures"] = {
        name: {"rows": len(x), **trainer.evaluate(x, y)} for name, (x, y) in splits.by_name().items()
    }
    write_run_json(run_dir, metadata)
    try:
        _draw(trainer, task, splits, run_dir, metadata)
    except Exception as error:  # a failed plot must not hide the results of the run
        note(f"note: no plots for this run: {str(error).splitlines()[0]}")
    if quiet:
        print(run_dir)
    else:
        print_summary(metadata, str(run_dir))


@contextmanager
def _save_on_interrupt(
    trainer: Trainer, options: Options, run_dir: Path, metadata: dict[str, Any], start: float
) -> Iterator[None]:
    """Save a run that is interrupted after a batch, and exit."""
    try:
        yield
    except Interrupted as interrupted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is often sent twice, and saving is quick
        # At the end of an epoch the Checkpoint callback has saved and rotated already.
        trainer.save(run_dir / CHECKPOINT, keep=options.keep if trainer.batch else 1)
        metadata["training"] = _training_metadata("interrupted", trainer, start)
        write_run_json(run_dir, metadata)
        where = f"within epoch {trainer.epoch + 1}" if trainer.batch else f"after epoch {trainer.epoch}"
        note(f"interrupted {where}: resume with {_resume_command(run_dir)}")
        raise typer.Exit(128 + interrupted.number) from None


def _resume_command(run_dir: Path) -> str:
    return f"anyback train --resume {shlex.quote(str(run_dir))}"


def _callbacks(run_dir: Path, options: Options, splits: Splits, *, lines: bool) -> list[Callback]:
    callbacks: list[Callback] = [
        CSVLog(run_dir / "history.csv"),
        JSONLog(run_dir / "history.jsonl"),
        # Checkpoint formats its path: braces in the folder's name are escaped.
        Checkpoint(str(run_dir / CHECKPOINT).replace("{", "{{").replace("}", "}}"), keep=options.keep),
    ]
    if splits.test is not None:
        callbacks.append(_CheckTestRows(splits.test))
    if splits.validation is not None:
        callbacks.append(EarlyStopping("val_loss", options.patience))
    if lines:
        callbacks.append(_ProgressLines(options.epochs))
    return callbacks


def _note_possible_header(data: str, table: Table) -> None:
    """Print a note if the first row of data may be a header whose names are numbers."""
    if table.features or table.classes is None or table.y is None or not data.endswith((".csv", ".tsv")):
        return
    if np.count_nonzero(table.y == table.y[0]) == 1:
        name = table.classes[table.y[0]]
        note(f"note: {data} has no header, and only its first row has class {name!r}: is it a header?")


def _note_integer_classes(options: Options, data: str, table: Table) -> None:
    """Print a note if integer targets, which may be quantities, are used as classes."""
    if options.loss != "auto" or table.kind != "labels" or table.y is None or not Path(data).is_file():
        return
    names = table.classes or tuple(map(str, np.unique(table.y)))
    if len(names) > 2 and all(name.lstrip("-").isdecimal() for name in names):
        target = table.target or options.target or "the last column"
        note(
            f"note: target {target}: {len(names)} integers used as classes; "
            "--loss mean_squared_error for regression"
        )


def _note_target_scale(task: Task, splits: Splits) -> None:
    """Print a note if regression targets are far from the outputs of an untrained network."""
    if task.classes is not None:
        return
    mean, deviation = (float(np.abs(f(splits.training[1], axis=0)).max()) for f in (np.mean, np.std))
    if getattr(losses, task.loss).targets == "reals" and (mean > 10 or not 0.1 < deviation < 10):
        note(
            f"note: targets have mean {mean:.3g} and standard deviation {deviation:.3g}: "
            "scale them to about 0 and 1, and training is faster and more accurate"
        )


def _note_nothing_to_train(options: Options, trainer: Trainer) -> None:
    """Print a note, with the reason, if a resumed run has nothing left to train."""
    if trainer.epoch >= options.epochs:
        note(
            f"nothing left to train: {trainer.epoch} epochs done, {options.epochs} requested "
            "(--epochs is the total)"
        )
        return
    states = dict(trainer.train_state.callback_states)
    waited = states.get("EarlyStopping", {}).get("waited", 0)
    if waited > options.patience:
        note(
            f"nothing left to train: the validation loss has not improved for {waited} epochs, and "
            f"--patience is {options.patience}; to train longer, use --patience {waited} or more"
        )


def _draw(trainer: Trainer, task: Task, splits: Splits, run_dir: Path, metadata: dict[str, Any]) -> None:
    plots.curves(trainer.history, run_dir / "curves.png", loss=task.loss)
    split, (x, y) = list(splits.by_name().items())[-1]
    z = trainer.predict(x)
    if task.classes is not None:
        matrix = metrics.confusion_matrix(z, y)
        plots.confusion(matrix, task.classes, run_dir / "confusion_matrix.png", part=split)
    else:
        path = run_dir / "predicted_against_true.png"
        name = metadata["data"]["target"] or "target"
        plots.predicted_against_true(task.decode(z), y, path, name=name, part=split)


def _metadata(
    options: Options, data: str, table: Table, task: Task, trainer: Trainer, command: list[str]
) -> dict[str, Any]:
    """Return the content of run.json before training."""
    library = sys.modules.get(trainer.backend.name.partition(":")[0])
    version = getattr(library, "__version__", "")
    # Without a header, a column's index is not its name: only a --target that was given is stored.
    name = table.target if table.features or data.endswith(".npz") else None
    return {
        "command": shlex.join(["anyback", *command]),
        "data": {
            "path": data,
            "absolute": str(Path(data).absolute()) if Path(data).exists() and data not in SHIPPED else None,
            "fingerprint": fingerprint(table.x, table.y),
            "width": table.x.shape[1],
            "features": table.features,
            "target": options.target if name is None else name,
            "classes": task.classes,
        },
        "loss": task.loss,
        "outputs": task.outputs,
        "units": options.units,
        "parameters": trainer.layout.size,
        "optimizer": type(trainer.optimizer).__name__,
        "lr": trainer.lr,
        "options": asdict(options),
        "backend": {"name": trainer.backend.name, "version": version, "reason": trainer.backend.reason},
        "versions": {"anyback": __version__, "python": sys.version.split()[0]},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _training_metadata(ended: str, trainer: Trainer, start: float) -> dict[str, Any]:
    """Return the entry "training" of run.json."""
    return {
        "ended": ended,
        "epochs": trainer.epoch,
        "best_epoch": plots.best_epoch(list(trainer.history)),
        "updates": trainer.updates,
        "seconds": round(time.perf_counter() - start, 3),
    }


class _CheckTestRows(Callback):
    """Check before training, not after it, that the test rows fit the loss and the network."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def on_fit_start(self, trainer: Trainer) -> None:
        """Evaluate them once."""
        try:
            trainer.evaluate(*self.rows)
        except (TypeError, ValueError) as error:
            raise ValueError(f"held-out rows: {error}") from error


class _ProgressLines(Callback):
    """Print a line of progress every ten seconds where standard error is not a terminal."""

    def __init__(self, epochs: int, seconds: float = 10.0) -> None:
        self.epochs, self.seconds, self.last = epochs, seconds, time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Print a line if it is due."""
        if time.perf_counter() - self.last >= self.seconds:
            self.last = time.perf_counter()
            values = {name: value for name, value in logs.items() if name not in ("epoch", "lr")}
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            note(f"epoch {trainer.epoch}/{self.epochs}: {shown}")
