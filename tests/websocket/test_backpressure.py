"""A slow side makes the other one wait, whichever of the two it is; what waits is bounded (WS-29, CON-05, CON-06)."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.deadline import DEADLINE, SETTLED
from tests.support.process import StartProcess
from tests.support.server import Serve
from tests.support.websocket import Opcode, WebSocket, binary, close, fragments, frame, ping, text, websocket
from tests.support.websocket_apps import Echo, connected, data_of, disconnect, message, say

PART = bytes(65_536)
KERNEL = 16 * 1024 * 1024
"""Bytes that the two socket buffers of a loopback connection may take, at the very most."""

MIB = 1024 * 1024


class Pausing:
    """An application that does not receive until `gate` is open, and then notes the size of every message."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.sizes: Journal[list[int]] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await self.gate.passed()
        sizes = []
        while (event := await receive())["type"] == "websocket.receive":
            sizes.append(len(data_of(event)))
        self.sizes.add(sizes)


def test_ws_29_messages_that_nobody_receives_are_not_read_without_end(serve: Serve) -> None:
    """The client's sends block; nothing is lost."""
    pausing = Pausing()
    frames = binary(bytes(10_000))
    with websocket(serve(pausing)) as client:
        sent = client.send_until_full(frames * 100, patience=SETTLED)
        assert sent <= KERNEL
        pausing.gate.open()
        client.send(frames[sent % len(frames) :] + close())
        assert pausing.sizes.next() == [10_000] * (sent // len(frames) + 1)


@pytest.mark.cleartext("so many frames take long")
@pytest.mark.http1("so many frames take long")
@pytest.mark.parametrize("size", [1, 100])
def test_ws_29_small_messages_count_too(serve: Serve, size: int) -> None:
    """So many that their bytes alone would not fill anything: they are bounded by `ws_max_queue`, and then unread."""
    pausing = Pausing()
    frames = text("x" * size)
    with websocket(serve(pausing)) as client:
        sent = client.send_until_full(frames * 10_000, patience=SETTLED)
        assert sent <= KERNEL
        pausing.gate.open()
        client.send(frames[sent % len(frames) :] + close())
        sizes = pausing.sizes.next()
    assert len(sizes) == sent // len(frames) + 1
    assert set(sizes) == {size}


@pytest.mark.parametrize("queue", [1, 2, 5, 32])
def test_ws_29_as_many_messages_as_the_option_says_are_read_ahead(serve: Serve, queue: int) -> None:
    """A ping behind so many is answered; one behind another message is not, until the application receives."""
    gate, received = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for _ in range(queue + 1):
            received.add(await receive())
        await receive()

    with websocket(serve(app, ws_max_queue=queue)) as client:
        for number in range(queue - 1):
            client.send(text(str(number)))
        client.send(ping(b"within"))
        assert client.pong() == b"within"
        for number in range(queue - 1, queue + 1):
            client.send(text(str(number)))
        client.send(ping(b"beyond"))
        assert client.is_silent(SETTLED)
        gate.open()
        assert client.pong() == b"beyond"
        assert received.take(queue + 1) == [message(str(number)) for number in range(queue + 1)]


def test_ws_29_a_large_message_is_read_ahead_alone(serve: Serve) -> None:
    """Memory is bounded by bytes as well as by messages: one message of any size, and little behind it."""
    gate, received = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for _ in range(3):
            received.add(await receive())
        await receive()

    with websocket(serve(app)) as client:
        large = binary(bytes(100_000))
        client.send(large + large)
        client.send(large + ping(b"behind"))
        assert client.is_silent(SETTLED)
        gate.open()
        assert client.pong() == b"behind"
        assert [len(event["bytes"]) for event in received.take(3)] == [100_000] * 3


def test_ws_29_reading_goes_on_as_soon_as_there_is_room(serve: Serve) -> None:
    """One message received is one more read: the client is never let in further than that."""
    step: asyncio.Queue[None] = asyncio.Queue()
    loops: Journal[asyncio.AbstractEventLoop] = Journal()
    received: Journal[int] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        loops.add(asyncio.get_running_loop())
        while True:
            await step.get()
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            received.add(int(event["text"]))

    count = 200
    with websocket(serve(app, ws_max_queue=3)) as client:
        client.send(b"".join(text(str(number)) for number in range(count)) + close(4000))
        loop = loops.next()
        for number in range(count):
            loop.call_soon_threadsafe(step.put_nowait, None)
            assert received.next() == number
        loop.call_soon_threadsafe(step.put_nowait, None)
        assert client.closing() == (4000, "")


def test_con_06_a_slow_application_slows_its_client_alone(serve: Serve) -> None:
    pausing, echo = Pausing(), Echo()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (pausing if scope["path"] == "/pausing" else echo)(scope, receive, send)

    server = serve(app)
    with websocket(server, b"/pausing") as slow, websocket(server) as client:
        slow.send_until_full(binary(PART), patience=SETTLED)
        client.send(text("hello"))
        assert client.message() == "hello"
        slow.reset()
        pausing.gate.open()
        assert pausing.sizes.next()


class Flood:
    """An application that sends messages until `send` waits, says how many bytes that were, and then sends the rest."""

    def __init__(self, total: int, part: bytes = PART) -> None:
        self.total = total
        self.part = part
        self.blocked_at: Journal[int] = Journal()
        self.ended: Journal[Exception | None] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        self.ended.add(await raised_by(self._send_all(send)))

    async def _send_all(self, send: Send) -> None:
        told = False
        for sent in range(0, self.total, len(self.part)):
            sending = asyncio.ensure_future(send(say(self.part)))
            done, _ = await asyncio.wait([sending], timeout=None if told else SETTLED)
            if not done:
                told = True
                self.blocked_at.add(sent)
            await sending


def test_con_05_send_waits_for_a_client_that_does_not_read(serve: Serve) -> None:
    flood = Flood(64 * MIB)
    with websocket(serve(flood), receive_buffer=65_536) as client:
        assert flood.blocked_at.next() <= KERNEL
        for _ in range(flood.total // len(PART)):
            assert client.message() == PART
        assert client.closing() == (1000, "")
        assert flood.ended.next() is None


@pytest.mark.cleartext("so many frames take long")
@pytest.mark.http1("so many frames take long")
def test_con_05_so_do_small_messages(serve: Serve) -> None:
    flood = Flood(2 * MIB, bytes(64))
    with websocket(serve(flood), receive_buffer=4_096) as client:
        for _ in range(flood.total // 64):
            assert client.message() == bytes(64)
        assert client.closing() == (1000, "")


def test_con_05_other_clients_do_not_wait(serve: Serve) -> None:
    flood, echo = Flood(64 * MIB), Echo()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (flood if scope["path"] == "/flood" else echo)(scope, receive, send)

    server = serve(app)
    with websocket(server, b"/flood", receive_buffer=65_536) as slow, websocket(server) as client:
        flood.blocked_at.next()
        client.send(text("hello"))
        assert client.message() == "hello"
        slow.reset()
        assert isinstance(flood.ended.next(), OSError)


def test_con_05_a_waiting_send_does_not_keep_messages_from_being_received(serve: Serve) -> None:
    """Both directions are independent: what the client says gets through while it reads nothing."""
    blocked, events = Journal[None](), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sending = asyncio.ensure_future(send(say(bytes(32_000_000))))
        await asyncio.wait([sending], timeout=SETTLED)
        assert not sending.done()
        blocked.add(None)
        events.add(await receive())
        await sending

    with websocket(serve(app), receive_buffer=16_384) as client:
        blocked.next()
        client.send(text("stop"))
        assert events.next() == message("stop")
        assert client.message() == bytes(32_000_000)


def test_con_05_a_client_that_closes_while_a_send_waits(serve: Serve) -> None:
    """Its close frame is read, though it reads nothing itself."""
    blocked: Journal[None] = Journal()
    errors: Journal[Exception | None] = Journal()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sending = asyncio.ensure_future(raised_by(flood(send)))
        await asyncio.wait([sending], timeout=SETTLED)
        blocked.add(None)
        events.add(await receive())
        errors.add(await sending)

    async def flood(send: Send) -> None:
        while True:
            await send(say(PART))

    with websocket(serve(app), receive_buffer=16_384) as client:
        blocked.next()
        client.send(close(4000))
        assert events.next() == disconnect(4000)
        assert isinstance(errors.next(), OSError)
        assert client.closing_after_messages() == (4000, "")


def test_both_sides_at_once(serve: Serve) -> None:
    """An echo does not deadlock with a client that sends before it reads, up to what the kernel holds."""
    with websocket(serve(Echo())) as client:
        for _ in range(10):
            client.send(binary(bytes(100_000)) * 3)
            assert client.messages(3) == [bytes(100_000)] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_64_mib_each_way_in_bounded_memory(start_process: StartProcess) -> None:
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    with websocket(server, receive_buffer=262_144) as client:
        client.send(binary(bytes(MIB)))
        client.message()
        before = server.resident_peak()
        for _ in range(64):
            client.send(binary(bytes(MIB)))
            assert len(client.message()) == MIB
        assert server.resident_peak() - before < 8 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "data",
    [
        binary(PART) * 16,
        text("x") * 100_000,
        ping(bytes(125)) * 1000,
        frame(Opcode.PONG) * 10_000,
        fragments(Opcode.BINARY, [b""] * 10_000),
    ],
    ids=["large messages", "small messages", "pings", "pongs", "empty fragments"],
)
def test_ws_29_a_flood_that_nobody_reads_is_bounded(start_process: StartProcess, data: bytes) -> None:
    """64 MiB of it, or as much as is taken: the client reads none of the answers, the application receives nothing."""
    server = start_process("tests.support.websocket_apps:by_path", "--no-access-log").wait_until_running()
    with websocket(server, b"/echo") as warm:
        warm.send(text("hello"))
        warm.message()
        before = server.resident_peak()
        with websocket(server, b"/silent", receive_buffer=4_096) as client:
            server.wait_for_line("accepted")
            send_at_most(client, data, 64 * MIB)
            warm.send(text("hello"))
            assert warm.message() == "hello"
            assert server.resident_peak() - before < 8 * MIB
            client.reset()
        warm.close_cleanly()


def send_at_most(client: WebSocket, data: bytes, total: int) -> None:
    """Sends `data` over and over, until it is `total` bytes or the connection takes no more."""
    client.socket.settimeout(2 * SETTLED)
    sent = 0
    try:
        while sent < total:
            sent += client.socket.send(data[sent % len(data) :])
    except (TimeoutError, ConnectionError):
        pass
    finally:
        client.socket.settimeout(DEADLINE)
