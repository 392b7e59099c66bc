"""Ctrl-C and SIGTERM during training: the batch is finished first, so that the state is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn

__all__ = ["Interrupt", "Interrupted", "terminable", "terminate"]


class Interrupted(KeyboardInterrupt):
    """Training was interrupted after a complete batch: saved now, it resumes exactly.

    A second Ctrl-C does not wait and raises KeyboardInterrupt.

    Attributes
    ----------
    number : int
        The signal number; the exit code of the program is then ``128 + number``.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} after a whole batch")
        self.number = number


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Exit with the code of SIGTERM after cleaning up; training raises `Interrupted` instead.

    A signal handler, as Python's own is for Ctrl-C: ``signal.signal(signal.SIGTERM, terminate)``.
    """
    raise SystemExit(128 + number)


@contextmanager
def terminable() -> Iterator[None]:
    """Handle SIGTERM with `terminate`, unless the program has a handler or this is not the main thread."""
    # getsignal returns None for a handler that was not installed from Python: it could not be restored.
    before = signal.getsignal(signal.SIGTERM) if _in_main_thread() else None
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class Interrupt:
    """A context in which Ctrl-C and SIGTERM wait for `check`; a second Ctrl-C acts at once.

    Only the main thread receives signals: in other threads, and if the program has its own handler of
    Ctrl-C, nothing changes. SIGTERM waits only if `terminate` handles it.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise `Interrupted` if a signal was received."""
        if self.asked:
            number, self.asked = self.asked, 0
            raise Interrupted(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = self.asked or number

    def __enter__(self) -> Interrupt:
        if _in_main_thread():
            for number, usual in (
                (signal.SIGINT, signal.default_int_handler),
                (signal.SIGTERM, terminate),
            ):
                if signal.getsignal(number) is usual:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None:
            self.check()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
