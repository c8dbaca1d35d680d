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
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        on_signal(number)

    # None is a handler that was not installed from Python and cannot be put back from here.
    before: dict[int, Any] = {n: signal.signal(n, handle) or signal.SIG_DFL for n in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in reversed(seen):
        if repeat is Repeat.ALL or (repeat is Repeat.HANDLED and before[number] not in _DEFAULTS):
            signal.raise_signal(number)


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
