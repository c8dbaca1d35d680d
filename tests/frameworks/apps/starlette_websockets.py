"""The WebSockets of the contract by Starlette's class, which Starlette, FastAPI and Responder give to a handler.

A handler gets the parameters of its path by name, as FastAPI and Responder pass them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import common
from .common import rooms, signals


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await send_back(socket)


async def send_back(socket: WebSocket) -> None:
    """Sends each message back as it came, until the client is gone."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


async def describe(socket: WebSocket, name: str) -> None:
    assert socket.client is not None
    await socket.accept()
    await socket.send_json(
        {
            "name": name,
            "words": socket.query_params.getlist("word"),
            "cookies": socket.cookies,
            "header": socket.headers["x-client"],
            "scheme": socket.url.scheme,
            "host": socket.url.netloc,
            "client": socket.client.host,
            "subprotocols": socket.scope["subprotocols"],
        }
    )
    await socket.close()


async def subprotocol(socket: WebSocket, chosen: str) -> None:
    await socket.accept(subprotocol=chosen)
    await send_back(socket)


async def headers(socket: WebSocket) -> None:
    await socket.accept(headers=[(name.encode(), value.encode()) for name, value in common.ACCEPT_HEADERS])
    await socket.close()


async def rejected(socket: WebSocket) -> None:
    await socket.close(4003, "not told to the client")


async def denied(socket: WebSocket) -> None:
    response = JSONResponse(common.DENIAL, common.DENIAL_STATUS, dict(common.DENIAL_HEADERS))
    await socket.send_denial_response(response)


async def close(socket: WebSocket, code: int, reason: str) -> None:
    await socket.accept()
    await socket.close(code, reason)


async def returned(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("the last one")


async def closing(socket: WebSocket, name: str) -> None:
    await socket.accept()
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect as disconnect:
        common.note_disconnect(name, disconnect.code, disconnect.reason)


async def error(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    raise RuntimeError(common.DELIBERATE)


async def early_error(socket: WebSocket) -> None:
    raise RuntimeError(common.DELIBERATE)


async def held(socket: WebSocket, name: str) -> None:
    await socket.accept()
    await socket.receive_text()
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    await send_back(socket)


async def room(socket: WebSocket, name: str) -> None:
    async def pass_on(queue: "asyncio.Queue[str]") -> None:
        while True:
            await socket.send_text(await queue.get())

    with rooms.member(name) as queue:
        await socket.accept()
        sender = asyncio.create_task(pass_on(queue))
        async for text in socket.iter_text():
            rooms.tell(name, text)
        await give_up(sender)


async def give_up(task: "asyncio.Task[None]") -> None:
    """Cancels a task that sends, which may just have learned by itself that the client is gone."""
    task.cancel()
    with suppress(asyncio.CancelledError, WebSocketDisconnect):
        await task


async def ticks(socket: WebSocket, name: str) -> None:
    async def send_ticks() -> None:
        async for tick in common.ticks(name):
            await socket.send_text(tick)

    await socket.accept()
    sender = asyncio.create_task(send_ticks())
    async for _ in socket.iter_text():
        pass
    await give_up(sender)


async def flood(socket: WebSocket, name: str) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_bytes(common.CHUNK)
    except WebSocketDisconnect:
        signals.set(name)


async def download(socket: WebSocket, size: int) -> None:
    await socket.accept()
    async for chunk in common.chunks(size):
        await socket.send_bytes(chunk)
    await socket.close()


async def state(socket: WebSocket) -> None:
    await socket.accept()
    socket.state.visits.count += 1
    fresh = not hasattr(socket.state, "scratch")
    socket.state.scratch = True
    await socket.send_json({"visits": socket.state.visits.count, "fresh": fresh})
    await socket.close()


Handler = Callable[..., Awaitable[None]]

HANDLERS: Mapping[str, Handler] = {
    "/ws/echo": echo,
    "/ws/describe/{name}": describe,
    "/ws/subprotocol/{chosen}": subprotocol,
    "/ws/headers": headers,
    "/ws/rejected": rejected,
    "/ws/denied": denied,
    "/ws/close/{code:int}/{reason}": close,
    "/ws/returned": returned,
    "/ws/closing/{name}": closing,
    "/ws/error": error,
    "/ws/error/early": early_error,
    "/ws/held/{name}": held,
    "/ws/room/{name}": room,
    "/ws/ticks/{name}": ticks,
    "/ws/flood/{name}": flood,
    "/ws/download/{size:int}": download,
    "/ws/state": state,
}


def by_name(handler: Handler) -> Callable[[WebSocket[Any]], Awaitable[None]]:
    """The handler for Starlette itself, which passes the socket alone."""

    async def handle(socket: WebSocket[Any]) -> None:
        await handler(socket, **socket.path_params)

    return handle
