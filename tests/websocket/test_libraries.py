"""A client library of others against the server: what two readings of the same texts agree on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.support.asgi import Journal, Receive, Scope, Send
from tests.support.server import RunningServer, Serve
from tests.support.websocket_apps import Echo, accept, connected, deny, deny_body, disconnect, say, shut

pytestmark = [pytest.mark.http1("libraries that speak HTTP/1.1"), pytest.mark.cleartext("they are told ws://")]


def url(server: RunningServer, path: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(serve: Serve, compression: str | None) -> None:
    echo = Echo()
    server = serve(echo)
    with connect(url(server), compression=compression) as client:
        for data in ("hello", b"\0\xff", "", b"", "\u00e9" * 10_000, bytes(1_000_000), "small", "small"):
            client.send(data)
            assert client.recv() == data
        client.close(4000, "bye")
    assert echo.disconnects.next() == disconnect(4000, "bye")


def test_fragments(serve: Serve) -> None:
    with connect(url(serve(Echo()))) as client:
        client.send(["one ", "two ", "three"])
        assert client.recv() == "one two three"
        client.send([b"one ", b"two ", b"three"])
        assert client.recv() == b"one two three"


def test_pings_are_answered(serve: Serve) -> None:
    with connect(url(serve(Echo()))) as client:
        assert client.ping("hello").wait(5)


def test_pings_of_the_server_are_answered(serve: Serve) -> None:
    """The library answers them by itself."""
    server = serve(Echo(), ws_ping_interval=0.3, ws_ping_timeout=0.3)
    with connect(url(server), ping_interval=None) as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=2)
        client.send("hello")
        assert client.recv() == "hello"


def test_subprotocols_and_headers(serve: Serve) -> None:
    scopes: Journal[list[str]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.add(scope["subprotocols"])
        await send(accept("b", [(b"x-name", b"value")]))
        await receive()
        await receive()

    with connect(url(serve(app)), subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["x-name"] == "value"
    assert scopes.next() == ["a", "b"]


@pytest.mark.parametrize(("path", "status", "body"), [("/reject", 403, b""), ("/deny", 401, b"who are you?")])
def test_a_handshake_that_is_not_accepted(serve: Serve, path: str, status: int, body: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/reject":
            await send(shut())
            return
        await send(deny(401, [(b"content-length", b"12")]))
        await send(deny_body(b"who are ", more=True))
        await send(deny_body(b"you?"))

    server = serve(app)
    with pytest.raises(InvalidStatus) as refused:
        connect(url(server, path)).close()
    assert refused.value.response.status_code == status
    assert (refused.value.response.body or b"") == body


@pytest.mark.parametrize(("end", "code"), [("return", 1000), ("raise", 1011), ("close", 4001)])
def test_how_it_ends(serve: Serve, end: str, code: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await receive()
        if end == "raise":
            raise LookupError("on purpose")
        if end == "close":
            await send(shut(4001, "bye"))

    server = serve(app)
    with connect(url(server)) as client:
        client.send("go")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == code
    if end == "raise":
        server.expect_problem("on purpose")


def test_many_clients_at_once(serve: Serve) -> None:
    """With compression and pings of the library's own, two hundred in one loop."""
    server = serve(Echo())

    async def live(number: int) -> None:
        async with connect_asyncio(url(server)) as client:
            for size in range(20):
                data: Any = f"{number} " * size if number % 2 else bytes([number]) * size * 100
                await client.send(data)
                assert await client.recv() == data
            await (await client.ping())

    async def main() -> None:
        await asyncio.gather(*(live(number) for number in range(200)))

    asyncio.run(main())


def test_a_stop_of_the_server(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        await send(say("ready"))
        await receive()

    server = serve(app)
    with connect(url(server)) as client:
        assert client.recv() == "ready"
        server.begin_stop()
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1012
    server.join()
