"""What a stop of the server means for open WebSockets (WS-27)."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.client import GET
from tests.support.deadline import SETTLED
from tests.support.process import StartProcess
from tests.support.server import RunningServer, Serve
from tests.support.websocket import HANDSHAKE, close, connection, text, websocket
from tests.support.websocket_apps import Echo, Recorder, connected, disconnect, message, say


def refuses(server: RunningServer) -> bool:
    """Whether nobody can connect any more. Who did just before may find an end where the handshake of TLS should be."""
    try:
        server.connect().close()
    except (ConnectionError, ssl.SSLEOFError):
        return True
    return False


def test_ws_27_both_sides_are_told_1012(serve: Serve) -> None:
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        server.begin_stop()
        code, reason = client.closing()
        assert code == 1012
        assert recorder.events.next() == disconnect(1012, reason)
        client.send(close(1012))
        assert client.ends()
        server.join()


def test_ws_27_messages_that_came_before_are_received_first(serve: Serve) -> None:
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        events.add(await receive())
        events.add(await receive())

    server = serve(app)
    with websocket(server) as client:
        client.send(text("hello"))
        client.send(b"\x89\x80\0\0\0\0")
        assert client.pong() == b"", "the message before the ping has been read"
        server.begin_stop()
        assert client.closing()[0] == 1012
        gate.open()
        assert events.next() == message("hello")
        assert events.next()["code"] == 1012
        client.send(close(1012))
        server.join()


def test_ws_27_the_application_has_time_to_finish(serve: Serve) -> None:
    told, gate = Journal[Event](), Gate()
    ends: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        told.add(await receive())
        await gate.passed()
        await asyncio.sleep(0.1)
        ends.add("finished")

    server = serve(app)
    with websocket(server) as client:
        server.begin_stop()
        assert client.closing()[0] == 1012
        client.send(close(1012))
        assert told.next()["code"] == 1012
        assert not server.ends_within(SETTLED)
        gate.open()
        server.join()
        assert ends.next() == "finished"


def test_ws_27_then_it_is_cancelled(serve: Serve) -> None:
    ends: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.add("cancelled")
            raise

    server = serve(app, timeout_graceful_shutdown=0.5)
    with websocket(server) as client:
        begun = time.monotonic()
        server.begin_stop()
        assert client.closing()[0] == 1012
        server.join()
        assert 0.5 <= time.monotonic() - begun < 4
    assert ends.next() == "cancelled"
    server.log.remaining_problems()


def test_ws_27_send_then_raises(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await receive()
        errors.add(await raised_by(send(say("late"))))
        await send(say("late"))

    server = serve(app)
    with websocket(server) as client:
        server.begin_stop()
        assert client.closing()[0] == 1012
        assert isinstance(errors.next(), OSError)
        client.send(close(1012))
        assert client.ends()


def test_ws_27_a_client_that_does_not_answer_does_not_hold_it_up(serve: Serve) -> None:
    """Longer than the graceful timeout, that is; nor does one that reads nothing."""
    started: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        started.add(None)
        if scope["path"] == "/flood":
            await raised_by(send(say(bytes(32_000_000))))
        while (await receive())["type"] != "websocket.disconnect":
            pass

    server = serve(app, timeout_graceful_shutdown=1.0)
    with websocket(server), websocket(server, b"/flood", receive_buffer=4_096):
        started.take(2)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
    server.log.remaining_problems()


@pytest.mark.cleartext("bytes of a head")
@pytest.mark.http1("bytes of a head")
def test_ws_27_a_handshake_that_is_not_accepted_yet(serve: Serve) -> None:
    """The application may still answer it; the client learns that the server goes one way or the other."""
    called, gate = Journal[None](), Gate()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        called.add(None)
        await gate.passed()
        if await raised_by(send({"type": "websocket.accept"})) is None:
            events.add(await receive())

    server = serve(app)
    with connection(server) as client:
        client.send(HANDSHAKE)
        called.next()
        server.begin_stop()
        assert not server.ends_within(SETTLED)
        gate.open()
        rest = client.read_for(1.0)
        assert not rest or rest.startswith((b"HTTP/1.1 101", b"HTTP/1.1 503"))
        if rest.startswith(b"HTTP/1.1 101"):
            assert b"\x03\xf4" in rest, "1012"
            assert events.next()["code"] == 1012
            client.send(close(1012))
        server.join()
    server.log.remaining_problems()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_ws_27_a_signal(start_process: StartProcess, number: signal.Signals) -> None:
    server = start_process("tests.support.websocket_apps:by_path").wait_until_running()
    with websocket(server) as client:
        client.send(text("hello"))
        client.message()
        server.send_signal(number)
        assert client.closing()[0] == 1012
        client.send(close(1012))
        assert client.ends()
    assert server.wait() == 0


def test_ws_27_many_at_once(start_process: StartProcess) -> None:
    """Each of two hundred is told, and the process ends as soon as all have answered."""
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    clients = [connection(server) for _ in range(200)]
    for client in clients:
        client.upgrade()
    begun = time.monotonic()
    server.send_signal(signal.SIGTERM)
    for client in clients:
        assert client.closing()[0] == 1012
        client.send(close(1012))
    assert server.wait() == 0
    assert time.monotonic() - begun < 5
    for client in clients:
        assert client.ends()
        client.close()


def test_ws_27_with_a_deadline_of_their_own_they_go_on_meanwhile(serve: Serve) -> None:
    recorder = Recorder()
    server = serve(recorder, timeout_websocket_drain=1.0, timeout_graceful_shutdown=0.1)
    with websocket(server) as client:
        begun = time.monotonic()
        server.begin_stop()
        while not refuses(server):
            pass
        client.send(text("hello"))
        assert recorder.events.next() == message("hello")
        assert client.closing()[0] == 1012
        assert time.monotonic() - begun >= 1.0
        client.send(close(1012))
        assert client.ends()
    server.join()


# The server looked twice a second for WebSockets, and called a connection of HTTP/2 that was about to close cut off.
def test_ws_27_a_client_that_answers_and_stays_connected_is_no_news(serve: Serve) -> None:
    server = serve(Echo(), timeout_websocket_drain=0.4, timeout_graceful_shutdown=0.1)
    with websocket(server) as client:
        server.begin_stop()
        assert client.closing()[0] == 1012
        client.send(close(1012))
        assert client.ends()
        server.join()


def test_ws_27_the_graceful_timeout_cuts_requests_beside_them(serve: Serve) -> None:
    begins, ends, echo = Journal[None](), Journal[str](), Echo()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
            return
        begins.add(None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.add("cancelled")
            raise

    server = serve(app, timeout_websocket_drain=60.0, timeout_graceful_shutdown=0.3)
    with websocket(server) as client, server.connect() as waiting:
        waiting.send(GET)
        begins.next()
        server.begin_stop()
        assert ends.next() == "cancelled"
        server.expect_problem("Cancelled 1 request(s): not finished 0.3 seconds after the stop.")
        client.send(text("hello"))
        assert client.message() == "hello"
        client.send(close(1000))
        assert client.closing()[0] == 1000
        assert client.ends()
        waiting.read_to_end()
    server.join()
    assert echo.disconnects.next()["code"] == 1000


def test_ws_27_a_stop_at_once_does_not_wait_for_them(start_process: StartProcess) -> None:
    arguments = ("--timeout-websocket-drain", "60", "--lifespan", "off")
    server = start_process("tests.support.websocket_apps:by_path", *arguments).wait_until_running()
    with websocket(server) as client:
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("(?i)waiting for connections")
        client.send(text("hello"))
        assert client.message() == "hello"
        assert server.stop(signal.SIGQUIT) == 0
        client.read_to_end()


def test_ws_27_a_websocket_outlives_the_reload_of_its_worker(start_process: StartProcess) -> None:
    arguments = ("--workers", "1", "--timeout-websocket-drain", "2", "--lifespan", "off")
    server = start_process("tests.support.websocket_apps:by_path", *arguments).wait_until_running()
    with websocket(server) as client:
        server.send_signal(signal.SIGHUP)
        server.wait_for_line("(?i)waiting for connections")
        client.send(text("hello"))
        assert client.message() == "hello"
        with websocket(server) as other:
            other.send(text("new"))
            assert other.message() == "new"
            assert client.closing()[0] == 1012
            client.send(close(1012))
            assert client.ends()
            other.send(text("still"))
            assert other.message() == "still", "the other worker goes on"
            assert server.stop(signal.SIGQUIT) == 0
            other.read_to_end()
