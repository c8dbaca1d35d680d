"""`scope["state"]`: what the lifespan leaves for the requests (LIFE-15 to LIFE-18)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET
from tests.support.server import Serve

COMPLETE = {"type": "lifespan.startup.complete"}


class Stateful:
    """An application that fills its state at start, and notes what it finds there later."""

    def __init__(self, **state: Any) -> None:
        self.given: Journal[Any] = Journal()
        self.requests: Journal[dict[str, Any]] = Journal()
        self.last: Journal[dict[str, Any]] = Journal()
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests.add(scope["state"])
            await respond(send)
            return
        self.given.add(scope["state"].copy())
        await receive()
        scope["state"].update(self._state)
        await send(COMPLETE)
        await receive()
        self.last.add(scope["state"].copy())
        await send({"type": "lifespan.shutdown.complete"})


def test_life_15_the_lifespan_is_given_an_empty_dict(serve: Serve) -> None:
    app = Stateful()
    serve(app, lifespan="on")
    given = app.given.next()
    assert type(given) is dict
    assert given == {}


def test_life_16_each_request_has_a_shallow_copy(serve: Serve) -> None:
    shared = ["shared"]
    app = Stateful(shared=shared)
    server = serve(app, lifespan="on")
    with server.connect() as client:
        for _ in range(3):
            client.send(GET)
            client.response()
            state = app.requests.next()
            assert type(state) is dict
            assert list(state) == ["shared"]
            assert state["shared"] is shared
            state["spoilt"] = True
            del state["shared"]


def test_life_16_what_is_added_later_reaches_later_requests(serve: Serve) -> None:
    """The copy is taken for each request, not once."""
    states: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send, str(scope["state"].get("added", "")).encode())
            return
        states.append(scope["state"])
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    server = serve(app, lifespan="on")
    assert server.exchange(GET).body == b""
    states[0]["added"] = "later"
    assert server.exchange(GET).body == b"later"


def test_life_17_the_server_leaves_it_alone(serve: Serve) -> None:
    app = Stateful(value=1)
    server = serve(app, lifespan="on")
    server.exchange(GET)
    server.stop()
    assert app.last.next() == {"value": 1}


@pytest.mark.parametrize("how", ["raises", "returns", "off"])
def test_life_18_the_key_is_there_without_a_lifespan(serve: Serve, how: str) -> None:
    states: Journal[Any] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["before"] = "failing"
            await asyncio.sleep(0)
            if how == "raises":
                raise LookupError
            return
        states.add(scope["state"])
        await respond(send)

    server = serve(app, lifespan="off" if how == "off" else "auto")
    server.exchange(GET)
    server.stop()
    server.log.remaining_problems()
    assert states.next() == ({} if how == "off" else {"before": "failing"})
