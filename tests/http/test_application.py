"""What may stand in the place of an application, and how it is called (APP rows)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.asgi import Application, Event, Journal, Receive, Scope, Send, raised_by, respond
from tests.support.client import GET
from tests.support.server import Serve


async def say_version(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["asgi"]["version"].encode())


class Instance:
    """An application that is an instance with an asynchronous `__call__`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await say_version(scope, receive, send)

    async def method(self, scope: Scope, receive: Receive, send: Send) -> None:
        await say_version(scope, receive, send)


class TwoCalls:
    """An ASGI 2 application: a class whose instances are awaited."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await say_version(self.scope, receive, send)


def two_calls(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
    return functools.partial(say_version, scope)


def plain_function(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Not a coroutine function, yet what it returns can be awaited."""
    return say_version(scope, receive, send)


def decorated(app: Application) -> Application:
    @functools.wraps(app)
    def wrapper(*arguments: Any) -> Awaitable[None]:
        return app(*arguments)

    return wrapper


def marked(app: Callable[..., Any], marker: str) -> Callable[..., Any]:
    """`app` behind a plain function that carries a marker of asgiref."""

    def wrapper(*arguments: Any) -> Any:
        return app(*arguments)

    setattr(wrapper, marker, True)
    return wrapper


class Awaitables:
    """An application that returns an object with `__await__`, as compiled coroutines are."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._coroutine = say_version(scope, receive, send)

    def __await__(self) -> Any:
        return self._coroutine.__await__()


def test_app_01_one_call_for_each_request(serve: Serve) -> None:
    calls: Journal[int] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.add(id(asyncio.current_task()))
        await respond(send)

    with serve(app).connect() as client:
        for _ in range(3):
            client.send(GET)
            client.response()
    assert len(calls.take(3)) == 3
    assert calls.is_empty()


def test_app_02_the_scope_is_a_dict(serve: Serve) -> None:
    scopes: Journal[Scope] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.add(scope)
        await respond(send)

    serve(app).exchange(GET)
    scope = scopes.next()
    assert type(scope) is dict
    assert type(scope["type"]) is str
    assert all(type(key) is str for key in scope)


def test_app_03_receive_and_send_return_awaitables(serve: Serve) -> None:
    seen: Journal[object] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        receiving = receive()
        seen.add(isinstance(receiving, Awaitable))
        seen.add((await receiving)["type"])
        sending = send({"type": "http.response.start", "status": 200})
        seen.add(isinstance(sending, Awaitable))
        seen.add(await sending)  # type: ignore[func-returns-value]
        await send({"type": "http.response.body"})

    assert serve(app).exchange(GET).status == 200
    assert seen.take(4) == [True, "http.request", True, None]


def test_app_04_the_loop_runs_and_is_the_chosen_one(serve: Serve, loop: str) -> None:
    modules: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        modules.add(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        await respond(send)

    serve(app).exchange(GET)
    assert modules.next() == loop


@pytest.mark.parametrize("app", [TwoCalls, two_calls], ids=["class", "function"])
def test_app_05_two_calls(serve: Serve, app: Callable[..., Any]) -> None:
    assert serve(app).exchange(GET).body == b"2.0"


def test_app_05_two_calls_instance_is_awaited_right_after_it_is_made(serve: Serve) -> None:
    """Both calls happen in the same task, with the same scope."""
    tasks: Journal[Any] = Journal()

    class App(TwoCalls):
        def __init__(self, scope: Scope) -> None:
            super().__init__(scope)
            tasks.add(asyncio.current_task())

        async def __call__(self, receive: Receive, send: Send) -> None:
            tasks.add(asyncio.current_task())
            await super().__call__(receive, send)

    assert serve(App).exchange(GET).status == 200
    first, second = tasks.take(2)
    assert first is second


@pytest.mark.parametrize(
    ("app", "version"),
    [
        (say_version, b"3.0"),
        (Instance(), b"3.0"),
        (Instance().method, b"3.0"),
        (TwoCalls, b"2.0"),
        (two_calls, b"2.0"),
        (marked(say_version, "_asgi_single_callable"), b"3.0"),
        (marked(two_calls, "_asgi_double_callable"), b"2.0"),
    ],
    ids=["function", "instance", "method", "class", "two calls", "marked single", "marked double"],
)
def test_app_06_detection(serve: Serve, app: Callable[..., Any], version: bytes) -> None:
    assert serve(app).exchange(GET).body == version


@pytest.mark.parametrize(
    ("app", "interface", "version"),
    [
        (plain_function, "asgi3", b"3.0"),
        (Awaitables, "asgi3", b"3.0"),
        (marked(two_calls, "_asgi_single_callable"), "asgi2", b"2.0"),
        (two_calls, "asgi2", b"2.0"),
    ],
    ids=["plain function", "class of awaitables", "wrongly marked", "two calls"],
)
def test_app_07_interface_option_decides(serve: Serve, app: Callable[..., Any], interface: str, version: bytes) -> None:
    assert serve(app, interface=interface).exchange(GET).body == version


@pytest.mark.parametrize(
    "app",
    [decorated(say_version), functools.wraps(say_version)(lambda *args: say_version(*args))],
    ids=["decorated", "lambda"],
)
def test_app_07_decorated_applications_are_seen_as_what_they_wrap(serve: Serve, app: Application) -> None:
    assert serve(app).exchange(GET).body == b"3.0"


async def configured(prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, prefix.encode() + scope["asgi"]["version"].encode())


@pytest.mark.parametrize(
    ("app", "answer"),
    [
        (functools.partial(configured, "v"), b"v3.0"),
        (functools.partial(functools.partial(configured), "w"), b"w3.0"),
        (functools.partial(Instance()), b"3.0"),
        (functools.partial(Instance().method), b"3.0"),
        (functools.partial(two_calls), b"2.0"),
        (functools.partial(TwoCalls), b"2.0"),
    ],
    ids=["function", "partial", "instance", "method", "two calls", "class"],
)
def test_app_08_partials(serve: Serve, app: Callable[..., Any], answer: bytes) -> None:
    assert serve(app).exchange(GET).body == answer


@pytest.mark.parametrize(("app", "version"), [(say_version, b"3.0"), (TwoCalls, b"2.0")], ids=["single", "double"])
def test_app_09_version_tells_the_style(serve: Serve, app: Callable[..., Any], version: bytes) -> None:
    assert serve(app).exchange(GET).body == version


@pytest.mark.parametrize("value", [42, "done", {"status": 500}, [], False])
def test_app_10_the_return_value_is_ignored(serve: Serve, value: object) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> object:
        await respond(send)
        return value

    with serve(app).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"ok"


def test_app_12_awaitables_in_every_wrapper_of_asyncio(serve: Serve) -> None:
    seen: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.add(await asyncio.create_task(receive()))  # type: ignore[arg-type]
        await asyncio.create_task(send({"type": "http.response.start", "status": 200}))  # type: ignore[arg-type]
        await asyncio.wait_for(send({"type": "http.response.body", "body": b"a", "more_body": True}), 5)
        await asyncio.gather(send({"type": "http.response.body", "body": b"b", "more_body": True}))
        await asyncio.ensure_future(send({"type": "http.response.body", "body": b"c", "more_body": True}))
        await asyncio.shield(send({"type": "http.response.body", "body": b"d"}))
        seen.add(await asyncio.wait_for(receive(), 5))
        (seen_again,) = await asyncio.gather(receive())
        seen.add(seen_again)
        seen.add(await asyncio.ensure_future(receive()))

    assert serve(app).exchange(GET).body == b"abcd"
    assert seen.next() == {"type": "http.request", "body": b"", "more_body": False}
    assert seen.take(3) == [{"type": "http.disconnect"}] * 3


def test_app_12_awaitables_that_wait_in_every_wrapper_of_asyncio(serve: Serve) -> None:
    """The same with a `receive` that is not finished when it is wrapped."""
    bodies: Journal[bytes] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wrappers: list[Callable[[Any], Awaitable[Any]]] = [
            asyncio.create_task,
            asyncio.ensure_future,
            lambda waiting: asyncio.wait_for(waiting, 5),
            asyncio.shield,
        ]
        for wrap in wrappers:
            waiting = wrap(receive())
            await asyncio.sleep(0)
            bodies.add(b"waiting")
            bodies.add((await waiting)["body"])
        await respond(send)

    with serve(app).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n")
        for byte in (b"1", b"2", b"3", b"4"):
            assert bodies.next() == b"waiting"
            client.send(byte)
            assert bodies.next() == byte
        assert client.response().status == 200


def test_app_12_an_awaitable_that_is_never_awaited_does_no_harm(serve: Serve) -> None:
    failures: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for waiting in (receive(), receive()):
            getattr(waiting, "close", lambda: None)()
        failures.add(await raised_by(respond(send)))

    assert serve(app).exchange(GET).status == 200
    assert failures.next() is None
