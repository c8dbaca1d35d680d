"""Denial responses: a handshake answered by a response of the application's own (EXT-01 to EXT-03)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.client import Response
from tests.support.deadline import SETTLED
from tests.support.server import Serve
from tests.support.websocket import HANDSHAKE, Http2WebSocket, connection, handshake, text, websocket
from tests.support.websocket_apps import accept, connected, deny, deny_body, disconnect, say, shut

HEADERS = [(b"www-authenticate", b"Basic"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"4")]


def is_client_disconnected(error: Exception | None) -> bool:
    return isinstance(error, OSError) and type(error).__name__ == "ClientDisconnected"


class Denying:
    """An application that takes the connect and denies with `events`."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for event in self._events:
            await send(event)


def denied(serve: Serve, *events: Event, data: bytes = HANDSHAKE) -> Response:
    """What the client gets; it has to be no upgrade, and the connection has to end behind it."""
    with connection(serve(Denying(*events))) as client:
        client.send(data)
        response = client.response()
        assert client.ends()
    for name in (b"upgrade", b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"):
        assert response.all(name) == []
    assert response.header(b"connection") == (None if isinstance(client, Http2WebSocket) else b"close")
    return response


def test_ext_01_status_headers_and_body(serve: Serve) -> None:
    response = denied(serve, deny(401, HEADERS), deny_body(b"nope"))
    assert (response.status, response.body) == (401, b"nope")
    assert response.reason == (b"" if response.version == b"2" else b"Unauthorized")
    names = {name for name, _ in HEADERS}
    assert [pair for pair in response.headers if pair[0] in names] == HEADERS
    assert response.header(b"server") == b"ferricorn"
    assert len(response.all(b"date")) == 1


@pytest.mark.parametrize("status", [200, 204, 302, 304, 400, 403, 404, 418, 429, 500, 503, 599])
def test_ext_01_any_final_status(serve: Serve, status: int) -> None:
    assert denied(serve, deny(status), deny_body()).status == status


def test_ext_01_the_defaults_of_the_events(serve: Serve) -> None:
    start: Event = {"type": "websocket.http.response.start", "status": 404}
    response = denied(serve, start, {"type": "websocket.http.response.body"})
    assert (response.status, response.body) == (404, b"")


def test_ext_01_without_having_received(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(403))
        await send(deny_body(b"no"))

    assert serve(app).exchange(HANDSHAKE).body == b"no"


@pytest.mark.http1("chunks")
def test_ext_02_a_body_in_parts(serve: Serve) -> None:
    """Without a length it comes in chunks, as any response of HTTP/1.1."""
    parts = (deny_body(b"one", more=True), deny_body(more=True), deny_body(b"two", more=True), deny_body(b"three"))
    response = denied(serve, deny(403), *parts)
    assert response.header(b"transfer-encoding") == b"chunked"
    assert response.chunks == (b"one", b"two", b"three")


def test_ext_02_parts_within_a_length(serve: Serve) -> None:
    response = denied(serve, deny(401, HEADERS), deny_body(b"no", more=True), deny_body(b"pe"))
    assert response.body == b"nope"


def test_ext_02_each_part_goes_out_at_once(serve: Serve) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(403))
        await send(deny_body(b"first", more=True))
        await gate.passed()
        await send(deny_body(b"last"))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.head().status == 403
        assert client.chunk() == b"first"
        gate.open()
        assert client.chunk() == b"last"


def test_ext_02_a_large_body_waits_for_the_client(serve: Serve) -> None:
    blocked: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(403))
        sending = asyncio.ensure_future(send(deny_body(bytes(32_000_000), more=True)))
        await asyncio.wait([sending], timeout=SETTLED)
        assert not sending.done()
        blocked.add(None)
        await sending
        await send(deny_body(b"end"))

    with connection(serve(app), receive_buffer=16_384) as client:
        client.send(HANDSHAKE)
        blocked.next()
        assert client.response().body == bytes(32_000_000) + b"end"


def test_ext_02_what_frames_the_body_is_the_server_s(serve: Serve) -> None:
    """See HTTP-19."""
    headers = [(b"transfer-encoding", b"gzip"), (b"x-kept", b"1")]
    response = denied(serve, deny(403, headers), deny_body(b"no", more=True), deny_body())
    assert response.header(b"x-kept") == b"1"
    assert response.body == b"no"


def test_ext_02_early_frames_are_neither_messages_nor_requests(serve: Serve) -> None:
    response = denied(serve, deny(403), deny_body(b"no"), data=HANDSHAKE + text("early") + HANDSHAKE)
    assert response.body == b"no"


def test_ext_02_offers_leave_no_trace(serve: Serve) -> None:
    offers = [(b"sec-websocket-protocol", b"chat"), (b"sec-websocket-extensions", b"permessage-deflate")]
    assert denied(serve, deny(403), deny_body(b"no"), data=handshake(headers=offers)).body == b"no"


def test_ext_03_receive_then_gives_the_disconnect(serve: Serve) -> None:
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(deny(403))
        await send(deny_body(b"no"))
        events.add([await receive() for _ in range(3)])

    assert serve(app).exchange(HANDSHAKE).status == 403
    assert events.next() == [disconnect(1006)] * 3


MISUSES: list[tuple[str, Any, list[Event]]] = [
    ("body before start", deny_body(b"no"), []),
    ("start twice", deny(), [deny()]),
    ("accept after start", accept(), [deny()]),
    ("send after start", say("no"), [deny()]),
    ("close after start", shut(), [deny()]),
    ("start after a part", deny(), [deny(), deny_body(more=True)]),
    ("accept after a part", accept(), [deny(), deny_body(more=True)]),
    ("close after a part", shut(), [deny(), deny_body(more=True)]),
    ("body of http", {"type": "http.response.body", "body": b"no"}, [deny()]),
    ("start of http", {"type": "http.response.start", "status": 401}, []),
    ("trailers", {"type": "http.response.trailers", "headers": []}, [deny()]),
    ("pathsend", {"type": "http.response.pathsend", "path": __file__}, [deny()]),
    ("no status", {"type": "websocket.http.response.start", "headers": []}, []),
    ("status of str", deny("401"), []),  # type: ignore[arg-type]
    ("status 101", deny(101), []),
    ("status 100", deny(100), []),
    ("status 1000", deny(1000), []),
    ("headers of str", deny(401, [("a", "b")]), []),  # type: ignore[list-item]
    ("pseudo header", deny(401, [(b":status", b"401")]), []),
    ("line break in a value", deny(401, [(b"a", b"b\r\nc: d")]), []),
    ("two lengths", deny(401, [(b"content-length", b"1"), (b"content-length", b"2")]), []),
    ("body of str", {"type": "websocket.http.response.body", "body": "no"}, [deny()]),
]


@pytest.mark.parametrize(("wrong", "before"), [row[1:] for row in MISUSES], ids=[row[0] for row in MISUSES])
def test_ext_03_misuse_raises_and_changes_nothing(serve: Serve, wrong: Any, before: list[Event]) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for event in before:
            await send(event)
        errors.add(await raised_by(send(wrong)))
        if not before:
            await send(deny())
        await send(deny_body(b"done"))

    response = serve(app).exchange(HANDSHAKE)
    assert (response.status, response.body) == (401, b"done")
    error = errors.next()
    assert error is not None, f"accepted: {wrong}"
    assert not isinstance(error, OSError)


def test_ext_03_a_rejected_denial_can_still_be_an_accept(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await raised_by(send(deny(99))) is not None
        await connected(receive, send)
        await send(say("hello"))

    with websocket(serve(app)) as client:
        assert client.message() == "hello"


def test_ext_03_a_body_longer_than_its_length_raises(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(401, [(b"content-length", b"2")]))
        errors.add(await raised_by(send(deny_body(b"nope"))))
        await send(deny_body(b"no"))

    assert serve(app).exchange(HANDSHAKE).body == b"no"
    assert "content-length" in str(errors.next())


@pytest.mark.parametrize(
    "event", [deny_body(b"more"), accept(), say("x"), shut()], ids=lambda event: str(event["type"])
)
def test_ext_03_after_the_denial_nothing_goes_out(serve: Serve, event: Event) -> None:
    """Be it refused or ignored: it is no failure of the application's, and not on the wire."""
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(403))
        await send(deny_body(b"no"))
        errors.add(await raised_by(send(event)))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.response().body == b"no"
        assert client.ends()
    error = errors.next()
    assert error is None or is_client_disconnected(error)


def test_ext_03_an_application_that_fails_before_its_head_is_out_is_a_500(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(401, [(b"x-held-back", b"1")]))
        raise LookupError("on purpose")

    server = serve(app)
    response = server.exchange(HANDSHAKE)
    assert (response.status, response.all(b"x-held-back")) == (500, [])
    server.expect_problem("LookupError")


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "returns"])
def test_ext_03_an_application_that_ends_in_its_denial_breaks_it_visibly(serve: Serve, fails: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(deny(403))
        await send(deny_body(b"part", more=True))
        if fails:
            raise LookupError("on purpose")

    server = serve(app)
    with connection(server) as client:
        client.send(HANDSHAKE)
        assert not client.read_to_end().endswith(b"0\r\n\r\n")
    server.expect_problem("LookupError" if fails else "")


def test_ext_03_a_client_that_leaves_its_denial(serve: Serve) -> None:
    outcomes: Journal[Exception | None] = Journal()
    started, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(deny(403))
        await send(deny_body(b"part", more=True))
        started.add(None)
        await gate.passed()
        assert await receive() == disconnect(1006)
        outcomes.add(await raised_by(send(deny_body(b"late"))))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        started.next()
        client.reset()
        gate.open()
        assert is_client_disconnected(outcomes.next())
