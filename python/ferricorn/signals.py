"""Signals, and what hears them: a callback, or a loop that waits. Knows no server."""

from __future__ import annotations

import collections
import contextlib
import enum
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Final, Self

_TERMINATED: Final = 128 + signal.SIGTERM
"""What a shell reports for a program that SIGTERM has ended."""
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


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


class Inbox:
    """The signals that arrive while it is entered, for a loop that waits until its descriptor is readable.

    In a thread that is not the main one, none arrive; `wake` makes it readable there, too.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._seen: collections.deque[int] = collections.deque()
        self._readable, self._written = socket.socketpair()
        self._readable.setblocking(False)
        self._written.setblocking(False)

    def fileno(self) -> int:
        return self._readable.fileno()

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            self._written.send(b"\0")

    def take(self) -> list[int]:
        """What has arrived since the last time, in order."""
        with contextlib.suppress(BlockingIOError):
            self._readable.recv(4096)
        return [self._seen.popleft() for _ in range(len(self._seen))]

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._wakeup_before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        self._readable.close()
        self._written.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._seen.append(number)


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
