"""What an application may send on an HTTP request, when, and what it is told otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, raised_by, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve

BODY = {"type": "http.response.body", "body": b"ok"}


class Misuse:
    """An application that sends `before`, then `wrong`, notes what that raises, then answers as if nothing had been."""

    def __init__(self, wrong: Any, *before: Event) -> None:
        self.errors: Journal[Exception | None] = Journal()
        self._wrong = wrong
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for event in self._before:
            await send(event)
        self.errors.add(await raised_by(send(self._wrong)))
        if not self._before:
            await send(start(200, [(b"x-retried", b"yes")]))
        await send(BODY)

    def error(self, serve: Serve) -> Exception:
        """What `wrong` raised; the response has to be a whole one."""
        assert serve(self).exchange(GET).body == b"ok"
        error = self.errors.next()
        assert error is not None, f"accepted: {self._wrong}"
        return error


def test_http_13_start_with_the_status_alone(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 418})
        await send({"type": "http.response.body"})

    response = serve(app).exchange(GET)
    assert (response.status, response.body) == (418, b"")


@pytest.mark.parametrize("status", [200, 201, 299, 404, 418, 451, 500, 599, 600, 799, 999])
def test_http_13_any_final_status(serve: Serve, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status=status)

    assert serve(app).exchange(GET).status == status


def test_http_14_the_head_goes_out_with_the_first_body_event(serve: Serve) -> None:
    """Held back until then, it can still become a 500."""
    started, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        started.add(None)
        await gate.passed()
        await send(body(more=True))
        started.add(None)
        await send(body(b"ok"))

    with serve(app).connect() as client:
        client.send(GET)
        started.next()
        assert client.is_silent(0.1)
        gate.open()
        assert client.response().body == b"ok"


def test_http_15_body_and_more_body_may_be_left_out(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send({"type": "http.response.body", "more_body": True})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body"})

    assert serve(app).exchange(GET).body == b"onetwo"


def test_http_16_each_part_goes_out_though_the_application_blocks_the_loop(serve: Serve) -> None:
    """A part that was sent reaches the client while the application computes: no later turn of the loop is needed."""
    arrived: Journal[bytes] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for part in (b"one", b"two", b"three"):
            await send(body(part, more=True))
            assert arrived.next() == part, "the loop stands still here, on purpose"
        await send(body())

    with serve(app).connect() as client:
        client.send(GET)
        client.head()
        for part in (b"one", b"two", b"three"):
            assert client.chunk() == part
            arrived.add(part)
        assert client.chunk() == b""


def test_http_17_the_last_body_event_completes_the_response(serve: Serve) -> None:
    """The client has its response, and may send the next request, while the application still runs."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, scope["path"].encode())
        if scope["path"] == "/slow":
            await gate.passed()

    with serve(app).connect() as client:
        client.send(request(target=b"/slow"))
        assert client.response().body == b"/slow"
        client.send(request(target=b"/next"))
        assert client.response().body == b"/next"
        gate.open()


@pytest.mark.parametrize(
    "event", [start(500), body(b"more"), body(more=True), BODY], ids=lambda event: str(sorted(event))
)
def test_http_18_events_after_completion_are_ignored(serve: Serve, event: Event) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        errors.add(await raised_by(send(event)))

    with serve(app).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"ok"
    assert errors.take(2) == [None, None]


@pytest.mark.parametrize(
    "parts", [[b"too long"], [b"ok", b"!"], [b"o", b"k!"]], ids=["in one", "after all of it", "across its end"]
)
def test_http_21_longer_body_raises(serve: Serve, parts: list[bytes]) -> None:
    *fitting, too_long = parts
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"2")]))
        for part in fitting:
            await send(body(part, more=True))
        errors.add(await raised_by(send(body(too_long))))
        await send(body(b"ok".removeprefix(b"".join(fitting))))

    assert serve(app).exchange(GET).body == b"ok"
    assert "content-length" in str(errors.next())


def test_http_21_shorter_body_aborts_the_connection(serve: Serve) -> None:
    """A response that lacks bytes must not look like one that has them all."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"10")]))
        await send(body(b"short"))

    server = serve(app)
    with server.connect() as client:
        client.send(GET)
        head = client.head()
        assert head.header(b"content-length") == b"10"
        assert client.read_to_end() in (b"", b"short")
    server.expect_problem("content-length")


MISUSES: list[tuple[str, Any, list[Event]]] = [
    ("body before start", body(b"ok"), []),
    ("start twice", start(), [start()]),
    ("start after a part", start(), [start(), body(more=True)]),
    ("unknown type", {"type": "http.response.unknown"}, []),
    ("websocket event", {"type": "websocket.send", "text": "hi"}, []),
    ("received event", {"type": "http.disconnect"}, []),
    ("no type", {"status": 200}, []),
    ("type is bytes", {"type": b"http.response.start", "status": 200}, []),
    ("no status", {"type": "http.response.start"}, []),
    ("status is str", {"type": "http.response.start", "status": "200"}, []),
    ("status is None", {"type": "http.response.start", "status": None}, []),
    ("status is float", {"type": "http.response.start", "status": 200.0}, []),
    ("headers is int", {"type": "http.response.start", "status": 200, "headers": 1}, []),
    ("headers of three", {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b", b"c")]}, []),
    ("body is str", {"type": "http.response.body", "body": "ok"}, [start()]),
    ("body is int", {"type": "http.response.body", "body": 1}, [start()]),
    ("body is list", {"type": "http.response.body", "body": [1]}, [start()]),
]


@pytest.mark.parametrize(("wrong", "before"), [row[1:] for row in MISUSES], ids=[row[0] for row in MISUSES])
def test_http_24_misuse_raises_from_send(serve: Serve, wrong: Any, before: list[Event]) -> None:
    Misuse(wrong, *before).error(serve)


def test_http_24_out_of_order_names_the_event_and_what_was_allowed(serve: Serve) -> None:
    message = str(Misuse(body(b"ok")).error(serve))
    assert "http.response.body" in message
    assert "http.response.start" in message


def test_http_24_start_twice_names_what_was_allowed(serve: Serve) -> None:
    message = str(Misuse(start(), start()).error(serve))
    assert "http.response.start" in message
    assert "http.response.body" in message


@pytest.mark.parametrize(
    "wrong",
    [
        body(b"too early"),
        start(99),
        start(200, [(b"bad name", b"1")]),
        start(200, [(b"good", b"1"), (b"bad", b"a\r\nb: c")]),
        start(200, [(b"a", "text")]),  # type: ignore[list-item]
        start(200, [(b"content-length", b"x")]),
        start(200, [(b"content-length", b"1"), (b"content-length", b"2")]),
    ],
    ids=["order", "status", "name", "value", "type", "length", "two lengths"],
)
def test_http_25_a_rejected_event_leaves_everything_as_it_was(serve: Serve, wrong: Event) -> None:
    """The retry is answered, and nothing of the rejected event is on the wire."""
    app = Misuse(wrong)
    response = serve(app).exchange(GET)
    assert app.errors.next() is not None
    assert (response.status, response.header(b"x-retried"), response.body) == (200, b"yes", b"ok")
    assert response.all(b"good") == []


def test_http_25_a_rejected_part_can_be_replaced(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"4")]))
        await send(body(b"ab", more=True))
        assert await raised_by(send({"type": "http.response.body", "body": "cd"})) is not None
        assert await raised_by(send(body(b"cde"))) is not None
        await send(body(b"cd"))

    assert serve(app).exchange(GET).body == b"abcd"


def test_http_26_body_of_str_is_a_type_error(serve: Serve) -> None:
    assert isinstance(Misuse({"type": "http.response.body", "body": "ok"}, start()).error(serve), TypeError)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 5, 100_000])
def test_http_26_every_kind_of_bytes(serve: Serve, kind: Any, size: int) -> None:
    data = b"x" * size

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send({"type": "http.response.body", "body": kind(data), "more_body": True})
        await send({"type": "http.response.body", "body": kind(data)})

    assert serve(app).exchange(GET).body == data * 2


def test_http_26_a_buffer_is_read_before_send_returns(serve: Serve) -> None:
    """The application may use it again at once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        buffer = bytearray(100_000)
        for number in b"abc":
            buffer[:] = bytes([number]) * len(buffer)
            await send(body(buffer, more=True))
        await send(body())

    assert serve(app).exchange(GET).body == b"".join(bytes([number]) * 100_000 for number in b"abc")


def test_http_26_a_memoryview_with_strides(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(memoryview(b"a-b-c-")[::2]))

    assert serve(app).exchange(GET).body == b"abc"


@pytest.mark.parametrize("status", [-1, 0, 1, 99, 100, 101, 103, 199, 1000, 2**40, 2**80])
def test_http_27_statuses_that_end_no_exchange(serve: Serve, status: int) -> None:
    Misuse({"type": "http.response.start", "status": status}).error(serve)


def test_http_35_a_long_poll_lives_until_it_is_answered(serve: Serve) -> None:
    """The timeouts of the server are about clients that are slow, not about applications that think."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.passed()
        await respond(send)

    options = {"timeout_keep_alive": 0.1, "timeout_request_head": 0.1, "timeout_request_body": 0.1}
    with serve(app, **options).connect() as client:
        client.send(GET)
        assert client.is_silent(1.5)
        gate.open()
        assert client.response().body == b"ok"
