"""Which style of ASGI an application is written in, and ASGI 2 made ASGI 3 (APP-05 to APP-09)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from ferricorn._types import Asgi2, Asgi3, Receive, Scope, Send
from ferricorn.errors import StartupError

ASGI3: Final = "asgi3"
ASGI2: Final = "asgi2"
FACTORY: Final = "factory"
_ARGUMENTS: Final = {ASGI3: 3, ASGI2: 1, FACTORY: 0}


@dataclass(frozen=True, slots=True)
class Application:
    """An application that can be served."""

    call: Asgi3
    version: str
    """The style that the application was written in, for scope["asgi"]["version"]: "3.0" or "2.0"."""


def adapt(app: object, interface: str) -> Application:
    """`app` as an ASGI 3 callable. `interface` is the option: auto, asgi3 or asgi2.

    Raises StartupError for what cannot be called in either way.
    """
    if not callable(app):
        raise StartupError(f"The application is {app!r}, which cannot be called.")
    style = detect(app) if interface == "auto" else interface
    if style == ASGI2:
        return Application(_from_asgi2(app), "2.0")
    if style == ASGI3:
        return Application(cast(Asgi3, app), "3.0")
    raise StartupError(_unusable(app))


def detect(app: Callable[..., Any]) -> str:
    """`ASGI3`, `ASGI2`, `FACTORY` for what can only be called without arguments, "" for what is none of them.

    1. The markers of asgiref, `_asgi_single_callable` and `_asgi_double_callable`, decide (APP-06).
    2. A class is ASGI 2, unless its instances can be awaited: then making one is an ASGI 3 call, as with Starlette's
       endpoints.
    3. Anything else tells by how many arguments it takes. Three is ASGI 3, be it a coroutine function, an instance with
       `async __call__`, a partial of either (APP-08) or a plain function that returns a coroutine (APP-07). One is
       ASGI 2.
    """
    if getattr(app, "_asgi_single_callable", False):
        return ASGI3
    if getattr(app, "_asgi_double_callable", False):
        return ASGI2
    if inspect.isclass(app):
        return ASGI3 if hasattr(app, "__await__") else _by_arguments(app, (ASGI2, FACTORY))
    style = _by_arguments(app)
    return "" if style == ASGI2 and _is_coroutine_function(app) else style


def _by_arguments(app: Callable[..., Any], styles: tuple[str, ...] = (ASGI3, ASGI2, FACTORY)) -> str:
    return next((style for style in styles if _takes(app, _ARGUMENTS[style])), "")


def _takes(app: Callable[..., Any], count: int) -> bool:
    """Whether `count` positional arguments fit; a callable that does not tell is taken to."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _is_coroutine_function(app: Callable[..., Any]) -> bool:
    # A function's own __call__ is a slot wrapper, never a coroutine function: asking for it does no harm.
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _from_asgi2(app: Callable[..., Any]) -> Asgi3:
    double = cast(Asgi2, app)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await double(scope)(receive, send)

    return application


def _unusable(app: Callable[..., Any]) -> str:
    name = getattr(app, "__qualname__", None) or repr(app)
    try:
        takes = f"{name}{inspect.signature(app)}"
    except (TypeError, ValueError):
        takes = name
    wsgi = " (it looks like WSGI)" if _takes(app, 2) else ""
    return f"The application must take (scope, receive, send), but what was given is {takes}{wsgi}."
