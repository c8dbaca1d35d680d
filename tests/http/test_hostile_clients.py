"""Many clients that are slow, silent or rude at once: the others keep being served, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.support.asgi import Receive, Scope, Send, body, read_events, respond, start
from tests.support.client import GET, Client, request
from tests.support.deadline import SETTLED
from tests.support.server import RunningServer, Serve

CROWD = 200


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/pause":
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        await respond(send)
        return
    if scope["path"] != "/stream":
        events = await read_events(receive)
        if events[-1]["type"] == "http.request":
            await respond(send, b"".join(event["body"] for event in events))
        return
    await send(start())
    while True:
        await send(body(bytes(10_000), more=True))
        await asyncio.sleep(0)


def nothing(client: Client) -> None: ...


def half_a_head(client: Client) -> None:
    client.send(GET[:20])


def half_a_body(client: Client) -> None:
    client.send(request(b"POST", headers=[(b"content-length", b"100")]) + b"half")


def never_asked_for(client: Client) -> None:
    client.send(request(b"POST", b"/pause", headers=[(b"content-length", b"100000")]) + bytes(50_000))


def half_closed(client: Client) -> None:
    client.send(GET[:20])
    client.half_close()


def reset_in_the_body(client: Client) -> None:
    half_a_body(client)
    client.reset()


def reset_in_the_response(client: Client) -> None:
    client.send(request(target=b"/stream"))
    client.head()
    client.reset()


def never_reading(client: Client) -> None:
    client.send(request(target=b"/stream"))


BEHAVIOURS = [nothing, half_a_head, half_a_body, half_closed, reset_in_the_body, reset_in_the_response, never_reading]


@contextmanager
def crowd(server: RunningServer, behave: Callable[[Client], None], count: int = CROWD) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            clients.append(stack.enter_context(server.connect(receive_buffer=4096)))
            behave(clients[-1])
        yield clients


def wait_until_served_alone(server: RunningServer, before: int) -> None:
    """Until the process has as few descriptors open as before, one request after the other."""
    deadline = time.monotonic() + 10
    while len(os.listdir("/dev/fd")) > before:
        assert time.monotonic() < deadline, "connections are left open"
        assert server.exchange(GET).status == 200


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda behave: behave.__name__)
def test_others_are_served_and_nothing_is_left(serve: Serve, behave: Callable[[Client], None]) -> None:
    server = serve(app)
    server.exchange(GET)
    before = len(os.listdir("/dev/fd"))
    with crowd(server, behave):
        for _ in range(20):
            begun = time.monotonic()
            assert server.exchange(request(b"POST", body=b"hello")).body == b"hello"
            assert time.monotonic() - begun < 1.0
    wait_until_served_alone(server, before)


@pytest.mark.parametrize("behave", [nothing, half_a_head, half_a_body, never_asked_for, never_reading])
def test_clients_that_wait_cost_no_time(serve: Serve, behave: Callable[[Client], None]) -> None:
    """Nothing looks again and again at what cannot go on."""
    server = serve(app)
    with crowd(server, behave, 20):
        server.exchange(GET)
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


@pytest.mark.http1("lines of a head")
def test_every_head_timeout_of_a_crowd_fires(serve: Serve) -> None:
    server = serve(app, timeout_request_head=0.5)
    with crowd(server, half_a_head) as clients:
        for client in clients:
            assert client.response().status == 408
            assert client.ends()
    server.stop()
    assert len(server.log.remaining_problems()) == CROWD


@pytest.mark.http1("lines of a head")
def test_a_crowd_of_dripping_heads(serve: Serve) -> None:
    """A byte each in turn, as the slow clients of the attack do; the heads are whole in the end."""
    server = serve(app)
    with crowd(server, nothing, 50) as clients:
        for position in range(len(GET)):
            for client in clients:
                client.send(GET[position : position + 1])
        assert [client.response().status for client in clients] == [200] * 50


def test_the_server_stops_in_a_crowd(serve: Serve) -> None:
    """Silent connections do not hold it up."""
    server = serve(app)
    with ExitStack() as stack:
        for behave in (nothing, half_a_head):
            stack.enter_context(crowd(server, behave, 20))
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5


@pytest.mark.cleartext("connections are accepted before anything is spoken")
@pytest.mark.http1("connections are accepted before anything is spoken")
def test_more_connections_than_the_process_may_open(serve: Serve) -> None:
    """Accepting fails for want of descriptors: the server does not die, and serves when there are some again."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = serve(app)
    server.exchange(GET)
    with server.connect() as waiting:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 40, hard))
        try:
            clients = connect_until_refused(server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.send(GET)
        assert waiting.response().status == 200
    for client in clients:
        client.close()
    assert server.exchange(GET).status == 200
    server.log.remaining_problems()


def connect_until_refused(server: RunningServer) -> list[Client]:
    """The clients share the limit with the server: half of the descriptors are theirs."""
    clients: list[Client] = []
    with suppress(OSError):
        while len(clients) < 100:
            clients.append(server.connect())
    return clients
