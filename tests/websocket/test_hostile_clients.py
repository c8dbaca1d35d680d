"""Many clients that are slow, silent or rude at once: the others keep being served, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send
from tests.support.deadline import SETTLED
from tests.support.process import ServerProcess, StartProcess
from tests.support.server import RunningServer, Serve
from tests.support.websocket import (
    DEFLATE,
    HANDSHAKE,
    MASK,
    Opcode,
    WebSocket,
    binary,
    close,
    connection,
    fragments,
    frame,
    frame_head,
    ping,
    text,
    websocket,
)
from tests.support.websocket_apps import Echo, Recorder, connected, disconnect, say

CROWD = 100


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] != "/stream":
        await Echo()(scope, receive, send)
        return
    await connected(receive, send)
    while True:
        await send(say(bytes(10_000)))
        await asyncio.sleep(0)


def nothing(client: WebSocket) -> None:
    client.upgrade()


def half_a_handshake(client: WebSocket) -> None:
    client.send(HANDSHAKE[:-20])


def half_a_frame(client: WebSocket) -> None:
    client.upgrade()
    client.send(text("hello")[:-2])


def half_a_large_message(client: WebSocket) -> None:
    client.upgrade()
    client.send(frame_head(Opcode.BINARY, 10_000_000) + MASK + bytes(50_000))


def an_unfinished_message(client: WebSocket) -> None:
    client.upgrade()
    client.send(frame(Opcode.TEXT, b"half", fin=False))


def reset_at_once(client: WebSocket) -> None:
    client.send(HANDSHAKE)
    client.reset()


def reset_in_a_frame(client: WebSocket) -> None:
    half_a_frame(client)
    client.reset()


def half_closed(client: WebSocket) -> None:
    client.upgrade()
    client.half_close()


def closes_and_stays(client: WebSocket) -> None:
    """Sends its close frame, and does not look at the answer."""
    client.upgrade()
    client.send(close())


def never_reading(client: WebSocket) -> None:
    client.send(HANDSHAKE.replace(b"GET /", b"GET /stream"))


def breaks_the_protocol(client: WebSocket) -> None:
    client.upgrade()
    client.send_until_end(frame(3) * 100)


BEHAVIOURS = [
    *(nothing, half_a_handshake, half_a_frame, half_a_large_message, an_unfinished_message, reset_at_once),
    *(reset_in_a_frame, half_closed, closes_and_stays, never_reading, breaks_the_protocol),
]
by_name = pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda behave: behave.__name__)


@contextmanager
def crowd(server: RunningServer, behave: Callable[[WebSocket], None], count: int = CROWD) -> Iterator[list[WebSocket]]:
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            clients.append(stack.enter_context(connection(server, receive_buffer=4_096)))
            behave(clients[-1])
        yield clients


def exchange(server: RunningServer | ServerProcess) -> None:
    """A whole life of a well-behaved client."""
    with websocket(server) as client:
        client.send(text("hello"))
        assert client.message() == "hello"
        client.close_cleanly()


@by_name
def test_others_are_served_and_nothing_is_left(serve: Serve, behave: Callable[[WebSocket], None]) -> None:
    server = serve(app)
    exchange(server)
    before = len(os.listdir("/dev/fd"))
    with crowd(server, behave):
        for _ in range(10):
            begun = time.monotonic()
            exchange(server)
            assert time.monotonic() - begun < 1.0
    deadline = time.monotonic() + 10
    while len(os.listdir("/dev/fd")) > before:
        assert time.monotonic() < deadline, "connections are left open"
        exchange(server)
    if behave is breaks_the_protocol:
        for _ in range(CROWD):
            server.expect_problem()


@pytest.mark.parametrize("behave", [nothing, half_a_frame, an_unfinished_message, half_a_large_message, never_reading])
def test_clients_that_wait_cost_no_time(serve: Serve, behave: Callable[[WebSocket], None]) -> None:
    """Nothing looks again and again at what cannot go on."""
    server = serve(app)
    with crowd(server, behave, 20):
        exchange(server)
        wait_for_quiet()
        begun = time.process_time()
        time.sleep(SETTLED)
        assert time.process_time() - begun < SETTLED / 4


def wait_for_quiet() -> None:
    """Until what the clients have sent is dealt with: the process uses less than half of the time."""
    deadline = time.monotonic() + 5
    used = 1.0
    while used > 0.5 and time.monotonic() < deadline:
        begun = time.process_time()
        time.sleep(0.05)
        used = (time.process_time() - begun) / 0.05


def test_a_crowd_of_dripping_frames(serve: Serve) -> None:
    """A byte each in turn."""
    server = serve(app)
    data = text("hello") + ping(b"?") + binary(bytes(3))
    with crowd(server, nothing, 50) as clients:
        for position in range(len(data)):
            for client in clients:
                client.send(data[position : position + 1])
        for client in clients:
            assert (client.message(), client.pong(), client.message()) == ("hello", b"?", bytes(3))


def test_endless_fragments_are_1009(serve: Serve) -> None:
    """A message that never ends, in frames that are each small: over at the limit."""
    recorder = Recorder()
    server = serve(recorder, ws_max_size=100_000)
    with websocket(server) as client:
        client.send(frame(Opcode.BINARY, bytes(100), fin=False))
        endless = frame(Opcode.CONTINUATION, bytes(100), fin=False)
        for _ in range(2_000):
            if not client.send_until_end(endless):
                break
        assert client.closing()[0] == 1009
    assert recorder.events.next()["code"] == 1009
    server.expect_problem()


def test_fragments_without_content_cost_nothing(serve: Serve) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(fragments(Opcode.TEXT, [b"", *[b""] * 100_000, b"end"]))
        assert recorder.events.next()["text"] == "end"
        client.close_cleanly()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_frame_that_promises_much_takes_no_memory_for_it(start_process: StartProcess) -> None:
    """16 MiB each, said by 200 clients that send nothing of it."""
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    exchange(server)
    with ExitStack() as stack:
        before = server.resident_peak()
        for _ in range(200):
            client = stack.enter_context(websocket(server, b"/silent"))
            client.send(frame_head(Opcode.BINARY, 16 * 1024 * 1024) + MASK + b"few")
        exchange(server)
        assert server.resident_peak() - before < 16 * 1024 * 1024


def test_a_ping_flood_is_answered_in_order_by_one_who_reads(serve: Serve) -> None:
    """RFC 6455 section 5.5.3: a pong may answer several pings, and then it is that of the latest."""
    count = 2000
    with websocket(serve(Echo())) as client:
        client.send(b"".join(ping(b"%d" % number) for number in range(count)) + text("end"))
        pongs = []
        while (last := client.frame()).opcode == Opcode.PONG:
            pongs.append(int(last.payload))
        assert last.payload == b"end"
    assert pongs == sorted(set(pongs))
    assert pongs[-1] == count - 1


def test_one_log_line_for_each_violation(serve: Serve) -> None:
    """What a hostile client sends makes no lines of its own."""
    server = serve(Recorder())
    with websocket(server) as client:
        client.send(frame(Opcode.CLOSE, b"\x00\x00\x1b[31m\nERROR: all is lost"))
        client.is_closed_with(1002)
    problem = server.log.next_problem()
    assert "\n" not in problem
    assert "\x1b" not in problem
    assert "127.0.0.1" in problem
    server.stop()
    assert server.log.remaining_problems() == []


@pytest.mark.cleartext("a thousand of them take long")
@pytest.mark.http1("a thousand of them take long")
def test_a_thousand_short_lives(serve: Serve) -> None:
    """Of every kind, one after the other."""
    ends: Journal[int] = Journal()

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        event = await Echo.talk(receive, send)
        assert event == disconnect(event["code"], event["reason"])
        ends.add(event["code"])

    server = serve(noting)
    lives: list[tuple[Callable[[WebSocket], None], int]] = [
        (lambda client: client.close_cleanly(), 1000),
        (lambda client: client.close_cleanly(None), 1005),
        (WebSocket.half_close, 1006),
        (WebSocket.reset, 1006),
    ]
    for number in range(1000):
        end, code = lives[number % len(lives)]
        with websocket(server, headers=[DEFLATE] if number % 3 else []) as client:
            client.send(text("x"))
            client.frame()
            end(client)
            assert ends.next() == code
