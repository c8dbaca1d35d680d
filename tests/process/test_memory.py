"""Memory: bounded while bodies of any size pass, and no more of it after many requests than after a few."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from tests.support.asgi import Receive, Scope, Send, read_body, respond
from tests.support.client import GET, Client, request
from tests.support.process import StartProcess
from tests.support.server import RunningServer, Serve
from tests.support.traffic import KINDS, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1024 * 1024


def test_64_mib_up_and_down_in_bounded_memory(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:large", "--no-access-log").wait_until_running()
    with server.connect(receive_buffer=262_144) as client:
        up_and_down(client, 1)
        before = server.resident_peak()
        up_and_down(client, 64)
        assert server.resident_peak() - before < 8 * MIB


def up_and_down(client: Client, size: int) -> None:
    """`size` MiB each way."""
    client.send(request(b"POST", b"/up", headers=[(b"content-length", b"%d" % (size * MIB))]))
    for _ in range(size):
        client.send(bytes(MIB))
    assert client.response().body == b"%d" % (size * MIB)
    client.send(request(target=b"/down?%d" % size))
    client.head()
    assert client.skip_chunks() == size * MIB


def test_64_mib_to_a_client_that_pauses(start_process: StartProcess) -> None:
    """What waits is bounded too, while the client takes nothing."""
    server = start_process("tests.support.apps:large", "--no-access-log").wait_until_running()
    with server.connect(receive_buffer=65_536) as client:
        client.send(request(target=b"/down?1"))
        client.response()
        before = server.resident_peak()
        client.send(request(target=b"/down?64"))
        client.head()
        assert server.exchange(GET).status == 200
        assert server.resident_peak() - before < 8 * MIB
        assert client.skip_chunks() == 64 * MIB


def test_20_000_requests_leave_nothing(start_process: StartProcess) -> None:
    """Whole ones, and of each kind of aborted ones. The soak test sends a million."""
    server = start_process("tests.support.apps:mixed", "--no-access-log").wait_until_running()
    address = server.addresses[0]
    run(address, 2_000, KINDS)
    before = server.resident()
    run(address, 20_000, KINDS)
    assert server.resident() - before < 2 * MIB


def test_10_000_requests_leave_no_python_objects(serve: Serve) -> None:
    """The objects that the collector knows, counted: one that each request left would show."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, await read_body(receive))

    server = serve(app)
    with server.connect() as client:
        counts = []
        for count in (200, 5_000, 5_000):
            for _ in range(count // 10):
                client.send(request(b"POST", body=b"x") * 10)
                for _ in range(10):
                    client.response()
            gc.collect()
            counts.append(len(gc.get_objects()))
    assert counts[2] - counts[1] < 100


def test_the_server_is_freed(loop: str) -> None:
    """Nothing global holds a stopped server's application."""

    class App:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)

    app = App()
    gone = weakref.ref(app)
    with RunningServer(app, loop=loop) as server:
        server.exchange(GET)
    del server, app
    gc.collect()
    assert gone() is None


def test_a_connection_s_cycle_is_collected(serve: Serve) -> None:
    """An application that keeps `send` where `send` can reach it: the collector must see through the native objects."""

    class Node:
        pass

    nodes: list[weakref.ref[Node]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        node = Node()
        node.__dict__.update(node=node, scope=scope, receive=receive, send=send)
        scope["node"] = node
        nodes.append(weakref.ref(node))
        await respond(send)

    server = serve(app)
    for _ in range(3):
        server.exchange(GET)
    server.stop()
    gc.collect()
    assert [node() for node in nodes] == [None] * 3
