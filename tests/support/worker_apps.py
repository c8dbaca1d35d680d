"""An application for worker processes: what it answers says which of them it was, and with which code."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.support.asgi import Receive, Scope, Send, body, read_body, respond, start

BLOCK = bytes(range(256)) * 4096


class Answering:
    """Answers "VERSION PID", in different ways for each path."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.kept: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._echo(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/body":
                print("body begins", flush=True)
                await read_body(receive)
            case "/events":
                await send(start(200, [(b"content-type", b"text/event-stream")]))
                await send(body(b"data: begun\n\n", more=True))
                await asyncio.Event().wait()
            case "/blocked":
                print("blocked", flush=True)
                # A fifo: opened as soon as somebody writes to it.
                Path(os.environ["FIFO"]).read_bytes()
            case "/exit":
                os._exit(1)
            case "/allocate":
                self.kept += [BLOCK + b"%d" % number for number in range(int(scope["query_string"]))]
            case "/umask":
                umask = os.umask(0)
                os.umask(umask)
                await respond(send, b"%o" % umask)
                return
        await respond(send, f"{self.version} {os.getpid()}".encode())

    async def _echo(self, receive: Receive, send: Send) -> None:
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            else:
                await send({"type": "websocket.send", "text": event["text"]})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print(f"shut down {os.getpid()}", flush=True)
        await send({"type": "lifespan.shutdown.complete"})


app = Answering("one")
