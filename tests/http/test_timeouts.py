"""Clients that take too long.

The server looks at its deadlines about twice a second, so each fires within a second of its time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.asgi import Event, Journal, Receive, Scope, Send, body, read_body, read_events, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve

SHORT = 0.3
"""Seconds, for the timeout under test."""
LONG = 60.0
"""Seconds, for those that must not fire."""
LATEST = 2.0
"""Seconds after its time at which a timeout has to have fired, with room for a busy machine."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, await read_body(receive))


@contextmanager
def fires(seconds: float) -> Iterator[None]:
    """What happens inside takes `seconds`, and not much longer."""
    begun = time.monotonic()
    yield
    assert seconds <= time.monotonic() - begun + 0.01
    assert time.monotonic() - begun <= seconds + LATEST


def only(name: str) -> dict[str, float]:
    """The options for a short timeout `name`, the others long."""
    return {"timeout_keep_alive": LONG, "timeout_request_head": LONG, "timeout_request_body": LONG} | {name: SHORT}


def test_keep_alive_closes_an_idle_connection(serve: Serve) -> None:
    with serve(echo, **only("timeout_keep_alive")).connect() as client:
        for _ in range(2):
            client.send(GET)
            client.response()
        with fires(SHORT):
            assert client.ends()


def test_keep_alive_begins_anew_with_each_response(serve: Serve) -> None:
    with serve(echo, timeout_keep_alive=1.5).connect() as client:
        for _ in range(5):
            client.send(GET)
            client.response()
            assert client.is_silent(0.5)


def test_a_connection_that_sends_nothing_is_closed(serve: Serve) -> None:
    """Without an answer: there was no question. Each timeout that may be meant is short."""
    with serve(echo, timeout_keep_alive=SHORT, timeout_request_head=SHORT).connect() as client, fires(SHORT):
        assert client.ends()


@pytest.mark.http1("lines of a head")
@pytest.mark.parametrize("beginning", [b"G", GET[:-2], b"GET / HTTP/1.1\r\n"], ids=["byte", "fields", "line"])
def test_a_head_that_does_not_end_is_408(serve: Serve, beginning: bytes) -> None:
    server = serve(echo, **only("timeout_request_head"))
    with server.connect() as client:
        client.send(beginning)
        with fires(SHORT):
            assert client.response().status == 408
            assert client.ends()
    server.expect_problem()


@pytest.mark.http1("lines of a head")
def test_a_dripping_head_is_408_all_the_same(serve: Serve) -> None:
    """The time is for the whole head: bytes do not extend it."""
    server = serve(echo, **only("timeout_request_head"))
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n")
        with fires(SHORT):
            while client.is_silent(0.05):
                client.send_until_end(b"a: 1\r\n")
            assert client.response().status == 408
    server.expect_problem()


@pytest.mark.http1("lines of a head")
def test_a_second_head_that_does_not_end_is_408(serve: Serve) -> None:
    server = serve(echo, **only("timeout_request_head"))
    with server.connect() as client:
        client.send(GET)
        client.response()
        client.send(GET[:-2])
        assert client.response().status == 408
        assert client.ends()
    server.expect_problem()


def test_the_head_timeout_does_not_count_the_time_between_requests(serve: Serve) -> None:
    with serve(echo, **only("timeout_request_head")).connect() as client:
        client.send(GET)
        client.response()
        assert client.is_silent(1.5)
        client.send(GET)
        assert client.response().status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_stalls_is_408_and_a_disconnect(serve: Serve, chunked: bool) -> None:
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await read_events(receive))

    server = serve(app, **only("timeout_request_body"))
    with server.connect() as client:
        framing = (b"transfer-encoding", b"chunked") if chunked else (b"content-length", b"10")
        client.send(request(b"POST", headers=[framing]) + (b"5\r\nshort\r\n" if chunked else b"short"))
        with fires(SHORT):
            assert events.next()[-1] == {"type": "http.disconnect"}
            rest = client.read_to_end()
    assert not rest or rest.startswith((b"HTTP/1.1 408", b"HTTP/2 408"))
    server.expect_problem()


def test_a_body_that_drips_is_taken(serve: Serve) -> None:
    """The time is for a pause, not for the whole body."""
    with serve(echo, timeout_request_body=1.5).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"8")]))
        for _ in range(8):
            client.send(b"x")
            assert client.is_silent(0.4) or _ == 7
        assert client.response().body == b"x" * 8


def test_the_body_timeout_is_not_about_an_application_that_does_not_ask(serve: Serve) -> None:
    """While nobody receives, nothing is read, so nothing is missing."""
    waiting: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.add(None)
        await asyncio.sleep(1.5)
        await echo(scope, receive, send)

    with serve(app, **only("timeout_request_body")).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"5")]))
        waiting.next()
        client.send(b"hello")
        assert client.response().body == b"hello"


def test_no_timeout_is_about_a_response_that_takes_long(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start())
        for _ in range(3):
            await send(body(b"part", more=True))
            await asyncio.sleep(0.6)
        await send(body())

    options = {"timeout_keep_alive": 0.1, "timeout_request_head": 0.1, "timeout_request_body": 0.1}
    with serve(app, **options).connect() as client:
        client.send(GET)
        assert client.response().body == b"part" * 3


def test_a_pipelined_connection_is_not_idle(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.4)
        await respond(send)

    with serve(app, **only("timeout_keep_alive")).connect() as client:
        client.send(GET * 4)
        assert [client.response().body for _ in range(4)] == [b"ok"] * 4
