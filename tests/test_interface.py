"""Which style an application is written in (APP-05 to APP-09), found out without calling it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from ferricorn import application
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.interface import ASGI2, ASGI3, FACTORY, Application, adapt, detect

calls: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


async def three(scope: Any, receive: Any, send: Any) -> None:
    calls.append((scope, receive, send))


async def with_more(prefix: Any, scope: Any, receive: Any, send: Any) -> None:
    calls.append((scope, receive, send))


def plain_three(scope: Any, receive: Any, send: Any) -> Any:
    return three(scope, receive, send)


def two(scope: Any) -> Any:
    return lambda receive, send: three(scope, receive, send)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        calls.append((scope, receive, send))

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        calls.append((scope, receive, send))


class PlainInstance:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return three(scope, receive, send)


class TwoClass:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        calls.append((self.scope, receive, send))


class TwoInstance:
    def __call__(self, scope: Any) -> Any:
        return two(scope)


class Endpoint:
    """As Starlette's endpoints: making one is the call."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.arguments = scope, receive, send

    def __await__(self) -> Any:
        return three(*self.arguments).__await__()


class MarkedSingle(TwoInstance):
    _asgi_single_callable = True


class MarkedDouble(Instance):
    _asgi_double_callable = True


STYLES: list[tuple[Any, str]] = [
    (three, ASGI3),
    (plain_three, ASGI3),
    (decorated(three), ASGI3),
    (decorated(decorated(plain_three)), ASGI3),
    (lambda scope, receive, send: three(scope, receive, send), ASGI3),
    (lambda *args: three(*args), ASGI3),
    (Instance(), ASGI3),
    (Instance().method, ASGI3),
    (PlainInstance(), ASGI3),
    (Endpoint, ASGI3),
    (functools.partial(with_more, "prefix"), ASGI3),
    (functools.partial(Instance()), ASGI3),
    (functools.partial(functools.partial(with_more), "prefix"), ASGI3),
    (MarkedSingle(), ASGI3),
    (two, ASGI2),
    (decorated(two), ASGI2),
    (TwoClass, ASGI2),
    (TwoInstance(), ASGI2),
    (functools.partial(TwoClass), ASGI2),
    (MarkedDouble(), ASGI2),
    (lambda: three, FACTORY),
    (Instance, FACTORY),
    (lambda environ, start_response: [], ""),
    (lambda a, b, c, d: None, ""),
]


@pytest.mark.parametrize(("app", "style"), STYLES, ids=[f"{index}-{style}" for index, (_, style) in enumerate(STYLES)])
def test_app_06_07_08_detection(app: Any, style: str) -> None:
    assert detect(app) == style
    assert calls == []


SERVED = [
    (app, style)
    for app, style in STYLES
    if style in (ASGI3, ASGI2) and not isinstance(app, MarkedSingle | MarkedDouble)
]


@pytest.mark.parametrize(("app", "style"), SERVED, ids=[f"{index}-{style}" for index, (_, style) in enumerate(SERVED)])
def test_app_05_09_every_style_is_called_as_asgi_3(app: Any, style: str) -> None:
    adapted = adapt(app, "auto")
    assert adapted.version == {ASGI3: "3.0", ASGI2: "2.0"}[style]
    asyncio.run(called(adapted))
    assert calls == [("scope", "receive", "send")]


async def called(adapted: Application) -> None:
    await adapted.call("scope", "receive", "send")  # type: ignore[arg-type]


@pytest.mark.parametrize("app", [three, plain_three, Instance()])
def test_an_asgi_3_application_is_served_as_it_is(app: Any) -> None:
    assert adapt(app, "auto").call is app


def test_app_07_the_interface_can_be_forced() -> None:
    assert adapt(lambda *args: None, "asgi2").version == "2.0"
    assert adapt(lambda *args: None, "asgi3").version == "3.0"
    assert adapt(MarkedDouble(), "asgi3").version == "3.0"


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        (5, "The application is 5, which cannot be called."),
        (
            lambda environ, start_response: None,
            (
                "The application must take (scope, receive, send), but what was given is "
                "<lambda>(environ, start_response) (it looks like WSGI)."
            ),
        ),
        (
            lambda a, b, c, d: None,
            "The application must take (scope, receive, send), but what was given is <lambda>(a, b, c, d).",
        ),
    ],
)
def test_what_is_no_application(app: Any, sentence: str) -> None:
    with pytest.raises(StartupError) as refusal:
        adapt(app, "auto")
    assert str(refusal.value).replace("test_what_is_no_application.<locals>.", "") == sentence


def make(app: Any, **options: Any) -> Application:
    config = Config(app, **options)
    return asyncio.run(application.make(application.find(config), config))


async def async_factory() -> Any:
    return three


@pytest.mark.parametrize("factory", [lambda: three, async_factory])
def test_a_factory(factory: Any) -> None:
    assert make(factory, factory=True).call is three


def test_a_factory_is_recognised_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    made = make(Instance)
    assert isinstance(made.call, Instance)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "--factory" in caplog.text


def test_a_factory_that_raises_keeps_its_traceback() -> None:
    def factory() -> None:
        raise LookupError("no settings")

    with pytest.raises(StartupError, match=r"^The application factory .*factory raised LookupError\.$") as refusal:
        make(factory, factory=True)
    assert isinstance(refusal.value.__cause__, LookupError)
