"""The WebSockets of the contract as synchronous Channels consumers, which all run on one thread beside the loop's."""

from typing import Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import JsonWebsocketConsumer, WebsocketConsumer
from django.urls import path

from . import common
from .channels_consumers import described
from .common import signals


class Consumer(WebsocketConsumer):  # type: ignore[misc]
    """What the others have in common: the parameters of the path."""

    @property
    def kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = self.scope["url_route"]["kwargs"]
        return kwargs

    @property
    def name(self) -> str:
        return str(self.kwargs["name"])


class Echo(Consumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data, bytes_data)


class Describe(JsonWebsocketConsumer):  # type: ignore[misc]
    def connect(self) -> None:
        self.accept()
        self.send_json(described(self.scope), close=True)


class Subprotocol(Echo):
    def connect(self) -> None:
        self.accept(subprotocol=self.kwargs["chosen"])


class Headers(Consumer):
    def connect(self) -> None:
        self.accept(headers=[(name.encode(), value.encode()) for name, value in common.ACCEPT_HEADERS])
        self.close()


class Rejected(Consumer):
    def connect(self) -> None:
        self.close(4003, "not told to the client")


class Close(Consumer):
    def connect(self) -> None:
        self.accept()
        self.close(self.kwargs["code"], self.kwargs["reason"])


class Closing(Consumer):
    def disconnect(self, code: int) -> None:
        common.note_disconnect(self.name, code)


class Error(Consumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise RuntimeError(common.DELIBERATE)


class EarlyError(Consumer):
    def connect(self) -> None:
        raise RuntimeError(common.DELIBERATE)


class Held(Echo):
    released = False

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.released:
            return super().receive(text_data, bytes_data)
        signals.set(f"{self.name}.started")
        signals.wait_blocking(f"{self.name}.go")
        self.released = True
        return None


class Room(Consumer):
    def connect(self) -> None:
        async_to_sync(self.channel_layer.group_add)(self.name, self.channel_name)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        async_to_sync(self.channel_layer.group_send)(self.name, {"type": "room.message", "text": text_data})

    def room_message(self, event: dict[str, str]) -> None:
        self.send(event["text"])

    def disconnect(self, code: int) -> None:
        async_to_sync(self.channel_layer.group_discard)(self.name, self.channel_name)


class Flood(Consumer):
    """Channels lets the server's exception through: an OSError, as ASGI has it."""

    def connect(self) -> None:
        self.accept()
        try:
            while True:
                self.send(bytes_data=common.CHUNK)
        except OSError:
            signals.set(self.name)


class Download(Consumer):
    def connect(self) -> None:
        self.accept()
        for chunk in common.blocking_chunks(self.kwargs["size"]):
            self.send(bytes_data=chunk)
        self.close()


class Told(JsonWebsocketConsumer):  # type: ignore[misc]
    """JSON in and out: see test_channels.py."""

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.send_json({"got": content, "main_thread": common.on_main_thread()})


class Session(JsonWebsocketConsumer):  # type: ignore[misc]
    """The session of the cookie: see test_channels.py."""

    def connect(self) -> None:
        self.accept()
        self.send_json({"count": self.scope["session"]["count"]}, close=True)


class Clock(Consumer):
    """What is no consumer's doing, a timer or another process, tells a consumer something by its channel's name."""

    def connect(self) -> None:
        self.accept()
        async_to_sync(self.channel_layer.send)(self.channel_name, {"type": "clock.strike", "hour": 12})

    def clock_strike(self, event: dict[str, int]) -> None:
        self.send(f"{event['hour']} o'clock", close=True)


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
    path("ws/flood/<name>", Flood.as_asgi()),
    path("ws/download/<int:size>", Download.as_asgi()),
    path("ws/json", Told.as_asgi()),
    path("ws/clock", Clock.as_asgi()),
]
