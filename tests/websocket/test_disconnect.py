"""Clients that go without a close frame, and clients that break the protocol (WS-15, WS-18, WS-19, WS-26)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.client import Client
from tests.support.deadline import SETTLED
from tests.support.server import Serve
from tests.support.websocket import (
    COMPRESSED,
    DEFLATE,
    MASK,
    Opcode,
    WebSocket,
    binary,
    fragments,
    frame,
    frame_head,
    text,
    websocket,
)
from tests.support.websocket_apps import Echo, Recorder, accept, connected, disconnect, message, say, shut

LEAVINGS: list[Callable[[Client], None]] = [Client.close, Client.half_close, Client.reset]


@pytest.fixture(params=LEAVINGS, ids=["close", "FIN", "RST"])
def leave(request: pytest.FixtureRequest) -> Callable[[Client], None]:
    """The ways in which a client goes without a word."""
    way: Callable[[Client], None] = request.param
    return way


def is_client_disconnected(error: Exception | None) -> bool:
    return isinstance(error, OSError) and type(error).__name__ == "ClientDisconnected"


def test_ws_15_a_lost_connection_is_1006(serve: Serve, leave: Callable[[Client], None]) -> None:
    """While the application waits. Nothing is logged: the fixture would fail."""
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(text("hello"))
        assert recorder.events.next() == message("hello")
        leave(client)
        assert recorder.events.next() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@pytest.mark.parametrize(
    "part",
    [text("half")[:1], text("half")[:-1], frame(Opcode.TEXT, b"half", fin=False), frame_head(Opcode.TEXT, 70_000)],
    ids=["in a head", "in a payload", "between fragments", "before a mask"],
)
def test_ws_15_a_connection_lost_in_the_middle_is_1006(
    serve: Serve, leave: Callable[[Client], None], part: bytes
) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(text("hello") + part)
        assert recorder.events.next() == message("hello")
        leave(client)
        assert recorder.events.next() == disconnect(1006)


def test_ws_15_messages_that_came_before_are_received_first(serve: Serve) -> None:
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for _ in range(4):
            events.add(await receive())

    with websocket(serve(app)) as client:
        client.send(text("one") + text("two"))
        client.half_close()
        gate.open()
        assert events.take(4) == [message("one"), message("two"), *[disconnect(1006)] * 2]


def test_ws_18_the_disconnect_repeats(serve: Serve, leave: Callable[[Client], None]) -> None:
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        events.add([await receive() for _ in range(5)])

    with websocket(serve(app)) as client:
        leave(client)
        assert events.next() == [disconnect(1006)] * 5


class Streaming:
    """An application that sends until that fails, and lets the error out."""

    def __init__(self) -> None:
        self.errors: Journal[Exception] = Journal()
        self.again: Journal[Exception | None] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        try:
            while True:
                await send(say("more"))
                await asyncio.sleep(0)
        except Exception as error:
            self.errors.add(error)
            for event in (say("again"), say(b"again"), shut(), accept()):
                self.again.add(await raised_by(send(event)))
            raise


def test_ws_19_send_raises_when_the_client_is_gone(serve: Serve, leave: Callable[[Client], None]) -> None:
    """An OSError, each time, and quiet when it comes back out of the application."""
    streaming = Streaming()
    server = serve(streaming)
    with websocket(server) as client:
        client.message()
        leave(client)
        assert is_client_disconnected(streaming.errors.next())
        assert all(is_client_disconnected(error) for error in streaming.again.take(4))
    server.stop()
    assert server.log.remaining_problems() == []


def test_ws_19_send_raises_after_the_client_s_close(serve: Serve) -> None:
    streaming = Streaming()
    with websocket(serve(streaming)) as client:
        client.message()
        client.send(b"\x88\x80" + MASK)
        assert client.closing_after_messages() == (None, "")
        assert is_client_disconnected(streaming.errors.next())
        assert all(is_client_disconnected(error) for error in streaming.again.take(4))
        assert client.ends()


def test_ws_19_the_first_send_after_the_disconnect_raises(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        assert await receive() == disconnect(1000)
        errors.add(await raised_by(send(say("late"))))
        errors.add(await raised_by(send(shut())))
        await send(say("late"))

    with websocket(serve(app)) as client:
        client.close_cleanly()
        assert all(is_client_disconnected(error) for error in errors.take(2))


def test_ws_19_not_logged_when_it_comes_in_a_group(serve: Serve) -> None:
    ended: Journal[None] = Journal()

    async def stream(send: Send) -> None:
        while True:
            await send(say("more"))
            await asyncio.sleep(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stream(send))
        finally:
            ended.add(None)

    with websocket(serve(app)) as client:
        client.message()
        client.close()
        ended.next()


def test_ws_19_an_os_error_of_the_application_s_own_is_logged(serve: Serve) -> None:
    waiting, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiting.add(None)
        await receive()
        await gate.passed()
        raise OSError("no disk")

    server = serve(app)
    with websocket(server):
        waiting.next()
    gate.open()
    server.expect_problem("no disk", "Traceback")


def test_ws_19_a_wait_for_room_ends_with_the_connection(serve: Serve, leave: Callable[[Client], None]) -> None:
    blocked: Journal[None] = Journal()
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sending = asyncio.ensure_future(send(say(bytes(32_000_000))))
        await asyncio.wait([sending], timeout=SETTLED)
        assert not sending.done()
        blocked.add(None)
        errors.add(await raised_by(sending))

    with websocket(serve(app), receive_buffer=16_384) as client:
        blocked.next()
        leave(client)
        assert is_client_disconnected(errors.next())


def test_ws_18_quiet_tasks_are_told_too(serve: Serve, leave: Callable[[Client], None]) -> None:
    """Not cancelled (CON-07): each waiter gets the disconnect, and the application ends when it wants to."""
    waiting, gate = Journal[None](), Gate()
    ended: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiters = [asyncio.ensure_future(receive()) for _ in range(3)]
        waiting.add(None)
        events = await asyncio.gather(*waiters)
        await gate.passed()
        ended.add(list(events))

    with websocket(serve(app)) as client:
        waiting.next()
        leave(client)
        gate.open()
        assert ended.next() == [disconnect(1006)] * 3


VIOLATIONS: list[tuple[str, bytes, int]] = [
    ("no mask", frame(Opcode.TEXT, b"hello", mask=None), 1002),
    ("empty without a mask", frame(Opcode.TEXT, mask=None), 1002),
    ("ping without a mask", frame(Opcode.PING, mask=None), 1002),
    *((f"opcode {opcode}", frame(opcode, b"hello"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    *((f"reserved bits {rsv:03b}", frame(Opcode.TEXT, b"hello", rsv=rsv), 1002) for rsv in range(1, 8)),
    ("reserved bit of a ping", frame(Opcode.PING, rsv=COMPRESSED), 1002),
    ("reserved bit of a close", frame(Opcode.CLOSE, rsv=COMPRESSED), 1002),
    ("fragmented ping", frame(Opcode.PING, b"a", fin=False), 1002),
    ("fragmented pong", frame(Opcode.PONG, b"a", fin=False), 1002),
    ("fragmented close", frame(Opcode.CLOSE, fin=False), 1002),
    ("ping of 126 bytes", frame(Opcode.PING, bytes(126)), 1002),
    ("head of a ping of 126 bytes", frame_head(Opcode.PING, 126), 1002),
    ("close of 126 bytes", frame(Opcode.CLOSE, b"\x03\xe8" + bytes(124)), 1002),
    ("5 in two bytes", b"\x82\xfe\0\x05" + MASK + bytes(5), 1002),
    ("125 in two bytes", b"\x82\xfe\0\x7d" + MASK + bytes(125), 1002),
    ("65,535 in eight bytes", b"\x82\xff" + bytes(6) + b"\xff\xff" + MASK, 1002),
    ("a ping's 5 in two bytes", b"\x89\xfe\0\x05" + MASK + bytes(5), 1002),
    ("the highest bit of a length", frame_head(Opcode.BINARY, 2**63) + MASK, 1002),
    ("continuation of nothing", frame(Opcode.CONTINUATION, b"a"), 1002),
    ("endless continuation of nothing", frame(Opcode.CONTINUATION, b"a", fin=False), 1002),
    ("message inside of a message", frame(Opcode.TEXT, b"a", fin=False) + text("b"), 1002),
    ("other message inside", frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.BINARY, b"b", fin=False), 1002),
    ("no UTF-8", frame(Opcode.TEXT, b"\xff"), 1007),
    ("cut UTF-8", frame(Opcode.TEXT, b"caf\xc3"), 1007),
    ("cut UTF-8 in fragments", fragments(Opcode.TEXT, [b"caf\xc3", b""]), 1007),
    ("surrogate", frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    ("surrogates", frame(Opcode.TEXT, b"\xed\xa0\xbd\xed\xb8\x80"), 1007),
    ("overlong", frame(Opcode.TEXT, b"\xc0\xaf"), 1007),
    ("beyond the last character", frame(Opcode.TEXT, b"\xf4\x90\x80\x80"), 1007),
    ("five bytes", frame(Opcode.TEXT, b"\xf8\x88\x80\x80\x80"), 1007),
    ("late in a long text", frame(Opcode.TEXT, b"x" * 70_000 + b"\xff"), 1007),
    ("in an unfinished message", frame(Opcode.TEXT, b"a\xffb", fin=False), 1007),
    ("split over fragments", frame(Opcode.TEXT, b"\xf4", fin=False) + frame(0, b"\x90", fin=False), 1007),
    ("in an unfinished frame", frame_head(Opcode.TEXT, 1000) + bytes(4) + b"abc\xff", 1007),
]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("data", "code"), [row[1:] for row in VIOLATIONS], ids=[row[0] for row in VIOLATIONS])
def test_ws_26_a_violation_closes_with_its_code(serve: Serve, data: bytes, code: int, bytewise: bool) -> None:
    """At once, the application is told the same, and the log has one line of it."""
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        if bytewise and len(data) < 1000:
            for position in range(len(data)):
                client.send_until_end(data[position : position + 1])
        else:
            client.send(data)
        reason = client.is_closed_with(code)
    assert recorder.events.next() == disconnect(code, reason)
    server.expect_problem("127.0.0.1")
    server.stop()
    assert server.log.remaining_problems() == []


def test_ws_26_messages_before_the_violation_are_received(serve: Serve) -> None:
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        client.send(text("one") + binary(b"two") + frame(Opcode.TEXT, b"\xff"))
        client.is_closed_with(1007)
    assert recorder.events.take(2) == [message("one"), message(b"two")]
    assert recorder.events.next()["code"] == 1007
    server.expect_problem()


def test_ws_26_nothing_behind_the_violation_is_looked_at(serve: Serve) -> None:
    """And the close frame arrives, though the client has much more to say."""
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        client.send_until_end(frame(3) + text("late") * 10_000)
        assert client.closing()[0] == 1002
        client.read_to_end()
    assert recorder.events.next()["code"] == 1002
    server.expect_problem()


def too_long_in_one(client: WebSocket) -> None:
    client.send_until_end(binary(bytes(1001)))


def too_long_in_fragments(client: WebSocket) -> None:
    client.send_until_end(fragments(Opcode.TEXT, [b"x" * 400] * 3))


def too_long_by_its_head(client: WebSocket) -> None:
    client.send(frame_head(Opcode.BINARY, 1001) + MASK)


def too_long_by_the_second_head(client: WebSocket) -> None:
    client.send(frame(Opcode.BINARY, bytes(1000), fin=False) + frame_head(Opcode.CONTINUATION, 1) + MASK)


def huge(client: WebSocket) -> None:
    client.send(frame_head(Opcode.BINARY, 2**63 - 1) + MASK)


@pytest.mark.parametrize(
    "send_too_much",
    [too_long_in_one, too_long_in_fragments, too_long_by_its_head, too_long_by_the_second_head, huge],
)
def test_ws_26_a_message_beyond_the_limit_is_1009(serve: Serve, send_too_much: Callable[[WebSocket], None]) -> None:
    recorder = Recorder()
    server = serve(recorder, ws_max_size=1000)
    with websocket(server) as client:
        client.send(binary(bytes(1000)))
        assert recorder.events.next() == message(bytes(1000)), "so much is taken"
        send_too_much(client)
        reason = client.is_closed_with(1009)
    assert recorder.events.next() == disconnect(1009, reason)
    server.expect_problem()


def test_ws_26_the_limit_is_for_each_message(serve: Serve) -> None:
    with websocket(serve(Echo(), ws_max_size=1000)) as client:
        for _ in range(5):
            client.send(fragments(Opcode.BINARY, [bytes(250)] * 4))
            assert client.message() == bytes(1000)
        client.close_cleanly()


def test_ws_26_the_application_s_wait_for_room_ends_too(serve: Serve) -> None:
    """A violation while the application sends: its send raises, its receive says why."""
    streaming = Streaming()
    server = serve(streaming)
    with websocket(server) as client:
        client.message()
        client.send(frame(3))
        assert client.closing_after_messages()[0] == 1002
        assert is_client_disconnected(streaming.errors.next())
    server.expect_problem()


def test_ws_26_with_compression_negotiated_the_other_bits_stay_reserved(serve: Serve) -> None:
    server = serve(Recorder())
    for rsv in (1, 2, 3, 5, 6, 7):
        with websocket(server, headers=[DEFLATE]) as client:
            client.send(frame(Opcode.TEXT, b"\x00", rsv=rsv))
            client.is_closed_with(1002)
        server.expect_problem()
