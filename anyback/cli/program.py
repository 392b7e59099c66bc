"""The program itself: its name, its version, and how a function becomes one of its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from anyback import __version__
from anyback.cli.door import Door

__all__ = ["app", "command"]

app = typer.Typer(
    cls=Door,
    name="anyback",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"anyback {__version__}")
        raise typer.Exit


def command(*examples: str) -> Callable[[Any], Any]:
    """Make a function a command, with its docstring as help and examples under it."""

    def make(function: Any) -> Any:
        # As they stand, the docstring's line ends would break the lines of a terminal of another width.
        paragraphs = [" ".join(paragraph.split()) for paragraph in (function.__doc__ or "").split("\n\n")]
        epilog = "\n\n".join(["[bold]Examples[/]", *examples]) if examples else None
        return app.command(help="\n\n".join(paragraphs), epilog=epilog)(function)

    return make


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train neural networks on NumPy, CuPy, PyTorch or JAX arrays.

    Start with [bold]anyback train digits[/]; [bold]anyback COMMAND --help[/] explains each command.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
