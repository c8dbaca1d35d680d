"""Applications and a worker class for gunicorn processes: they tell the test by responses and by what they print."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from ferricorn.gunicorn import Worker
from tests.support.asgi import Application, Receive, Scope, Send, read_body, respond


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the pid of its process, after the whole body has come. /block and /forever do not answer."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["path"] == "/block":
        print("block begins", flush=True)
        block()
    if scope["path"] == "/forever":
        print("forever begins", flush=True)
        await asyncio.Event().wait()
    if scope["path"].endswith("/scope"):
        await respond(send, repr((scope["root_path"], type(asyncio.get_running_loop()).__module__)).encode())
        return
    if scope["path"] == "/client":
        await respond(send, scope["client"][0].encode())
        return
    if scope["path"] == "/fail":
        raise LookupError("nothing there")
    if scope["method"] == "POST":
        print("body begins", flush=True)
        await read_body(receive)
    await respond(send, str(os.getpid()).encode())


def block() -> None:
    """Holds the event loop up."""
    time.sleep(3600)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    print(f"startup in {os.getpid()}", flush=True)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print(f"shutdown in {os.getpid()}", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


def create_app() -> Application:
    return app


class UvicornStyleWorker(Worker):
    """As people wrote them for uvicorn's worker."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {
        "loop": "asyncio",
        "http": "h11",
        "lifespan": "off",
        "root_path": "/mounted",
        "h11_max_incomplete_event_size": 1000,
    }


class WrongWorker(Worker):
    """With an option that does not exist."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {"rootpath": "/mounted"}


class SupervisingWorker(Worker):
    """With an option that is up to gunicorn."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {"metrics_bind": "127.0.0.1:0"}


class DelayingWorker(Worker):
    """Which serves on for a while before it drains."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {"health_path": "/healthy", "drain_delay": 1}


async def never_ready(scope: Scope, receive: Receive, send: Send) -> None:
    """Its startup does not come to an end."""
    print("startup begins", flush=True)
    await asyncio.Event().wait()
