"""Fixtures that people write to have a server in their tests, written here as they write them."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest

import ferricorn
from ferricorn import Config, Server
from tests.support import apps
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.embedded import run_async


@pytest.fixture
def thread_and_polling(loop: str) -> Iterator[str]:
    """What most have: a thread, and a loop that looks until the server says `started`."""
    server = Server(Config(apps.hello, host="127.0.0.1", port=0, loop=loop, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.fixture
def socket_first(loop: str) -> Iterator[str]:
    """The port is known, and clients may come, before the server has begun."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(Config(apps.hello, loop=loop, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.fixture
def thread_and_event(loop: str) -> Iterator[str]:
    """What we would write: no polling, and an end where the server cannot start."""
    server = Server(Config(apps.hello, port=0, loop=loop, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.ready.wait(DEADLINE)
    yield f"http://{server.addresses[0]}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.mark.parametrize("fixture", ["thread_and_polling", "socket_first", "thread_and_event"])
@pytest.mark.usefixtures("loop")
def test_a_fixture_with_a_thread(request: pytest.FixtureRequest, fixture: str) -> None:
    url: str = request.getfixturevalue(fixture)
    for _ in range(2):
        assert httpx.get(url, timeout=DEADLINE).text == "ok"


@asynccontextmanager
async def task_and_polling() -> AsyncIterator[str]:
    """As a fixture of pytest-asyncio or anyio has it: on the loop of the test itself."""
    server = Server(Config(apps.hello, port=0, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    yield f"http://{server.addresses[0]}"
    server.should_exit = True
    await task


def test_a_fixture_on_the_loop_of_the_test(loop: str) -> None:
    async def test() -> None:
        async with task_and_polling() as url, httpx.AsyncClient(timeout=DEADLINE) as client:
            responses = await asyncio.gather(*(client.get(url) for _ in range(5)))
            assert [response.text for response in responses] == ["ok"] * 5

    run_async(loop, test())


def serve_in_process(told: Connection, loop: str) -> None:
    """What the process of the next fixture runs."""

    class Telling(Server):
        def tell(self) -> None:
            assert self.ready.wait(DEADLINE)
            told.send(self.addresses[0])

    server = Telling(Config("tests.support.apps:hello", port=0, loop=loop, log_level="warning"))
    threading.Thread(target=server.tell).start()
    server.run()


def test_a_fixture_with_a_process(loop: str) -> None:
    context = multiprocessing.get_context("spawn")
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=serve_in_process, args=(told, loop))
    process.start()
    try:
        assert heard.poll(DEADLINE)
        assert httpx.get(f"http://{heard.recv()}", timeout=DEADLINE).text == "ok"
        process.terminate()
        process.join(DEADLINE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join(DEADLINE)
        heard.close()
        told.close()


@pytest.mark.parametrize("target", ["server.run", "ferricorn.run"])
def test_a_process_whose_target_is_run(target: str, tmp_path: Path) -> None:
    """A server is begun where it is unpickled."""
    options: dict[str, Any] = {"uds": str(tmp_path / "socket"), "log_level": "warning"}
    context = multiprocessing.get_context("spawn")
    if target == "server.run":
        process = context.Process(target=Server(Config("tests.support.apps:hello", **options)).run)
    else:
        process = context.Process(target=ferricorn.run, args=("tests.support.apps:hello",), kwargs=options)
    process.start()
    try:
        with connected(options["uds"]) as client:
            client.send(GET)
            assert client.response().body == b"ok"
        process.terminate()
        process.join(DEADLINE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join(DEADLINE)


def connected(path: str) -> Client:
    """A connection to a unix socket, as soon as somebody listens there."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with suppress(OSError):
            return Client.connect(path)
        time.sleep(0.01)
    raise AssertionError(f"nobody listens on {path}")


def test_a_fixture_that_is_used_twice_leaves_no_thread(loop: str) -> None:
    before = threading.active_count()
    for _ in range(3):
        server = Server(Config(apps.hello, port=0, loop=loop, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        assert server.ready.wait(DEADLINE)
        assert httpx.get(f"http://{server.addresses[0]}", timeout=DEADLINE).text == "ok"
        server.should_exit = True
        thread.join(DEADLINE)
    assert threading.active_count() == before
