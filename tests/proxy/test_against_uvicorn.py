"""X-Forwarded-For and X-Forwarded-Proto against uvicorn's own middleware: the same, but where a reason is given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.proxy.scopes import Scopes
from tests.support.asgi import Scope
from tests.support.client import request
from tests.support.server import Serve
from tests.support.websocket import websocket

Fields = list[tuple[str, str]]
Peer = tuple[str, int]
PEER = "the connection's own"
"""Stands for the peer in the expected values."""

DEFAULT = "127.0.0.1,::1"


def xff(*values: str) -> Fields:
    return [("x-forwarded-for", value) for value in values]


def proto(*values: str) -> Fields:
    return [("x-forwarded-proto", value) for value in values]


SAME: dict[str, list[Fields]] = {
    DEFAULT: [
        [],
        xff("192.0.2.1"),
        xff("192.0.2.1:4711"),
        xff("192.0.2.1:0"),
        xff("2001:db8::1"),
        xff("[2001:db8::1]"),
        xff("[2001:db8::1]:4711"),
        xff("6.6.6.6, 192.0.2.1"),
        xff("6.6.6.6,192.0.2.1,127.0.0.1"),
        xff("6.6.6.6, 192.0.2.1:1, 127.0.0.1:2, [::1]:3"),
        xff("127.0.0.1, ::1"),
        xff("6.6.6.6", "192.0.2.1, 127.0.0.1"),
        xff("127.0.0.1", "192.0.2.1"),
        xff("  192.0.2.1  "),
        xff(""),
        xff("_secret"),
        xff("host.example"),
        xff("host.example:80, 127.0.0.1"),
        proto("https"),
        proto("http"),
        proto("  https "),
        proto("ftp"),
        proto(""),
        proto("http", "https"),
        [*xff("192.0.2.1"), *proto("https")],
    ],
    "*": [
        xff("192.0.2.1"),
        xff("6.6.6.6, 192.0.2.1"),
        xff("_secret, 192.0.2.1"),
        xff("host.example:80", "192.0.2.1"),
        xff("192.0.2.1:4711, 192.0.2.2:4712"),
        proto("https"),
    ],
    "10.0.0.0/8": [xff("192.0.2.1"), proto("https"), [*xff("127.0.0.1"), *proto("https")]],
    "127.0.0.0/8, 10.0.0.0/8,2001:db8::/32": [
        xff("6.6.6.6, 192.0.2.1, 10.1.2.3, 2001:db8::2"),
        xff("10.1.2.3, 10.1.2.4"),
        xff("2001:db9::1, 2001:db8::1"),
    ],
    "": [xff("192.0.2.1")],
}

DIFFERENT: list[tuple[str, Fields, str, Any, str]] = [
    (DEFAULT, xff("unknown"), "http", None, "RFC 7239 section 6.2: nobody knows who it is"),
    (DEFAULT, xff("what is this?"), "http", None, "no address, and in a line of the log it looks like two words"),
    (DEFAULT, xff("192.0.2.1:70000"), "http", None, "no port, and so no address that could be trusted"),
    (DEFAULT, xff("192.0.2.1,"), "http", ("192.0.2.1", 0), "RFC 9110 section 5.6.1: empty members do not count"),
    (DEFAULT, xff("2001:DB8:0::1"), "http", ("2001:db8::1", 0), "addresses come in one form (RFC 5952)"),
    (DEFAULT, xff("192.0.2.1, ::ffff:127.0.0.1"), "http", ("192.0.2.1", 0), "it is 127.0.0.1 (RFC 4291)"),
    (DEFAULT, xff("a" * 300), "http", None, "longer than any name"),
    (DEFAULT, proto("HTTPS"), "https", PEER, "RFC 3986 section 3.1: schemes have no case"),
    (DEFAULT, proto("wss"), "https", PEER, "the scheme of a request is http or https (SCP-07)"),
    (DEFAULT, proto("http, https"), "https", PEER, "a list is read at the client's place"),
    (
        "*",
        [*xff("192.0.2.1, 10.0.0.1"), *proto("https", "http")],
        "https",
        ("192.0.2.1", 0),
        "the scheme is the client's own, as the address is",
    ),
    ("127.0.0.1, *", xff("6.6.6.6, 192.0.2.1"), "http", ("6.6.6.6", 0), "a star is one wherever it stands"),
]


async def _uvicorn(scope: Scope, trusted: str) -> Scope:
    seen: list[Any] = []

    async def app(scope: Any, receive: object, send: object) -> None:
        seen.append(scope)

    await ProxyHeadersMiddleware(app, trusted_hosts=trusted)(scope, None, None)  # type: ignore[arg-type]
    return dict(seen[0])


def uvicorn(kind: str, fields: Fields, trusted: str, peer: Peer) -> tuple[str, Any]:
    """Scheme and client as uvicorn has them."""
    headers = [(name.encode(), value.strip().encode()) for name, value in fields]
    scheme = "ws" if kind == "websocket" else "http"
    scope = asyncio.run(_uvicorn({"type": kind, "headers": headers, "scheme": scheme, "client": peer}, trusted))
    return scope["scheme"], scope["client"]


@pytest.mark.parametrize("trusted", SAME)
def test_the_same_as_uvicorn(serve: Serve, trusted: str) -> None:
    scopes = Scopes()
    with serve(scopes, forwarded_allow_ips=trusted).connect() as client:
        peer = client.socket.getsockname()
        for fields in SAME[trusted]:
            client.send(request(headers=[(name.encode(), value.encode()) for name, value in fields]))
            client.response()
            scope = scopes.next()
            assert (scope["scheme"], scope["client"]) == uvicorn("http", fields, trusted, peer), fields


@pytest.mark.parametrize("trusted", SAME)
def test_the_same_for_a_websocket(serve: Serve, trusted: str) -> None:
    scopes = Scopes()
    server = serve(scopes, forwarded_allow_ips=trusted)
    for fields in [*SAME[trusted], proto("ws"), proto("wss")]:
        with websocket(server, headers=[(name.encode(), value.encode()) for name, value in fields]) as client:
            peer = client.socket.getsockname()
            scope = scopes.next()
            assert (scope["scheme"], scope["client"]) == uvicorn("websocket", fields, trusted, peer), fields
            client.close_cleanly()


@pytest.mark.parametrize(("trusted", "fields", "scheme", "expected", "reason"), DIFFERENT)
def test_what_is_different(serve: Serve, trusted: str, fields: Fields, scheme: str, expected: Any, reason: str) -> None:
    scopes = Scopes()
    with serve(scopes, forwarded_allow_ips=trusted).connect() as client:
        peer = client.socket.getsockname()
        client.send(request(headers=[(name.encode(), value.encode()) for name, value in fields]))
        client.response()
    scope = scopes.next()
    assert (scope["scheme"], scope["client"]) == (scheme, peer if expected is PEER else expected)
    assert (scheme, scope["client"]) != uvicorn("http", fields, trusted, peer), f"no difference any more: {reason}"
