"""When callbacks are called, in what order, and what they write."""

from __future__ import annotations

import csv
import json

import pytest

import anyback as ab
from anyback.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    GradientStatistics,
    JSONLog,
    Lambda,
)
from tests.callbacks.small_fits import X, Y, fit, trainer


class Log(Callback):
    """Write down every call."""

    def __init__(self, calls, name="", order=0):
        self.calls, self.name, self.order = calls, name, order

    def on_fit_start(self, trainer):
        self.calls.append(f"{self.name}start")

    def on_update(self, trainer):
        self.calls.append(f"{self.name}update {trainer.updates}")

    def on_epoch_end(self, trainer, logs):
        self.calls.append(f"{self.name}epoch {trainer.epoch}")

    def on_fit_end(self, trainer):
        self.calls.append(f"{self.name}end")


def test_calls_come_in_order():
    fit(trainer(), Log(calls := []), epochs=2)
    first, second = ([f"update {t}" for t in numbers] for numbers in ((1, 2, 3), (4, 5, 6)))
    assert calls == ["start", *first, "epoch 1", *second, "epoch 2", "end"]
    fit(trainer(), Log(calls := []), epochs=1, accumulate=2)
    assert calls == ["start", "update 1", "update 2", "epoch 1", "end"]


def test_order_decides_who_comes_first():
    calls = []
    fit(trainer(), Log(calls, "late ", 7), Log(calls, "b "), Log(calls, "c "), Log(calls, "a ", -1), epochs=1)
    assert [call[0] for call in calls if call.endswith("start")] == ["a", "b", "c", "l"]


def test_lambda_calls_functions():
    calls = []
    fit(
        trainer(),
        Lambda(
            on_fit_start=lambda t: calls.append("start"),
            on_update=lambda t: calls.append(t.updates),
            on_epoch_end=lambda t, logs: calls.append(logs["epoch"]),
            on_fit_end=lambda t: calls.append("end"),
        ),
        epochs=1,
    )
    assert calls == ["start", 1, 2, 3, 1.0, "end"]


def test_a_callback_can_stop_training():
    history = fit(trainer(), Lambda(on_epoch_end=lambda t, logs: setattr(t, "stop", t.epoch == 2)), epochs=9)
    assert len(history) == 2


def test_csv_and_json_logs_hold_the_history(tmp_path):
    run = trainer(metrics=["r2"])
    chain = CSVLog(tmp_path / "log.csv"), JSONLog(str(tmp_path / "log.jsonl")), GradientStatistics()
    fit(run, *chain, epochs=2, validation_split=0.25)
    fit(run, *chain, epochs=3, validation_split=0.25)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == run.history.rows
    assert len(rows) == 3
    assert "grad_norm.0.weight" in rows[0], "what another callback added is there"
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == run.history.rows


def test_csv_log_takes_figures_that_come_later(tmp_path):
    later = Lambda(on_epoch_end=lambda t, logs: logs.update(late=1.0) if t.epoch == 2 else None)
    fit(trainer(), CSVLog(tmp_path / "log.csv"), later, epochs=2)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        assert [row["late"] for row in csv.DictReader(file)] == ["", "1.0"]


def test_checkpoints_are_named_by_epoch_and_update(tmp_path):
    fit(trainer(), Checkpoint(tmp_path / "e{epoch:02d}-u{update}", every=2, updates=4), epochs=4)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["e01-u4", "e02-u6", "e02-u8", "e03-u12", "e04-u12"]
    assert ab.Trainer.load(tmp_path / "e02-u6", backend="numpy").epoch == 2


def test_a_checkpoint_holds_what_the_other_callbacks_did_in_its_epoch(tmp_path):
    stopping = EarlyStopping("loss", patience=9)
    fit(trainer(), Checkpoint(tmp_path / "run"), stopping, GradientStatistics(), epochs=2)
    loaded = ab.Trainer.load(tmp_path / "run", backend="numpy")
    assert dict(loaded.train_state.callback_states)["EarlyStopping"] == stopping.state()
    assert "grad_norm.0.bias" in loaded.history.last
    assert "best.w" in loaded.state()


def test_every_exit_ends_every_callback():
    def fail(trainer, logs):
        raise KeyError("mine")

    calls = []
    with pytest.raises(KeyError, match="mine"):
        fit(trainer(), Log(calls, "a "), Lambda(on_epoch_end=fail), Log(calls, "b "))
    assert calls[-2:] == ["a end", "b end"]
    assert "b epoch 1" not in calls


def test_a_method_that_nothing_calls_is_told_of():
    with pytest.warns(UserWarning, match="Mine.on_train_begin is not called by fit, which calls on_fit_"):
        type("Mine", (Callback,), {"on_train_begin": lambda self, trainer: None, "on_disk": True})


def test_a_fit_of_other_data_that_trains_nothing_says_so():
    run = trainer()
    fit(run, epochs=2)
    fit(run, epochs=2)
    with pytest.warns(UserWarning, match="epochs=2 is the total, and 2 are done, with other data: nothing"):
        run.fit(X + 1.0, Y, epochs=2, verbose=0)
