"""Applications that run side by side, and applications that wait for several things at once (CON rows)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, raised_by, read_body, respond, start
from tests.support.client import GET, request
from tests.support.deadline import SETTLED
from tests.support.server import Serve

DISCONNECT = {"type": "http.disconnect"}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def test_con_01_calls_run_concurrently_each_in_its_task(serve: Serve) -> None:
    """None of the ten is answered before all ten run."""
    count = 10
    tasks: set[Any] = set()
    everyone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.add(asyncio.current_task())
        if len(tasks) == count:
            everyone.set()
        await everyone.wait()
        await respond(send)

    server = serve(app)
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.send(GET)
    for client in clients:
        with client:
            assert client.response().body == b"ok"
    assert len(tasks) == count
    assert all(isinstance(task, asyncio.Task) for task in tasks)


def test_con_01_the_current_task_is_one_throughout(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task in asyncio.all_tasks()
        await receive()
        await asyncio.sleep(0)
        await send(start())
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        await send(body(b"ok"))

    assert serve(app).exchange(GET).body == b"ok"


async def waiting_for_the_disconnect(receive: Receive, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await read_body(receive)
        await receive()


def test_con_01_timeouts_and_task_groups_work(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(TimeoutError):
            await waiting_for_the_disconnect(receive, 0.01)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"


def test_con_01_anyio_task_groups_and_cancel_scopes(serve: Serve) -> None:
    anyio = pytest.importorskip("anyio")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette streams: one task listens for the disconnect, the other one sends."""

        async def listen() -> None:
            while await receive() != DISCONNECT:
                pass

        async def stream() -> None:
            await send(start())
            for part in (b"a", b"b"):
                await anyio.sleep(0)
                await send(body(part, more=True))
            await send(body(b"c"))

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await stream()
            group.cancel_scope.cancel()
        with anyio.move_on_after(0.01) as scope_of_time:
            await anyio.sleep(10)
        assert scope_of_time.cancelled_caught

    with serve(app).connect() as client:
        for _ in range(3):
            client.send(GET)
            assert client.response().body == b"abc"


def test_con_01_anyio_cancels_a_waiting_receive_at_once(serve: Serve) -> None:
    """Starlette's `is_disconnected`: a cancelled scope around `receive` takes what is there, and never waits."""
    anyio = pytest.importorskip("anyio")
    waiting: Journal[None] = Journal()
    gone: Journal[bool] = Journal()

    async def is_disconnected(receive: Receive) -> bool:
        event: Event = {}
        with anyio.CancelScope() as scope:
            scope.cancel()
            event = await receive()
        return event == DISCONNECT

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        assert not await is_disconnected(receive)
        waiting.add(None)
        while not await is_disconnected(receive):
            await anyio.sleep(0.001)
        gone.add(True)

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
        client.close()
        assert gone.next()


def test_con_02_loops_in_two_threads_share_nothing(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["loop"] = asyncio.get_running_loop()
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"]["loop"] is asyncio.get_running_loop()
        await respond(send, str(id(asyncio.get_running_loop())).encode())

    servers = [serve(app, lifespan="on") for _ in range(2)]
    first, second = (server.exchange(GET).body for server in servers)
    assert first != second


def test_con_03_receive_and_send_from_child_tasks(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        data = await asyncio.create_task(read_body(receive))
        await asyncio.create_task(respond(send, data))

    assert serve(app).exchange(request(b"POST", body=b"hello")).body == b"hello"


def test_con_03_receive_waits_while_send_sends(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        listening = asyncio.ensure_future(receive())
        await send(start())
        for part in (b"a", b"b"):
            await asyncio.sleep(0)
            await send(body(part, more=True))
        assert not listening.done()
        await send(body(b"c"))
        assert await listening == DISCONNECT

    assert serve(app).exchange(GET).body == b"abc"


def test_con_04_parallel_sends_go_out_in_the_order_of_their_calls(serve: Serve) -> None:
    parts = [b"%d," % number * 1000 for number in range(50)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.gather(send(start()), *(send(body(part, more=True)) for part in parts))
        await send(body())

    assert serve(app).exchange(GET).body == b"".join(parts)


def test_con_04_parallel_sends_to_a_slow_client(serve: Serve) -> None:
    """They all wait at once, and each goes out whole."""
    parts = [bytes([number]) * 1_000_000 for number in range(20)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await asyncio.gather(*(send(body(part, more=True)) for part in parts))
        await send(body())

    with serve(app).connect(receive_buffer=16_384) as client:
        client.send(GET)
        assert client.response().body == b"".join(parts)


def test_con_04_each_event_goes_to_one_of_parallel_receives(serve: Serve) -> None:
    waiting: Journal[None] = Journal()
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiters = [asyncio.ensure_future(receive()) for _ in range(2)]
        waiting.add(None)
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        waiting.add(None)
        events.add(list(await asyncio.gather(*waiters)))
        await respond(send)

    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"2")]))
        for part in (b"1", b"2"):
            waiting.next()
            client.send(part)
        assert client.response().body == b"ok"
    assert b"".join(event["body"] for event in events.next()) == b"12"


def test_con_04_the_disconnect_goes_to_all_of_parallel_receives(serve: Serve) -> None:
    waiting: Journal[None] = Journal()
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiters = [asyncio.ensure_future(receive()) for _ in range(3)]
        waiting.add(None)
        events.add(list(await asyncio.gather(*waiters)))

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
        client.close()
        assert events.next() == [DISCONNECT] * 3


def test_con_07_a_disconnect_does_not_cancel_the_application(serve: Serve) -> None:
    waiting, gate = Journal[None](), Gate()
    ends: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiting.add(None)
        await receive()
        try:
            await gate.passed()
        except asyncio.CancelledError:
            ends.add("cancelled")
            raise
        ends.add("finished")

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
    gate.open()
    assert ends.next() == "finished"


def test_con_07_work_after_the_response_goes_on(serve: Serve) -> None:
    gate = Gate()
    done: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        await gate.passed()
        done.add(None)

    assert serve(app).exchange(GET).body == b"ok"
    gate.open()
    done.next()


def test_con_08_a_cancelled_receive_loses_nothing(serve: Serve) -> None:
    cancelled: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        cancelled.add(None)
        await respond(send, await read_body(receive))

    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"5")]))
        cancelled.next()
        client.send(b"hello")
        assert client.response().body == b"hello"


def test_con_08_cancelled_while_the_event_arrives(serve: Serve) -> None:
    """The event wakes the waiter, and the cancellation comes before the waiter runs: the event must be kept."""
    received: Journal[bytes] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        data = b""
        while len(data) < 200:
            waiting = asyncio.ensure_future(receive())
            for _ in range(len(data) % 3):
                await asyncio.sleep(0)
            waiting.cancel()
            try:
                data += (await waiting)["body"]
            except asyncio.CancelledError:
                data += (await receive())["body"]
            received.add(data)
        await respond(send, data)

    data = bytes(range(200))
    with serve(app).connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"200")]))
        client.send_each_byte(data)
        assert client.response().body == data


def test_con_08_a_cancelled_send_has_been_sent_or_not(serve: Serve) -> None:
    """The cancellation comes through, and what follows is still framed right."""
    cancelled: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        sending = asyncio.ensure_future(send(body(bytes(32_000_000), more=True)))
        done, _ = await asyncio.wait([sending], timeout=SETTLED)
        assert not done
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        cancelled.add(None)
        await send(body(b"end"))

    with serve(app).connect(receive_buffer=16_384) as client:
        client.send(GET)
        cancelled.next()
        data = client.response().body
    assert data.endswith(b"\0end")
    assert data.removesuffix(b"end").count(0) == len(data) - 3


def test_con_11_send_and_receive_from_another_thread_raise(serve: Serve) -> None:
    errors: Journal[BaseException | None] = Journal()

    def drive(call: Any) -> None:
        """Runs what `call` returns, as far as it goes without a loop."""
        try:
            awaitable: Awaitable[Any] = call()
            iterator = awaitable.__await__()
            next(iterator)
        except BaseException as error:
            errors.add(error)
        else:
            errors.add(None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for call in (receive, lambda: send(start())):
            thread = threading.Thread(target=drive, args=[call])
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0)
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    for error in errors.take(2):
        assert isinstance(error, RuntimeError)
        assert "thread" in str(error)


def test_con_11_another_loop_raises(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def elsewhere(send: Send) -> None:
        try:
            await send(start())
        except Exception as error:
            errors.add(error)
        else:
            errors.add(None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(lambda: asyncio.run(elsewhere(send)))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert isinstance(errors.next(), RuntimeError)


def test_con_12_polling_receive_is_repeatable(serve: Serve) -> None:
    waiting: Journal[None] = Journal()
    gone: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        for _ in range(1000):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0)
        waiting.add(None)
        assert await asyncio.wait_for(receive(), 10) == DISCONNECT
        gone.add(None)

    with serve(app).connect() as client:
        client.send(GET)
        waiting.next()
        client.close()
        gone.next()


def test_con_14_orphan_tasks_do_no_harm(serve: Serve) -> None:
    """What a task that outlives its call sends and receives reaches no later request of the connection."""
    orphans: list[asyncio.Task[None]] = []
    gate = Gate()
    outcomes: Journal[tuple[Exception | None, Any]] = Journal()

    async def orphan(receive: Receive, send: Send) -> None:
        await gate.passed()
        error = await raised_by(send(body(b"from an orphan", more=True)))
        outcomes.add((error, await asyncio.wait_for(receive(), 5)))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/parent":
            orphans.append(asyncio.create_task(orphan(receive, send)))
            await respond(send)
            return
        await send(start())
        await send(body(b"part", more=True))
        gate.open()
        await orphans[0]
        await send(body(b"end"))

    with serve(app).connect() as client:
        client.send(request(target=b"/parent"))
        assert client.response().body == b"ok"
        client.send(request(target=b"/next"))
        assert client.response().body == b"partend"
    error, event = outcomes.next()
    assert error is None or isinstance(error, OSError)
    assert event == DISCONNECT


def test_con_14_orphans_after_the_connection_is_gone(serve: Serve) -> None:
    orphans: list[asyncio.Task[None]] = []
    gate = Gate()
    outcomes: Journal[tuple[Exception | None, Any]] = Journal()

    async def orphan(receive: Receive, send: Send) -> None:
        await gate.passed()
        error = await raised_by(send(body(b"from an orphan", more=True)))
        outcomes.add((error, await asyncio.wait_for(receive(), 5)))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/parent":
            orphans.append(asyncio.create_task(orphan(receive, send)))
        await respond(send)

    server = serve(app)
    server.exchange(request(target=b"/parent"))
    for _ in range(5):
        server.exchange(GET)
    gate.open()
    error, event = outcomes.next()
    assert error is None or isinstance(error, OSError)
    assert event == DISCONNECT


def test_con_14_a_receive_that_waits_when_the_application_returns(serve: Serve) -> None:
    waiters: list[asyncio.Future[Event]] = []
    outcomes: Journal[Event] = Journal()

    async def wait(receive: Receive) -> Event:
        event = await receive()
        outcomes.add(event)
        return event

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiters.append(asyncio.ensure_future(wait(receive)))
        await asyncio.sleep(0)
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert outcomes.next() == DISCONNECT


def test_a_busy_application_does_not_starve_the_loop(serve: Serve) -> None:
    """Fairness: while one connection's pipelined requests are served, the loop's other work goes on."""
    turns: Journal[int] = Journal()
    counted = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal counted
        if scope["path"] == "/count":
            first, counted = counted, 0
            await respond(send, b"%d" % first)
            return
        if not counted:
            asyncio.get_running_loop().call_soon(lambda: turns.add(counted))
        counted += 1
        await respond(send)

    count = 2000
    with serve(app).connect() as client:
        client.send(GET * count)
        for _ in range(count):
            client.response()
    assert turns.next() < count
