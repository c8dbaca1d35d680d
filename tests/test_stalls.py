"""What Python says of a blocked loop's thread, the line in the log, and what is left of a watch when it has ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ferricorn.stalls import LoopThread, log_stall
from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.blocking_apps import matching
from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.process import threads
from tests.support.server import Serve

T = TypeVar("T")


def elsewhere(work: Callable[[], T]) -> T:
    """What `work` returns on another thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(DEADLINE)


def test_the_stack_has_the_innermost_call_last() -> None:
    async def main() -> None:
        stack = elsewhere(LoopThread(asyncio.get_running_loop()).stack)
        assert stack is not None
        ours = [(function, line) for file, _, function, line in stack if file == __file__]
        assert ours[-2][0] == "main"
        assert ours[-1] == ("elsewhere", "return thread.submit(work).result(DEADLINE)")

    asyncio.run(main())


def test_a_deep_stack_is_cut_at_its_outer_end() -> None:
    def deep(thread: LoopThread, depth: int) -> list[str]:
        if depth:
            return deep(thread, depth - 1)
        return [function for *_, function, _ in elsewhere(thread.stack) or ()]

    async def main() -> None:
        functions = deep(LoopThread(asyncio.get_running_loop()), 200)
        assert len(functions) == 100
        assert functions[0] == "deep"
        assert "elsewhere" in functions

    asyncio.run(main())


def test_a_loop_that_does_not_run_is_not_blocked() -> None:
    loop = asyncio.new_event_loop()
    thread = LoopThread(loop)
    assert elsewhere(thread.stack) is None
    loop.close()


def test_a_stall_is_a_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("ferricorn"), "propagate", True)
    assert log_stall("100 % blocked")
    # More than once where a server has run before: caplog listens to a logger that did not propagate then, too.
    assert set(caplog.record_tuples) == {("ferricorn.error", logging.WARNING, "100 % blocked")}


def test_a_handler_that_another_thread_keeps_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logger = logging.getLogger("ferricorn.error")
    logger.addHandler(handler)
    try:
        handler.acquire()
        assert not elsewhere(lambda: log_stall("blocked"))
        handler.release()
        assert caplog.record_tuples == []
        # Its own thread may go on: the lock lets it in again.
        assert elsewhere(lambda: log_stall("blocked"))
    finally:
        logger.removeHandler(handler)


def caught() -> int:
    """The signals of this process that have a handler, as bits."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)
    assert match
    return int(match[1], 16)


async def keeps_lock(scope: Scope, receive: Receive, send: Send) -> None:
    """Blocks the loop, and with it every thread of Python."""
    matching()
    await respond(send)


async def sleeps(scope: Scope, receive: Receive, send: Send) -> None:
    time.sleep(1.0)  # noqa: ASYNC251
    await respond(send)


def test_servers_in_threads_of_one_process_do_not_share_a_signal(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    before = caught()
    servers = [serve(keeps_lock, stall_warning=stall_warning) for stall_warning in (0.1, 10.0, 10.0)]
    assert (caught() & ~before).bit_count() == 3
    assert servers[0].exchange(GET).status == 200
    # The lock was to be had again only afterwards: the first message has gone to standard error.
    for server in servers:
        # They have one logger.
        server.expect_problem("The event loop was blocked for ")
    assert re.search(r"^WARNING:  .* by matching in .*blocking_apps\.py:\d+ ", capfd.readouterr().err, re.MULTILINE)
    for server in servers:
        server.stop()
    assert caught() == before


def test_the_log_says_it_where_the_lock_is_free(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    server = serve(sleeps, stall_warning=0.1)
    assert server.exchange(GET).status == 200
    told: list[str] = []
    while not told or "The event loop was blocked for " not in told[-1]:
        told.append(server.log.next_problem())
    # Where the machine is so busy that a thread does not begin in time, it is written without the log.
    said = "".join([*told, capfd.readouterr().err])
    assert "has been blocked for " in said
    assert f" by sleeps in {__file__}:" in said
    assert "time.sleep(1.0)" in said


def test_the_thread_ends_with_its_server(serve: Serve) -> None:
    def watchdogs() -> int:
        return threads(os.getpid()).count("ferricorn-watch")

    def wait_until_there_are(count: int) -> None:
        deadline = time.monotonic() + DEADLINE
        while watchdogs() != count:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    wait_until_there_are(0)
    server = serve(sleeps, stall_warning=1.0)
    wait_until_there_are(1)
    server.stop()
    wait_until_there_are(0)
