"""Answers with the request's own body, part by part as it arrives: `ferricorn examples.echo:app`."""

from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echoes without ever holding the whole body."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more_body = True
    while more_body:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        more_body = event["more_body"]
        await send({"type": "http.response.body", "body": event["body"], "more_body": more_body})
