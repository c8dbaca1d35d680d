"""The bridge from HTTP/1.1 to HTTP/2: what it carries, and how ends become ends. Against the server itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conformance.app import app as echo
from conformance.autobahn.bridge import bridged
from tests.support.asgi import Gate
from tests.support.client import Client
from tests.support.server import RunningServer

HANDSHAKE = (
    b"GET /chat?a=b HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@contextmanager
def serving(app: Callable[..., Any]) -> Iterator[int]:
    """The port of a bridge to a server with this application."""
    with RunningServer(app) as server, bridged("127.0.0.1", server.port) as port:
        yield port


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame, masked with nothing (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        head = bytes([0x80 | length])
    elif length < 65536:
        head = b"\xfe" + length.to_bytes(2, "big")
    else:
        head = b"\xff" + length.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


def opened(port: int, fields: bytes = b"") -> tuple[Client, bytes]:
    """A WebSocket, with the head of the response to its handshake."""
    client = Client.connect(("127.0.0.1", port))
    client.send(HANDSHAKE + fields + b"\r\n")
    return client, client.read_until(b"\r\n\r\n").lower()


def test_the_handshake_is_that_of_http_1() -> None:
    with serving(echo) as port:
        client, head = opened(port)
        with client:
            assert head.startswith(b"http/1.1 101 ")
            # The example of RFC 6455 section 1.3.
            assert b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
            assert b"\r\n:status" not in head


def test_the_handshake_is_carried_over() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-answer", b"1")]})
        await receive()

    with serving(app) as port:
        client, head = opened(port, b"Sec-WebSocket-Protocol: a, b\r\nX-Question: 2\r\n")
        with client:
            assert b"\r\nsec-websocket-protocol: b\r\n" in head + b"\r\n"
            assert b"\r\nx-answer: 1\r\n" in head + b"\r\n"
    (scope,) = scopes
    assert (scope["type"], scope["http_version"], scope["path"], scope["query_string"]) == (
        "websocket",
        "2",
        "/chat",
        b"a=b",
    )
    headers = dict(scope["headers"])
    assert (headers[b"host"], headers[b"x-question"], scope["subprotocols"]) == (b"test", b"2", ["a", "b"])
    assert b"sec-websocket-key" not in headers


def test_a_refused_handshake_has_its_status() -> None:
    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    with serving(app) as port:
        client, head = opened(port)
        with client:
            assert head.startswith(b"http/1.1 403 ")
            assert client.ends()


@pytest.mark.parametrize("length", [0, 1, 125, 65_535, 3_000_000])
def test_frames_go_both_ways(length: int) -> None:
    payload = os.urandom(length)
    with serving(echo) as port:
        client, _ = opened(port)
        with client:
            client.send(frame(2, payload))
            # What comes back is not masked.
            head = frame(2, payload)[: -length - 4 or None]
            expected = bytes([head[0], head[1] & 0x7F]) + head[2:]
            assert client.read_exactly(len(expected) + length) == expected + payload


def test_many_websockets_share_a_connection_one_after_another_and_at_once() -> None:
    with serving(echo) as port:
        for _ in range(3):
            clients = [opened(port)[0] for _ in range(5)]
            for number, client in enumerate(clients):
                client.send(frame(1, b"%d" % number))
            for number, client in enumerate(clients):
                with client:
                    assert client.read_exactly(3) == b"\x81\x01%d" % number


def test_the_end_of_a_stream_is_the_end_of_the_connection() -> None:
    with serving(echo) as port:
        client, _ = opened(port)
        with client:
            client.send(frame(8, b"\x03\xe8"))
            assert client.read_exactly(4) == b"\x88\x02\x03\xe8"
            assert client.ends_in_order()


def test_a_client_that_leaves_is_one_that_resets_its_stream() -> None:
    codes: list[int] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    with serving(app) as port:
        client, _ = opened(port)
        client.reset()
        other, head = opened(port)
        with other:
            assert head.startswith(b"http/1.1 101 ")
    assert codes == [1006, 1006]


def test_a_ping_behind_a_message_is_answered_while_the_application_is_busy() -> None:
    """What stands behind a message is left only until its application has had its say."""
    gate = Gate()

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": "got it"})
        await gate.passed()
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    with serving(app) as port:
        client, _ = opened(port)
        with client:
            client.send(frame(1, b"a") + frame(9, b"ping") + frame(1, b"b"))
            assert client.read_exactly(8 + 6) == b"\x81\x06got it" + b"\x8a\x04ping"
            gate.open()
            assert client.read_exactly(3) == b"\x81\x01b"
