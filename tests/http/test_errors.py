"""Applications that fail, and applications that misuse the interface (ERR rows)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, raised_by, read_body, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve
from tests.support.transports import Transport


class Failure(Exception):
    """What the applications here fail with."""


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def test_err_01_an_invalid_event_raises_from_the_await(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for wrong in ({"type": "nonsense"}, {"status": 200}, {"type": "http.response.start", "status": "200"}):
            errors.add(await raised_by(send(wrong)))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert None not in errors.take(3)


def test_err_02_extra_keys_are_accepted(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "x-extra": object()})
        await send({"type": "http.response.body", "body": b"ok", "status": 500, "extra": None})

    assert serve(app).exchange(GET).body == b"ok"


EVENTS: list[Any] = [None, "http.response.start", b"", 1, [("type", "http.response.start")], ("type",), object()]


@pytest.mark.parametrize("wrong", EVENTS, ids=lambda event: type(event).__name__)
def test_err_03_an_event_that_is_no_dict_is_a_type_error(serve: Serve, wrong: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send(wrong)))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert isinstance(errors.next(), TypeError)


def test_err_03_raised_when_awaited_not_when_called(serve: Serve) -> None:
    moments: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for wrong in (None, {"type": "nonsense"}, body(b"too early"), {"type": "http.response.start", "status": 1}):
            try:
                sending = send(wrong)  # type: ignore[arg-type]
            except Exception:
                moments.add("called")
                continue
            error = await raised_by(sending)
            moments.add("awaited" if error else "never")
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert moments.take(4) == ["awaited"] * 4


def test_err_04_the_worker_goes_on_after_a_failure(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise Failure("on purpose")
        await respond(send)

    server = serve(app)
    for _ in range(3):
        assert server.exchange(request(target=b"/fail")).status == 500
        server.expect_problem("Failure", "on purpose", "Traceback")
        assert server.exchange(GET).body == b"ok"


async def fail_at_once(send: Send) -> None:
    raise Failure


async def fail_after_start(send: Send) -> None:
    await send(start(200, [(b"x-held-back", b"1")]))
    raise Failure


@pytest.mark.parametrize("fail", [fail_at_once, fail_after_start])
def test_err_05_before_the_head_is_out_it_is_a_500(
    serve: Serve, transport: Transport, fail: Callable[[Send], Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await fail(send)

    server = serve(app)
    with server.connect() as client:
        client.send(GET)
        response = client.response()
        assert response.status == 500
        assert response.header(b"x-held-back") is None
        assert response.header(b"connection") == (None if transport.http2 else b"close")
        assert b"Failure" not in response.body, "the reason is for the log, not for the client"
        assert client.exchange_ends()
    server.expect_problem("Failure")


def test_err_05_the_500_to_head_has_no_body(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Failure

    server = serve(app)
    with server.connect() as client:
        client.send(request(b"HEAD"))
        assert client.head().status == 500
        assert client.exchange_ends()
    server.expect_problem("Failure")


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")]], ids=["chunked", "content-length"])
def test_err_05_after_the_head_the_response_is_visibly_broken(serve: Serve, headers: list[tuple[bytes, bytes]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, headers))
        await send(body(b"part", more=True))
        await read_body(receive)
        raise Failure

    server = serve(app)
    with server.connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"1")]))
        assert client.head().status == 200
        assert (client.read_exactly(4) if headers else client.chunk()) == b"part"
        client.send(b"x")
        assert client.read_to_end() == b"", "no last chunk, and no second response"
    server.expect_problem("Failure")


@pytest.mark.http1("HTTP/1.0")
def test_err_05_a_close_delimited_response_is_reset(serve: Serve) -> None:
    """To HTTP/1.0 an orderly close would say that the response is complete."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"part", more=True))
        await read_body(receive)
        raise Failure

    server = serve(app)
    with server.connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"1")], version=b"1.0"))
        assert client.head().status == 200
        assert client.read_exactly(4) == b"part"
        client.send(b"x")
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)
    server.expect_problem("Failure")


def test_err_06_returning_without_a_response_is_a_500(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/started":
            await send(start())

    server = serve(app)
    for target in (b"/", b"/started"):
        assert server.exchange(request(target=target)).status == 500
        server.expect_problem("response")


def test_err_06_returning_in_the_middle_breaks_the_response(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"part", more=True))

    server = serve(app)
    with server.connect() as client:
        client.send(GET)
        raw = client.read_to_end()
    assert not raw.endswith(b"0\r\n\r\n")
    server.expect_problem("response")


def test_err_07_a_failure_after_the_response_is_logged_and_no_more(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        raise Failure("in the background")

    server = serve(app)
    with server.connect() as client:
        for _ in range(3):
            client.send(GET)
            assert client.response().body == b"ok"
            server.expect_problem("Failure", "in the background")


def test_err_08_what_send_raised_is_swallowed_when_it_comes_back(serve: Serve) -> None:
    """ClientDisconnected, be it raised again, as it was or from within a finally."""
    called, ended = Journal[None](), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await read_body(receive)
        await receive()
        try:
            await respond(send)
        finally:
            ended.add(None)

    with serve(app).connect() as client:
        client.send(GET)
        called.next()
        client.close()
        ended.next()


def test_err_09_messages_after_the_end_are_no_errors(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        for event in (start(), body(), body(b"x", more=True)):
            errors.add(await raised_by(send(event)))

    assert serve(app).exchange(GET).body == b"ok"
    assert errors.take(3) == [None] * 3


def test_err_11_received_events_hold_only_the_permitted_types(serve: Serve) -> None:
    received: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.add(await receive())
        await respond(send)
        received.add(await receive())

    serve(app).exchange(request(b"POST", body=b"abc"))
    for event in received.take(2):
        assert type(event) is dict
        assert {type(value) for value in event.values()} <= {str, bytes, bool}


KINDS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, BaseException]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after a wait"])
def test_err_12_no_exception_of_a_request_ends_the_worker(serve: Serve, kind: type[BaseException], late: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await respond(send)
            return
        if late:
            await asyncio.sleep(0)
        raise kind

    server = serve(app)
    assert server.exchange(request(target=b"/fail")).status == 500
    server.expect_problem(kind.__name__)
    assert server.exchange(GET).body == b"ok"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_err_12_in_the_middle_of_a_response(serve: Serve, kind: type[BaseException]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await respond(send)
            return
        await send(start())
        await send(body(b"part", more=True))
        raise kind

    server = serve(app)
    with server.connect() as client:
        client.send(request(target=b"/fail"))
        assert not client.read_to_end().endswith(b"0\r\n\r\n")
    server.expect_problem(kind.__name__)
    assert server.exchange(GET).body == b"ok"


@pytest.mark.parametrize(
    "error",
    [
        OSError("no database"),
        FileNotFoundError(2, "no file"),
        ConnectionResetError("upstream"),
        BrokenPipeError("upstream"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_err_13_the_application_s_own_os_errors_are_errors(serve: Serve, error: OSError) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    server = serve(app)
    assert server.exchange(GET).status == 500
    server.expect_problem(type(error).__name__, "Traceback")


def test_err_13_also_when_the_client_has_gone(serve: Serve) -> None:
    """That the client left is quiet; that the application failed while cleaning up is not."""
    waiting, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiting.add(None)
        await receive()
        await gate.passed()
        raise OSError("no disk")

    server = serve(app)
    with server.connect() as client:
        client.send(GET)
        waiting.next()
    gate.open()
    server.expect_problem("no disk")


def test_errors_are_logged_with_the_application_s_traceback(serve: Serve) -> None:
    def helper_of_the_application() -> None:
        raise Failure("deep inside")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        helper_of_the_application()

    server = serve(app)
    server.exchange(GET)
    server.expect_problem("Traceback", "helper_of_the_application", "deep inside")


def test_an_application_that_cannot_be_called_that_way_is_a_500(serve: Serve) -> None:
    """The call itself raises: no coroutine was made."""

    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        raise Failure("when called")

    server = serve(app, interface="asgi3")
    assert server.exchange(GET).status == 500
    server.expect_problem("when called")


@pytest.mark.parametrize("value", [None, 1, "text"])
def test_an_application_that_returns_no_awaitable_is_a_500(serve: Serve, value: Any) -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        return value

    server = serve(app, interface="asgi3")
    assert server.exchange(GET).status == 500
    server.expect_problem("TypeError")
