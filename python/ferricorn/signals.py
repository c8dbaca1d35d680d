"""Signals that ask the process to stop. Knows no server: it tells a callback."""

from __future__ import annotations

import contextlib
import enum
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

_TERMINATED: Final = 128 + signal.SIGTERM
"""What a shell reports for a program that SIGTERM has ended."""
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _Terminated(BaseException):
    """SIGTERM came while `unwinding`. No `except Exception` of an application takes it away."""


def _unwind(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


_DEFAULTS: Final = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, _unwind)


class Repeat(enum.Enum):
    """Which signals are raised again for the handlers that were there before."""

    ALL = enum.auto()
    """Every one: the program around the server goes on, and has to know. By the system's handlers it ends."""
    HANDLED = enum.auto()
    """Those that the program has a handler of its own for: without one, the server's end is all that they meant."""
    NONE = enum.auto()


@contextlib.contextmanager
def captured(on_signal: Callable[[int], None], repeat: Repeat) -> Iterator[None]:
    """Calls `on_signal` for each stop signal that arrives, in the main thread; elsewhere it does nothing.

    Afterwards the handlers that were there are restored, and the signals raised again for them as `repeat` says.
    By signal.signal, not loop.add_signal_handler: that one cannot tell which handler it replaces.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    capture = _Capture(on_signal)
    capture.begin()
    try:
        yield
    finally:
        capture.end()
    for number in reversed(capture.seen):
        if repeat is Repeat.ALL or (repeat is Repeat.HANDLED and capture.before(number) not in _DEFAULTS):
            signal.raise_signal(number)


class _Capture:
    """The handler that a server has for the stop signals. Several servers of one loop end in any order."""

    def __init__(self, on_signal: Callable[[int], None]) -> None:
        self._on_signal = on_signal
        self.replaced: dict[int, Any] = {}
        self.ended = False
        self.seen: list[int] = []

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.seen.append(number)
        self._on_signal(number)

    def begin(self) -> None:
        # None is a handler that was not installed from Python and cannot be put back from here.
        self.replaced = {number: signal.signal(number, self) or signal.SIG_DFL for number in STOP_SIGNALS}

    def end(self) -> None:
        """Restores what was there, unless a server that began later still has the signals: it will."""
        self.ended = True
        for number in self.replaced:
            now = signal.getsignal(number)
            if now is self or not isinstance(now, _Capture):
                signal.signal(number, self.before(number))

    def before(self, number: int) -> Any:
        """The handler that was there, but none of a server that has ended."""
        handler = self.replaced[number]
        while isinstance(handler, _Capture) and handler.ended:
            handler = handler.replaced[number]
        return handler


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Has SIGTERM end what is inside as an exception would: files are removed before the signal ends the process.

    For the main thread, and for as long as nothing inside captures the signal.
    """
    before = signal.signal(signal.SIGTERM, _unwind)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
        # Process 1 of a container is not ended by a signal that it has no handler for.
        sys.exit(_TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)
