"""A slow side makes the other one wait, whichever of the two it is, and memory stays bounded meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, raised_by, read_body, respond, start
from tests.support.client import GET, request
from tests.support.deadline import SETTLED
from tests.support.server import Serve

PART = bytes(65_536)
KERNEL = 16 * 1024 * 1024
"""Bytes that the two socket buffers of a loopback connection may take, at the very most."""


class Flood:
    """An application that sends parts until `send` waits, says how many bytes that were, and then sends the rest."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.blocked_at: Journal[int] = Journal()
        self.ended: Journal[Exception | None] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        self.ended.add(await raised_by(self._stream(send)))

    async def _stream(self, send: Send) -> None:
        told = False
        for sent in range(0, self.total, len(PART)):
            sending = asyncio.ensure_future(send(body(PART, more=True)))
            done, _ = await asyncio.wait([sending], timeout=None if told else SETTLED)
            if not done:
                told = True
                self.blocked_at.add(sent)
            await sending
        await send(body())


def test_con_05_send_waits_for_a_client_that_does_not_read(serve: Serve) -> None:
    flood = Flood(64 * 1024 * 1024)
    with serve(flood).connect(receive_buffer=65_536) as client:
        client.send(GET)
        assert flood.blocked_at.next() <= KERNEL
        assert len(client.response().body) == flood.total
        assert flood.ended.next() is None


def test_con_05_a_waiting_send_wakes_up_on_disconnect(serve: Serve) -> None:
    flood = Flood(64 * 1024 * 1024)
    with serve(flood).connect(receive_buffer=65_536) as client:
        client.send(GET)
        flood.blocked_at.next()
        client.close()
        assert isinstance(flood.ended.next(), OSError)


def test_con_05_a_waiting_send_wakes_up_on_reset(serve: Serve) -> None:
    flood = Flood(64 * 1024 * 1024)
    with serve(flood).connect(receive_buffer=65_536) as client:
        client.send(GET)
        flood.blocked_at.next()
        client.reset()
        assert isinstance(flood.ended.next(), OSError)


def test_con_05_one_slow_client_delays_no_other(serve: Serve) -> None:
    flood = Flood(64 * 1024 * 1024)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (flood(scope, receive, send) if scope["path"] == "/flood" else respond(send))

    server = serve(app)
    with server.connect(receive_buffer=65_536) as client:
        client.send(request(target=b"/flood"))
        flood.blocked_at.next()
        assert server.exchange(GET).body == b"ok"
        client.reset()
        flood.ended.next()


def test_con_05_a_large_response_in_one_event(serve: Serve) -> None:
    data = bytes(range(256)) * 65_536

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, data)

    with serve(app).connect(receive_buffer=65_536) as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == data


class Pausing:
    """An application that does not ask for the body until `gate` is open."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.sizes: Journal[int] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gate.passed()
        self.sizes.add(len(await read_body(receive)))
        await respond(send)


def test_con_06_a_body_that_nobody_asks_for_is_not_read(serve: Serve) -> None:
    pausing = Pausing()
    total = 64 * 1024 * 1024
    with serve(pausing).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % total)]))
        sent = client.send_until_full(PART, patience=SETTLED)
        assert sent <= KERNEL
        pausing.gate.open()
        client.send(bytes(total - sent))
        assert client.response().status == 200
        assert pausing.sizes.next() == total


def test_con_06_not_read_again_once_the_application_stops_asking(serve: Serve) -> None:
    """One event asked for is one buffer read, not the whole body."""
    pausing = Pausing()
    firsts: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        firsts.add(await receive())
        await pausing(scope, receive, send)

    total = 64 * 1024 * 1024
    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % total)]))
        sent = client.send_until_full(PART, patience=SETTLED)
        assert sent <= KERNEL
        first = firsts.next()
        assert 0 < len(first["body"]) <= 1_048_576
        pausing.gate.open()
        client.send(bytes(total - sent))
        assert pausing.sizes.next() == total - len(first["body"])
        assert client.response().status == 200


@pytest.mark.http1("pipelining")
def test_con_06_pipelined_requests_are_not_read_without_end(serve: Serve) -> None:
    """Requests behind one that still runs wait in the kernel, not in the server."""
    gate, called = Gate(), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.add(None)
        await gate.passed()
        await respond(send)

    with serve(app).connect() as client:
        client.send(GET)
        called.next()
        assert client.send_until_full(GET * 1000, patience=SETTLED) <= KERNEL
        gate.open()
        assert client.response().status == 200


def test_both_sides_at_once(serve: Serve) -> None:
    """An echo of parts does not deadlock with a client that sends all before it reads, up to what the kernel holds."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        more = True
        while more:
            event = await receive()
            more = event["more_body"]
            await send(body(event["body"], more=more))

    data = bytes(range(256)) * 4096
    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % len(data))]))
        received = b""
        for position in range(0, len(data), len(PART)):
            client.send(data[position : position + len(PART)])
            if not received:
                assert client.head().status == 200
            while len(received) < position + len(PART):
                received += client.chunk()
        assert received == data
