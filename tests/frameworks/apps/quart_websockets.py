"""The WebSockets of the contract in Quart, which cancels a handler when its client is gone."""

import asyncio
from contextlib import suppress
from typing import Any

from quart import Blueprint, copy_current_websocket_context, jsonify, websocket
from quart.wrappers import base

from . import common
from .common import rooms, signals

DISCONNECTED = (OSError, getattr(base, "ClientDisconnectedError", OSError))
"""What `send` raises when it learns of the disconnect before the handler is cancelled: Quart's own from 0.23 on."""

blueprint = Blueprint("websockets", __name__)


@blueprint.websocket("/ws/echo")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


@blueprint.websocket("/ws/describe/<name>")
async def describe(name: str) -> None:
    await websocket.send_json(
        {
            "name": name,
            "words": websocket.args.getlist("word"),
            "cookies": websocket.cookies,
            "header": websocket.headers["x-client"],
            "scheme": websocket.scheme,
            "host": websocket.host,
            "client": websocket.remote_addr,
            "subprotocols": websocket.requested_subprotocols,
        }
    )


@blueprint.websocket("/ws/subprotocol/<chosen>")
async def subprotocol(chosen: str) -> None:
    await websocket.accept(subprotocol=chosen)
    await echo()


@blueprint.websocket("/ws/headers")
async def headers() -> None:
    await websocket.accept(headers=common.ACCEPT_HEADERS)


@blueprint.websocket("/ws/rejected")
async def rejected() -> None:
    await websocket.close(4003, "not told to the client")


@blueprint.websocket("/ws/denied")
async def denied() -> Any:
    return jsonify(common.DENIAL), common.DENIAL_STATUS, dict(common.DENIAL_HEADERS)


@blueprint.websocket("/ws/close/<int:code>/<reason>")
async def close(code: int, reason: str) -> None:
    await websocket.accept()
    await websocket.close(code, reason)


@blueprint.websocket("/ws/returned")
async def returned() -> None:
    await websocket.send("the last one")


@blueprint.websocket("/ws/closing/<name>")
async def closing(name: str) -> None:
    try:
        while True:
            await websocket.receive()
    except asyncio.CancelledError:
        common.note(f"{name}: disconnected")
        raise


@blueprint.websocket("/ws/error")
async def error() -> None:
    await websocket.receive()
    raise RuntimeError(common.DELIBERATE)


@blueprint.websocket("/ws/error/early")
async def early_error() -> None:
    raise RuntimeError(common.DELIBERATE)


@blueprint.websocket("/ws/held/<name>")
async def held(name: str) -> None:
    await websocket.receive()
    signals.set(f"{name}.started")
    await signals.wait(f"{name}.go")
    await echo()


@blueprint.websocket("/ws/room/<name>")
async def room(name: str) -> None:
    """Receives and sends side by side, as Quart's documentation has it."""
    with rooms.member(name) as queue:

        @copy_current_websocket_context
        async def pass_on() -> None:
            while True:
                await websocket.send(await queue.get())

        @copy_current_websocket_context
        async def listen() -> None:
            while True:
                rooms.tell(name, str(await websocket.receive()))

        await websocket.accept()
        with suppress(*DISCONNECTED):
            await asyncio.gather(pass_on(), listen())


@blueprint.websocket("/ws/ticks/<name>")
async def ticks(name: str) -> None:
    @copy_current_websocket_context
    async def send_ticks() -> None:
        async for tick in common.ticks(name):
            await websocket.send(tick)

    sender = asyncio.create_task(send_ticks())
    try:
        while True:
            await websocket.receive()
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


@blueprint.websocket("/ws/flood/<name>")
async def flood(name: str) -> None:
    try:
        with suppress(*DISCONNECTED):
            while True:
                await websocket.send(common.CHUNK)
    finally:
        signals.set(name)


@blueprint.websocket("/ws/download/<int:size>")
async def download(size: int) -> None:
    async for chunk in common.chunks(size):
        await websocket.send(chunk)
