"""What log level trace shows of an application's events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ferricorn.logging import TRACE
from ferricorn.tracing import shown, traced


def test_events_are_shown_with_payloads_as_sizes() -> None:
    assert shown({"type": "http.request", "body": b"12345", "more_body": False}) == {
        "type": "http.request",
        "body": "<5 bytes>",
        "more_body": False,
    }
    assert shown({"type": "http.request", "body": b""}) == {"type": "http.request", "body": b""}
    assert shown("no event") == "no event"


def test_each_call_is_numbered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, "ferricorn")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(await receive())
        if scope["type"] == "second":
            raise LookupError

    async def receive() -> Any:
        return {"type": "event"}

    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def main() -> None:
        call = traced(app)
        await call({"type": "first"}, receive, send)
        with pytest.raises(LookupError):
            await call({"type": "second"}, receive, send)

    asyncio.run(main())
    assert sent == [{"type": "event"}] * 2
    assert caplog.messages == [
        "ASGI [1] called with {'type': 'first'}",
        "ASGI [1] receive {'type': 'event'}",
        "ASGI [1] send {'type': 'event'}",
        "ASGI [1] returned",
        "ASGI [2] called with {'type': 'second'}",
        "ASGI [2] receive {'type': 'event'}",
        "ASGI [2] send {'type': 'event'}",
        "ASGI [2] raised LookupError()",
    ]
    assert {record.levelno for record in caplog.records} == {TRACE}
