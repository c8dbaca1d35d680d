"""At log level trace: each call of the application and every event it is given or gives, bodies shown by their size."""

from __future__ import annotations

import itertools
from typing import Any

from ferricorn._types import Asgi3, Message, Receive, Scope, Send
from ferricorn.logging import TRACE
from ferricorn.logging import error_log as log


def traced(call: Asgi3) -> Asgi3:
    """`call`, each of its calls logged under a number."""
    numbers = itertools.count(1)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        number = next(numbers)

        async def traced_receive() -> Message:
            event: Message = await receive()
            log.log(TRACE, "ASGI [%d] receive %s", number, shown(event))
            return event

        async def traced_send(event: Message) -> None:
            log.log(TRACE, "ASGI [%d] send %s", number, shown(event))
            await send(event)

        log.log(TRACE, "ASGI [%d] called with %s", number, shown(scope))
        try:
            await call(scope, traced_receive, traced_send)
        except BaseException as error:
            log.log(TRACE, "ASGI [%d] raised %r", number, error)
            raise
        log.log(TRACE, "ASGI [%d] returned", number)

    return application


def shown(event: Any) -> object:
    """`event` with its payload replaced by its size."""
    if not isinstance(event, dict):
        return event
    return {
        key: f"<{len(value)} bytes>" if key in {"body", "bytes"} and value else value for key, value in event.items()
    }
