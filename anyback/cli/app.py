"""The typer application: commands, exit codes, and one line for every expected error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from anyback import __version__
from anyback.backends import BackendError
from anyback.callbacks import DivergenceError
from anyback.cli.options import CHOICES, expand_options
from anyback.interrupt import terminable

__all__ = ["App", "app", "command", "console", "note"]

_INPUT_ERRORS = (ValueError, TypeError, OSError, MemoryError, BackendError)


class App(TyperGroup):
    """The application. Exit codes: 0 success, 1 a failed run or check, 2 invalid input, else 128 + signal."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and report Ctrl-C in one line: recent versions of typer would exit silently."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(_print_error("interrupted", 130)) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line and exit; ``ctx.obj`` holds its arguments."""
        standalone = options.pop("standalone_mode", True)
        args = sys.argv[1:] if args is None else list(args)
        try:
            with terminable():
                code = super().main(args, *rest, **{**options, "standalone_mode": False, "obj": args})
        except _INPUT_ERRORS as error:
            code = _print_error(error, 2)
        except DivergenceError as error:
            code = _print_error(error, 1)
        except typer.Abort:
            code = _print_error("interrupted", 130)
        except Exception as error:
            # A usage error: its class belongs to click, or to the copy of click in recent versions of typer.
            if not hasattr(error, "format_message"):
                raise
            code = _print_error(_usage_message(error, args), 2)
        if standalone:
            sys.exit(code or 0)
        return code


def console() -> Any:
    """Return a console that prints results on standard output: coloured on a terminal, else plain text."""
    from rich.console import Console

    # Redirected output has no width; tables folded at 80 columns would be harder to parse.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


def note(message: str) -> None:
    """Print a message on standard error; a full disk or closed stream is ignored."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def _print_error(error: object, code: int) -> int:
    note("error: " + " ".join(str(error).split()))
    return code


def _usage_message(error: Any, args: Sequence[str]) -> str:
    message = str(error.format_message()).rstrip(".")
    value = _typed_value(getattr(getattr(error, "param", None), "opts", []), args)
    if value is not None and value not in message:
        message += f", got {value!r}"
    path = getattr(getattr(error, "ctx", None), "command_path", "anyback")
    return f"{message[:1].lower()}{message[1:]} (see '{path} --help')"


def _typed_value(names: Sequence[str], args: Sequence[str]) -> str | None:
    """Return the value typed for an option: recent versions of typer leave it out of their messages."""
    for i, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name in names:
            return value if equals else "".join(args[i + 1 : i + 2])
    return None


app = typer.Typer(
    cls=App,
    name="anyback",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def command(
    *examples: str,
    options: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    choices: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command, with its docstring as help and examples below.

    A parameter called ``options`` becomes the options of `Options`: all, or the named ones, with their own
    defaults or the given ones. The names in `choices`, keys of `CHOICES`, are listed at the end of the help.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        # Unwrapped: the docstring's line breaks would not fit terminals of other widths.
        paragraphs = [" ".join(paragraph.split()) for paragraph in (function.__doc__ or "").split("\n\n")]
        epilog = [f"[bold]{title}[/]: {', '.join(CHOICES[title])}" for title in choices]
        epilog += ["[bold]Examples[/]", *examples] if examples else []
        register_command = app.command(help="\n\n".join(paragraphs), epilog="\n\n".join(epilog) or None)
        registered: Callable[..., None] = register_command(expand_options(function, options, defaults or {}))
        return registered

    return register


def _print_version(requested: bool) -> None:
    if requested:
        print(f"anyback {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Train neural networks on NumPy, CuPy, PyTorch or JAX arrays.

    Start with [bold]anyback train digits[/]; [bold]anyback COMMAND --help[/] explains each command.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
