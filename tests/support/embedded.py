"""A server inside of the test's own process, as a program has it: an application, a thread, something to stop it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ferricorn import Server
from ferricorn.loops import loop_factory
from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.server import parse_address

QUIET: dict[str, Any] = {"port": 0, "log_level": "warning"}


class App:
    """Says hello, and journals its lifespan."""

    def __init__(self) -> None:
        self.lifespan: Journal[str] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send)
            return
        for _ in range(2):
            event = (await receive())["type"]
            self.lifespan.add(event)
            await send({"type": f"{event}.complete"})


def body_from(server: Server, index: int = 0) -> bytes:
    with Client.connect(parse_address(server.addresses[index])) as client:
        client.send(GET)
        return client.response().body


@contextlib.contextmanager
def in_thread(target: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=target)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()


def when_ready(server: Server, act: Callable[[], object]) -> contextlib.AbstractContextManager[threading.Thread]:
    """Does `act`, which has to stop the server, in a thread of its own as soon as the server serves."""

    def wait_and_act() -> None:
        try:
            assert server.ready.wait(DEADLINE)
            act()
        except BaseException:
            server.should_exit = True
            raise

    return in_thread(wait_and_act)


def run_async(loop: str, main: Any) -> Any:
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(main)
