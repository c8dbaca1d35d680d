"""What the scope of a WebSocket says (SCP rows, WS-28)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.asgi import Application, Journal, Receive, Scope, Send, respond
from tests.support.client import GET, HeaderList
from tests.support.server import Serve
from tests.support.transports import Transport
from tests.support.websocket import FIELDS, HANDSHAKE, connection, handshake, websocket
from tests.support.websocket_apps import connected


class Scopes(Journal[Scope]):
    """An application that accepts everything, and notes what it was called with."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            self.add(scope)
            await connected(receive, send)

    def of(self, serve: Serve, target: bytes = b"/", headers: HeaderList = (), **options: Any) -> Scope:
        """The scope of a handshake, which has to be accepted."""
        with websocket(serve(self, **options), target, headers):
            return self.next()


def test_ws_28_every_promised_key_and_no_other(serve: Serve) -> None:
    scope = Scopes().of(serve)
    assert type(scope) is dict
    assert set(scope) == {
        *("type", "asgi", "http_version", "scheme", "path", "raw_path", "query_string", "root_path"),
        *("headers", "client", "server", "subprotocols", "state", "extensions"),
    }


def test_ws_28_there_is_no_method(serve: Serve) -> None:
    assert "method" not in Scopes().of(serve)


def test_ws_28_the_scope_lives_as_long_as_the_socket(serve: Serve) -> None:
    """It is the application's: the end of the connection changes nothing in it."""
    scopes: Journal[Scope] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = copy.deepcopy(scope)
        await connected(receive, send)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        assert scope == before
        scopes.add(scope)

    with websocket(serve(app), b"/a?b=c") as client:
        client.close_cleanly()
    assert (scopes.next()["path"], scopes.is_empty()) == ("/a", True)


def test_scp_01_type(serve: Serve) -> None:
    assert Scopes().of(serve)["type"] == "websocket"


def test_scp_02_asgi_is_a_dict_of_its_own(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    for _ in range(2):
        with websocket(server):
            asgi = scopes.next()["asgi"]
        assert asgi == {"version": "3.0", "spec_version": "2.5"}
        asgi["version"] = "spoilt"


def test_scp_05_http_version(serve: Serve, transport: Transport) -> None:
    assert Scopes().of(serve)["http_version"] == transport.http_version


def test_scp_07_scheme(serve: Serve, transport: Transport) -> None:
    assert Scopes().of(serve)["scheme"] == transport.scheme("ws")


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a%20b?c=%20d", "/a b", b"/a%20b", b"c=%20d"),
        (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
        (b"/%C3%A9", "/\u00e9", b"/%C3%A9", b""),
        (b"/%FF", "/\ufffd", b"/%FF", b""),
        pytest.param(b"http://test/a?b", "/a", b"/a", b"b", marks=pytest.mark.http1("the absolute form")),
    ],
)
def test_scp_08_path_and_query(serve: Serve, target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    scope = Scopes().of(serve, target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)
    assert (type(scope["path"]), type(scope["raw_path"]), type(scope["query_string"])) == (str, bytes, bytes)


@pytest.mark.parametrize(("target", "path"), [(b"/page", "/mounted/page"), (b"/mounted/page", "/mounted/page")])
def test_scp_11_root_path(serve: Serve, target: bytes, path: str) -> None:
    scope = Scopes().of(serve, target, root_path="/mounted")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/mounted", path, target)


@pytest.mark.http1("fields of the handshake of RFC 6455")
def test_scp_12_headers_are_as_they_were_sent(serve: Serve) -> None:
    """Those of the handshake too: applications look at the origin, proxies of applications at all of them."""
    more = [(b"Origin", b"http://test"), (b"Cookie", b"a=1"), (b"Cookie", b"b=\xff")]
    headers = Scopes().of(serve, headers=more)["headers"]
    assert type(headers) is list
    assert [tuple(pair) for pair in headers] == [
        (b"host", b"test"),
        *FIELDS.items(),
        *((name.lower(), value) for name, value in more),
    ]
    assert all(type(part) is bytes for pair in headers for part in pair)


def test_scp_13_client_and_server(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    with websocket(server) as client:
        scope = scopes.next()
        assert list(scope["client"]) == list(client.socket.getsockname())
    assert list(scope["server"]) == list(server.address)


def test_scp_14_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    scope = Scopes().of(serve, uds=path)
    assert list(scope["server"]) == [path, None]
    assert scope["client"] is None


@pytest.mark.parametrize(
    ("offers", "subprotocols"),
    [
        ([], []),
        ([b"chat"], ["chat"]),
        ([b"v2.chat, v1.chat"], ["v2.chat", "v1.chat"]),
        ([b"b,a"], ["b", "a"]),
        ([b"b", b"a, c"], ["b", "a", "c"]),
        ([b" graphql-ws ,\tx"], ["graphql-ws", "x"]),
        ([b"Chat"], ["Chat"]),
    ],
)
def test_scp_15_subprotocols_in_the_client_s_order(serve: Serve, offers: list[bytes], subprotocols: list[str]) -> None:
    offered = Scopes().of(serve, headers=[(b"sec-websocket-protocol", offer) for offer in offers])["subprotocols"]
    assert type(offered) is list
    assert offered == subprotocols
    assert all(type(name) is str for name in offered)


def test_scp_16_state_is_a_shallow_copy(serve: Serve) -> None:
    shared = ["shared"]
    states: Journal[dict[str, Any]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            states.add(scope["state"].copy())
            scope["state"]["spoilt"] = True
            await connected(receive, send)
            return
        await receive()
        scope["state"]["shared"] = shared
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert scope["state"] == {"shared": shared}
        await send({"type": "lifespan.shutdown.complete"})

    server = serve(app, lifespan="on")
    for _ in range(2):
        with websocket(server):
            state = states.next()
        assert list(state) == ["shared"]
        assert state["shared"] is shared


@pytest.mark.parametrize("lifespan", ["auto", "off"])
def test_scp_16_state_is_always_there(serve: Serve, lifespan: str) -> None:
    assert Scopes().of(serve, lifespan=lifespan)["state"] == {}


def test_ext_01_the_denial_response_is_advertised_and_nothing_else(serve: Serve) -> None:
    """The extensions of HTTP have no meaning here."""
    scopes = Scopes()
    server = serve(scopes)
    for _ in range(2):
        with websocket(server):
            extensions = scopes.next()["extensions"]
        extensions.pop("tls", None)
        assert extensions == {"websocket.http.response": {}}
        extensions["websocket.http.response"]["spoilt"] = True
        extensions["spoilt"] = {}


def test_ext_01_the_denial_response_is_not_of_http(serve: Serve) -> None:
    extensions: Journal[list[str]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extensions.add(list(scope["extensions"]))
        await (respond(send) if scope["type"] == "http" else connected(receive, send))

    with connection(serve(app)) as client:
        client.send(GET)
        client.response()
        client.upgrade()
    of_http, of_websocket = extensions.take(2)
    assert "websocket.http.response" not in of_http
    assert set(of_websocket) - {"tls"} == {"websocket.http.response"}


def test_scp_27_only_serializable_types(serve: Serve) -> None:
    scope = Scopes().of(serve)
    types = {type(value) for key, value in scope.items() if key not in ("headers", "client", "server")}
    assert types == {str, bytes, dict, list}


SPOILERS: dict[str, Callable[[Scope], Any]] = {
    "asgi": lambda scope: scope["asgi"].update(spoilt=1),
    "extensions": lambda scope: scope["extensions"].update(spoilt={}),
    "payload": lambda scope: scope["extensions"]["websocket.http.response"].update(spoilt=1),
    "subprotocols": lambda scope: scope["subprotocols"].append("spoilt"),
    "headers": lambda scope: scope["headers"].append((b"spoilt", b"1")),
    "state": lambda scope: scope["state"].update(spoilt=1),
    "everything": lambda scope: scope.clear(),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_scp_24_what_an_application_does_to_a_scope_stays_with_it(serve: Serve, spoil: Callable[[Scope], Any]) -> None:
    """On one server, and with requests on the same connection before the handshake."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(copy.deepcopy(scope))
        if scope["type"] == "http":
            await respond(send)
        else:
            spoil(scope)
            await connected(receive, send)

    server = serve(app)
    for _ in range(3):
        with connection(server) as client:
            client.send(GET)
            client.response()
            client.upgrade(headers=[(b"sec-websocket-protocol", b"a, b")])
    for scope in seen:
        del scope["client"]
    assert seen == seen[:2] * 3
    assert [scope["type"] for scope in seen[:2]] == ["http", "websocket"]


def test_scp_24_parallel_sockets_have_scopes_of_their_own(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    with websocket(server, b"/1"), websocket(server, b"/2"):
        first, second = scopes.take(2)
    assert (first["path"], second["path"]) == ("/1", "/2")
    parts = ("asgi", "headers", "subprotocols", "state", "extensions")
    assert all(first[part] is not second[part] for part in parts)


async def say_version(scope: Scope, receive: Receive, send: Send) -> None:
    await connected(receive, send, headers=[(b"x-version", scope["asgi"]["version"].encode())])


class TwoCalls:
    """An ASGI 2 application: a class whose instances are awaited."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await say_version(self.scope, receive, send)


def two_calls(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
    return functools.partial(say_version, scope)


@pytest.mark.parametrize(
    ("app", "version"),
    [(say_version, b"3.0"), (functools.partial(say_version), b"3.0"), (TwoCalls, b"2.0"), (two_calls, b"2.0")],
    ids=["function", "partial", "class", "two calls"],
)
def test_app_05_every_style_of_application(serve: Serve, app: Application, version: bytes) -> None:
    with connection(serve(app)) as client:
        client.send(HANDSHAKE)
        assert client.accepted().header(b"x-version") == version


def test_app_01_one_call_for_each_socket(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    for number in range(3):
        with connection(server) as client:
            client.send(handshake(b"/%d" % number))
            client.accepted()
    assert [scope["path"] for scope in scopes.take(3)] == ["/0", "/1", "/2"]
    assert scopes.is_empty()
