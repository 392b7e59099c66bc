"""The history, and what fit displays."""

from __future__ import annotations

import re

import pytest

import anyback as ab
from anyback.callbacks import Lambda
from tests.training.trainers import classifier, quiet


def test_history_reads_like_a_table(blobs):
    trainer = classifier(metrics=["accuracy"], l2=1e-3)
    history = quiet(trainer, *blobs, epochs=2, validation_split=0.2)
    assert history is trainer.history
    assert history.names == ["epoch", "loss", "accuracy", "penalty", "val_loss", "val_accuracy", "lr"]
    assert [row["loss"] for row in history] == history["loss"]
    assert history.last == history.rows[-1]
    assert all(type(v) is (int if k == "epoch" else float) for row in history for k, v in row.items())
    with pytest.raises(KeyError, match="val_loss"):
        history["f1"]
    assert ab.History().last == {} and repr(ab.History()) == "<History of 0 epochs>"
    assert re.fullmatch(r"<History of 2 epochs, the last: loss .*, lr \S+>", repr(history))


def test_verbose_is_silent_a_bar_or_a_line_an_epoch(blobs, capsys):
    quiet(classifier(), *blobs, epochs=2)
    assert capsys.readouterr() == ("", "")
    trainer = classifier(metrics=["accuracy"])
    trainer.fit(*blobs, epochs=2, verbose=2)
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(":")[0] for line in out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert f"loss {trainer.history.last['loss']:.4g}, accuracy" in out
    trainer.fit(*blobs, epochs=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "numpy float64" in err and "9/9" in err and "accuracy=" in err
    trainer.fit(*blobs, epochs=3)
    assert capsys.readouterr() == ("", "epochs=3 is the total: 3 are done already\n")


def test_figures_that_a_callback_adds_enter_the_history(blobs):
    quiet(
        trainer := classifier(),
        *blobs,
        callbacks=[Lambda(on_epoch_end=lambda _, logs: logs.update(extra=1.5))],
    )
    assert trainer.history["extra"] == [1.5]
