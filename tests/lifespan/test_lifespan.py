"""The lifespan protocol (LIFE rows): one call that spans the life of the server's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ferricorn import StartupError
from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, raised_by, read_body, respond
from tests.support.client import GET, request
from tests.support.server import RunningServer, Serve

COMPLETE = {"type": "lifespan.startup.complete"}
SHUTDOWN_COMPLETE = {"type": "lifespan.shutdown.complete"}


class Failure(Exception):
    """What the applications here fail with."""


class Lifespan:
    """An application whose lifespan is `run`, and which answers requests."""

    def __init__(self, run: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run(scope, receive, send)
        else:
            await respond(send)


class Recorder:
    """An application that does everything right, and notes what happens in which order."""

    def __init__(self) -> None:
        self.journal: Journal[str] = Journal()
        self.running: Journal[None] = Journal()
        self.gate = Gate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["path"] == "/wait":
            self.running.add(None)
            await self.gate.passed()
        await respond(send)
        self.journal.add(f"response to {scope['path']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        for expected in ("startup", "shutdown"):
            event = await receive()
            assert event == {"type": f"lifespan.{expected}"}
            self.journal.add(f"{expected} begins")
            await asyncio.sleep(0.01)
            self.journal.add(f"{expected} ends")
            await send({"type": f"lifespan.{expected}.complete"})


def startup_error(app: Any, **options: Any) -> str:
    """Why the server did not start, as its log tells it."""
    server = RunningServer(app, **options)
    with pytest.raises(StartupError):
        server.__enter__()
    server.join()
    assert isinstance(server.failure, SystemExit)
    assert server.failure.code == 3
    return "\n".join(server.log.remaining_problems())


def test_life_01_one_call_in_the_loop_of_the_requests(serve: Serve) -> None:
    loops: Journal[tuple[str, Any]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loops.add((scope["type"], asyncio.get_running_loop()))
        if scope["type"] == "http":
            await respond(send)
            return
        await receive()
        await send(COMPLETE)
        await receive()
        await send(SHUTDOWN_COMPLETE)

    server = serve(app, lifespan="on")
    for _ in range(3):
        server.exchange(GET)
    server.stop()
    calls = loops.take(4)
    assert [kind for kind, _ in calls] == ["lifespan", "http", "http", "http"]
    assert len({id(loop) for _, loop in calls}) == 1
    assert loops.is_empty()


def test_life_02_it_begins_before_and_ends_after_all_requests(serve: Serve) -> None:
    app = Recorder()
    server = serve(app, lifespan="on")
    server.exchange(GET)
    server.stop()
    expected = ["startup begins", "startup ends", "response to /", "shutdown begins", "shutdown ends"]
    assert app.journal.take(5) == expected


def test_life_03_nothing_is_served_before_the_answer(serve: Serve, loop: str, tmp_path: Any) -> None:
    """A request that arrives during start-up waits, or cannot connect: it is not answered before startup.complete."""
    path = str(tmp_path / "socket")
    started: Journal[dict[str, Any]] = Journal()
    app = Recorder()

    async def slow_start(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            started.add(dict(await receive()))
            await app.gate.passed()
            app.journal.add("started")
            await send(COMPLETE)
            await receive()
            await send(SHUTDOWN_COMPLETE)
            return
        await app(scope, receive, send)

    server = RunningServer(slow_start, loop=loop, lifespan="on", uds=path)
    server.begin()
    assert started.next() == {"type": "lifespan.startup"}
    assert not server.server.started
    app.gate.open()
    with server:
        assert server.exchange(GET).body == b"ok"
    assert app.journal.take(2) == ["started", "response to /"]


def test_life_04_startup_complete_serves(serve: Serve) -> None:
    app = Recorder()
    server = serve(app, lifespan="on")
    assert server.server.started
    assert server.exchange(GET).body == b"ok"


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("message", [{}, {"message": ""}, {"message": "no database"}], ids=str)
def test_life_05_startup_failed_ends_with_status_3(loop: str, mode: str, message: dict[str, str]) -> None:
    events: Journal[Event] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await receive())
        await send({"type": "lifespan.startup.failed", **message})
        events.add(await receive())

    log = startup_error(Lifespan(run), loop=loop, lifespan=mode)
    assert message.get("message", "") in log
    assert log, "an operator has to see why"
    assert events.next() == {"type": "lifespan.startup"}
    assert events.is_empty(), "no shutdown event after a failed start"


async def raise_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise Failure


async def raise_on_startup(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise Failure


async def assert_http(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"


UNSUPPORTED = [raise_at_once, raise_on_startup, assert_http]


@pytest.mark.parametrize("run", UNSUPPORTED)
def test_life_06_an_exception_means_no_lifespan(
    serve: Serve, run: Callable[[Scope, Receive, Send], Awaitable[None]]
) -> None:
    server = serve(Lifespan(run), lifespan="auto")
    assert server.exchange(GET).body == b"ok"
    server.stop()
    if run is raise_on_startup:
        server.expect_problem("Failure", "Traceback")


@pytest.mark.parametrize("run", [raise_at_once, assert_http])
def test_err_10_a_raise_on_lifespan_is_no_problem(
    serve: Serve, run: Callable[[Scope, Receive, Send], Awaitable[None]]
) -> None:
    """Nor worth a warning: such applications do not know of lifespan."""
    assert serve(Lifespan(run), lifespan="auto").exchange(GET).body == b"ok"


@pytest.mark.parametrize("run", UNSUPPORTED)
def test_life_07_on_makes_it_fatal(loop: str, run: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
    log = startup_error(Lifespan(run), loop=loop, lifespan="on")
    assert "Traceback" in log
    assert "Failure" in log or "AssertionError" in log


def test_life_07_off_makes_no_call(serve: Serve) -> None:
    types: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        types.add(scope["type"])
        await respond(send)

    server = serve(app, lifespan="off")
    server.exchange(GET)
    server.stop()
    assert types.next() == "http"
    assert types.is_empty()


def test_life_07_auto_shows_the_traceback_at_debug(serve: Serve) -> None:
    server = serve(Lifespan(raise_at_once), lifespan="auto", log_level="debug")
    assert any("Failure" in server.log.text(record) for record in server.log.records)


async def return_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def return_on_startup(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


@pytest.mark.parametrize("run", [return_at_once, return_on_startup])
def test_life_08_returning_without_an_answer_is_a_start(
    serve: Serve, run: Callable[[Scope, Receive, Send], Awaitable[None]]
) -> None:
    server = serve(Lifespan(run), lifespan="auto")
    assert server.exchange(GET).body == b"ok"


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_life_09_an_end_after_startup_keeps_serving(serve: Serve, how: str) -> None:
    ended: Journal[None] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        ended.add(None)
        if how == "raises":
            raise Failure("too early")

    server = serve(Lifespan(run), lifespan="on")
    ended.next()
    assert server.exchange(GET).body == b"ok"
    server.stop()
    problems = "\n".join(server.log.remaining_problems())
    assert ("too early" in problems) == (how == "raises")


def test_life_10_shutdown_comes_after_the_last_response(serve: Serve) -> None:
    app = Recorder()
    server = serve(app, lifespan="on")
    with server.connect() as client, server.connect() as idle:
        idle.send(GET)
        idle.response()
        client.send(request(target=b"/wait"))
        app.running.next()
        server.begin_stop()
        assert idle.ends()
        app.gate.open()
        assert client.response().body == b"ok"
    server.stop()
    order = app.journal.take(6)
    assert order.index("response to /wait") < order.index("shutdown begins")


def test_life_10_shutdown_comes_after_work_that_follows_a_response(serve: Serve) -> None:
    order: Journal[str] = Journal()
    working, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send)
            working.add(None)
            await gate.passed()
            order.add("work")
            return
        await receive()
        await send(COMPLETE)
        await receive()
        order.add("shutdown")
        await send(SHUTDOWN_COMPLETE)

    server = serve(app, lifespan="on")
    assert server.exchange(GET).body == b"ok"
    working.next()
    server.begin_stop()
    gate.open()
    server.stop()
    assert order.take(2) == ["work", "shutdown"]


def test_life_11_the_process_waits_for_shutdown_complete(serve: Serve) -> None:
    app = Recorder()
    server = serve(app, lifespan="on")
    server.stop()
    assert app.journal.take(4)[-1] == "shutdown ends"


def test_life_12_shutdown_failed_is_logged(serve: Serve) -> None:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "could not flush"})

    server = serve(Lifespan(run), lifespan="on")
    server.stop()
    server.expect_problem("could not flush")


def test_life_12_an_exception_during_shutdown_is_logged(serve: Serve) -> None:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        raise Failure("while closing")

    server = serve(Lifespan(run), lifespan="on")
    server.stop()
    server.expect_problem("while closing")


WRONG_AT_START: list[Any] = [
    SHUTDOWN_COMPLETE,
    {"type": "lifespan.shutdown.failed"},
    {"type": "lifespan.unknown"},
    {"type": "http.response.start", "status": 200},
    {},
    {"type": 1},
    None,
    {"type": "lifespan.startup.failed", "message": b"bytes"},
]


@pytest.mark.parametrize("wrong", WRONG_AT_START, ids=str)
def test_life_13_wrong_events_before_startup_raise(serve: Serve, wrong: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        errors.add(await raised_by(send(wrong)))
        await send(COMPLETE)
        await receive()
        await send(SHUTDOWN_COMPLETE)

    assert serve(Lifespan(run), lifespan="on").exchange(GET).body == b"ok"
    assert errors.next() is not None


def test_life_13_repeated_events_raise(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        for event in (COMPLETE, {"type": "lifespan.startup.failed"}, SHUTDOWN_COMPLETE):
            errors.add(await raised_by(send(event)))
        await receive()
        errors.add(await raised_by(send(COMPLETE)))
        await send(SHUTDOWN_COMPLETE)
        errors.add(await raised_by(send(SHUTDOWN_COMPLETE)))

    serve(Lifespan(run), lifespan="on").stop()
    assert None not in errors.take(5)


def test_life_14_receive_blocks_until_shutdown_and_after_it(serve: Serve) -> None:
    events: Journal[Event | None] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        for _ in range(2):
            try:
                events.add(await asyncio.wait_for(receive(), 0.05))
            except TimeoutError:
                events.add(None)
        events.add(await receive())
        try:
            events.add(await asyncio.wait_for(receive(), 0.05))
        except TimeoutError:
            events.add(None)
        await send(SHUTDOWN_COMPLETE)

    server = serve(Lifespan(run), lifespan="on")
    assert events.take(2) == [None, None]
    server.stop()
    assert events.take(2) == [{"type": "lifespan.shutdown"}, None]


def test_life_19_the_scope(serve: Serve) -> None:
    scopes: Journal[Scope] = Journal()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.add({**scope})
        await receive()
        await send(COMPLETE)
        await receive()
        await send(SHUTDOWN_COMPLETE)

    serve(Lifespan(run), lifespan="on")
    assert scopes.next() == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}


def test_asgi_2_applications_have_a_lifespan_too(serve: Serve) -> None:
    journal: Journal[str] = Journal()

    class App:
        def __init__(self, scope: Scope) -> None:
            self.scope = scope

        async def __call__(self, receive: Receive, send: Send) -> None:
            if self.scope["type"] == "http":
                await read_body(receive)
                await respond(send, self.scope["asgi"]["version"].encode())
                return
            journal.add(self.scope["asgi"]["version"])
            await receive()
            await send(COMPLETE)
            journal.add((await receive())["type"])
            await send(SHUTDOWN_COMPLETE)

    server = serve(App, lifespan="on")
    assert server.exchange(GET).body == b"2.0"
    server.stop()
    assert journal.take(2) == ["2.0", "lifespan.shutdown"]
