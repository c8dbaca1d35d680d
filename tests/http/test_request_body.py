"""How a request's body reaches the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, read_body, read_events, respond, start
from tests.support.client import GET, Client, chunked, request
from tests.support.server import Serve

DISCONNECT = {"type": "http.disconnect"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, await read_body(receive))


class Events(Journal[list[Event]]):
    """An application that notes all events up to the end of the body, and answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = await read_events(receive)
        self.add(events)
        if events[-1] != DISCONNECT:
            await respond(send)


@pytest.fixture(params=["whole", "bytewise", pytest.param("tailed", marks=pytest.mark.http1("pipelining"))])
def deliver(request: pytest.FixtureRequest) -> Callable[[Client, bytes], None]:
    """Sends a request at once, byte by byte, or with the next one behind it."""
    ways: dict[str, Callable[[Client, bytes], None]] = {
        "whole": lambda client, data: client.send(data),
        "bytewise": lambda client, data: client.send_each_byte(data),
        "tailed": lambda client, data: client.send(data + GET),
    }
    return ways[request.param]


def test_http_01_both_keys_are_always_there(serve: Serve) -> None:
    events = Events()
    server = serve(events)
    server.exchange(GET)
    server.exchange(request(b"POST", body=b"abc"))
    for received in events.take(2):
        for event in received:
            assert set(event) == {"type", "body", "more_body"}
            assert type(event["more_body"]) is bool


BODIES = [
    ("content-length", request(b"POST", body=b"hello"), b"hello"),
    ("no framing", request(b"POST"), b""),
    ("length of nothing", request(b"POST", headers=[(b"content-length", b"0")]), b""),
    ("one chunk", request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=chunked(b"hello")), b"hello"),
    (
        "chunks",
        request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=chunked(b"a" * 20, b"b")),
        b"a" * 20 + b"b",
    ),
    ("no chunk", request(b"POST", headers=[(b"Transfer-Encoding", b"Chunked")], body=chunked()), b""),
    ("GET with a body", request(b"GET", body=b"hello"), b"hello"),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_http_02_one_last_event(
    serve: Serve, deliver: Callable[[Client, bytes], None], data: bytes, expected: bytes
) -> None:
    events = Events()
    with serve(events).connect() as client:
        deliver(client, data)
        assert client.response().status == 200
    received = events.next()
    assert b"".join(event["body"] for event in received) == expected
    assert [event["more_body"] for event in received] == [True] * (len(received) - 1) + [False]


def test_http_02_streamed_while_it_arrives(serve: Serve) -> None:
    """Each part is handed over before the next one is sent."""
    parts: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            parts.add(await receive())
        await respond(send)

    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"6")]))
        for part, more in ((b"ab", True), (b"cd", True), (b"ef", False)):
            client.send(part)
            assert parts.next() == {"type": "http.request", "body": part, "more_body": more}
        client.response()


@pytest.mark.parametrize(
    ("size", "is_late"),
    [(size, is_late) for size in (1, 255, 256, 257, 16_384, 16_385, 300_000) for is_late in (False, True)]
    + [(2_100_000, False)],
)
def test_http_02_bytes_of_any_size_come_as_they_were_sent(serve: Serve, size: int, is_late: bool) -> None:
    """Whether the application waits for them, or asks (`is_late`) when they have been sent."""
    called: Journal[None] = Journal()
    sent_all = Gate()
    bodies: Journal[bytes] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        if is_late:
            await sent_all.passed()
        bodies.add(await read_body(receive))
        await respond(send)

    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % size)]))
        called.next()
        for at in range(0, size, 70_001):
            client.send(body[at : at + 70_001])
        sent_all.open()
        assert client.response().status == 200
    assert bodies.next() == body


def test_http_02_bodyless_requests_give_one_event(serve: Serve) -> None:
    events = Events()
    serve(events).exchange(GET)
    assert events.next() == [{"type": "http.request", "body": b"", "more_body": False}]


CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    "framed",
    [
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"05\r\nhello\r\n006\r\n world\r\n000\r\n\r\n",
        b'b;name=value;quoted="a;b"\r\nhello world\r\n0;last\r\n\r\n',
        b"B\r\nhello world\r\n0\r\nx-trailer: 1\r\nanother: 2\r\n\r\n",
    ],
    ids=["chunks", "leading zeros", "extensions", "trailers"],
)
def test_http_03_chunked_framing_is_removed(
    serve: Serve, deliver: Callable[[Client, bytes], None], framed: bytes
) -> None:
    with serve(echo).connect() as client:
        deliver(client, request(b"POST", headers=[CHUNKED], body=framed))
        assert client.response().body == b"hello world"


def test_http_03_trailers_have_no_home(serve: Serve) -> None:
    scopes: Journal[Scope] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        scopes.add(scope)
        await respond(send)

    serve(app).exchange(request(b"POST", headers=[CHUNKED], body=b"1\r\na\r\n0\r\nhidden: 1\r\n\r\n"))
    assert b"hidden" not in dict(scopes.next()["headers"])


@pytest.mark.parametrize("data", [request(b"POST", body=b"abc"), GET], ids=["body", "no body"])
def test_http_04_body_is_bytes(serve: Serve, data: bytes) -> None:
    events = Events()
    serve(events).exchange(data)
    assert [type(event["body"]) for event in events.next()] == [bytes]


@pytest.mark.parametrize(
    "beginning",
    [
        request(b"POST", headers=[(b"content-length", b"10")]) + b"short",
        request(b"POST", headers=[CHUNKED]) + b"a\r\nshort",
        request(b"POST", headers=[CHUNKED]) + b"5\r\nshort\r\n",
    ],
    ids=["content-length", "in a chunk", "between chunks"],
)
def test_http_05_a_truncated_body_is_a_disconnect(serve: Serve, beginning: bytes) -> None:
    events = Events()
    with serve(events).connect() as client:
        client.send(beginning)
        client.half_close()
        received = events.next()
    assert received[-1] == DISCONNECT
    assert all(event["more_body"] for event in received[:-1])


@pytest.mark.http1("chunks")
@pytest.mark.parametrize(
    "garbage",
    [b"5\r\nshort\r\nxyz\r\n", b"5\r\nshortXX", b"-1\r\n", b"\r\n", b"5 \nshort", b"FFFFFFFFFFFFFFFFF\r\n"],
    ids=["no size", "no end of chunk", "negative", "empty size", "bare LF", "too large"],
)
def test_http_05_broken_framing_is_a_disconnect(serve: Serve, garbage: bytes) -> None:
    """Found after the application was called: it must not take what came for a whole body."""
    events = Events()
    server = serve(events)
    with server.connect() as client:
        client.send(request(b"POST", headers=[CHUNKED]) + b"2\r\nok\r\n" + garbage)
        assert events.next()[-1] == DISCONNECT
        assert client.response().status == 400
        assert client.ends()
    server.expect_problem("chunk")


def test_http_05_a_pause_in_the_body_is_a_disconnect(serve: Serve) -> None:
    events = Events()
    server = serve(events, timeout_request_body=0.1)
    with server.connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"10")]) + b"short")
        assert events.next()[-1] == DISCONNECT
        client.read_to_end()
    server.log.remaining_problems()


def test_http_06_receive_blocks_after_the_body(serve: Serve) -> None:
    """Until the response ends: Starlette's request listener relies on it."""
    seen: Journal[Event] = Journal()
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await gate.passed()
        assert not waiting.done()
        await respond(send)
        seen.add(await waiting)

    with serve(app).connect() as client:
        client.send(request(b"POST", body=b"abc"))
        assert client.is_silent(0.1)
        assert seen.is_empty()
        gate.open()
        assert client.response().status == 200
        assert seen.next() == DISCONNECT


def test_http_10_an_unread_body_does_not_spoil_the_next_request(serve: Serve) -> None:
    """Either it is read away, or the connection closes after the response: the body is never taken for a request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, scope["path"].encode())

    smuggled = b"GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n"
    with serve(app).connect() as client:
        client.send(request(b"POST", b"/first", body=smuggled) + request(target=b"/second"))
        assert client.response().body == b"/first"
        assert client.response().body == b"/second"


@pytest.mark.parametrize("size", [1_000, 100_000, 10_000_000])
def test_http_10_an_unread_body_still_being_sent(serve: Serve, size: int) -> None:
    """The client can read its answer though it has not sent all: it is not reset before that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"unread", 403)

    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % size)]))
        client.send_until_end(bytes(size))
        assert client.response().status == 403


def test_http_11_an_answer_before_the_end_of_the_body(serve: Serve) -> None:
    """The response comes while the body is still being sent, and the rest of the body still arrives."""
    bodies: Journal[bytes] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        await send(start(200, [(b"content-length", b"6")]))
        await send({"type": "http.response.body", "body": first["body"], "more_body": True})
        rest = await read_body(receive)
        bodies.add(rest)
        await send({"type": "http.response.body", "body": rest})

    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"6")]) + b"abc")
        assert client.head().status == 200
        assert client.read_exactly(3) == b"abc"
        client.send(b"def")
        assert client.read_exactly(3) == b"def"
    assert bodies.next() == b"def"


@pytest.mark.parametrize("size", [1, 1_000, 65_535, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_bodies_of_many_sizes(serve: Serve, size: int, coding: str) -> None:
    data = bytes(number % 251 for number in range(size))
    with serve(echo).connect() as client:
        if coding == "length":
            client.send(request(b"POST", body=data))
        else:
            pieces = [data[position : position + 4096] for position in range(0, size, 4096)]
            client.send(request(b"POST", headers=[CHUNKED], body=chunked(*pieces)))
        assert client.response().body == data
