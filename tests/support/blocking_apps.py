"""An application that blocks its event loop, in one way for each path.

Most of them wait for the file in the environment's RELEASE: they block for as long as the test likes. A comment marks
the lines that block.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.support.asgi import Receive, Scope, Send, respond

RELEASE = Path(os.environ.get("RELEASE", "/nonexistent"))


CATASTROPHIC = r"(a+)+$"


def _letters() -> int:
    """How many letters keep the expression busy for a second or two: each doubles the time."""
    letters, spent = 12, 0.0
    while spent < 0.03:
        letters += 1
        begun = time.thread_time()
        re.match(CATASTROPHIC, "a" * letters + "b")
        spent = time.thread_time() - begun
    return letters + 5


LETTERS = _letters()


def line_of(comment: str) -> str:
    """A regular expression for the numbers of the lines with this comment."""
    lines = Path(__file__).read_text().splitlines()
    numbers = [str(number) for number, line in enumerate(lines, 1) if line.endswith(f"# {comment}")]
    return f"(?:{'|'.join(numbers)})"


def sleeping() -> None:
    """In a system call that gives the interpreter lock away."""
    RELEASE.open().close()  # sleeping


def computing() -> None:
    """In Python code. Ends when the file is written to, not when it is there."""
    with open(os.open(RELEASE, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        while not file.read(1):  # computing
            sum(range(10_000))  # computing


def locking() -> None:
    """In a system call that keeps the interpreter lock."""
    python = ctypes.PyDLL(None)
    os.close(python.open(os.fsencode(RELEASE), os.O_RDONLY))  # locking


def matching() -> None:
    """In a catastrophic regular expression, which keeps the lock for a second or two of the processor."""
    re.match(CATASTROPHIC, "a" * LETTERS + "b")  # matching


def logging_() -> None:
    """In a log handler."""

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            RELEASE.open().close()  # logging

    handler = Stuck()
    log = logging.getLogger("ferricorn")
    log.addHandler(handler)
    log.warning("written to a handler that gets stuck")
    log.removeHandler(handler)


def taking_signals() -> None:
    """Gives every signal that has no fixed meaning a handler of its own, then keeps the lock."""

    def handle(number: int, frame: FrameType | None) -> None:
        print(f"signal {number}", flush=True)

    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        signal.signal(number, handle)
    locking()


async def locking_elsewhere() -> None:
    """In a thread that computes and keeps the lock."""
    # The first call makes the thread, and would have the loop wait for it to begin.
    await asyncio.to_thread(int)
    await asyncio.to_thread(matching)


BLOCKING = {
    "/sleeping": sleeping,
    "/computing": computing,
    "/locking": locking,
    "/matching": matching,
    "/logging": logging_,
    "/taking_signals": taking_signals,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/awaiting":
        await asyncio.sleep(float(scope["query_string"]))
    elif scope["path"] == "/locking_elsewhere":
        await locking_elsewhere()
    elif scope["path"] in BLOCKING:
        BLOCKING[scope["path"]]()
    await respond(send)


async def with_faulthandler(scope: Scope, receive: Receive, send: Send) -> None:
    """Uses faulthandler itself: SIGUSR1 has it write to standard output."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, file=sys.stdout)
    await app(scope, receive, send)


async def slow_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Blocks the loop before the server serves."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    await receive()
    time.sleep(float(os.environ["START_SECONDS"]))  # noqa: ASYNC251
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
