"""Sends every WebSocket message back as it came. What the suites are run against; it knows no suite and no server."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Echoes until the peer is gone. Raises RuntimeError for anything but a WebSocket: lifespan is not offered."""
    if scope["type"] != "websocket":
        raise RuntimeError(f"a {scope['type']} scope is not served here")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        try:
            await send(_echo(event))
        except OSError:
            # The peer closed right behind its message: nobody is left to hear the echo.
            return


def _echo(event: Event) -> Event:
    text = event.get("text")
    if text is not None:
        return {"type": "websocket.send", "text": text}
    return {"type": "websocket.send", "bytes": event["bytes"]}
