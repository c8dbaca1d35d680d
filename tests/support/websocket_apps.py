"""Words for WebSocket applications inside of tests, and the few applications that many tests use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.support.asgi import Event, Journal, Receive, Scope, Send

CONNECT: Event = {"type": "websocket.connect"}


def accept(subprotocol: str | None = None, headers: Iterable[Iterable[bytes]] = ()) -> Event:
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}


def message(data: str | bytes) -> Event:
    """What `receive` gives for a message, and what sends one."""
    return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}


def say(data: str | bytes) -> Event:
    return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


def shut(code: int = 1000, reason: str = "") -> Event:
    """Closes."""
    return {"type": "websocket.close", "code": code, "reason": reason}


def deny(status: int = 401, headers: Iterable[Iterable[bytes]] = (), **more: Any) -> Event:
    """Begins a denial response."""
    return {"type": "websocket.http.response.start", "status": status, "headers": headers, **more}


def deny_body(data: bytes = b"", *, more: bool = False) -> Event:
    return {"type": "websocket.http.response.body", "body": data, "more_body": more}


def disconnect(code: int, reason: str = "") -> Event:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def connected(receive: Receive, send: Send, **options: Any) -> None:
    """Takes the first event and accepts."""
    assert await receive() == CONNECT
    await send(accept(**options))


def data_of(event: Event) -> str | bytes:
    """The message of a `websocket.receive`. Any other event is a failure."""
    assert event["type"] == "websocket.receive", event
    data: str | bytes = event["text"] if "text" in event else event["bytes"]
    return data


class Recorder:
    """Accepts, and notes every event up to the disconnect."""

    def __init__(self) -> None:
        self.events: Journal[Event] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        event: Event = {}
        while event.get("type") != "websocket.disconnect":
            event = await receive()
            self.events.add(event)


class Echo:
    """Accepts, sends every message back, and notes the disconnect."""

    def __init__(self) -> None:
        self.disconnects: Journal[Event] = Journal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        self.disconnects.add(await self.talk(receive, send))

    @staticmethod
    async def talk(receive: Receive, send: Send) -> Event:
        """Sends every message back up to the disconnect, which is what it gives."""
        while (event := await receive())["type"] == "websocket.receive":
            await send(say(data_of(event)))
        return event


class Called(Journal[str]):
    """An application that must not be called: notes the type of each scope it was called with."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add(scope["type"])


async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
    """For servers in processes of their own: what is done follows from the path."""
    assert scope["type"] == "websocket"
    path = scope["path"]
    if path == "/raise":
        raise LookupError("on purpose")
    if path == "/reject":
        await send(shut())
    elif path == "/deny":
        await send(deny())
        await send(deny_body(b"no"))
    elif path == "/silent":
        await connected(receive, send)
        print("accepted", flush=True)
        await asyncio.Event().wait()
    else:
        await echo(scope, receive, send)


echo = Echo()
