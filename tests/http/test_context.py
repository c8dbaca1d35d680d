"""Context variables: each request starts in a context of its own (CON-10)."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from tests.support.asgi import Receive, Scope, Send, body, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


async def swap(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what the variable was, and sets it to the path."""
    before = VARIABLE.get()
    VARIABLE.set(scope["path"])
    await respond(send, before.encode())


def test_con_10_not_from_an_earlier_request(serve: Serve) -> None:
    server = serve(swap)
    with server.connect() as client:
        for target in (b"/1", b"/2"):
            client.send(request(target=target))
            assert client.response().body == b"unset"
    assert server.exchange(GET).body == b"unset"


def test_con_10_not_from_a_pipelined_request(serve: Serve) -> None:
    with serve(swap).connect() as client:
        client.send(GET * 5)
        assert [client.response().body for _ in range(5)] == [b"unset"] * 5


def test_con_10_not_from_the_lifespan(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await swap(scope, receive, send)
            return
        VARIABLE.set("from the lifespan")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    assert serve(app, lifespan="on").exchange(GET).body == b"unset"


def test_con_10_kept_throughout_one_request(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        VARIABLE.set("mine")
        await receive()
        await asyncio.sleep(0)
        await send(start())
        await send(body(VARIABLE.get().encode(), more=True))
        await asyncio.sleep(0)
        child = asyncio.create_task(asyncio.sleep(0, VARIABLE.get()))
        await send(body((await child).encode()))

    with serve(app).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"minemine"


def test_con_10_not_between_requests_that_run_at_once(serve: Serve) -> None:
    both = asyncio.Event()
    running = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        assert VARIABLE.get() == "unset"
        VARIABLE.set(scope["path"])
        running += 1
        if running == 2:
            both.set()
        await both.wait()
        await respond(send, VARIABLE.get().encode())

    server = serve(app)
    with server.connect() as one, server.connect() as other:
        one.send(request(target=b"/one"))
        other.send(request(target=b"/other"))
        assert one.response().body == b"/one"
        assert other.response().body == b"/other"
