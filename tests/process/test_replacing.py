"""A worker that another one replaces while the server goes on: no client may notice (CON-09)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import pytest

from ferricorn import Config
from ferricorn._ferricorn import Listener
from ferricorn.interface import Application
from ferricorn.loops import loop_factory
from ferricorn.serving import Serving, bound
from tests.support.asgi import Gate, Receive, Scope, Send, body, respond, start
from tests.support.client import GET, Client, request
from tests.support.deadline import DEADLINE, SETTLED
from tests.support.server import parse_address

T = TypeVar("T")
VERSION = request(target=b"/version")


class Pair:
    """Two workers that share a listening socket, one event loop in a thread, and nothing else. A context manager."""

    def __init__(self, loop: str, **options: Any) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory(loop))
        self._config = Config("replacing:app", port=0, access_log=False, **options)
        self._started: Future[tuple[Listener, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=self._run, name="workers")
        self.gate = Gate()

    def __enter__(self) -> Self:
        self._thread.start()
        listener, self._loop = self._started.result(DEADLINE)
        self._address = parse_address(listener.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def connect(self) -> Client:
        return Client.connect(self._address)

    def retire(self, *, timeout: float = DEADLINE, patient: bool = True) -> Future[bool]:
        """Has the old worker drain; the result is that of `Serving.drain`. Returns once it has begun."""
        drained = asyncio.run_coroutine_threadsafe(self._old.drain(timeout, self._hurry, patient=patient), self._loop)
        self.do(_next_round)
        return drained

    def begin_new(self) -> None:
        self.do(self._begin_new)

    def do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns, on the workers' loop."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(DEADLINE)

    def hasten(self) -> None:
        self._loop.call_soon_threadsafe(self._old.hasten)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        self._ended, self._hurry = asyncio.Event(), asyncio.Event()
        listener = bound(self._config)[0]
        # As a worker process has it: a socket of its own, the same for the kernel.
        self._shared = Listener.bind(f"fd://{listener.fileno()}")
        self._workers: list[Serving] = []
        self._old = self._worker(b"old", listener)
        self._started.set_result((listener, asyncio.get_running_loop()))
        await self._ended.wait()
        for worker in self._workers:
            worker.close()

    async def _begin_new(self) -> None:
        self._worker(b"new", self._shared)

    def _worker(self, name: bytes, listener: Listener) -> Serving:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/version":
                await respond(send, name)
            else:
                await send(start(200))
                await send(body(b"begun", more=True))
                await self.gate.passed()
                await send(body(b""))

        worker = Serving(Application(app, "3.0"), self._config, [listener], {})
        self._workers.append(worker)
        return worker


async def _next_round() -> None:
    """Whatever was asked of the loop before has begun."""


@pytest.fixture
def pair(loop: str) -> Iterator[Pair]:
    with Pair(loop) as pair:
        yield pair


def test_an_idle_connection_is_served_once_more_and_told(pair: Pair) -> None:
    """Neither a client that has used its connection before nor one that has only opened it finds it closed."""
    with pair.connect() as used, pair.connect() as fresh:
        used.send(VERSION)
        assert used.response().header(b"connection") is None
        fresh.send(VERSION[:5])
        pair.begin_new()
        drained = pair.retire()
        assert not drained.done()
        fresh.send(VERSION[5:])
        used.send(VERSION)
        for client in (used, fresh):
            response = client.response()
            assert (response.body, response.header(b"connection")) == (b"old", b"close")
            # One that had not read this before its next request loses neither the response nor the end.
            client.send(VERSION)
            assert client.ends_in_order()
    assert drained.result(DEADLINE) is True


def test_whoever_connects_is_served_by_the_other(pair: Pair) -> None:
    """What waits in the backlog as well: the worker that goes leaves it alone."""
    pair.retire().result(DEADLINE)
    with pair.connect() as client:
        client.send(VERSION)
        pair.begin_new()
        response = client.response()
        assert (response.body, response.header(b"connection")) == (b"new", None)


def test_a_response_that_had_begun_is_not_the_last(pair: Pair) -> None:
    """Its head has promised that the connection stays."""
    with pair.connect() as client:
        client.send(GET)
        assert client.head().header(b"connection") is None
        assert client.chunk() == b"begun"
        drained = pair.retire()
        pair.gate.open()
        assert client.chunk() == b""
        client.read_exactly(2)
        client.send(VERSION)
        assert client.response().header(b"connection") == b"close"
        assert client.ends_in_order()
    assert drained.result(DEADLINE) is True


def test_what_is_pipelined_behind_the_last_response_is_not_begun(pair: Pair) -> None:
    with pair.connect() as client:
        client.send(VERSION)
        client.response()
        drained = pair.retire()
        client.send(VERSION + VERSION)
        assert client.response().header(b"connection") == b"close"
        assert client.ends_in_order()
    assert drained.result(DEADLINE) is True


def test_an_idle_connection_ends_at_its_keep_alive_timeout(loop: str) -> None:
    with Pair(loop, timeout_keep_alive=0.5) as pair, pair.connect() as client:
        client.send(VERSION)
        client.response()
        assert pair.retire().result(DEADLINE) is True
        assert client.ends_in_order()


def test_without_one_it_ends_at_the_graceful_timeout(loop: str) -> None:
    """And nothing counts as cut, where connections only idled."""
    with Pair(loop, timeout_keep_alive=0) as pair, pair.connect() as client:
        client.send(VERSION)
        client.response()
        assert pair.retire(timeout=0.5).result(DEADLINE) is True
        assert client.ends_in_order()


def test_a_stop_ends_the_patience(loop: str) -> None:
    with Pair(loop, timeout_keep_alive=0) as pair, pair.connect() as client:
        client.send(VERSION)
        client.response()
        drained = pair.retire()
        with pytest.raises(TimeoutError):
            drained.result(SETTLED)
        pair.hasten()
        assert drained.result(DEADLINE) is True
        assert client.ends_in_order()
