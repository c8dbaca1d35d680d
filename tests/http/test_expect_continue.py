"""`Expect: 100-continue` (RFC 9110 section 10.1.1)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asgi import Gate, Journal, Receive, Scope, Send, body, read_body, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve

EXPECT = (b"expect", b"100-continue")
HEAD = request(b"POST", headers=[EXPECT, (b"content-length", b"5")])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, await read_body(receive))


def test_http_12_100_on_the_first_receive(serve: Serve) -> None:
    called, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await gate.passed()
        await echo(scope, receive, send)

    with serve(app).connect() as client:
        client.send(HEAD)
        called.next()
        assert client.is_silent(0.1)
        gate.open()
        assert (client.head().status, client.is_silent(0.01)) == (100, True)
        client.send(b"hello")
        assert client.response().body == b"hello"


def test_http_12_the_100_comes_once(serve: Serve) -> None:
    with serve(echo).connect() as client:
        client.send(HEAD)
        assert client.head().status == 100
        client.send_each_byte(b"hello")
        response = client.response()
        assert (response.interim, response.body) == ((), b"hello")


def test_http_12_none_when_the_application_answers_first(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"too large", 413)

    with serve(app).connect() as client:
        client.send(HEAD)
        response = client.response()
        assert (response.interim, response.status) == ((), 413)


@pytest.mark.http1("streams are apart")
def test_http_12_the_connection_stays_unambiguous_after_an_early_answer(serve: Serve) -> None:
    """The client may send the body it announced, or another request: the server cannot know, so it closes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, scope["path"].encode(), 403)

    with serve(app).connect() as client:
        client.send(HEAD)
        assert client.response().body == b"/"
        client.send_until_end(b"GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")
        assert b"/smuggled" not in client.read_to_end()


def test_http_12_none_after_the_response_has_started(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"5")]))
        await send(body(more=True))
        await send(body(await read_body(receive)))

    with serve(app).connect() as client:
        client.send(HEAD)
        assert client.head().status == 200
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"


def test_http_12_none_when_the_body_came_along(serve: Serve) -> None:
    """RFC 9110 lets the server leave it out then; what counts is that the final response is right."""
    with serve(echo).connect() as client:
        client.send(HEAD + b"hello")
        assert client.response().body == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        request(b"POST", headers=[EXPECT, (b"content-length", b"0")]),
        request(headers=[EXPECT]),
        pytest.param(
            request(b"POST", headers=[EXPECT], body=b"hello", version=b"1.0"), marks=pytest.mark.http1("HTTP/1.0")
        ),
    ],
    ids=["empty body", "no body", "HTTP/1.0"],
)
def test_http_12_none_where_it_means_nothing(serve: Serve, data: bytes) -> None:
    response = serve(echo).exchange(data)
    assert (response.status, response.interim) == (200, ())


def test_http_12_in_any_case(serve: Serve) -> None:
    with serve(echo).connect() as client:
        client.send(request(b"POST", headers=[(b"Expect", b"100-Continue"), (b"content-length", b"5")]))
        assert client.head().status == 100
        client.send(b"hello")
        assert client.response().body == b"hello"


def test_http_12_from_a_cancelled_receive_too(serve: Serve) -> None:
    """The application has asked: that it gave up waiting changes nothing."""
    cancelled: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        cancelled.add(None)
        await echo(scope, receive, send)

    with serve(app).connect() as client:
        client.send(HEAD)
        assert client.head().status == 100
        cancelled.next()
        client.send(b"hello")
        response = client.response()
        assert (response.interim, response.body) == ((), b"hello")


def test_http_12_another_request_follows(serve: Serve) -> None:
    with serve(echo).connect() as client:
        for _ in range(2):
            client.send(HEAD)
            assert client.head().status == 100
            client.send(b"hello")
            assert client.response().body == b"hello"
        client.send(GET)
        assert client.response().body == b""


def test_another_expectation_is_refused(serve: Serve) -> None:
    server = serve(echo)
    with server.connect() as client:
        client.send(request(b"POST", headers=[(b"expect", b"200-maybe"), (b"content-length", b"5")]))
        assert client.response().status == 417
        assert client.exchange_ends()
    server.expect_problem("expect")
