"""An application that notes what it is called with."""

from __future__ import annotations

from tests.support.asgi import Journal, Receive, Scope, Send, respond


class Scopes(Journal[Scope]):
    """Answers every request, accepts every WebSocket and waits for its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add(scope)
        if scope["type"] == "http":
            await respond(send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
