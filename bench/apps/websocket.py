"""Hand-written ASGI WebSocket applications. Each does as little as its scenario allows."""

from apps.raw import Receive, Scope, Send

_members: set[Send] = set()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends every message back, text as text and bytes as bytes."""
    if scope["type"] != "websocket":
        raise RuntimeError("WebSocket only")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        # A server may leave out the key that is not used, or set it to None.
        text = event.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
        else:
            await send({"type": "websocket.send", "text": text})


async def broadcast(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends every message of text to all that are connected, one after the other, the sender among them."""
    if scope["type"] != "websocket":
        raise RuntimeError("WebSocket only")
    await receive()
    await send({"type": "websocket.accept"})
    _members.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for member in tuple(_members):
                await member({"type": "websocket.send", "text": event["text"]})
    finally:
        _members.discard(send)
