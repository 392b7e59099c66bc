"""Where the program meets its user: every foreseeable error becomes one line, here and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from anyback import __version__
from anyback.backends import BackendError
from anyback.callbacks import DivergenceError
from anyback.interrupt import terminable

__all__ = ["App", "app", "command", "console", "fail", "note"]

_WRONG_INPUT = (ValueError, TypeError, OSError, MemoryError, BackendError)


class App(TyperGroup):
    """The whole program: 0 if it worked, 1 if a run failed, 2 for wrong input, else 128 + the signal."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; newer versions of typer would make an exit without a word of Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(_fail("interrupted", 130)) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line and exit; ``ctx.obj`` holds its arguments."""
        standalone = options.pop("standalone_mode", True)
        args = sys.argv[1:] if args is None else list(args)
        try:
            with terminable():
                code = super().main(args, *rest, **{**options, "standalone_mode": False, "obj": args})
        except _WRONG_INPUT as error:
            code = _fail(error, 2)
        except DivergenceError as error:
            code = _fail(error, 1)
        except typer.Abort:
            code = _fail("interrupted", 130)
        except Exception as error:
            # A usage error: its class belongs to click, or to the copy of click in newer versions of typer.
            if not hasattr(error, "format_message"):
                raise
            code = _fail(_usage(error, args), 2)
        if standalone:
            sys.exit(code or 0)
        return code


def console() -> Any:
    """Return what prints results on standard output: coloured on a terminal, else plain text."""
    from rich.console import Console

    # Without a terminal there is no width to keep to, and a table folded at 80 is harder to read by programs.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


def note(message: str) -> None:
    """Print a message, which is no result, on standard error; where it cannot be read, nothing is lost."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    """Refuse wrong input with a message that names it."""
    raise ValueError(message)


def _fail(error: object, code: int) -> int:
    note("error: " + " ".join(str(error).split()))
    return code


def _usage(error: Any, args: Sequence[str]) -> str:
    message = str(error.format_message()).rstrip(".")
    value = _typed(getattr(getattr(error, "param", None), "opts", []), args)
    if value is not None and value not in message:
        message += f", got {value!r}"
    path = getattr(getattr(error, "ctx", None), "command_path", "anyback")
    return f"{message[:1].lower()}{message[1:]} (see '{path} --help')"


def _typed(names: Sequence[str], args: Sequence[str]) -> str | None:
    """Return the value that was typed for an option, which newer versions of typer leave out."""
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
