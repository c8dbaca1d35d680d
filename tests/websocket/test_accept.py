"""From the handshake to the accept, or to what stands in its place (WS-01 to WS-06, WS-11, WS-20 to WS-25)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.client import Client
from tests.support.deadline import SETTLED
from tests.support.server import Serve
from tests.support.websocket import ACCEPT, HANDSHAKE, Http2WebSocket, close, connection, handshake, text, websocket
from tests.support.websocket_apps import (
    CONNECT,
    Echo,
    accept,
    connected,
    deny,
    deny_body,
    disconnect,
    message,
    say,
    shut,
)

PROTOCOLS = (b"sec-websocket-protocol", b"one, two")


def is_client_disconnected(error: Exception | None) -> bool:
    return isinstance(error, OSError) and type(error).__name__ == "ClientDisconnected"


def test_ws_01_the_first_event_is_the_connect(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await receive())
        await send(accept())

    with websocket(serve(app)):
        event = events.next()
    assert type(event) is dict
    assert event == {"type": "websocket.connect"}


def test_ws_01_nothing_goes_out_before_the_application_replies(serve: Serve) -> None:
    called, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        called.add(None)
        await gate.passed()
        await send(accept())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        called.next()
        assert client.is_silent(SETTLED)
        gate.open()
        client.accepted()


def test_ws_02_no_message_before_the_accept(serve: Serve) -> None:
    """What the client sends with its handshake waits."""
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await receive())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), SETTLED)
        await send(accept())
        for _ in range(3):
            events.add(await receive())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE + text("one") + text("two") + close(4000, "early"))
        client.accepted()
        assert events.take(4) == [CONNECT, message("one"), message("two"), disconnect(4000, "early")]
        assert client.closing() == (4000, "")


def test_ws_02_a_receive_that_waits_for_the_accept_gets_the_message(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send(accept())
        events.add(await waiting)

    with connection(serve(app)) as client:
        client.send(HANDSHAKE + text("early"))
        client.accepted()
        assert events.next() == message("early")


def test_ws_02_early_frames_are_read_in_bounds(serve: Serve) -> None:
    """A client that floods before it is accepted waits, and loses nothing."""
    called, gate = Journal[None](), Gate()
    received: Journal[int] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        called.add(None)
        await gate.passed()
        await send(accept())
        size = 0
        while (event := await receive())["type"] == "websocket.receive":
            size += len(event["text"])
        received.add(size)

    frames = text("x" * 65_000)
    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        called.next()
        sent = client.send_until_full(frames, patience=SETTLED)
        assert sent <= 16 * 1024 * 1024
        gate.open()
        client.send(frames[sent % len(frames) :] + close())
        client.accepted()
        assert received.next() == (sent // len(frames) + 1) * 65_000


def test_ws_03_accept_before_receive(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept())
        await send(say("hello"))
        events.add(await receive())
        events.add(await receive())

    with websocket(serve(app)) as client:
        assert client.message() == "hello"
        client.send(text("hi"))
        assert events.take(2) == [CONNECT, message("hi")]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "websocket.accept"},
        {"type": "websocket.accept", "subprotocol": None},
        {"type": "websocket.accept", "subprotocol": None, "headers": []},
        {"type": "websocket.accept", "headers": (), "unknown": object()},
    ],
    ids=["type alone", "None", "empty", "more keys"],
)
def test_ws_04_accept_with_as_little_as_possible(serve: Serve, event: Event) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(event)

    with connection(serve(app)) as client:
        client.send(handshake(headers=[PROTOCOLS]))
        head = client.accepted()
        assert head.all(b"sec-websocket-protocol") == []


@pytest.mark.parametrize("subprotocol", ["one", "two"])
def test_ws_04_the_subprotocol_is_in_the_response(serve: Serve, subprotocol: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept(subprotocol))

    with connection(serve(app)) as client:
        client.send(handshake(headers=[PROTOCOLS]))
        assert client.accepted().header(b"sec-websocket-protocol") == subprotocol.encode()


HEADERS = [(b"set-cookie", b"a=1"), (b"x-one", b"\xe9"), (b"set-cookie", b"b=2"), (b"a-last", b"")]


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, lambda fields: map(list, fields)], ids=["list", "tuple", "iterator", "lists"]
)
def test_ws_04_headers_go_out_in_order(serve: Serve, kind: Callable[[Any], Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept(headers=kind(HEADERS)))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        head = client.accepted()
    names = {name for name, _ in HEADERS}
    assert [pair for pair in head.headers if pair[0] in names] == HEADERS


def test_ws_04_names_are_lowered(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept(headers=[(b"X-Name", b"Value")]))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert (b"x-name", b"Value") in client.accepted().headers


def test_ws_04_date_and_server_of_the_application_are_kept(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept(headers=[(b"date", b"today"), (b"server", b"mine")]))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        head = client.accepted()
    assert (head.header(b"date"), head.header(b"server")) == (b"today", b"mine")


def test_ws_04_what_frames_the_connection_is_the_server_s(serve: Serve) -> None:
    """As in any response, see HTTP-19; a length or a coding of a 101 would mislead what stands in between."""
    framing = [(b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"upgrade", b"h2c")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(accept(headers=[*framing, (b"content-length", b"5"), (b"x-kept", b"1")]))
        await send(say("hello"))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        head = client.accepted()
        assert head.all(b"transfer-encoding") == head.all(b"content-length") == []
        assert (head.header(b"connection") or b"").lower() == b"upgrade"
        assert head.header(b"upgrade") == b"websocket"
        assert head.header(b"x-kept") == b"1"
        assert client.message() == "hello"


class Retry:
    """An application that sends `wrong`, notes what that raises, and then accepts as if nothing had been."""

    def __init__(self, wrong: Any) -> None:
        self.errors: Journal[Exception | None] = Journal()
        self._wrong = wrong

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.errors.add(await raised_by(send(self._wrong)))
        await connected_again(send)
        while (event := await receive())["type"] == "websocket.receive":
            await send(say(event["text"]))

    def error(self, serve: Serve) -> Exception:
        """What `wrong` raised; the handshake has to succeed, with nothing of `wrong` in it."""
        with connection(serve(self)) as client:
            client.send(handshake(headers=[PROTOCOLS]))
            head = client.accepted()
            assert head.all(b"x-good") == []
            assert head.header(b"x-retried") == b"yes"
            assert head.header(b"sec-websocket-protocol") == b"two"
            assert head.header(b"sec-websocket-accept") == ACCEPT
            client.send(text("hello"))
            assert client.message() == "hello"
            client.close_cleanly()
        error = self.errors.next()
        assert error is not None, f"accepted: {self._wrong}"
        assert not isinstance(error, OSError)
        return error


async def connected_again(send: Send) -> None:
    await send(accept("two", [(b"x-retried", b"yes")]))


@pytest.mark.parametrize(
    "name",
    [
        *(b"sec-websocket-protocol", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-version"),
        *(b"Sec-WebSocket-Protocol", b":status", b":path"),
    ],
)
def test_ws_05_headers_that_are_the_server_s_raise(serve: Serve, name: bytes) -> None:
    assert isinstance(
        Retry(accept(headers=[(b"x-good", b"1"), (name, b"one")])).error(serve), ValueError | RuntimeError
    )


@pytest.mark.parametrize("subprotocol", ["three", "One", "", "one, two", "on"])
def test_ws_06_a_subprotocol_that_was_not_offered_raises(serve: Serve, subprotocol: str) -> None:
    assert repr(subprotocol).strip("'") in str(Retry(accept(subprotocol)).error(serve))


def test_ws_06_none_was_offered(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send(accept("chat"))))
        await send(accept())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.accepted().all(b"sec-websocket-protocol") == []
    assert errors.next() is not None


WRONG: list[tuple[str, Any]] = [
    ("send", say("too early")),
    ("empty send", say("")),
    ("received event", CONNECT),
    ("unknown type", {"type": "websocket.unknown"}),
    ("event of http", {"type": "http.response.start", "status": 200}),
    ("body of http", {"type": "http.response.body", "body": b""}),
    ("no type", {"subprotocol": "one"}),
    ("type of bytes", {"type": b"websocket.accept"}),
    ("None", None),
    ("a list", [("type", "websocket.accept")]),
    ("subprotocol of bytes", accept(b"one")),  # type: ignore[arg-type]
    ("subprotocol of int", accept(1)),  # type: ignore[arg-type]
    ("headers of str", accept(headers=[("x-good", "1")])),  # type: ignore[list-item]
    ("headers of three", accept(headers=[(b"x-good", b"1", b"2")])),
    ("headers of int", accept(headers=1)),  # type: ignore[arg-type]
    ("line break in a value", accept(headers=[(b"x-good", b"1"), (b"x", b"a\r\nb: c")])),
    ("NUL in a value", accept(headers=[(b"x-good", b"1"), (b"x", b"a\0")])),
    ("space in a name", accept(headers=[(b"x-good", b"1"), (b"x y", b"a")])),
]


@pytest.mark.parametrize("wrong", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
def test_ws_22_misuse_before_the_accept_raises_and_changes_nothing(serve: Serve, wrong: Any) -> None:
    Retry(wrong).error(serve)


def test_ws_22_out_of_order_names_the_event_and_what_was_allowed(serve: Serve) -> None:
    sentence = str(Retry(say("too early")).error(serve))
    assert "websocket.send" in sentence
    assert "websocket.accept" in sentence


@pytest.mark.parametrize("data", [text("early"), b""], ids=["with a frame", "alone"])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "websocket.close"},
        shut(),
        shut(4001, "no"),
        shut(1008, "x" * 123),
        {"type": "websocket.close", "code": "none", "reason": [{"type": "missing"}]},
    ],
    ids=["type alone", "default", "code", "reason", "FastAPI's"],
)
def test_ws_11_close_before_the_accept_is_403(serve: Serve, event: Event, data: bytes) -> None:
    """Code and reason go nowhere, whatever they are, and neither does a frame that the client had sent already."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(event)

    with connection(serve(app)) as client:
        client.send(HANDSHAKE + data)
        response = client.response()
        assert (response.status, response.body) == (403, b"")
        assert response.header(b"content-length") == b"0"
        assert response.header(b"connection") == (None if isinstance(client, Http2WebSocket) else b"close")
        assert response.header(b"server") == b"ferricorn"
        assert response.all(b"upgrade") == response.all(b"sec-websocket-accept") == []
        assert client.ends()


def test_ws_11_close_without_having_received(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(shut())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.response().status == 403


def test_ws_17_a_rejected_handshake_ends_in_a_disconnect_1006(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(shut(4001, "no"))
        for _ in range(3):
            events.add(await receive())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.response().status == 403
        assert events.take(3) == [disconnect(1006)] * 3


@pytest.mark.parametrize("event", [accept(), say("late"), shut(), shut(4000)], ids=lambda event: str(event["type"]))
def test_ws_23_send_after_a_rejection_is_an_os_error(serve: Serve, event: Event) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(shut())
        errors.add(await raised_by(send(event)))

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.response().status == 403
        assert client.ends()
        assert is_client_disconnected(errors.next())


async def fails(receive: Receive) -> None:
    raise LookupError("on purpose")


async def fails_later(receive: Receive) -> None:
    await receive()
    await asyncio.sleep(0)
    raise LookupError("on purpose")


async def is_cancelled(receive: Receive) -> None:
    raise asyncio.CancelledError


async def exits(receive: Receive) -> None:
    raise SystemExit(1)


async def returns(receive: Receive) -> None: ...


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (fails, "LookupError"),
        (fails_later, "LookupError"),
        (is_cancelled, "CancelledError"),
        (exits, "SystemExit"),
        (returns, ""),
    ],
    ids=["at once", "later", "cancelled", "exits", "returns"],
)
def test_ws_21_an_application_that_ends_before_the_accept_is_a_500(
    serve: Serve, end: Callable[[Receive], Any], problem: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await end(receive)
        else:
            await connected(receive, send)

    server = serve(app)
    with connection(server) as client:
        client.send(HANDSHAKE + text("early"))
        response = client.response()
        assert response.status == 500
        assert response.header(b"connection") == (None if isinstance(client, Http2WebSocket) else b"close")
        assert response.all(b"upgrade") == []
        assert b"on purpose" not in response.body
        assert client.ends()
    server.expect_problem(problem)
    assert server.log.remaining_problems() == []
    with websocket(server, b"/next"):
        pass


@pytest.mark.parametrize(
    ("events", "status"),
    [([accept()], 101), ([shut()], 403), ([deny(401), deny_body(b"no")], 401), ([], 500)],
    ids=["accept", "reject", "deny", "return"],
)
def test_ws_21_what_an_application_does_after_a_wait_goes_out_at_once(
    serve: Serve, events: list[Event], status: int
) -> None:
    """Nothing but the application's own timer wakes the loop."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        for event in events:
            await send(event)
        await asyncio.sleep(0.05)

    server = serve(app)
    with connection(server) as client:
        client.send(HANDSHAKE)
        assert client.head().status == status
        if status == 101:
            assert client.closing() == (1000, "")
    if status == 500:
        server.expect_problem()


LEAVINGS: list[Callable[[Client], None]] = [Client.close, Client.half_close, Client.reset]


@pytest.mark.parametrize("leave", LEAVINGS, ids=["close", "FIN", "RST"])
def test_ws_24_a_client_that_leaves_before_the_accept(serve: Serve, leave: Callable[[Client], None]) -> None:
    """The fixture fails the test when anything is logged."""
    called = Journal[None]()
    events: Journal[Event] = Journal()
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        called.add(None)
        events.add(await receive())
        events.add(await receive())
        errors.add(await raised_by(send(accept())))
        errors.add(await raised_by(send(shut())))
        await send(accept())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        called.next()
        leave(client)
        assert events.take(2) == [disconnect(1006)] * 2
        assert all(is_client_disconnected(error) for error in errors.take(2))


@pytest.mark.parametrize("leave", LEAVINGS, ids=["close", "FIN", "RST"])
def test_ws_24_the_connect_comes_before_the_disconnect(serve: Serve, leave: Callable[[Client], None]) -> None:
    called, gate = Journal[None](), Gate()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await gate.passed()
        events.add(await receive())
        events.add(await receive())

    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        called.next()
        leave(client)
        gate.open()
        assert events.take(2) == [CONNECT, disconnect(1006)]


def test_ws_25_a_client_that_leaves_in_its_handshake_is_nobody_s_business(serve: Serve) -> None:
    echo = Echo()
    server = serve(echo)
    with connection(server) as client:
        client.send(HANDSHAKE[:-2])
        client.reset()
    with websocket(server) as client:
        client.close_cleanly()
    echo.disconnects.next()
    assert echo.disconnects.is_empty()


def test_ws_20_what_an_application_sends_at_once_arrives_with_the_accept(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.gather(send(accept()), send(say("one")), send(say(b"two")), send(shut(4000)))

    with websocket(serve(app)) as client:
        assert client.messages(2) == ["one", b"two"]
        assert client.closing() == (4000, "")
        client.send(close(4000))
        assert client.ends()
