"""Hand-written ASGI applications, one per scenario. Each does as little as its scenario allows."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HELLO = b"Hello, World!"
LARGE = b"x" * 65536
MEBIBYTE = b"x" * 1048576
CHUNK = b"x" * 1024
CHUNKS = 10
SLEEP_SECONDS = 0.01


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The event that begins a 200 response of plain text with these further header fields."""
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), *headers]}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


# The events are new for every request, as an application's are: a server may not be measured with dicts it has seen.


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Thirteen bytes, without looking at the request."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": HELLO})


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """64 KiB in one event."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    await send(start((b"content-length", b"65536")))
    await send(body(LARGE))


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    """1 MiB in one event."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    await send(start((b"content-length", b"1048576")))
    await send(body(MEBIBYTE))


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """The number of bytes of the request's body, which are counted as they come and not kept."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event.get("body", b""))
        more = event.get("more_body", False)
    content = b"%d bytes" % size
    await send(start((b"content-length", b"%d" % len(content))))
    await send(body(content))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The request's body, received whole and sent back whole."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    parts: list[bytes] = []
    more = True
    while more:
        event = await receive()
        parts.append(event.get("body", b""))
        more = event.get("more_body", False)
    content = b"".join(parts)
    await send(start((b"content-length", b"%d" % len(content))))
    await send(body(content))


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Ten chunks of 1 KiB, without a length."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    await send(start())
    for _ in range(CHUNKS):
        await send(body(CHUNK, more=True))
    await send(body(b""))


async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
    """Hello after 10 ms on the event loop's timer, as an application that waits for a database."""
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    await asyncio.sleep(SLEEP_SECONDS)
    await send(start((b"content-length", b"13")))
    await send(body(HELLO))
