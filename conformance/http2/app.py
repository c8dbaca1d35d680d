"""The application that the suite runs servers with. It knows no suite and no server.

`/large` answers with 100,000 octets, `/fields` with the fields of the request as it came, a line each, and everything
else with the request's body, or with a greeting where there is none.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

LARGE = bytes(range(100)) * 1000
GREETING = b"hello over HTTP/2\n"


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answers when the request's body is whole. Raises RuntimeError for what is no request: lifespan is not offered."""
    if scope["type"] != "http":
        raise RuntimeError(f"a {scope['type']} scope is not served here")
    body = b""
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = _answer(scope, body)
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(answer))]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": answer})
    except OSError:
        # Many a case is gone before its answer comes.
        return


def _answer(scope: MutableMapping[str, Any], body: bytes) -> bytes:
    if scope["path"] == "/large":
        return LARGE
    if scope["path"] == "/fields":
        return b"".join(b"%b: %b\n" % pair for pair in scope["headers"])
    return body or GREETING
