"""What blocks the event loop, as Python sees it, and the log line about it.

When the loop is blocked is the native worker's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Final, TypeAlias

from ferricorn.logging import error_log as log

Frame: TypeAlias = tuple[str, int | None, str, str | None]
"""A call: (file, line, function, text of the line)."""

_MOST_FRAMES: Final = 100
_HANDLER_SECONDS: Final = 0.1
"""How long another thread may keep a log handler to itself before it counts as stuck."""


class LoopThread:
    """The thread that makes it, which runs `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ident = threading.get_ident()

    def stack(self) -> list[Frame] | None:
        """What the thread is in, the innermost call last. None where the loop does not run. For other threads."""
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 (documented, for purposes such as this)
        if frame is None or not self._loop.is_running():
            return None
        summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_MOST_FRAMES)
        return [(each.filename, each.lineno, each.name, each.line) for each in reversed(summary)]


def log_stall(message: str) -> bool:
    """Logs a warning, unless a handler is stuck in another thread: what blocks the loop may well be a log handler."""
    with contextlib.ExitStack() as held:
        for handler in _handlers(log):
            if handler.lock is not None:
                if not handler.lock.acquire(timeout=_HANDLER_SECONDS):
                    return False
                held.callback(handler.lock.release)
        log.warning("%s", message)
        return True


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """Those that see what is logged with `logger`."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
