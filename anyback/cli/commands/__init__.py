"""One module per command; ``anyback --help`` lists the commands in the order of these imports."""

# ruff: noqa: I001
from anyback.cli.commands import train
from anyback.cli.commands import evaluate
from anyback.cli.commands import predict
from anyback.cli.commands import backends
from anyback.cli.commands import gradcheck
from anyback.cli.commands import parity

__all__ = ["backends", "evaluate", "gradcheck", "parity", "predict", "train"]
