"""Applications that do several things on one socket at once, from tasks and from threads (CON rows)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by
from tests.support.deadline import SETTLED
from tests.support.server import Serve
from tests.support.websocket import WebSocket, close, connection, text, websocket
from tests.support.websocket_apps import Echo, connected, data_of, disconnect, say, shut


def test_con_01_each_socket_has_a_task_of_its_own(serve: Serve) -> None:
    """None of the ten hears anything before all ten are there."""
    count = 10
    tasks: set[Any] = set()
    everyone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        tasks.add(asyncio.current_task())
        if len(tasks) == count:
            everyone.set()
        await everyone.wait()
        await send(say("all here"))
        await receive()

    server = serve(app)
    clients = [connection(server) for _ in range(count)]
    for client in clients:
        client.upgrade()
    for client in clients:
        with client:
            assert client.message() == "all here"
    assert len(tasks) == count
    assert all(isinstance(task, asyncio.Task) for task in tasks)


def test_con_01_timeouts_and_task_groups_work(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await receive()
        async with asyncio.TaskGroup() as group:
            group.create_task(echo_once(receive, send))
            group.create_task(send(say("meanwhile")))  # type: ignore[arg-type]

    with websocket(serve(app)) as client:
        assert client.message() == "meanwhile"
        client.send(text("hello"))
        assert client.message() == "hello"
        assert client.closing() == (1000, "")


async def echo_once(receive: Receive, send: Send) -> None:
    await send(say(data_of(await receive())))


def test_con_01_anyio_task_groups(serve: Serve) -> None:
    """As GraphQL and chat servers do: one task reads, another one writes, and the first to end cancels the other."""
    anyio = pytest.importorskip("anyio")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)

        async def read() -> None:
            while (await receive())["type"] == "websocket.receive":
                pass
            group.cancel_scope.cancel()

        async def write() -> None:
            number = 0
            while True:
                await send(say(str(number)))
                number += 1
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            group.start_soon(write)

    with websocket(serve(app)) as client:
        assert client.messages(20) == [str(number) for number in range(20)]
        client.send(close())
        assert client.closing_after_messages() == (1000, "")
        assert client.ends()


def test_con_03_receive_waits_while_send_sends(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        listening = asyncio.ensure_future(receive())
        for number in range(5):
            await send(say(str(number)))
            await asyncio.sleep(0)
        assert not listening.done()
        await send(say(data_of(await listening)))

    with websocket(serve(app)) as client:
        assert client.messages(5) == ["0", "1", "2", "3", "4"]
        client.send(text("hello"))
        assert client.message() == "hello"


def test_con_03_from_child_tasks(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.create_task(connected(receive, send))
        event: Event = await asyncio.create_task(receive())  # type: ignore[arg-type]
        await asyncio.create_task(send(say(data_of(event))))  # type: ignore[arg-type]

    with websocket(serve(app)) as client:
        client.send(text("hello"))
        assert client.message() == "hello"


def test_con_04_parallel_sends_go_out_in_the_order_of_their_calls(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await asyncio.gather(*(send(say(f"{number}," * 1000)) for number in range(50)))

    with websocket(serve(app)) as client:
        assert client.messages(50) == [f"{number}," * 1000 for number in range(50)]


def test_con_04_parallel_sends_to_a_slow_client(serve: Serve) -> None:
    """They all wait at once, and each goes out whole."""
    parts = [bytes([number]) * 1_000_000 for number in range(20)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await asyncio.gather(*(send(say(part)) for part in parts))

    with websocket(serve(app), receive_buffer=16_384) as client:
        assert client.messages(20) == parts
        assert client.closing() == (1000, "")


def test_con_04_parallel_tasks_keep_their_own_order(serve: Serve) -> None:
    """Ten tasks that give way after each message: each task's messages come in order, and all of them come."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)

        async def speak(name: int) -> None:
            for number in range(100):
                await send(say(f"{name} {number}"))
                await asyncio.sleep(0)

        await asyncio.gather(*(speak(name) for name in range(10)))

    with websocket(serve(app)) as client:
        assert_each_in_order(client, 10, 100)
        assert client.closing() == (1000, "")


def assert_each_in_order(client: WebSocket, speakers: int, count: int) -> None:
    """Messages "SPEAKER NUMBER": the numbers of each count up to `count`."""
    heard: dict[str, list[int]] = {}
    for message in client.messages(speakers * count):
        assert isinstance(message, str)
        name, number = message.split()
        heard.setdefault(name, []).append(int(number))
    assert heard == {str(name): list(range(count)) for name in range(speakers)}


def test_con_11_threads_send_through_the_loop(serve: Serve) -> None:
    """As `asyncio.run_coroutine_threadsafe` is for; each thread waits for its send."""
    speakers, count = 8, 50

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        loop = asyncio.get_running_loop()

        async def on_loop(event: Event) -> None:
            await send(event)

        def speak(name: int) -> None:
            for number in range(count):
                asyncio.run_coroutine_threadsafe(on_loop(say(f"{name} {number}")), loop).result()

        await asyncio.gather(*(asyncio.to_thread(speak, name) for name in range(speakers)))

    with websocket(serve(app)) as client:
        assert_each_in_order(client, speakers, count)
        assert client.closing() == (1000, "")


def test_con_11_threads_that_do_not_wait_for_their_sends(serve: Serve) -> None:
    speakers, count = 8, 50

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        loop = asyncio.get_running_loop()

        async def on_loop(event: Event) -> None:
            await send(event)

        def speak(name: int) -> list[Any]:
            events = [say(f"{name} {number}") for number in range(count)]
            return [asyncio.run_coroutine_threadsafe(on_loop(event), loop) for event in events]

        for futures in await asyncio.gather(*(asyncio.to_thread(speak, name) for name in range(speakers))):
            for future in futures:
                await asyncio.wrap_future(future)

    with websocket(serve(app)) as client:
        assert_each_in_order(client, speakers, count)


def test_con_11_send_and_receive_of_another_thread_raise(serve: Serve) -> None:
    errors: Journal[BaseException | None] = Journal()

    def drive(call: Any) -> None:
        """Runs what `call` returns, as far as it goes without a loop."""
        try:
            awaitable: Awaitable[Any] = call()
            next(awaitable.__await__())
        except BaseException as error:
            errors.add(error)
        else:
            errors.add(None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for call in (receive, lambda: send(say("from elsewhere"))):
            thread = threading.Thread(target=drive, args=[call])
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0)
        await send(say("ok"))

    with websocket(serve(app)) as client:
        assert client.message() == "ok"
    for error in errors.take(2):
        assert isinstance(error, RuntimeError)
        assert "thread" in str(error)


def test_con_04_each_message_goes_to_one_of_parallel_receives(serve: Serve) -> None:
    waiting: Journal[None] = Journal()
    received: Journal[list[str | bytes]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiters = []
        for _ in range(3):
            waiters.append(asyncio.ensure_future(receive()))
            await asyncio.sleep(0)
        waiting.add(None)
        received.add([data_of(event) for event in await asyncio.gather(*waiters)])

    with websocket(serve(app)) as client:
        waiting.next()
        client.send(text("1") + text("2") + text("3"))
        assert set(received.next()) == {"1", "2", "3"}


def test_con_08_a_cancelled_receive_loses_nothing(serve: Serve) -> None:
    cancelled: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(3):
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        cancelled.add(None)
        await Echo.talk(receive, send)

    with websocket(serve(app)) as client:
        cancelled.next()
        client.send(text("hello"))
        assert client.message() == "hello"
        client.close_cleanly()


def test_con_08_cancelled_while_the_message_arrives(serve: Serve) -> None:
    """The message wakes the waiter, and the cancellation comes before the waiter runs: the message must be kept."""
    count = 300

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for number in range(count):
            waiting = asyncio.ensure_future(receive())
            for _ in range(number % 4):
                await asyncio.sleep(0)
            waiting.cancel()
            try:
                event = await waiting
            except asyncio.CancelledError:
                event = await receive()
            await send(say(data_of(event)))

    with websocket(serve(app)) as client:
        for number in range(count):
            client.send(text(str(number)))
        assert client.messages(count) == [str(number) for number in range(count)]
        assert client.closing() == (1000, "")


def test_con_08_polling_with_wait_for_loses_nothing(serve: Serve) -> None:
    """The usual loop of applications that do something else in between."""
    count = 500

    async def poll(receive: Receive) -> Event:
        while True:
            try:
                return await asyncio.wait_for(receive(), 0.0005)
            except TimeoutError:
                await asyncio.sleep(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(count):
            await send(say(data_of(await poll(receive))))
        assert await poll(receive) == disconnect(4000)

    with websocket(serve(app)) as client:
        for first in range(0, count, 5):
            client.send(b"".join(text(str(number)) for number in range(first, first + 5)))
            assert client.messages(5) == [str(number) for number in range(first, first + 5)]
        client.close_cleanly(4000)


def test_con_12_polling_with_no_time_at_all(serve: Serve) -> None:
    waiting: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for _ in range(1000):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0)
        waiting.add(None)
        await Echo.talk(receive, send)

    with websocket(serve(app)) as client:
        waiting.next()
        client.send(text("hello"))
        assert client.message() == "hello"
        client.close_cleanly()


def test_con_08_a_cancelled_send_has_been_sent_or_not(serve: Serve) -> None:
    """The cancellation comes through, and what follows is still framed right."""
    cancelled: Journal[None] = Journal()
    large = bytes(32_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        sending = asyncio.ensure_future(send(say(large)))
        done, _ = await asyncio.wait([sending], timeout=SETTLED)
        assert not done
        second = asyncio.ensure_future(send(say("second")))
        await asyncio.sleep(0)
        for waiting in (sending, second):
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        cancelled.add(None)
        await send(say("end"))

    with websocket(serve(app), receive_buffer=16_384) as client:
        cancelled.next()
        messages = [client.message()]
        while messages[-1] != "end":
            messages.append(client.message())
        assert messages in ([*sent, "end"] for sent in ([], [large], ["second"], [large, "second"]))
        assert client.closing() == (1000, "")


def test_con_10_each_call_has_a_context_of_its_own(serve: Serve) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(say(variable.get()))
        variable.set(scope["path"])
        await receive()
        await send(say(variable.get()))
        await receive()

    server = serve(app)
    with websocket(server, b"/1") as one, websocket(server, b"/2") as two:
        for client in (one, two):
            assert client.message() == "unset"
            client.send(text(""))
        assert (one.message(), two.message()) == ("/1", "/2")


def test_con_14_orphan_tasks_do_no_harm(serve: Serve) -> None:
    orphans: list[asyncio.Task[None]] = []
    gate = Gate()
    outcomes: Journal[tuple[Exception | None, Any]] = Journal()

    async def orphan(receive: Receive, send: Send) -> None:
        await gate.passed()
        error = await raised_by(send(say("from an orphan")))
        outcomes.add((error, await asyncio.wait_for(receive(), 5)))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        orphans.append(asyncio.create_task(orphan(receive, send)))

    server = serve(app)
    with websocket(server) as client:
        assert client.closing() == (1000, "")
        client.send(close())
        assert client.ends()
    gate.open()
    error, event = outcomes.next()
    assert isinstance(error, OSError)
    assert event["type"] == "websocket.disconnect"


def test_con_07_a_disconnect_does_not_cancel_the_application(serve: Serve) -> None:
    waiting, gate = Journal[None](), Gate()
    ends: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        waiting.add(None)
        try:
            await gate.passed()
        except asyncio.CancelledError:
            ends.add("cancelled")
            raise
        ends.add("finished")

    with websocket(serve(app)) as client:
        waiting.next()
        client.reset()
        gate.open()
        assert ends.next() == "finished"


def test_con_01_a_busy_socket_does_not_starve_the_loop(serve: Serve) -> None:
    """While one socket's messages are echoed as fast as they come, the loop's other work goes on."""
    turns: Journal[int] = Journal()
    count = 5000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for number in range(count):
            if number == 1:
                asyncio.get_running_loop().call_soon(lambda: turns.add(seen[0]))
            seen[0] = number
            await send(say(data_of(await receive())))

    seen = [0]
    with websocket(serve(app)) as client:
        client.send(text("x") * count)
        client.messages(count)
    assert turns.next() < count - 1


def test_con_05_close_from_another_task(serve: Serve) -> None:
    """One task closes; the one that receives is told, the one that sends gets its error."""
    errors: Journal[Exception | None] = Journal()
    events: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)

        async def stream() -> None:
            while True:
                await send(say("more"))
                await asyncio.sleep(0)

        listening = asyncio.ensure_future(receive())
        streaming = asyncio.ensure_future(raised_by(stream()))
        await asyncio.sleep(0.01)
        await send(shut(4000, "enough"))
        errors.add(await streaming)
        events.add(await listening)

    with websocket(serve(app)) as client:
        assert client.closing_after_messages() == (4000, "enough")
    assert isinstance(errors.next(), OSError)
    assert events.next() == disconnect(4000, "enough")
