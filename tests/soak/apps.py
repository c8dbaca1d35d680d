"""The application under a storm: it says which process has answered."""

from __future__ import annotations

import asyncio
import os
import random

from tests.support.asgi import Receive, Scope, Send, respond


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the pid, half of the times after some milliseconds: so that something is always under way."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if random.random() < 0.5:
        await asyncio.sleep(random.uniform(0.001, 0.02))
    await respond(send, str(os.getpid()).encode())


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
