"""Words for writing applications inside of tests, and for looking at them from the test's thread."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from tests.support.deadline import DEADLINE

Event = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[Any]]

T = TypeVar("T")


def start(status: int = 200, headers: Iterable[Iterable[bytes]] = (), **more: Any) -> Event:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: bytes | bytearray | memoryview = b"", *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


def text(data: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields of a plain response of `data`."""
    return [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(data))]


async def respond(
    send: Send, data: bytes = b"ok", status: int = 200, headers: Iterable[Iterable[bytes]] | None = None
) -> None:
    """A whole response; with a `content-length` unless `headers` are given."""
    await send(start(status, text(data) if headers is None else headers))
    await send(body(data))


async def read_events(receive: Receive) -> list[Event]:
    """Up to and including the last body event, or the disconnect."""
    events = [await receive()]
    while events[-1].get("more_body"):
        events.append(await receive())
    return events


async def read_body(receive: Receive) -> bytes:
    events = await read_events(receive)
    assert events[-1]["type"] == "http.request", events[-1]
    return b"".join(event["body"] for event in events)


async def raised_by(awaitable: Awaitable[object]) -> Exception | None:
    """What awaiting it raises."""
    try:
        await awaitable
    except Exception as error:
        return error
    return None


class Journal(Generic[T]):
    """What the application saw, for the test to look at in order."""

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[T] = queue.SimpleQueue()

    def add(self, entry: T) -> None:
        self._entries.put(entry)

    def next(self) -> T:
        """The next entry, waited for."""
        return self._entries.get(timeout=DEADLINE)

    def take(self, count: int) -> list[T]:
        return [self.next() for _ in range(count)]

    def is_empty(self) -> bool:
        return self._entries.empty()


class Gate:
    """Passed by applications, on any loop, once a test has opened it."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        self._opened.set_result(None)

    async def passed(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._opened))
