"""Applications for processes with several event loops: they tell which thread answers."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from pathlib import Path

from tests.support.asgi import Receive, Scope, Send, respond

_lifespans = itertools.count(1)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with its thread and that of the lifespan whose state it sees.

    /wait first waits for a file at $RELEASE, /block blocks its loop until that FIFO is written to, /block-other does so
    where it is not in the first thread.
    """
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
        return
    match scope["path"]:
        case "/wait":
            _say(b"waiting\n")
            while not os.path.exists(os.environ["RELEASE"]):
                await asyncio.sleep(0.01)
        case "/block-other" if threading.current_thread() is threading.main_thread():
            pass
        case "/block" | "/block-other":
            _say(b"blocking\n")
            Path(os.environ["RELEASE"]).read_bytes()
    await respond(send, f"{threading.get_ident()} {scope['state']['thread']}".encode())


async def failing_second(scope: Scope, receive: Receive, send: Send) -> None:
    """Its second lifespan fails at startup."""
    if scope["type"] == "lifespan" and next(_lifespans) == 2:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "once is enough"})
        return
    await app(scope, receive, send)


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["thread"] = threading.get_ident()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _say(line: bytes) -> None:
    # At once: print writes the end of the line by itself, and another thread may write before it.
    os.write(1, line)
