"""Sends each message of a WebSocket back: `ferricorn examples.websocket:app`.

To talk to it: `pip install websockets`, then `python -m websockets ws://127.0.0.1:8000/`.
"""

from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echoes text as text and bytes as bytes, until the client leaves."""
    if scope["type"] != "websocket":
        return
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
