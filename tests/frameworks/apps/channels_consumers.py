"""The WebSockets of the contract as asynchronous Channels consumers. A consumer lives until it closes or is left."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from django.urls import path

from . import common
from .common import signals


def described(scope: Any) -> dict[str, object]:
    """What `/ws/describe` tells: Channels gives a consumer the scope, with the path's parameters and the cookies."""
    headers = dict(scope["headers"])
    return {
        "name": scope["url_route"]["kwargs"]["name"],
        "words": parse_qs(scope["query_string"].decode())["word"],
        "cookies": scope["cookies"],
        "header": headers[b"x-client"].decode(),
        "scheme": scope["scheme"],
        "host": headers[b"host"].decode(),
        "client": scope["client"][0],
        "subprotocols": scope["subprotocols"],
    }


class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """What the others have in common: the parameters of the path."""

    @property
    def kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = self.scope["url_route"]["kwargs"]
        return kwargs

    @property
    def name(self) -> str:
        return str(self.kwargs["name"])


class Echo(Consumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class Describe(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.accept()
        await self.send_json(described(self.scope), close=True)


class Subprotocol(Echo):
    async def connect(self) -> None:
        await self.accept(subprotocol=self.kwargs["chosen"])


class Headers(Consumer):
    async def connect(self) -> None:
        await self.accept(headers=[(name.encode(), value.encode()) for name, value in common.ACCEPT_HEADERS])
        await self.close()


class Rejected(Consumer):
    async def connect(self) -> None:
        await self.close(4003, "not told to the client")


class Close(Consumer):
    async def connect(self) -> None:
        await self.accept()
        await self.close(self.kwargs["code"], self.kwargs["reason"])


class Closing(Consumer):
    async def disconnect(self, code: int) -> None:
        common.note_disconnect(self.name, code)


class Error(Consumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise RuntimeError(common.DELIBERATE)


class EarlyError(Consumer):
    async def connect(self) -> None:
        raise RuntimeError(common.DELIBERATE)


class Held(Echo):
    released = False

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.released:
            return await super().receive(text_data, bytes_data)
        signals.set(f"{self.name}.started")
        await signals.wait(f"{self.name}.go")
        self.released = True
        return None


class Room(Consumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add(self.name, self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(self.name, {"type": "room.message", "text": text_data})

    async def room_message(self, event: dict[str, str]) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.name, self.channel_name)


class Ticks(Consumer):
    async def connect(self) -> None:
        await self.accept()
        self.sender = asyncio.create_task(self.send_ticks())

    async def send_ticks(self) -> None:
        async for tick in common.ticks(self.name):
            await self.send(tick)

    async def disconnect(self, code: int) -> None:
        self.sender.cancel()
        await asyncio.gather(self.sender, return_exceptions=True)


class Flood(Consumer):
    """Channels lets the server's exception through: an OSError, as ASGI has it."""

    async def connect(self) -> None:
        await self.accept()
        try:
            while True:
                await self.send(bytes_data=common.CHUNK)
        except OSError:
            signals.set(self.name)


class Download(Consumer):
    async def connect(self) -> None:
        await self.accept()
        async for chunk in common.chunks(self.kwargs["size"]):
            await self.send(bytes_data=chunk)
        await self.close()


class Told(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """JSON in and out: see test_channels.py."""

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json({"got": content})

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        return json.dumps(content, ensure_ascii=False)


class Session(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """The session of the cookie: see test_channels.py."""

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"count": self.scope["session"]["count"]}, close=True)


class Clock(Consumer):
    """What is no consumer's doing, a timer or another process, tells a consumer something by its channel's name."""

    async def connect(self) -> None:
        await self.accept()
        await self.channel_layer.send(self.channel_name, {"type": "clock.strike", "hour": 12})

    async def clock_strike(self, event: dict[str, int]) -> None:
        await self.send(f"{event['hour']} o'clock", close=True)


routes = [
    path("ws/echo", Echo.as_asgi()),
    path("ws/describe/<name>", Describe.as_asgi()),
    path("ws/subprotocol/<chosen>", Subprotocol.as_asgi()),
    path("ws/headers", Headers.as_asgi()),
    path("ws/rejected", Rejected.as_asgi()),
    path("ws/close/<int:code>/<reason>", Close.as_asgi()),
    path("ws/closing/<name>", Closing.as_asgi()),
    path("ws/error", Error.as_asgi()),
    path("ws/error/early", EarlyError.as_asgi()),
    path("ws/held/<name>", Held.as_asgi()),
    path("ws/room/<name>", Room.as_asgi()),
    path("ws/ticks/<name>", Ticks.as_asgi()),
    path("ws/flood/<name>", Flood.as_asgi()),
    path("ws/download/<int:size>", Download.as_asgi()),
    path("ws/json", Told.as_asgi()),
    path("ws/clock", Clock.as_asgi()),
]
