"""Pings of the server, and clients that do not answer them (WS-09, WS-14).

The server looks at its deadlines about twice a second, so each fires within a second of its time.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send
from tests.support.server import Serve
from tests.support.websocket import DEFLATE, HANDSHAKE, Opcode, WebSocket, close, connection, frame, text, websocket
from tests.support.websocket_apps import Echo, Recorder, connected, disconnect

SHORT = 0.3
"""Seconds, for the time under test."""
LATEST = 2.0
"""Seconds after its time at which something has to have happened, with room for a busy machine."""

GONE = disconnect(1011, "keepalive ping timeout")


def pong(payload: bytes) -> bytes:
    return frame(Opcode.PONG, payload)


def answer_pings(client: WebSocket, count: int) -> None:
    for _ in range(count):
        client.send(pong(client.ping()))


def test_ws_09_the_server_pings(serve: Serve) -> None:
    """Again and again, within a second of the interval, and the application sees none of it."""
    recorder = Recorder()
    with websocket(serve(recorder, ws_ping_interval=SHORT)) as client:
        begun = time.monotonic()
        answer_pings(client, 3)
        passed = time.monotonic() - begun
        assert 3 * SHORT <= passed + 0.05 <= 3 * (SHORT + 1) + LATEST
        client.send(close())
        assert recorder.events.next() == disconnect(1000)


def test_ws_09_a_client_that_answers_is_kept(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_ping_interval=SHORT, ws_ping_timeout=1.5)) as client:
        answer_pings(client, 4)
        client.send(text("hello"))
        while (last := client.frame()).opcode == Opcode.PING:
            client.send(pong(last.payload))
        assert last.payload == b"hello"


def test_ws_09_without_an_interval_there_is_no_ping(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_ping_interval=0, ws_ping_timeout=SHORT)) as client:
        assert client.is_silent(1.5)
        client.close_cleanly()


def test_ws_09_the_interval_is_twenty_seconds_by_default(serve: Serve) -> None:
    with websocket(serve(Echo())) as client:
        assert client.is_silent(2)


def test_ws_09_no_ping_before_the_accept(serve: Serve) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.passed()
        await connected(receive, send)
        await receive()

    with connection(serve(app, ws_ping_interval=SHORT)) as client:
        client.send(HANDSHAKE)
        assert client.is_silent(1.5)
        gate.open()
        client.accepted()
        client.ping()


def test_ws_14_a_client_that_answers_no_ping_is_1011(serve: Serve) -> None:
    """For both sides, and the connection ends: nobody waits for a close frame of such a client. It is not logged."""
    recorder = Recorder()
    server = serve(recorder, ws_ping_interval=SHORT, ws_ping_timeout=SHORT)
    with websocket(server) as client:
        begun = time.monotonic()
        client.ping()
        assert client.is_closed_with(1011) == "keepalive ping timeout"
        assert 2 * SHORT <= time.monotonic() - begun + 0.05 <= 2 * (SHORT + 1) + LATEST
    assert recorder.events.next() == GONE
    assert server.log.remaining_problems() == []


def test_ws_14_without_a_timeout_pings_need_no_answer(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_ping_interval=SHORT, ws_ping_timeout=0)) as client:
        for _ in range(4):
            client.ping()
        client.send(text("hello"))
        while (last := client.frame()).opcode == Opcode.PING:
            pass
        assert last.payload == b"hello"


@pytest.mark.parametrize("wrong", [b"", b"something else"])
def test_ws_14_only_the_right_pong_is_an_answer(serve: Serve, wrong: bytes) -> None:
    recorder = Recorder()
    server = serve(recorder, ws_ping_interval=SHORT, ws_ping_timeout=SHORT)
    with websocket(server) as client:
        payload = client.ping()
        assert payload != wrong
        client.send(pong(wrong))
        assert client.is_closed_with(1011) == "keepalive ping timeout"
    assert recorder.events.next() == GONE


def test_ws_14_a_vanished_client_is_found_while_the_application_only_receives(serve: Serve) -> None:
    """No FIN, no RST: nothing comes, and nothing would ever have gone out."""
    recorder = Recorder()
    server = serve(recorder, ws_ping_interval=SHORT, ws_ping_timeout=SHORT)
    with websocket(server):
        begun = time.monotonic()
        assert recorder.events.next() == GONE
        assert time.monotonic() - begun <= 2 * (SHORT + 1) + LATEST


def test_ws_14_messages_before_the_timeout_are_received_first(serve: Serve) -> None:
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for _ in range(2):
            events.add(await receive())

    server = serve(app, ws_ping_interval=SHORT, ws_ping_timeout=SHORT)
    with websocket(server) as client:
        client.send(text("hello"))
        client.ping()
        client.is_closed_with(1011)
        gate.open()
        assert [event.get("text") for event in events.take(2)] == ["hello", None]


def test_ws_09_a_slow_application_is_not_taken_for_a_vanished_client(serve: Serve) -> None:
    """Pongs are read while it receives nothing."""
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        events.add(await receive())

    with websocket(serve(app, ws_ping_interval=SHORT, ws_ping_timeout=1.0)) as client:
        client.send(text("hello"))
        answer_pings(client, 4)
        gate.open()
        assert events.next()["text"] == "hello"


def test_ws_09_a_full_queue_is_not_taken_for_a_vanished_client(serve: Serve) -> None:
    """Where reading has stopped, the pong that the client has sent cannot have been seen: it is not to blame."""
    gate, received = Gate(), Journal[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        while (event := await receive())["type"] == "websocket.receive":
            received.add(int(event["text"]))
        assert event == disconnect(4000)

    with websocket(serve(app, ws_ping_interval=SHORT, ws_ping_timeout=SHORT, ws_max_queue=2)) as client:
        client.send(b"".join(text(str(number)) for number in range(10)))
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            if not client.is_silent(0.1):
                client.send(pong(client.ping()))
        gate.open()
        assert received.take(10) == list(range(10))
        client.send(close(4000))
        assert client.closing_after_messages() == (4000, "")


def test_ws_09_pings_in_the_middle_of_a_fragmented_message(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_ping_interval=SHORT, ws_ping_timeout=SHORT)) as client:
        client.send(frame(Opcode.TEXT, b"one ", fin=False))
        answer_pings(client, 2)
        client.send(frame(Opcode.CONTINUATION, b"two"))
        while (last := client.frame()).opcode == Opcode.PING:
            client.send(pong(last.payload))
        assert last.payload == b"one two"


def test_ws_09_pings_are_never_compressed(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_ping_interval=SHORT), headers=[DEFLATE]) as client:
        answer_pings(client, 2)


def test_a_crowd_of_vanished_clients_is_found_and_forgotten(serve: Serve) -> None:
    recorder = Recorder()
    # A connection of HTTP/2 outlives its WebSocket, and idles.
    server = serve(recorder, ws_ping_interval=SHORT, ws_ping_timeout=SHORT, timeout_keep_alive=SHORT)
    with websocket(server) as client:
        client.close_cleanly()
    recorder.events.next()
    before = len(os.listdir("/dev/fd"))
    clients = [connection(server) for _ in range(100)]
    for client in clients:
        client.upgrade()
    assert recorder.events.take(100) == [GONE] * 100
    wait_until_few_descriptors(before + 100)
    for client in clients:
        client.close()


def wait_until_few_descriptors(most: int) -> None:
    """The clients' own sockets are of this process too."""
    deadline = time.monotonic() + 10
    while len(os.listdir("/dev/fd")) > most:
        assert time.monotonic() < deadline, "connections are left open"
        time.sleep(0.05)
