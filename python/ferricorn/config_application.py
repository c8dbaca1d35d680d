"""What is served: the application and what is added to its responses.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ferricorn.config_groups import APPLICATION, RESPONSES
from ferricorn.kinds import Header, Loop, RequestPath
from ferricorn.options import Choice, Flag, Repeated, Text, option

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    LoopChoice = str | Callable[[], AbstractEventLoop] | AbstractEventLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationOptions:
    """The application, how it is imported and called, and what is added to its responses."""

    app: Callable[..., Any] | str = field(kw_only=False)
    """The application: an ASGI callable, or where to import it from, as "module:attribute"."""

    env_file: str | None = option(
        Text("PATH"),
        None,
        APPLICATION,
        "File of NAME=VALUE lines for the environment (needs python-dotenv); variables that are set already stay.",
    )
    factory: bool = option(
        Flag(), False, APPLICATION, "APP is a function that takes nothing and returns the application."
    )
    app_dir: str = option(
        Text("PATH"),
        "",
        APPLICATION,
        "Folder to import APP from, put first in sys.path; the current folder by default.",
    )
    interface: str = option(
        Choice(
            "NAME",
            ("auto", "asgi3", "asgi2"),
            synonyms=(("asgi", "asgi3"),),
            refused=(
                ("wsgi", "wrap a WSGI application for ASGI, for example with a2wsgi"),
                ("rsgi", "only granian calls RSGI applications"),
                ("asginl", "that is asgi with --lifespan off"),
            ),
        ),
        "auto",
        APPLICATION,
        "Style of ASGI that the application is written in; auto finds out.",
    )
    lifespan: str = option(
        Choice("MODE", ("auto", "on", "off")),
        "auto",
        APPLICATION,
        "Tell the application of start-up and shutdown. Where it raises at start-up, auto goes on without, on exits.",
        aliases={"--asgi-lifespan": "gunicorn"},
    )
    loop: LoopChoice = option(  # noqa: RUF009 (a field)
        Loop(
            "NAME",
            ("auto", "asyncio", "uvloop", "none"),
            importable=True,
            refused=(("trio", "the event loop has to be one of asyncio's"),),
        ),
        "auto",
        APPLICATION,
        "Event loop to run on; auto is uvloop where it is installed, none what asyncio makes by itself, MODULE:FACTORY "
        "a function that makes one.",
        aliases={"--asgi-loop": "gunicorn", "--worker-class": "hypercorn", "-k": "hypercorn"},
    )
    root_path: str = option(
        Text("PATH"),
        "",
        APPLICATION,
        "Path under which the application is mounted, told to it in the scope; put before request paths that lack it.",
        native=True,
        aliases={"--url-path-prefix": "granian"},
    )

    headers: Sequence[tuple[str, str]] = option(
        Repeated('"NAME: VALUE"', Header(), "\n"),
        (),
        RESPONSES,
        "Header field added to every response; may be repeated.",
        flag="header",
        native=True,
    )
    server_header: bool = option(Flag(), True, RESPONSES, "Add the Server header field.", native=True)
    date_header: bool = option(Flag(), True, RESPONSES, "Add the Date header field.", native=True)
    health_path: str = option(
        RequestPath(),
        "",
        RESPONSES,
        "Path on which GET and HEAD are answered 200, or 503 once the server is about to stop, without the application "
        "and without a line in the access log. Empty is none.",
        native=True,
        uvicorn="",
    )
