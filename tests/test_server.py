"""`Server` and `run` as programs use them: in a thread, in a running event loop, beside others, stopped in all ways."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import threading
from typing import Any

import pytest

import ferricorn
from ferricorn import Config, Server, StartupError
from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.embedded import QUIET, App, body_from, in_thread, run_async, when_ready
from tests.support.process import StartProcess
from tests.support.server import parse_address


class Waiting:
    """An application that waits for ever, in its start-up or in requests, and journals how that ends."""

    def __init__(self, *, scope_type: str) -> None:
        self._scope_type = scope_type
        self.journal: Journal[str] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == self._scope_type:
            self.journal.add("waits")
            try:
                await asyncio.Event().wait()
            finally:
                self.journal.add("cancelled")
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        self.journal.add((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


def test_in_a_thread(loop: str) -> None:
    app = App()
    server = Server(Config(app, loop=loop, **QUIET))
    assert [server.started, server.addresses] == [False, ()]
    with in_thread(server.run):
        assert server.ready.wait(DEADLINE)
        assert body_from(server) == b"ok"
        server.should_exit = True
    assert server.started, "it has been started, and stays so"
    assert app.lifespan.take(2) == ["lifespan.startup", "lifespan.shutdown"]
    with pytest.raises(ConnectionError):
        body_from(server)


def test_run_in_a_thread(loop: str) -> None:
    """`ferricorn.run` gives no server to stop: here the application stops it, as a signal would stop a program."""
    done = Journal[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise SystemExit
        raise AssertionError

    def run() -> None:
        with pytest.raises(SystemExit) as exit_:
            ferricorn.run(app, loop=loop, **QUIET)
        done.add(str(exit_.value.code))

    with in_thread(run):
        assert done.next() == "3"


def test_two_servers_in_two_threads(loop: str) -> None:
    first, second = (Server(Config(App(), loop=loop, **QUIET)) for _ in range(2))
    with in_thread(first.run), in_thread(second.run):
        assert first.ready.wait(DEADLINE)
        assert second.ready.wait(DEADLINE)
        assert first.addresses != second.addresses
        assert body_from(first) == body_from(second) == b"ok"
        first.should_exit = second.should_exit = True


def test_several_addresses() -> None:
    server = Server(Config(App(), bind=["127.0.0.1:0", "127.0.0.1:0"], log_level="warning"))
    with in_thread(server.run):
        assert server.ready.wait(DEADLINE)
        assert len(set(server.addresses)) == 2
        assert [body_from(server, index) for index in range(2)] == [b"ok", b"ok"]
        server.should_exit = True


def test_serve_beside_other_tasks(loop: str) -> None:
    app = App()

    async def main() -> None:
        server = Server(Config(app, **QUIET))
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        assert await asyncio.to_thread(body_from, server) == b"ok"
        server.should_exit = True
        await serving

    run_async(loop, main())
    assert app.lifespan.take(2) == ["lifespan.startup", "lifespan.shutdown"]


def test_run_in_a_running_loop(loop: str) -> None:
    """As in a notebook's cell: it serves from another thread, and comes back when it is told to stop."""
    server = Server(Config(App(), loop=loop, **QUIET))
    bodies = Journal[bytes]()

    async def main() -> None:
        server.run()

    def ask_and_stop() -> None:
        bodies.add(body_from(server))
        server.should_exit = True

    with when_ready(server, ask_and_stop):
        asyncio.run(main())
    assert bodies.next() == b"ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("running", [False, True], ids=["main thread", "running loop"])
def test_run_ends_with_a_signal_and_returns(loop: str, number: signal.Signals, running: bool) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    app = App()
    server = Server(Config(app, loop=loop, **QUIET))

    async def main() -> None:
        server.run()

    with when_ready(server, lambda: os.kill(os.getpid(), number)):
        asyncio.run(main()) if running else server.run()
    assert app.lifespan.take(2) == ["lifespan.startup", "lifespan.shutdown"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("way", ["run", "serve"])
def test_a_signal_is_passed_on_to_the_program_s_handler(loop: str, way: str) -> None:
    """The program around the server has its own idea of what a signal means."""
    passed: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: passed.append(number))
    server = Server(Config(App(), loop=loop, **QUIET))
    try:
        with when_ready(server, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            server.run() if way == "run" else run_async(loop, server.serve())
        assert passed == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_serve_passes_an_interrupt_on_to_the_loop_around_it(loop: str) -> None:
    server = Server(Config(App(), **QUIET))
    with when_ready(server, lambda: os.kill(os.getpid(), signal.SIGINT)), pytest.raises(KeyboardInterrupt):
        run_async(loop, server.serve())
    assert server.started


def test_a_cancelled_serve_cuts_and_shuts_down(loop: str) -> None:
    app = Waiting(scope_type="http")

    async def main() -> None:
        server = Server(Config(app, port=0, log_level="critical"))
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        address = parse_address(server.addresses[0])
        assert isinstance(address, tuple)
        _, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        assert await asyncio.to_thread(app.journal.next) == "waits"
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)
        writer.close()

    run_async(loop, main())
    assert app.journal.take(2) == ["cancelled", "lifespan.shutdown"]


def test_force_exit_leaves_the_shutdown_out(loop: str) -> None:
    app = Waiting(scope_type="http")
    server = Server(Config(app, loop=loop, port=0, log_level="critical"))
    with in_thread(server.run):
        assert server.ready.wait(DEADLINE)
        with Client.connect(parse_address(server.addresses[0])) as client:
            client.send(GET)
            assert app.journal.next() == "waits"
            server.should_exit = True
            server.force_exit = True
    assert app.journal.next() == "cancelled"
    assert app.journal.is_empty()


async def blocks(scope: Scope, receive: Receive, send: Send) -> None:
    """Keeps the event loop from seeing anything."""
    print("blocks", flush=True)
    threading.Event().wait()


@pytest.mark.parametrize(("scope_type", "status"), [("lifespan", 3), ("http", 130)])
def test_a_third_sigint_interrupts_what_blocks_the_loop(
    scope_type: str, status: int, start_process: StartProcess
) -> None:
    lifespan = "auto" if scope_type == "lifespan" else "off"
    process = start_process(f"{__name__}:blocks", "--lifespan", lifespan)
    with contextlib.ExitStack() as connections:
        if scope_type == "http":
            connections.enter_context(process.wait_until_running().connect()).send(GET)
        process.wait_for_line("^blocks$")
        while process.process.poll() is None:
            process.send_signal(signal.SIGINT)
            # Signals that come at the same time count as one.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(0.2)
    # The last one may come when the process is about to end.
    assert process.wait() in {status, -signal.SIGINT}


def test_a_stop_during_start_up_cancels_it(loop: str) -> None:
    app = Waiting(scope_type="lifespan")
    server = Server(Config(app, loop=loop, **QUIET))
    with in_thread(server.run):
        assert app.journal.next() == "waits"
        server.should_exit = True
    assert app.journal.next() == "cancelled"
    assert not server.started
    with pytest.raises(StartupError, match="stopped before it had started"):
        asyncio.run(server.wait_started())


def test_a_stop_before_the_start() -> None:
    server = Server(Config(App(), **QUIET))
    server.should_exit = True
    server.run()
    assert not server.started


async def fails_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


async def keeps_serving(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("never called")


FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"app": fails_to_start}, "Application startup failed."),
    ({"app": keeps_serving, "bind": ["192.0.2.1:0"]}, "Cannot listen on 192.0.2.1:0: cannot assign requested address."),
    ({"app": "no_such_module:app"}, "Cannot import 'no_such_module:app'"),
]


@pytest.mark.parametrize(("options", "sentence"), FAILURES, ids=["lifespan", "bind", "import"])
def test_a_failure_to_start(options: dict[str, Any], sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    config = Config(**({"port": 0} | options))
    with pytest.raises(SystemExit) as left:
        Server(config).run()
    assert left.value.code == 3

    server = Server(config)
    with pytest.raises(StartupError) as raised:
        asyncio.run(server.serve())
    assert str(raised.value).startswith(sentence)
    with pytest.raises(StartupError) as waited:
        asyncio.run(server.wait_started())
    assert waited.value is raised.value
    assert not server.ready.is_set()


def test_a_waiter_that_is_cancelled_takes_no_other_with_it() -> None:
    async def main() -> None:
        server = Server(Config(App(), **QUIET))
        waiters = [asyncio.create_task(server.wait_started()) for _ in range(2)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        serving = asyncio.create_task(server.serve())
        await waiters[1]
        assert waiters[0].cancelled()
        server.should_exit = True
        await serving

    asyncio.run(main())


def test_a_server_serves_once() -> None:
    server = Server(Config(App(), **QUIET))
    server.should_exit = True
    server.run()
    with pytest.raises(RuntimeError, match="serves once"):
        server.run()


def test_a_loop_of_the_user_s_own() -> None:
    loops = Journal[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loops.add(type(asyncio.get_running_loop()).__name__)

    server = Server(Config(app, loop=f"{__name__}:OwnLoop", **QUIET))
    with in_thread(server.run):
        assert server.ready.wait(DEADLINE)
        server.should_exit = True
    assert loops.next() == "OwnLoop"


class OwnLoop(asyncio.SelectorEventLoop):
    """Named by the option `loop`."""


def test_what_the_start_made_is_frozen_where_the_process_is_the_server_s() -> None:
    frozen: list[int] = []
    in_main, in_other = (Server(Config(App(), **QUIET)) for _ in range(2))

    def count_and_stop() -> None:
        frozen.append(gc.get_freeze_count())
        in_main.should_exit = True

    with when_ready(in_main, count_and_stop):
        in_main.run()
    assert frozen[0] > 1000
    assert gc.get_freeze_count() == 0
    with in_thread(in_other.run):
        assert in_other.ready.wait(DEADLINE)
        assert gc.get_freeze_count() == 0
        in_other.should_exit = True


def test_con_10_what_serve_s_caller_has_set_reaches_the_requests(loop: str) -> None:
    """What the lifespan sets, and what another request sets, does not."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = Journal[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.add(f"{scope['type']}: {variable.get()}")
        variable.set(f"by {scope['type']}")
        if scope["type"] == "http":
            await respond(send)

    async def main() -> None:
        variable.set("by caller")
        server = Server(Config(app, **QUIET))
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        for _ in range(2):
            await asyncio.to_thread(body_from, server)
        server.should_exit = True
        await serving

    run_async(loop, main())
    assert seen.take(3) == ["lifespan: by caller", "http: by caller", "http: by caller"]
