"""Applications for servers in processes of their own: they tell the test by responses and by what they print."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

from tests.support.asgi import Receive, Scope, Send, body, read_events, respond, start

PART = bytes(1024 * 1024)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Says ok."""
    assert scope["type"] == "http"
    await respond(send)


async def environment(scope: Scope, receive: Receive, send: Send) -> None:
    """Says which variables are set."""
    assert scope["type"] == "http"
    await respond(send, "\n".join(os.environ).encode())


async def blocking(scope: Scope, receive: Receive, send: Send) -> None:
    """Blocks its loop until there is something in $FIFO, and answers with that."""
    assert scope["type"] == "http"
    print("blocked", flush=True)
    await respond(send, Path(os.environ["FIFO"]).read_bytes())


async def printing(scope: Scope, receive: Receive, send: Send) -> None:
    """Prints its path."""
    assert scope["type"] == "http"
    print("printed", scope["path"])
    await respond(send)


async def threaded(scope: Scope, receive: Receive, send: Send) -> None:
    """A request for /stuck waits for a thread that does not end."""
    assert scope["type"] == "http"
    if scope["path"] == "/stuck":
        print("stuck begins", file=sys.stderr, flush=True)
        await asyncio.to_thread(threading.Event().wait)
    await respond(send)


class Counting:
    """Answers slowly, counts the calls that began, and says how many after the last."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.begun += 1
        try:
            await self._answer(scope["path"], send)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _answer(self, path: str, send: Send) -> None:
        if path == "/forever":
            print("forever begins", flush=True)
            await asyncio.Event().wait()
        await send(start(200, [(b"content-length", b"200000")]))
        for _ in range(10):
            await send(body(bytes(20_000), more=True))
            await asyncio.sleep(0.005)
        await send(body())

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print(f"shutdown: begun={self.begun} cancelled={self.cancelled}", flush=True)
        await send({"type": "lifespan.shutdown.complete"})


counting = Counting()


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """A request for /stubborn swallows its cancellation and goes on."""
    assert scope["type"] == "http"
    if scope["path"] == "/stubborn":
        print("stubborn begins", flush=True)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
    await respond(send)


async def failing_startup(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def raising_startup(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("no settings")


async def lingering(scope: Scope, receive: Receive, send: Send) -> None:
    """Never comes to the end of its shutdown."""
    if scope["type"] == "http":
        await respond(send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.Event().wait()


async def blocking_on_demand(scope: Scope, receive: Receive, send: Send) -> None:
    """`blocking` for /block, `hello` for everything else."""
    await (blocking if scope["path"] == "/block" else hello)(scope, receive, send)


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a body of any size, answers with its size; /down?64 sends that many MiB."""
    assert scope["type"] == "http"
    if scope["path"] == "/down":
        await send(start())
        for _ in range(int(scope["query_string"])):
            await send(body(PART, more=True))
        await send(body())
        return
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        size += len(event["body"])
        more = event["more_body"]
    await respond(send, b"%d" % size)


async def mixed(scope: Scope, receive: Receive, send: Send) -> None:
    """Every kind of exchange that should leave nothing behind."""
    assert scope["type"] == "http"
    path = scope["path"]
    if path == "/fail":
        raise LookupError("on purpose")
    if path == "/stream":
        await send(start())
        while True:
            await send(body(b"x" * 1000, more=True))
            await asyncio.sleep(0)
    events = await read_events(receive)
    if path == "/wait":
        await receive()
        return
    await respond(send, b"".join(event.get("body", b"") for event in events))


async def waiting_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts and waits: for what never comes."""
    assert scope["type"] == "websocket"
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})


async def slow_where_told(scope: Scope, receive: Receive, send: Send) -> None:
    """Says ok; its startup does not come to an end where the file $SLOW_WHERE exists."""
    if scope["type"] == "lifespan":
        await receive()
        if os.path.exists(os.environ["SLOW_WHERE"]):
            print("startup takes its time", flush=True)
            await asyncio.Event().wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await respond(send)
