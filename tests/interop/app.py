"""What the clients ask for: a path for each thing that a client may do. Knows no client but the page that it serves."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

PAGE = Path(__file__).with_name("page.html").read_bytes()
EVENTS = 5
PIECE = 1 << 16
LINK = b"</style.css>; rel=preload; as=style"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    elif scope["type"] == "http":
        await _PATHS.get(scope["path"], _missing)(scope, receive, send)
    else:
        raise RuntimeError("no lifespan")


def pattern(size: int) -> Iterator[bytes]:
    """The bytes of `/large`: every 8 of them are their own offset divided by 8."""
    for at in range(0, size, PIECE):
        numbers = range(at // 8, (min(at + PIECE, size) + 7) // 8)
        yield b"".join(number.to_bytes(8) for number in numbers)[: size - at]


# --- answers


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, PAGE, kind=b"text/html; charset=utf-8")


async def _missing(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, b"no such path\n", status=404)


async def _about(scope: Scope, receive: Receive, send: Send) -> None:
    """What the scope says of the request."""
    fields = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    known = {name: scope[name] for name in ("http_version", "method", "scheme")}
    await _answer(send, json.dumps({**known, "headers": fields}).encode(), kind=b"application/json")


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, b"".join([piece async for piece in _body(receive)]), kind=b"application/octet-stream")


async def _digest(scope: Scope, receive: Receive, send: Send) -> None:
    """The length of the body and its SHA-256, in hexadecimal."""
    digest, size = hashlib.sha256(), 0
    async for piece in _body(receive):
        digest.update(piece)
        size += len(piece)
    await _answer(send, f"{size} {digest.hexdigest()}\n".encode())


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    """`?bytes=N`, without a length."""
    await send(_start())
    for piece in pattern(int(_query(scope, "bytes"))):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def _trailers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**_start(), "trailers": True})
    await send({"type": "http.response.body", "body": b"before the trailers\n"})
    await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"c0ffee")]})


async def _hints(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [LINK]})
    await _answer(send, b"after the hints\n")


# --- events, each of which has to be seen before the next one is sent

_seen: dict[str, asyncio.Event] = {}


async def _events(scope: Scope, receive: Receive, send: Send) -> None:
    """`?channel=C`: the numbers from 0; each one after the first follows a request for `/seen?channel=C`."""
    seen = _seen.setdefault(_query(scope, "channel"), asyncio.Event())
    await send(_start(kind=b"text/event-stream"))
    for number in range(EVENTS):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await seen.wait()
        seen.clear()
    await send({"type": "http.response.body"})


async def _tell_seen(scope: Scope, receive: Receive, send: Send) -> None:
    _seen[_query(scope, "channel")].set()
    await _answer(send, b"told\n")


# --- WebSockets


async def _websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes, until the peer closes. `/websocket2` is for HTTP/2 alone."""
    await receive()
    if scope["path"] == "/websocket2" and scope["http_version"] != "2":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        key = "bytes" if event.get("bytes") is not None else "text"
        await send({"type": "websocket.send", key: event[key]})


# --- words


async def _body(receive: Receive) -> Any:
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the client went before its body ended")
        yield event["body"]
        more = event["more_body"]


async def _answer(send: Send, body: bytes, *, status: int = 200, kind: bytes = b"text/plain") -> None:
    await send(_start((b"content-length", b"%d" % len(body)), status=status, kind=kind))
    await send({"type": "http.response.body", "body": body})


def _start(*fields: tuple[bytes, bytes], status: int = 200, kind: bytes = b"text/plain") -> Event:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *fields]}


def _query(scope: Scope, name: str) -> str:
    value: str = parse_qs(scope["query_string"].decode())[name][0]
    return value


_PATHS = {
    "/": _page,
    "/about": _about,
    "/digest": _digest,
    "/echo": _echo,
    "/events": _events,
    "/hints": _hints,
    "/large": _large,
    "/seen": _tell_seen,
    "/trailers": _trailers,
}
