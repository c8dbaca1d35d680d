"""The WebSockets of the contract in Falcon, which raises WebSocketDisconnected out of a responder, and handles it."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import falcon.asgi
from falcon import WebSocketDisconnected, WebSocketPayloadType
from falcon.asgi import Request, WebSocket
from falcon.media import BinaryBaseHandlerWS, TextBaseHandlerWS

from . import common
from .common import rooms, signals


class Text(TextBaseHandlerWS):
    """Text as it is: Falcon's way to receive a message of either type is to receive media."""

    def serialize(self, media: object) -> str:
        return str(media)

    def deserialize(self, payload: str) -> object:
        return payload


class Binary(BinaryBaseHandlerWS):
    def serialize(self, media: object) -> bytes | bytearray | memoryview:
        assert isinstance(media, bytes)
        return media

    def deserialize(self, payload: bytes) -> object:
        return payload


async def send_back(ws: WebSocket) -> None:
    """Sends each message back as it came."""
    while True:
        message = await ws.receive_media()
        binary = isinstance(message, bytes)
        await ws.send_media(message, WebSocketPayloadType.BINARY if binary else WebSocketPayloadType.TEXT)


class Echo:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        await send_back(ws)


class Describe:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        await ws.accept()
        seen = {
            "name": name,
            "words": req.get_param_as_list("word"),
            "cookies": req.cookies,
            "header": req.get_header("x-client"),
            "scheme": req.scheme,
            "host": req.netloc,
            "client": req.remote_addr,
            "subprotocols": ws.subprotocols,
        }
        await ws.send_text(json.dumps(seen))


class Subprotocol:
    async def on_websocket(self, req: Request, ws: WebSocket, chosen: str) -> None:
        await ws.accept(subprotocol=chosen)
        await send_back(ws)


class Headers:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept(headers=common.ACCEPT_HEADERS)


class Rejected:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.close(4003, "not told to the client")


class Close:
    async def on_websocket(self, req: Request, ws: WebSocket, code: int, reason: str) -> None:
        await ws.accept()
        await ws.close(code, reason)


class Returned:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("the last one")


class Closing:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        await ws.accept()
        try:
            while True:
                await ws.receive_text()
        except WebSocketDisconnected as disconnect:
            common.note_disconnect(name, disconnect.code)
            raise


class Error:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()
        raise RuntimeError(common.DELIBERATE)

    async def on_websocket_early(self, req: Request, ws: WebSocket) -> None:
        raise RuntimeError(common.DELIBERATE)


class Held:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        await ws.accept()
        await ws.receive_text()
        signals.set(f"{name}.started")
        await signals.wait(f"{name}.go")
        await send_back(ws)


class Room:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        async def pass_on(queue: "asyncio.Queue[str]") -> None:
            while True:
                await ws.send_text(await queue.get())

        with rooms.member(name) as queue:
            await ws.accept()
            sender = asyncio.create_task(pass_on(queue))
            try:
                while True:
                    rooms.tell(name, await ws.receive_text())
            finally:
                await give_up(sender)


async def give_up(task: "asyncio.Task[None]") -> None:
    """Cancels a task that sends, which may just have learned by itself that the client is gone."""
    task.cancel()
    with suppress(asyncio.CancelledError, WebSocketDisconnected):
        await task


class Ticks:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        async def send_ticks() -> None:
            async for tick in common.ticks(name):
                await ws.send_text(tick)

        await ws.accept()
        sender = asyncio.create_task(send_ticks())
        try:
            while True:
                await ws.receive_text()
        finally:
            await give_up(sender)


class Flood:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_data(common.CHUNK)
        finally:
            signals.set(name)


class Download:
    async def on_websocket(self, req: Request, ws: WebSocket, size: int) -> None:
        await ws.accept()
        async for chunk in common.chunks(size):
            await ws.send_data(chunk)


class State:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        state: dict[str, Any] = req.scope["state"]
        state["visits"].count += 1
        fresh = "scratch" not in state
        state["scratch"] = True
        await ws.send_text(json.dumps({"visits": state["visits"].count, "fresh": fresh}))


def add_websockets(app: "falcon.asgi.App[Any, Any]") -> None:
    """Adds the contract's WebSockets to an application."""
    app.ws_options.media_handlers[WebSocketPayloadType.TEXT] = Text()
    app.ws_options.media_handlers[WebSocketPayloadType.BINARY] = Binary()
    app.add_route("/ws/echo", Echo())
    app.add_route("/ws/describe/{name}", Describe())
    app.add_route("/ws/subprotocol/{chosen}", Subprotocol())
    app.add_route("/ws/headers", Headers())
    app.add_route("/ws/rejected", Rejected())
    app.add_route("/ws/close/{code:int}/{reason}", Close())
    app.add_route("/ws/returned", Returned())
    app.add_route("/ws/closing/{name}", Closing())
    app.add_route("/ws/error", Error())
    app.add_route("/ws/error/early", Error(), suffix="early")
    app.add_route("/ws/held/{name}", Held())
    app.add_route("/ws/room/{name}", Room())
    app.add_route("/ws/ticks/{name}", Ticks())
    app.add_route("/ws/flood/{name}", Flood())
    app.add_route("/ws/download/{size:int}", Download())
    app.add_route("/ws/state", State())
