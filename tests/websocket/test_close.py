"""Who closes how, with which code, and what the other side learns (WS-12 to WS-18, WS-20, WS-21)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.deadline import DEADLINE, SETTLED
from tests.support.server import Serve
from tests.support.websocket import Opcode, close, fragments, frame, ping, text, websocket
from tests.support.websocket_apps import Recorder, accept, connected, disconnect, message, say, shut

VALID_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
"""What may stand in a close frame: RFC 6455 section 7.4.2, and IANA's register of 1000 to 2999."""


def is_client_disconnected(error: Exception | None) -> bool:
    return isinstance(error, OSError) and type(error).__name__ == "ClientDisconnected"


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": 4001}, 4001, ""),
        ({"reason": "done"}, 1000, "done"),
        ({"code": 3000, "reason": None}, 3000, ""),
        ({"code": 1001, "reason": "b\u00fce \U0001f44b"}, 1001, "b\u00fce \U0001f44b"),
        ({"code": 4000, "reason": "x" * 123}, 4000, "x" * 123),
        ({"code": 4000, "reason": "\u00e9" * 61 + "x"}, 4000, "\u00e9" * 61 + "x"),
        ({"code": 4000, "unknown": object()}, 4000, ""),
        *(({"code": code}, code, "") for code in VALID_CODES),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, dict) else "",
)
def test_ws_12_the_application_closes(serve: Serve, event: Event, code: int, reason: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send({"type": "websocket.close", **event})
        await receive()

    with websocket(serve(app)) as client:
        assert client.closing() == (code, reason)
        client.send(close(code))
        assert client.ends()


def test_ws_12_what_was_sent_before_the_close_arrives_before_it(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(20):
            await send(say(bytes(100_000)))
        await send(shut(4000, "done"))

    with websocket(serve(app), receive_buffer=16_384) as client:
        assert client.messages(20) == [bytes(100_000)] * 20
        assert client.closing() == (4000, "done")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"code": code} for code in (1005, 1006, 1015, 0, 1, 999, 5000, 65_535, 65_536, -1, 2**40, 2**80)),
        *({"code": code} for code in ("1000", b"1000", 1000.0)),
        {"reason": "x" * 124},
        {"reason": "\u00e9" * 62},
        {"reason": b"bytes"},
        {"reason": 1},
        {"reason": "lone \ud800"},
    ],
    ids=lambda wrong: repr(wrong)[:30],
)
def test_ws_13_what_may_not_stand_in_a_close_frame_raises(serve: Serve, wrong: Event) -> None:
    """Nothing is closed by it: the application can still do it right."""
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        errors.add(await raised_by(send({"type": "websocket.close", **wrong})))
        await send(say("still open"))
        await send(shut(4000))

    with websocket(serve(app)) as client:
        assert client.message() == "still open"
        assert client.closing() == (4000, "")
    error = errors.next()
    assert error is not None
    assert not isinstance(error, OSError)


def test_ws_13_the_sentence_says_what_is_wrong(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        errors.add(await raised_by(send(shut(1006))))
        errors.add(await raised_by(send(shut(1000, "x" * 124))))

    with websocket(serve(app)):
        code, reason = (str(error) for error in errors.take(2))
    assert "1006" in code
    assert "124" in reason
    assert "123" in reason


@pytest.mark.parametrize("code", VALID_CODES)
def test_ws_14_the_client_closes(serve: Serve, code: int) -> None:
    """The code comes back (RFC 6455 section 5.5.1), and the connection ends."""
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.close_cleanly(code, "b\u00fce")
    event = recorder.events.next()
    assert event == {"type": "websocket.disconnect", "code": code, "reason": "b\u00fce"}
    assert (type(event["code"]), type(event["reason"])) == (int, str)


def test_ws_14_the_close_is_answered_while_the_application_is_elsewhere(serve: Serve) -> None:
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        events.add(await receive())

    with websocket(serve(app)) as client:
        client.close_cleanly(4000, "bye")
        gate.open()
        assert events.next() == disconnect(4000, "bye")


def test_ws_14_what_came_before_the_close_is_received_before_the_disconnect(serve: Serve) -> None:
    gate, events = Gate(), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await gate.passed()
        for _ in range(4):
            events.add(await receive())

    with websocket(serve(app)) as client:
        client.send(text("one") + text("two"))
        client.close_cleanly()
        gate.open()
        assert events.take(4) == [message("one"), message("two"), *[disconnect(1000)] * 2]


def test_ws_14_frames_behind_the_close_are_nothing(serve: Serve) -> None:
    """RFC 6455 section 5.5.1: the application must not send any; what is sent all the same is not looked at."""
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(close(4000) + text("late") + ping(b"late") + b"\xff" * 100)
        assert client.closing() == (4000, "")
        assert client.ends()
    assert recorder.events.next() == disconnect(4000)


def test_ws_14_a_close_between_fragments(serve: Serve) -> None:
    """The message that was not finished is none."""
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.send(frame(Opcode.TEXT, b"half", fin=False))
        client.close_cleanly(4000)
    assert recorder.events.next() == disconnect(4000)


def test_ws_15_a_close_without_a_code_is_1005(serve: Serve) -> None:
    """Which is never on the wire: the answer is as empty."""
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.close_cleanly(None)
    assert recorder.events.next() == {"type": "websocket.disconnect", "code": 1005, "reason": ""}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        *((number.to_bytes(2), 1002) for number in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)),
        *((number.to_bytes(2), 1002) for number in (5000, 65_535)),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8caf\xc3", 1007),
        (b"\x03\xe8\xed\xa0\x80", 1007),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_ws_14_a_bad_close_is_a_protocol_error(serve: Serve, payload: bytes, code: int) -> None:
    """The application is told the code that was sent, not what it was given."""
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server) as client:
        client.send(frame(Opcode.CLOSE, payload))
        reason = client.is_closed_with(code)
    assert recorder.events.next() == disconnect(code, reason)
    server.expect_problem()


@pytest.mark.parametrize("reason", ["", "bye", "x" * 123])
def test_ws_16_the_reason_is_always_there(serve: Serve, reason: str) -> None:
    recorder = Recorder()
    with websocket(serve(recorder)) as client:
        client.close_cleanly(1000, reason)
    assert recorder.events.next() == disconnect(1000, reason)


def test_ws_17_the_application_s_own_close_ends_in_a_disconnect_at_once(serve: Serve) -> None:
    """With its own code and reason, whether or not the client has answered yet, and whatever it answers."""
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(shut(4001, "bye"))
        events.add([await receive() for _ in range(3)])

    with websocket(serve(app)) as client:
        assert events.next() == [disconnect(4001, "bye")] * 3
        assert client.closing() == (4001, "bye")
        client.send(close(1000, "fine"))
        assert client.ends()


def test_ws_17_a_receive_that_waits_when_the_application_closes(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send(shut(4001, "bye"))
        events.add(await waiting)

    with websocket(serve(app)) as client:
        assert events.next() == disconnect(4001, "bye")
        assert client.closing() == (4001, "bye")


def test_ws_17_messages_behind_the_application_s_close_are_not_received(serve: Serve) -> None:
    """The client cannot know yet, and goes on: what it sends is taken, and thrown away."""
    closed, events = Journal[None](), Journal[Event]()
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(shut(4001))
        closed.add(None)
        await gate.passed()
        events.add(await receive())

    with websocket(serve(app)) as client:
        closed.next()
        client.send(text("late") * 1000 + fragments(Opcode.BINARY, [bytes(100_000)] * 10) + ping())
        assert client.closing() == (4001, "")
        client.send(close(4001))
        assert client.ends()
        gate.open()
        assert events.next() == disconnect(4001)


@pytest.mark.parametrize("code", [None, 1000, 4002])
def test_ws_17_both_close_at_once(serve: Serve, code: int | None) -> None:
    """The two close frames cross: each is the other's answer."""
    closed, events = Journal[None](), Journal[Event]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(shut(4001))
        closed.add(None)
        events.add(await receive())

    with websocket(serve(app)) as client:
        closed.next()
        client.send(close(code))
        assert client.closing() == (4001, "")
        assert client.ends()
    assert events.next() == disconnect(4001)


@pytest.mark.parametrize("loop", ["asyncio"])
def test_ws_20_a_client_that_does_not_answer_a_close_is_cut_off(serve: Serve, loop: str) -> None:
    """After ten seconds. The application has its disconnect long before."""
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(shut(4001))
        events.add(await receive())

    server = serve(app)
    with websocket(server) as client:
        begun = time.monotonic()
        assert events.next() == disconnect(4001)
        assert client.closing() == (4001, "")
        client.socket.settimeout(DEADLINE)
        assert client.ends()
        assert 9 < time.monotonic() - begun < 12
    server.log.remaining_problems()


def test_ws_18_the_disconnect_repeats(serve: Serve) -> None:
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(5):
            event = await receive()
            events.add(dict(event))
            event["spoilt"] = True

    with websocket(serve(app)) as client:
        client.close_cleanly(4000, "bye")
    assert events.take(5) == [disconnect(4000, "bye")] * 5


def test_ws_18_all_that_wait_are_told(serve: Serve) -> None:
    waiting, events = Journal[None](), Journal[list[Event]]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiters = [asyncio.ensure_future(receive()) for _ in range(3)]
        waiting.add(None)
        events.add(list(await asyncio.gather(*waiters)))

    with websocket(serve(app)) as client:
        waiting.next()
        client.close_cleanly(4000)
    assert events.next() == [disconnect(4000)] * 3


@pytest.mark.parametrize(
    "event", [say("late"), say(b""), shut(), shut(4000, "again"), accept()], ids=lambda event: ",".join(event)
)
def test_ws_23_send_after_the_own_close_is_an_os_error(serve: Serve, event: Event) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(shut(4001))
        errors.add(await raised_by(send(event)))
        errors.add(await raised_by(send(event)))

    with websocket(serve(app)) as client:
        assert client.closing() == (4001, "")
        client.send(close())
        assert client.ends()
    assert all(is_client_disconnected(error) for error in errors.take(2))


def test_ws_21_an_application_that_returns_closes_with_1000(serve: Serve) -> None:
    """Nothing is logged: the fixture would fail."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(say("bye"))

    with websocket(serve(app)) as client:
        assert client.message() == "bye"
        assert client.closing() == (1000, "")
        client.send(close())
        assert client.ends()


KINDS = [LookupError, OSError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, BaseException]


def test_ws_21_a_failure_after_a_wait_closes_at_once(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await asyncio.sleep(0.05)
        raise LookupError("on purpose")

    server = serve(app)
    with websocket(server) as client:
        assert client.closing()[0] == 1011
    server.expect_problem("LookupError")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_ws_21_an_application_that_fails_closes_with_1011(serve: Serve, kind: type[BaseException]) -> None:
    """Why is for the log, once, and not for the client. The others live on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        if (await receive()).get("text") == "fail":
            raise kind("on purpose")
        await send(say("alive"))

    server = serve(app)
    with websocket(server) as other:
        with websocket(server) as client:
            client.send(text("fail"))
            code, reason = client.closing()
            assert (code, "on purpose" in reason) == (1011, False)
            client.send(close(1011))
            assert client.ends()
        server.expect_problem(kind.__name__, "on purpose", "Traceback")
        other.send(text("hello"))
        assert other.message() == "alive"
    assert server.log.remaining_problems() == []


async def returns_at_once(receive: Receive, send: Send) -> None: ...


async def leaves_a_task(receive: Receive, send: Send) -> None:
    """Returns while a task of it still waits for a message."""
    asyncio.ensure_future(receive()).add_done_callback(lambda _: None)
    await asyncio.sleep(0)


async def has_waited(receive: Receive, send: Send) -> None:
    """Returns when nothing has come from the client, which is what the server is otherwise woken by."""
    await asyncio.sleep(0.05)


async def catches_its_group(receive: Receive, send: Send) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.sleep(3600))
        waiting.cancel()


@pytest.mark.parametrize("end", [returns_at_once, leaves_a_task, has_waited, catches_its_group])
def test_ws_20_the_socket_ends_with_the_application(serve: Serve, end: Callable[[Receive, Send], Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await end(receive, send)

    with websocket(serve(app)) as client:
        assert client.closing() == (1000, "")
        client.send(close())
        assert client.ends()


@pytest.mark.http1("what the kernel holds")
def test_ws_20_a_send_that_waits_when_the_application_returns(serve: Serve) -> None:
    """What an orphan still sends is an error of its own, and the close comes after whole messages."""
    outcomes: Journal[Exception | None] = Journal()

    async def flood(send: Send) -> None:
        error = None
        while error is None:
            error = await raised_by(send(say(bytes(65_536))))
        outcomes.add(error)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        flooding = asyncio.ensure_future(flood(send))
        await asyncio.wait([flooding], timeout=SETTLED)
        assert not flooding.done()
        orphans.append(flooding)

    orphans: list[asyncio.Future[None]] = []
    with websocket(serve(app), receive_buffer=16_384) as client:
        assert is_client_disconnected(outcomes.next())
        assert client.closing_after_messages() == (1000, "")


def test_ws_12_a_close_to_a_client_that_reads_slowly_is_not_lost(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sending = asyncio.ensure_future(send(say(bytes(32_000_000))))
        await asyncio.wait([sending], timeout=SETTLED)
        await send(shut(4000, "done"))
        await sending

    with websocket(serve(app), receive_buffer=16_384) as client:
        assert client.message() == bytes(32_000_000)
        assert client.closing() == (4000, "done")
        client.send(close(4000))
        assert client.ends()
