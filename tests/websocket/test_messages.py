"""Messages in both directions: `websocket.receive`, `websocket.send`, and how they lie in frames (WS-07 to WS-10)."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.server import Serve
from tests.support.websocket import (
    HANDSHAKE,
    MASK,
    Frame,
    Opcode,
    binary,
    connection,
    fragments,
    frame,
    frame_head,
    ping,
    text,
    websocket,
)
from tests.support.websocket_apps import Echo, Recorder, accept, connected, data_of, message, say

SIZES = [0, 1, 3, 4, 125, 126, 127, 128, 1000, 65_535, 65_536, 65_537, 1_000_003]
"""Around the borders of the length's three forms, and of the steps in which masks are taken off."""


def test_ws_07_text_has_text_and_nothing_else(serve: Serve) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(text("hello"))
        event = recorder.events.next()
    assert type(event) is dict
    assert event == {"type": "websocket.receive", "text": "hello"}
    assert type(event["text"]) is str


def test_ws_07_binary_has_bytes_and_nothing_else(serve: Serve) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(binary(b"\0\xff"))
        event = recorder.events.next()
    assert event == {"type": "websocket.receive", "bytes": b"\0\xff"}
    assert type(event["bytes"]) is bytes


def test_ws_07_each_event_is_a_dict_of_its_own(serve: Serve) -> None:
    """Applications edit what they are given, and send it back."""
    events: list[Event] = []
    done: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(10):
            event = await receive()
            assert set(event) == {"type", "text"}
            event["spoilt"] = True
            events.append(event)
        done.add(None)

    with websocket(serve(app)) as client:
        client.send(text("same") * 10)
        done.next()
    assert len({id(event) for event in events}) == 10


@pytest.mark.parametrize("data", ["", b""], ids=["text", "binary"])
def test_ws_08_empty_messages_are_messages(serve: Serve, data: str | bytes) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(text(data) if isinstance(data, str) else binary(data))
        assert recorder.events.next() == message(data)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [str, bytes])
def test_ws_08_messages_of_every_size_both_ways(serve: Serve, size: int, kind: type[object]) -> None:
    data = (bytes(range(1, 128)) * (size // 127 + 1))[:size]
    with websocket(serve(Echo())) as client:
        client.send(text(data.decode()) if kind is str else binary(data))
        assert client.message() == (data.decode() if kind is str else data)
        client.close_cleanly()


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, MASK, b"\0\0\0\1"], ids=bytes.hex)
def test_ws_08_every_mask_comes_off(serve: Serve, mask: bytes) -> None:
    with websocket(serve(Echo())) as client:
        for size in (*range(70), 4099):
            data = (bytes(range(256)) * (size // 256 + 1))[:size]
            client.send(frame(Opcode.BINARY, data, mask=mask))
            assert client.message() == data


def test_ws_08_text_of_every_width(serve: Serve) -> None:
    """One, two, three and four bytes a character, and the last ones of each width and plane."""
    data = "a\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff\0" * 100
    with websocket(serve(Echo())) as client:
        client.send(text(data))
        assert client.message() == data
        client.send(fragments(Opcode.TEXT, [data.encode()[at : at + 7] for at in range(0, len(data.encode()), 7)]))
        assert client.message() == data


@pytest.mark.http1("a pong may overtake what the application answers")
def test_messages_byte_by_byte(serve: Serve) -> None:
    """From the handshake to the close: each byte in a system call, and mostly a segment, of its own."""
    with connection(serve(Echo())) as client:
        client.send_each_byte(HANDSHAKE)
        client.accepted()
        client.send_each_byte(text("h\u00e9llo \U0001f980") + ping(b"?") + binary(bytes(130)))
        assert client.message() == "h\u00e9llo \U0001f980"
        assert client.pong() == b"?"
        assert client.message() == bytes(130)
        client.send_each_byte(fragments(Opcode.TEXT, ["h\u00e9llo".encode()[:2], "h\u00e9llo".encode()[2:]]))
        assert client.message() == "h\u00e9llo"
        client.close_cleanly()


def test_many_messages_in_one_segment(serve: Serve) -> None:
    with websocket(serve(Echo())) as client:
        client.send(b"".join(text(str(number)) for number in range(1000)))
        assert client.messages(1000) == [str(number) for number in range(1000)]


@pytest.mark.parametrize("split", [1, 2, 3, 5, 7, 13, 100])
def test_any_split_gives_the_same_messages(serve: Serve, split: int) -> None:
    frames = [text("one"), binary(bytes(200)), fragments(Opcode.TEXT, [b"t", b"", b"wo"]), text(""), text("x" * 500)]
    data = b"".join(frames)
    with websocket(serve(Echo())) as client:
        for position in range(0, len(data), split):
            client.send(data[position : position + split])
        assert client.messages(5) == ["one", bytes(200), "two", "", "x" * 500]


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([b"hel", b"lo"], "hello"),
        ([b"", b"", b"hello", b""], "hello"),
        ([b"", b""], ""),
        ([b"\xc3", b"\xa9"], "\u00e9"),
        ([b"\xf0", b"\x9f", b"\xa6", b"\x80"], "\U0001f980"),
        ([b"x" * 1000] * 300, "x" * 300_000),
        ([b"x"] * 5000, "x" * 5000),
    ],
    ids=["two", "empty ones", "only empty ones", "inside é", "inside a crab", "300 KB", "5000 frames"],
)
def test_ws_09_fragments_are_joined(serve: Serve, parts: list[bytes], whole: str) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(fragments(Opcode.TEXT, parts) + fragments(Opcode.BINARY, parts))
        assert recorder.events.take(2) == [message(whole), message(whole.encode())]


def test_ws_09_control_frames_between_fragments(serve: Serve) -> None:
    """They are answered at once, and the message is whole all the same."""
    with websocket(serve(Echo())) as client:
        client.send(frame(Opcode.TEXT, b"one ", fin=False))
        for number in range(3):
            client.send(ping(b"%d" % number) + frame(Opcode.PONG, b"nobody asked"))
            assert client.pong() == b"%d" % number
            client.send(frame(Opcode.CONTINUATION, b"more ", fin=False))
        client.send(frame(Opcode.CONTINUATION, b"end"))
        assert client.message() == "one more more more end"


@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_ws_09_a_ping_is_answered_with_its_payload(serve: Serve, size: int) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        payload = bytes(range(size))
        client.send(ping(payload))
        assert client.pong() == payload
        client.send(text("after"))
        assert recorder.events.next() == message("after"), "the application sees no ping"


def test_ws_09_a_pong_that_nobody_asked_for_is_ignored(serve: Serve) -> None:
    with websocket(serve(Echo())) as client:
        client.send(frame(Opcode.PONG, b"hello") + frame(Opcode.PONG) + text("after"))
        assert client.message() == "after"


def test_ws_09_pings_are_answered_while_the_application_does_not_receive(serve: Serve) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        while (event := await receive())["type"] == "websocket.receive":
            await send(say(data_of(event)))

    with websocket(serve(app)) as client:
        for number in range(10):
            client.send(text(str(number)) + ping(b"%d" % number))
            assert client.pong() == b"%d" % number
        gate.open()
        assert client.messages(10) == [str(number) for number in range(10)]


def test_ws_09_pings_before_the_accept_are_answered_after_it(serve: Serve) -> None:
    with connection(serve(Recorder())) as client:
        client.send(HANDSHAKE + ping(b"early"))
        client.accepted()
        assert client.pong() == b"early"


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        ({"text": "hello"}, "hello"),
        ({"bytes": b"hello"}, b"hello"),
        ({"text": "hello", "bytes": None}, "hello"),
        ({"text": None, "bytes": b"hello"}, b"hello"),
        ({"text": "", "bytes": None}, ""),
        ({"bytes": b"", "text": None}, b""),
        ({"text": "hello", "unknown": object()}, "hello"),
        ({"bytes": bytearray(b"hello")}, b"hello"),
        ({"bytes": memoryview(b"hello")}, b"hello"),
        ({"bytes": memoryview(b"h-e-l-l-o-")[::2]}, b"hello"),
        ({"text": type("Text", (str,), {})("hello")}, "hello"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else ",".join(map(str, value)),
)
def test_ws_10_one_of_text_and_bytes(serve: Serve, event: Event, sent: str | bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send({"type": "websocket.send", **event})
        await receive()

    with websocket(serve(app)) as client:
        assert client.message() == sent


WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("both", {"text": "a", "bytes": b"b"}, Exception),
    ("both, empty", {"text": "", "bytes": b""}, Exception),
    ("neither", {}, Exception),
    ("both None", {"text": None, "bytes": None}, Exception),
    ("text of bytes", {"text": b"a"}, TypeError),
    ("text of int", {"text": 1}, TypeError),
    ("bytes of str", {"bytes": "a"}, TypeError),
    ("bytes of int", {"bytes": 1}, TypeError),
    ("bytes of list", {"bytes": [1]}, TypeError),
    ("lone surrogate", {"text": "a\ud800b"}, ValueError),
    ("surrogates the wrong way round", {"text": "\udc00\ud800"}, ValueError),
]


@pytest.mark.parametrize(("wrong", "kind"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_ws_10_anything_else_raises_and_changes_nothing(serve: Serve, wrong: Any, kind: type[Exception]) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        errors.add(await raised_by(send({"type": "websocket.send", **wrong})))
        await send(say("after"))
        await receive()

    with websocket(serve(app)) as client:
        assert client.message() == "after"
    error = errors.next()
    assert isinstance(error, kind)
    assert not isinstance(error, OSError)


MISUSES: list[tuple[str, Any]] = [
    ("accept twice", accept()),
    ("unknown type", {"type": "websocket.unknown"}),
    ("received event", {"type": "websocket.receive", "text": "a"}),
    ("disconnect", {"type": "websocket.disconnect", "code": 1000}),
    ("event of http", {"type": "http.response.start", "status": 200}),
    ("denial", {"type": "websocket.http.response.start", "status": 401, "headers": []}),
    ("body of a denial", {"type": "websocket.http.response.body", "body": b""}),
    ("no type", {"text": "a"}),
    ("None", None),
]


@pytest.mark.parametrize("wrong", [row[1] for row in MISUSES], ids=[row[0] for row in MISUSES])
def test_ws_22_misuse_after_the_accept_raises_and_changes_nothing(serve: Serve, wrong: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        errors.add(await raised_by(send(wrong)))
        await Echo.talk(receive, send)

    with websocket(serve(app)) as client:
        error = errors.next()
        assert error is not None
        assert not isinstance(error, OSError)
        client.send(text("after"))
        assert client.message() == "after"
        client.close_cleanly()


def test_ws_22_it_raises_when_it_is_awaited(serve: Serve) -> None:
    moments: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for wrong in (None, accept(), {"type": "nonsense"}, {"type": "websocket.send"}):
            try:
                sending = send(wrong)  # type: ignore[arg-type]
            except Exception:
                moments.add("called")
                continue
            moments.add("awaited" if await raised_by(sending) else "never")

    with websocket(serve(app)):
        assert moments.take(4) == ["awaited"] * 4


def test_ws_10_a_buffer_is_read_before_send_returns(serve: Serve) -> None:
    """The application may use it again at once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        buffer = bytearray(100_000)
        for number in b"abc":
            buffer[:] = bytes([number]) * len(buffer)
            await send({"type": "websocket.send", "bytes": buffer})
        await receive()

    with websocket(serve(app), receive_buffer=16_384) as client:
        assert client.messages(3) == [bytes([number]) * 100_000 for number in b"abc"]


def test_messages_go_out_unfragmented(serve: Serve) -> None:
    """Nothing asks for more frames than one, and many clients are slower with more."""
    with websocket(serve(Echo())) as client:
        for size in (0, 100, 1_000_000):
            client.send(binary(bytes(size)))
            assert client.frame() == Frame(Opcode.BINARY, bytes(size))


@pytest.mark.parametrize("kind", [str, bytes])
def test_16_mib_both_ways(serve: Serve, kind: type[object]) -> None:
    """The largest message that the defaults let in."""
    data = bytes(range(1, 127)) * (16 * 1024 * 1024 // 126)
    data += bytes(16 * 1024 * 1024 - len(data))
    with websocket(serve(Echo())) as client:
        client.send(text(data.decode()) if kind is str else binary(data))
        received = client.message()
        assert (received.encode() if isinstance(received, str) else received) == data
        client.close_cleanly()


def test_ws_26_one_byte_more_than_16_mib_is_1009(serve: Serve) -> None:
    """Told by the head of the frame: none of its payload is waited for."""
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        client.send(frame_head(Opcode.BINARY, 16 * 1024 * 1024 + 1) + MASK)
        client.is_closed_with(1009)
    assert recorder.events.next()["code"] == 1009
    server.expect_problem()


def test_a_large_message_of_the_application_is_not_bounded(serve: Serve) -> None:
    """`ws_max_size` is about what clients send."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(say(bytes(100_000)))
        await receive()

    with websocket(serve(app, ws_max_size=1000)) as client:
        assert client.message() == bytes(100_000)


def test_a_message_goes_out_while_the_application_waits(serve: Serve) -> None:
    """Written together with its neighbours, yet never held back for more of them."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for number in range(3):
            await send(say(str(number)))
        await gate.passed()

    with websocket(serve(app)) as client:
        assert client.messages(3) == ["0", "1", "2"]
        gate.open()
        assert client.closing() == (1000, "")


@pytest.mark.cleartext("segments")
@pytest.mark.http1("segments")
@pytest.mark.skipif(sys.platform != "linux", reason="reads TCP_INFO")
def test_small_messages_of_one_turn_leave_in_few_segments(serve: Serve) -> None:
    """A hundred messages, sent without waiting for anything in between."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for number in range(100):
            await send(say(f"{number:02}"))
        await receive()

    with websocket(serve(app)) as client:
        before = segments_received(client.socket)
        gate.open()
        assert client.messages(100) == [f"{number:02}" for number in range(100)]
        assert segments_received(client.socket) - before <= 2


def segments_received(sock: socket.socket) -> int:
    """`tcpi_data_segs_in` of linux/tcp.h: how many segments with data have come."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    (count,) = struct.unpack_from("=I", info, 152)
    assert isinstance(count, int)
    return count


def test_an_echo_of_many_sockets_at_once(serve: Serve) -> None:
    server = serve(Echo())
    clients = [connection(server) for _ in range(100)]
    for client in clients:
        client.send(HANDSHAKE)
    for number, client in enumerate(clients):
        client.accepted()
        client.send(text(f"one {number}") + text(f"two {number}"))
    for number, client in enumerate(clients):
        assert client.messages(2) == [f"one {number}", f"two {number}"]
        client.close_cleanly()
        client.close()


def test_a_broadcast(serve: Serve) -> None:
    """One task sends on all sockets."""
    sends: list[Send] = []
    ready: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sends.append(send)
        ready.add(None)
        while (event := await receive())["type"] == "websocket.receive":
            await asyncio.gather(*(other(say(data_of(event))) for other in sends))

    server = serve(app)
    clients = [connection(server) for _ in range(50)]
    for client in clients:
        client.upgrade()
        ready.next()
    for number in range(3):
        clients[0].send(text(str(number)))
    for client in clients:
        assert client.messages(3) == ["0", "1", "2"]
    for client in clients:
        client.close()
