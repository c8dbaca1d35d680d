"""`await server.serve()` in an event loop that does other things too, and two servers in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from types import FrameType
from typing import Any

import pytest

from ferricorn import Config, Server, StartupError
from ferricorn.loops import loop_factory
from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.embedded import QUIET, App, body_from, in_thread, run_async
from tests.support.server import parse_address

LIFE = ["lifespan.startup", "lifespan.shutdown"]


class Problem(Exception):
    """What a task beside the server raises."""


class Slow(App):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        self.asked.set()
        await self.may_answer.wait()
        await respond(send)


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which a request has been sent."""
    address = parse_address(server.addresses[0])
    assert isinstance(address, tuple)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(GET)
    try:
        yield reader
    finally:
        writer.close()


async def in_task_group(*work: Coroutine[Any, Any, object]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


async def refuses(server: Server) -> bool:
    try:
        async with connected(server):
            return False
    except ConnectionRefusedError:
        return True


def test_gather_with_what_stops_it(loop: str) -> None:
    app = App()
    server = Server(Config(app, **QUIET))

    async def ask_and_stop() -> bytes:
        await server.wait_started()
        body = await asyncio.to_thread(body_from, server)
        server.should_exit = True
        return body

    async def main() -> tuple[None, bytes]:
        return await asyncio.gather(server.serve(), ask_and_stop())

    assert list(run_async(loop, main())) == [None, b"ok"]
    assert app.lifespan.take(2) == LIFE


def test_a_task_group_in_which_a_sibling_raises(loop: str) -> None:
    """The group cancels the server: what runs is cut, and the application is shut down."""
    app = Slow()
    server = Server(Config(app, port=0, log_level="critical"))

    async def fail() -> None:
        await server.wait_started()
        async with connected(server):
            await app.asked.wait()
            raise Problem

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as raised:
            await in_task_group(server.serve(), fail())
        assert isinstance(raised.value.exceptions[0], Problem)
        assert len(raised.value.exceptions) == 1
        assert await refuses(server)

    run_async(loop, main())
    assert app.lifespan.take(2) == LIFE


def test_a_task_group_whose_server_cannot_start(loop: str) -> None:
    ended = Journal[str]()

    async def sibling() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.add("cancelled")

    async def main() -> None:
        server = Server(Config("no_such_module:app", port=0, log_level="critical"))
        with pytest.raises(ExceptionGroup) as raised:
            await in_task_group(sibling(), server.serve())
        assert isinstance(raised.value.exceptions[0], StartupError)

    run_async(loop, main())
    assert ended.next() == "cancelled"


def test_the_siblings_of_a_server_that_stops_go_on(loop: str) -> None:
    """A graceful stop is no failure: the request that runs ends, and so does the task beside it."""
    app = Slow()
    server = Server(Config(app, **QUIET))
    bodies: list[bytes] = []

    async def ask() -> None:
        await server.wait_started()
        async with connected(server) as reader:
            await app.asked.wait()
            server.should_exit = True
            while not await refuses(server):
                await asyncio.sleep(0)
            app.may_answer.set()
            bodies.append((await reader.read())[-2:])

    async def main() -> None:
        await in_task_group(server.serve(), ask())

    run_async(loop, main())
    assert bodies == [b"ok"]
    assert app.lifespan.take(2) == LIFE


def test_a_timeout_around_the_server(loop: str) -> None:
    app = App()

    async def main() -> None:
        server = Server(Config(app, **QUIET))
        timeout = asyncio.timeout(None)

        async def expire() -> None:
            await server.wait_started()
            timeout.reschedule(asyncio.get_running_loop().time())

        expiring = asyncio.create_task(expire())
        with pytest.raises(TimeoutError):
            async with timeout:
                await server.serve()
        await expiring

    run_async(loop, main())
    assert app.lifespan.take(2) == LIFE


@pytest.mark.filterwarnings("ignore:.*TestClient")
def test_in_a_task_group_of_anyio(loop: str) -> None:
    """Its cancellation comes again and again until the task ends: there is no time for a lifespan shutdown then."""
    import anyio

    app = App()

    async def main() -> None:
        stopped, cancelled = (Server(Config(app, **QUIET)) for _ in range(2))
        async with anyio.create_task_group() as group:
            group.start_soon(stopped.serve)
            await stopped.wait_started()
            stopped.should_exit = True
        assert app.lifespan.take(2) == LIFE
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled.serve)
            await cancelled.wait_started()
            group.cancel_scope.cancel()
        assert await refuses(cancelled)

    run_async(loop, main())
    assert app.lifespan.next() == "lifespan.startup"


def test_asyncio_run_of_serve(loop: str) -> None:
    app = App()
    server = Server(Config(app, **QUIET))

    def stop() -> None:
        assert server.ready.wait(DEADLINE)
        server.should_exit = True

    with in_thread(stop):
        run_async(loop, server.serve())
    assert app.lifespan.take(2) == LIFE


def test_two_servers_on_one_loop(loop: str) -> None:
    """Each with an application and an end of its own."""

    async def main() -> None:
        apps = App(), App()
        first, second = servers = [Server(Config(app, **QUIET)) for app in apps]
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        for server in servers:
            await server.wait_started()
        assert [await asyncio.to_thread(body_from, server) for server in servers] == [b"ok", b"ok"]
        first.should_exit = True
        await tasks[0]
        assert await refuses(first)
        assert await asyncio.to_thread(body_from, second) == b"ok"
        second.should_exit = True
        await tasks[1]
        assert [app.lifespan.take(2) for app in apps] == [LIFE, LIFE]

    run_async(loop, main())


@pytest.mark.parametrize("ended_before", [None, 0, 1])
def test_a_signal_stops_every_server_of_the_loop(loop: str, ended_before: int | None) -> None:
    """Also where one of them has ended before, in whatever order; then it reaches the program's own handler."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    async def main() -> None:
        servers = [Server(Config(App(), **QUIET)) for _ in range(3)]
        tasks = []
        for server in servers:
            tasks.append(asyncio.create_task(server.serve()))
            await server.wait_started()
        if ended_before is not None:
            servers[ended_before].should_exit = True
            await tasks[ended_before]
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE)

    before = signal.signal(signal.SIGTERM, note)
    try:
        run_async(loop, main())
        assert signal.getsignal(signal.SIGTERM) is note
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_the_handlers_of_servers_that_end_in_the_order_of_their_start_are_restored(loop: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def main() -> None:
        servers = [Server(Config(App(), **QUIET)) for _ in range(2)]
        tasks = []
        for server in servers:
            tasks.append(asyncio.create_task(server.serve()))
            await server.wait_started()
        for server, task in zip(servers, tasks, strict=True):
            server.should_exit = True
            await task

    run_async(loop, main())
    # asyncio.Runner puts SIGINT's handler back by itself.
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_server_on_the_loop_and_one_in_a_thread(loop: str) -> None:
    async def main() -> None:
        here, there = (Server(Config(App(), loop=loop, **QUIET)) for _ in range(2))
        serving = asyncio.create_task(here.serve())
        running = asyncio.create_task(asyncio.to_thread(there.run))
        for server in (here, there):
            await server.wait_started()
        # Asked from the loop itself, which serves the one and waits for the other.
        for server in (here, there):
            async with connected(server) as reader:
                assert (await reader.readuntil(b"ok"))[-2:] == b"ok"
        here.should_exit = there.should_exit = True
        await asyncio.gather(serving, running)

    run_async(loop, main())


def test_run_until_complete_on_a_loop_that_is_named_too(loop: str) -> None:
    own = loop_factory(loop)()
    server = Server(Config(App(), loop=own, **QUIET))

    async def stop() -> None:
        await server.wait_started()
        assert await asyncio.to_thread(body_from, server) == b"ok"
        server.should_exit = True

    stopping = own.create_task(stop())
    own.run_until_complete(server.serve())
    own.run_until_complete(stopping)
    own.run_until_complete(own.shutdown_default_executor())
    own.close()
