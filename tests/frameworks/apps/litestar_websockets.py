"""The WebSockets of the contract in Litestar."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from . import common
from .common import rooms, signals

Socket = WebSocket[Any, Any, Any]


async def send_back(socket: Socket) -> None:
    """Sends each message back as it came, until the client is gone."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await socket.send_text(text)
        else:
            await socket.send_bytes(message["bytes"] or b"")


@websocket("/ws/echo")
async def echo(socket: Socket) -> None:
    await socket.accept()
    await send_back(socket)


@websocket("/ws/describe/{name:str}")
async def describe(socket: Socket, name: str) -> None:
    assert socket.client is not None
    await socket.accept()
    await socket.send_json(
        {
            "name": name,
            "words": socket.query_params.getall("word"),
            "cookies": socket.cookies,
            "header": socket.headers["x-client"],
            "scheme": socket.url.scheme,
            "host": socket.url.netloc,
            "client": socket.client.host,
            "subprotocols": socket.scope["subprotocols"],
        }
    )
    await socket.close()


@websocket("/ws/subprotocol/{chosen:str}")
async def subprotocol(socket: Socket, chosen: str) -> None:
    await socket.accept(subprotocols=chosen)
    await send_back(socket)


@websocket("/ws/headers")
async def headers(socket: Socket) -> None:
    await socket.accept(headers=[(name.encode(), value.encode()) for name, value in common.ACCEPT_HEADERS])
    await socket.close()


@websocket("/ws/rejected")
async def rejected(socket: Socket) -> None:
    await socket.close(4003, "not told to the client")


@websocket("/ws/close/{code:int}/{reason:str}")
async def close(socket: Socket, code: int, reason: str) -> None:
    await socket.accept()
    await socket.close(code, reason)


@websocket("/ws/returned")
async def returned(socket: Socket) -> None:
    await socket.accept()
    await socket.send_text("the last one")


@websocket("/ws/closing/{name:str}")
async def closing(socket: Socket, name: str) -> None:
    await socket.accept()
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect as disconnect:
        common.note_disconnect(name, disconnect.code)


@websocket("/ws/error")
async def error(socket: Socket) -> None:
    await socket.accept()
    await socket.receive_text()
    raise RuntimeError(common.DELIBERATE)


@websocket("/ws/error/early")
async def early_error(socket: Socket) -> None:
    raise RuntimeError(common.DELIBERATE)


@websocket("/ws/held/{name:str}")
async def held(socket: Socket, name: str) -> None:
    await socket.accept()
    await socket.receive_text()
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    await send_back(socket)


@websocket("/ws/room/{name:str}")
async def room(socket: Socket, name: str) -> None:
    async def pass_on(queue: "asyncio.Queue[str]") -> None:
        while True:
            await socket.send_text(await queue.get())

    with rooms.member(name) as queue:
        await socket.accept()
        sender = asyncio.create_task(pass_on(queue))
        async for text in socket.iter_data():
            rooms.tell(name, text)
        await give_up(sender)


async def give_up(task: "asyncio.Task[None]") -> None:
    """Cancels a task that sends, which may just have learned by itself that the client is gone."""
    task.cancel()
    with suppress(asyncio.CancelledError, WebSocketDisconnect, OSError):
        await task


@websocket("/ws/ticks/{name:str}")
async def ticks(socket: Socket, name: str) -> None:
    async def send_ticks() -> None:
        async for tick in common.ticks(name):
            await socket.send_text(tick)

    await socket.accept()
    sender = asyncio.create_task(send_ticks())
    async for _ in socket.iter_data():
        pass
    await give_up(sender)


@websocket("/ws/flood/{name:str}")
async def flood(socket: Socket, name: str) -> None:
    """Litestar lets the server's exception through: an OSError, as ASGI has it."""
    await socket.accept()
    try:
        while True:
            await socket.send_bytes(common.CHUNK)
    except OSError:
        signals.set(name)


@websocket("/ws/download/{size:int}")
async def download(socket: Socket, size: int) -> None:
    await socket.accept()
    async for chunk in common.chunks(size):
        await socket.send_bytes(chunk)
    await socket.close()


handlers = [
    echo,
    describe,
    subprotocol,
    headers,
    rejected,
    close,
    returned,
    closing,
    error,
    early_error,
    held,
    room,
    ticks,
    flood,
    download,
]
