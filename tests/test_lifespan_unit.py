"""The lifespan protocol by itself: what each answer of an application leads to (field ids LIFE-)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferricorn.errors import StartupError
from ferricorn.interface import Application
from ferricorn.lifespan import Lifespan, Phase

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}
App = Callable[..., Coroutine[Any, Any, None]]


def lifespan(app: App, mode: str = "auto", version: str = "3.0") -> Lifespan:
    return Lifespan(Application(app, version), mode)


def run_through(app: App, mode: str = "auto") -> Lifespan:
    """Runs the start-up, and the shutdown if there was one to run."""

    async def run() -> Lifespan:
        life = lifespan(app, mode)
        await life.startup()
        await life.shutdown(5)
        return life

    return asyncio.run(run())


def send(event: str, **more: object) -> dict[str, object]:
    return {"type": f"lifespan.{event}", **more}


@pytest.fixture(autouse=True)
def _log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ferricorn")


class Full:
    """Answers everything, and keeps what it was given."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send_event: Any) -> None:
        self.scope = scope
        for answer in ("startup.complete", "shutdown.complete"):
            self.events.append(await receive())
            await send_event(send(answer))


def test_life_01_03_04_10_11_the_whole_course(caplog: pytest.LogCaptureFixture) -> None:
    app = Full()
    assert run_through(app).phase is Phase.STOPPED
    assert app.events == [STARTUP, SHUTDOWN]
    assert caplog.messages == [
        "Waiting for application startup.",
        "Application startup complete.",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
    ]


@pytest.mark.parametrize("version", ["3.0", "2.0"])
def test_life_15_19_the_scope(version: str) -> None:
    async def run() -> None:
        app = Full()
        life = lifespan(app, version=version)
        await life.startup()
        assert app.scope == {
            "type": "lifespan",
            "asgi": {"version": version, "spec_version": "2.0"},
            "state": {},
        }
        assert app.scope["state"] is life.state
        await life.shutdown(5)

    asyncio.run(run())


def test_life_05_startup_failed(caplog: pytest.LogCaptureFixture) -> None:
    events = []

    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        events.append(await receive())
        await send_event(send("startup.failed", message="no database"))
        events.append(await receive())

    with pytest.raises(StartupError, match=r"^Application startup failed\.$"):
        run_through(app)
    assert events == [STARTUP]
    assert "Application startup failed: no database" in caplog.messages


def test_life_05_startup_failed_then_raised_shows_no_second_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.failed"))
        raise LookupError

    with pytest.raises(StartupError):
        run_through(app)
    errors = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert errors == ["Application startup failed."]


async def raises_at_once(scope: Any, receive: Any, send_event: Any) -> None:
    raise LookupError("no lifespan here")


async def raises_on_startup(scope: Any, receive: Any, send_event: Any) -> None:
    await receive()
    raise LookupError("no settings")


async def answers_http(scope: Any, receive: Any, send_event: Any) -> None:
    await receive()
    await send_event({"type": "http.response.start", "status": 200})


async def returns(scope: Any, receive: Any, send_event: Any) -> None:
    return


@pytest.mark.parametrize(
    ("app", "level"),
    [
        (raises_at_once, logging.DEBUG),
        (answers_http, logging.DEBUG),
        (raises_on_startup, logging.WARNING),
        (returns, None),
    ],
)
def test_life_06_08_auto_goes_on_without(app: App, level: int | None, caplog: pytest.LogCaptureFixture) -> None:
    life = run_through(app)
    assert life.phase is Phase.ENDED
    assert caplog.messages[-1] == "ASGI 'lifespan' protocol appears unsupported."
    assert "Waiting for application shutdown." not in caplog.messages
    assert [record.levelno for record in caplog.records if record.exc_info] == ([] if level is None else [level])


@pytest.mark.parametrize("app", [raises_at_once, raises_on_startup])
def test_life_07_on_makes_it_fatal(app: App, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StartupError):
        run_through(app, "on")
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_life_07_off_calls_nothing() -> None:
    app = Full()
    life = run_through(app, "off")
    assert app.scope == {}
    assert life.state == {}


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_err_12_an_exit_on_startup_is_a_failure(raised: type[BaseException]) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        raise raised

    with pytest.raises(StartupError):
        run_through(app)


@pytest.mark.parametrize("error", [None, LookupError()])
def test_life_09_the_end_of_the_call_skips_the_shutdown(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.complete"))
        if error:
            raise error

    assert run_through(app).phase is Phase.ENDED
    assert "Application startup complete." in caplog.messages
    assert "Waiting for application shutdown." not in caplog.messages
    assert bool([record for record in caplog.records if record.exc_info]) == bool(error)


def test_life_11_shutdown_is_waited_for_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = []

    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.complete"))
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def run() -> None:
        life = lifespan(app)
        await life.startup()
        await life.shutdown(0.01)

    asyncio.run(run())
    assert cancelled == [True]
    assert "Application shutdown was not complete after 0.01 seconds: cancelling it." in caplog.messages


def test_life_12_shutdown_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.complete"))
        await receive()
        await send_event(send("shutdown.failed", message="unsaved"))

    assert run_through(app).phase is Phase.STOPPED
    assert "Application shutdown failed: unsaved" in caplog.messages
    assert "Application shutdown complete." not in caplog.messages


def test_life_12_an_exception_in_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.complete"))
        await receive()
        raise LookupError

    assert run_through(app).phase is Phase.STOPPED
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


WRONG: list[tuple[list[str], Any, type[Exception], str]] = [
    ([], send("startup.done"), RuntimeError, "'lifespan.startup.done' before startup.complete: allowed is "),
    ([], send("shutdown.complete"), RuntimeError, "lifespan.startup.complete or lifespan.startup.failed"),
    (["startup.complete"], send("startup.complete"), RuntimeError, "before shutdown: allowed is nothing"),
    (["startup.complete"], send("startup.failed"), RuntimeError, "before shutdown: allowed is nothing"),
    (["startup.complete"], send("shutdown.complete"), RuntimeError, "before shutdown: allowed is nothing"),
    ([], {"type": "http.response.start"}, RuntimeError, "http.response.start"),
    ([], {}, TypeError, "the type of an event must be a str, not None"),
    ([], ["lifespan.startup.complete"], TypeError, "send takes a dict, not"),
    ([], send("startup.failed", message=b"no"), TypeError, "must be a str, not b'no'"),
]


@pytest.mark.parametrize(("before", "event", "raised", "text"), WRONG)
def test_life_13_what_is_out_of_order_raises(before: list[str], event: Any, raised: type[Exception], text: str) -> None:
    errors: list[Exception] = []

    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        for answer in before:
            await send_event(send(answer))
        try:
            await send_event(event)
        except Exception as error:
            errors.append(error)

    run_through(app)
    assert isinstance(errors[0], raised)
    assert text in str(errors[0])


def test_err_02_extra_keys_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        await send_event(send("startup.complete", extra=1))

    run_through(app)
    assert "Application startup complete." in caplog.messages


def test_life_14_receive_blocks_until_shutdown_and_after_it() -> None:
    async def run() -> None:
        received: asyncio.Queue[Any] = asyncio.Queue()

        async def app(scope: Any, receive: Any, send_event: Any) -> None:
            received.put_nowait(await receive())
            await send_event(send("startup.complete"))
            received.put_nowait(await receive())
            await send_event(send("shutdown.complete"))
            received.put_nowait(await receive())

        life = lifespan(app)
        await life.startup()
        assert received.get_nowait() == STARTUP
        await asyncio.sleep(0)
        assert received.empty()
        await life.shutdown(5)
        assert received.get_nowait() == SHUTDOWN
        assert received.empty()

    asyncio.run(run())


def test_con_10_contextvars_stay_in_the_lifespan() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        variable.set("set in lifespan")
        await send_event(send("startup.complete"))

    async def run() -> None:
        await lifespan(app).startup()
        assert variable.get() == "unset"

    asyncio.run(run())


def test_a_cancelled_startup_cancels_the_application() -> None:
    cancelled = []

    async def app(scope: Any, receive: Any, send_event: Any) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def run() -> None:
        starting = asyncio.create_task(lifespan(app).startup())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(run())
    assert cancelled == [True]
