"""What an application learns of a client that has gone, and of a response that is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, raised_by, read_body, respond, start
from tests.support.client import GET, Client, request
from tests.support.server import Serve

DISCONNECT = {"type": "http.disconnect"}

LEAVINGS: list[Callable[[Client], None]] = [
    lambda client: client.close(),
    lambda client: client.half_close(),
    lambda client: client.reset(),
]


@pytest.fixture(params=LEAVINGS, ids=["close", "FIN", "RST"])
def leave(request: pytest.FixtureRequest) -> Callable[[Client], None]:
    """The ways in which a client goes."""
    way: Callable[[Client], None] = request.param
    return way


def is_client_disconnected(error: Exception | None) -> bool:
    return isinstance(error, OSError) and type(error).__name__ == "ClientDisconnected"


class Streaming:
    """An application that starts a response, says so, and then sends parts until that fails."""

    def __init__(self) -> None:
        self.started: Journal[None] = Journal()
        self.errors: Journal[Exception] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"first", more=True))
        self.started.add(None)
        try:
            while True:
                await asyncio.sleep(0)
                await send(body(b"more", more=True))
        except Exception as error:
            self.errors.add(error)
            raise


def test_http_07_receive_after_the_response_gives_disconnect(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        events.add(await receive())
        events.add(await receive())

    with serve(app).connect() as client:
        client.send(GET)
        client.response()
        assert DISCONNECT in events.take(2)


def test_http_07_receive_gives_disconnect_when_the_client_is_gone(
    serve: Serve, leave: Callable[[Client], None]
) -> None:
    waiting: Journal[None] = Journal()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiting.add(None)
        events.add(await receive())

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
        leave(client)
        assert events.next() == DISCONNECT


def test_http_07_receive_gives_disconnect_while_the_response_streams(
    serve: Serve, leave: Callable[[Client], None]
) -> None:
    streaming: Journal[None] = Journal()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start())
        await send(body(b"part", more=True))
        streaming.add(None)
        events.add(await receive())

    with serve(app).connect() as client:
        client.send(GET)
        streaming.next()
        leave(client)
        assert events.next() == DISCONNECT


def test_http_07_a_client_that_leaves_before_the_application_looks(
    serve: Serve, leave: Callable[[Client], None]
) -> None:
    called, gate = Journal[None](), Gate()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await gate.passed()
        events.add(await receive())
        events.add(await receive())

    with serve(app).connect() as client:
        client.send(GET)
        called.next()
        leave(client)
        gate.open()
        assert DISCONNECT in events.take(2)


def test_http_07_a_client_that_sends_and_closes_at_once_still_calls_the_application(serve: Serve) -> None:
    """The request was made; only its answer has nowhere to go."""
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await receive())
        events.add(await receive())

    server = serve(app)
    with server.connect() as client:
        client.send(GET)
        client.half_close()
        assert events.take(2) == [{"type": "http.request", "body": b"", "more_body": False}, DISCONNECT]


def test_http_08_disconnect_repeats(serve: Serve) -> None:
    called = Journal[None]()
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await read_body(receive)
        events.add([await receive() for _ in range(5)])

    with serve(app).connect() as client:
        client.send(GET)
        # Who closes before he has read what the server says first (SETTINGS, tickets) resets the connection.
        called.next()
        client.close()
        assert events.next() == [DISCONNECT] * 5


def test_http_08_disconnect_repeats_after_the_response(serve: Serve) -> None:
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await respond(send)
        events.add([await receive() for _ in range(5)])

    serve(app).exchange(GET)
    assert events.next() == [DISCONNECT] * 5


def test_http_08_each_event_is_a_dict_of_its_own(serve: Serve) -> None:
    """Applications edit what they are given."""
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await respond(send)
        for _ in range(2):
            event = await receive()
            events.add(dict(event))
            event["spoilt"] = True

    serve(app).exchange(GET)
    assert events.take(2) == [DISCONNECT, DISCONNECT]


@pytest.mark.parametrize("split", [False, True], ids=["with the head", "after the head"])
def test_http_09_what_was_sent_is_delivered_before_the_disconnect(serve: Serve, split: bool) -> None:
    called, gate = Journal[None](), Gate()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await gate.passed()
        while events_left := await receive():
            events.add(events_left)
            if events_left == DISCONNECT:
                return

    data = request(b"POST", body=b"hello")
    with serve(app).connect() as client:
        if split:
            client.send(data.removesuffix(b"hello"))
            called.next()
            client.send(b"hello")
        else:
            client.send(data)
            called.next()
        client.half_close()
        gate.open()
        received = b""
        while (event := events.next()) != DISCONNECT:
            received += event["body"]
        assert received == b"hello"
        assert not event.get("more_body")


def test_http_28_send_raises_when_the_client_is_gone(serve: Serve, leave: Callable[[Client], None]) -> None:
    streaming = Streaming()
    with serve(streaming).connect() as client:
        client.send(GET)
        streaming.started.next()
        leave(client)
        assert is_client_disconnected(streaming.errors.next())


def test_http_28_the_first_send_raises_too(serve: Serve) -> None:
    waiting: Journal[None] = Journal()
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiting.add(None)
        assert await receive() == DISCONNECT
        errors.add(await raised_by(respond(send)))
        errors.add(await raised_by(send(body(b"again"))))

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
        client.close()
        assert all(is_client_disconnected(error) for error in errors.take(2))


def test_http_28_the_class_is_not_a_builtin_one(serve: Serve) -> None:
    """An application's own `except ConnectionResetError` around a database call must not take it for one."""
    streaming = Streaming()
    with serve(streaming).connect() as client:
        client.send(GET)
        streaming.started.next()
        client.close()
        error = streaming.errors.next()
    assert type(error).__module__.partition(".")[0] == "ferricorn"
    assert not isinstance(error, ConnectionError)


def test_http_29_its_own_exception_is_not_logged(serve: Serve, leave: Callable[[Client], None]) -> None:
    """The fixture fails the test when anything is."""
    streaming = Streaming()
    server = serve(streaming)
    with server.connect() as client:
        client.send(GET)
        streaming.started.next()
        leave(client)
        streaming.errors.next()
    server.stop()
    assert server.log.remaining_problems() == []


def test_http_29_not_when_it_comes_wrapped_in_a_group(serve: Serve) -> None:
    """asyncio's and anyio's task groups wrap what their tasks raise."""
    ended: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stream(send))
        finally:
            ended.add(None)

    async def stream(send: Send) -> None:
        await send(start())
        while True:
            await asyncio.sleep(0)
            await send(body(b"part", more=True))

    with serve(app).connect() as client:
        client.send(GET)
        client.head()
        client.close()
        ended.next()


def test_http_31_a_stream_ends_by_the_error_alone(serve: Serve) -> None:
    """Applications that see 2.4 do not listen for the disconnect while they stream: they have `send`'s error."""
    ended: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        major, minor = scope["asgi"]["spec_version"].split(".")
        assert (int(major), int(minor)) >= (2, 4)
        try:
            await send(start())
            while True:
                await send(body(b"x" * 1000, more=True))
        except OSError:
            ended.add("by the error")

    with serve(app).connect() as client:
        client.send(GET)
        client.head()
        client.chunk()
        client.reset()
        assert ended.next() == "by the error"


def test_http_32_send_and_receive_agree_in_the_end(serve: Serve) -> None:
    agreed: Journal[bool] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start())
        while not (error := await raised_by(send(body(b"part", more=True)))):
            await asyncio.sleep(0)
        agreed.add(is_client_disconnected(error) and await asyncio.wait_for(receive(), 5) == DISCONNECT)

    with serve(app).connect() as client:
        client.send(GET)
        client.head()
        client.close()
        assert agreed.next()


def test_a_response_that_the_client_does_not_wait_for_is_dropped(serve: Serve) -> None:
    """The next connection is served as if nothing had been."""
    gate, called = Gate(), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/left":
            called.add(None)
            await gate.passed()
        await respond(send, scope["path"].encode())

    server = serve(app)
    with server.connect() as client:
        client.send(request(target=b"/left"))
        called.next()
    gate.open()
    assert server.exchange(request(target=b"/next")).body == b"/next"


@pytest.mark.http1("lines of a head")
def test_a_client_that_leaves_in_its_head_is_nobody_s_business(serve: Serve, leave: Callable[[Client], None]) -> None:
    called: Journal[Scope] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(scope)
        await respond(send)

    server = serve(app)
    with server.connect() as client:
        client.send(GET[:-2])
        leave(client)
    server.exchange(GET)
    called.next()
    assert called.is_empty()
