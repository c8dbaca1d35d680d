"""What is left when sockets have come and gone: nothing, whatever way they went."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send
from tests.support.client import HeaderList
from tests.support.process import ServerProcess, StartProcess
from tests.support.server import Serve
from tests.support.websocket import (
    DEFLATE,
    HANDSHAKE,
    Opcode,
    WebSocket,
    close,
    connection,
    frame,
    handshake,
    text,
    websocket,
)
from tests.support.websocket_apps import Echo, connected

MIB = 1024 * 1024


def talks(client: WebSocket) -> None:
    for _ in range(20):
        client.send(text("x" * 100))
        client.frame()
    client.close_cleanly()


def talks_much(client: WebSocket) -> None:
    client.send(text("x" * 200_000))
    client.frame()
    client.close_cleanly()


def breaks_off(client: WebSocket) -> None:
    client.send(frame(Opcode.TEXT, b"x" * 10_000, fin=False))
    client.reset()


def closes_without_looking(client: WebSocket) -> None:
    client.send(text("x") * 10 + close())
    client.reset()


def breaks_the_protocol(client: WebSocket) -> None:
    client.send(frame(3))
    client.closing()


LIVES: list[tuple[Callable[[WebSocket], None], HeaderList]] = [
    *((live, []) for live in (talks, talks_much, breaks_off, closes_without_looking, breaks_the_protocol)),
    *((live, [DEFLATE]) for live in (talks, talks_much, breaks_off)),
]
REFUSED = [handshake(b"/reject"), handshake(b"/deny"), handshake(b"/raise")]


def live_and_die(server: ServerProcess, rounds: int) -> None:
    for _ in range(rounds):
        for live, headers in LIVES:
            with websocket(server, headers=headers) as client:
                live(client)
        for data in REFUSED:
            with connection(server) as client:
                client.send(data)
                client.head()
        with connection(server) as client:
            client.send(HANDSHAKE)
            client.reset()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_3_600_sockets_leave_nothing(start_process: StartProcess) -> None:
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    live_and_die(server, 50)
    before = server.resident()
    live_and_die(server, 300)
    assert server.resident() - before < 2 * MIB


def test_10_000_messages_leave_no_python_objects(serve: Serve) -> None:
    """The objects that the collector knows, counted: one that each message left would show."""
    with websocket(serve(Echo())) as client:
        counts = []
        for count in (200, 5_000, 5_000):
            for _ in range(count // 10):
                client.send(text("x") * 10)
                client.messages(10)
            gc.collect()
            counts.append(len(gc.get_objects()))
        client.close_cleanly()
    assert counts[2] - counts[1] < 100


def test_a_socket_s_cycle_is_collected(serve: Serve) -> None:
    """An application that keeps `send` where `send` can reach it: the collector must see through the native objects."""

    class Node:
        pass

    nodes: list[weakref.ref[Node]] = []
    ended: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        node = Node()
        node.__dict__.update(node=node, scope=scope, receive=receive, send=send)
        scope["node"] = node
        nodes.append(weakref.ref(node))
        await connected(receive, send)
        await Echo.talk(receive, send)
        ended.add(None)

    server = serve(app)
    for end in (WebSocket.close_cleanly, WebSocket.reset, WebSocket.half_close):
        with websocket(server) as client:
            end(client)
            ended.next()
    server.stop()
    gc.collect()
    assert [node() for node in nodes] == [None] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_idle_sockets_give_back_what_large_messages_took(start_process: StartProcess) -> None:
    """A hundred clients that each said one large thing, compressed, and then nothing more."""
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    live_and_die(server, 3)
    before = server.resident()
    with ExitStack() as stack:
        clients = [stack.enter_context(websocket(server, headers=[DEFLATE])) for _ in range(100)]
        for client in clients:
            # The application keeps its last message.
            client.send(text("x" * 1_000_000) + text("small"))
            client.frame()
            client.frame()
        deadline = time.monotonic() + 10
        while server.resident() - before > 32 * MIB:
            assert time.monotonic() < deadline, f"{(server.resident() - before) // MIB} MiB are kept"
            time.sleep(0.1)
        for client in clients:
            client.close_cleanly()
