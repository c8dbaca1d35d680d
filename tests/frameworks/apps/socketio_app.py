"""A Socket.IO server by python-socketio: events, answers, rooms, namespaces, over polling and over a WebSocket."""

import asyncio
from typing import Any

import socketio

from . import common
from .common import signals

PING_SECONDS = 2
"""Short, because a client that polls does not leave before its last poll is answered or given up."""

sio = socketio.AsyncServer(
    async_mode="asgi", max_http_buffer_size=8 * 1024 * 1024, ping_interval=PING_SECONDS, ping_timeout=PING_SECONDS
)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    if auth == {"ticket": "forged"}:
        raise socketio.exceptions.ConnectionRefusedError("no ticket")
    await sio.save_session(sid, {"name": (auth or {}).get("name", "")})


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    session = await sio.get_session(sid)
    common.note(f"{session['name']}: disconnected, {reason}")


@sio.event
async def echo(sid: str, *data: Any) -> None:
    await sio.emit("echoed", data, to=sid)


@sio.event
async def ask(sid: str, data: Any) -> dict[str, Any]:
    """What a handler returns acknowledges the event."""
    return {"asked": data}


@sio.event
async def enter(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)


@sio.event
async def tell(sid: str, room: str, text: str) -> None:
    await sio.emit("told", text, room=room)


@sio.event
async def ask_back(sid: str) -> str:
    """Asks the client, in a task: a handler that waited would keep the client's answer from being handled."""

    async def call() -> None:
        answer = await sio.call("question", "what is it?", to=sid)
        await sio.emit("answered", answer, to=sid)

    sio.start_background_task(call)
    return "asking"


@sio.event
async def wait(sid: str, name: str) -> str:
    signals.set(f"{name}.started")
    await signals.wait(name)
    return "waited"


@sio.event
async def release(sid: str, name: str) -> None:
    signals.set(name)


@sio.event
async def leave(sid: str) -> None:
    await sio.disconnect(sid)


class Other(socketio.AsyncNamespace):  # type: ignore[misc]
    async def on_echo(self, sid: str, data: Any) -> None:
        await self.emit("echoed", {"other": data}, to=sid)


sio.register_namespace(Other("/other"))


async def shutdown() -> None:
    await asyncio.sleep(0)
    common.note_shutdown()


app = socketio.ASGIApp(sio, on_shutdown=shutdown)
