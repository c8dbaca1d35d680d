"""Which requests are WebSocket handshakes, which of them are refused, and what accepts the others (RFC 6455 section 4).

A refused handshake never reaches the application (WS-25).
"""

from __future__ import annotations

import base64
import re

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET, request
from tests.support.process import StartProcess
from tests.support.server import Serve
from tests.support.websocket import ACCEPT, HANDSHAKE, KEY, connection, handshake, text, websocket
from tests.support.websocket_apps import Called, Echo

pytestmark = pytest.mark.http1("the handshake of RFC 6455; that of RFC 8441 is in tests of the protocol")


class Either(Journal[str]):
    """Echoes WebSockets, answers requests, and notes which of the two it was called for."""

    def __init__(self) -> None:
        super().__init__()
        self.echo = Echo()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add(scope["type"])
        await (respond(send, b"plain") if scope["type"] == "http" else self.echo(scope, receive, send))


def test_the_response_to_the_example_of_the_rfc(serve: Serve) -> None:
    """Section 1.3, with what each response of this server has besides."""
    with connection(serve(Echo())) as client:
        client.send(HANDSHAKE)
        head = client.accepted()
    assert (head.version, head.reason) == (b"1.1", b"Switching Protocols")
    fields = {name.lower(): value for name, value in head.headers}
    assert len(fields) == len(head.headers)
    assert fields.pop(b"date").endswith(b" GMT")
    assert fields.pop(b"server") == b"ferricorn"
    assert {name: value.lower() for name, value in fields.items()} == {
        b"upgrade": b"websocket",
        b"connection": b"upgrade",
        b"sec-websocket-accept": ACCEPT.lower(),
    }
    assert head.header(b"sec-websocket-accept") == ACCEPT


def test_the_accept_value_follows_from_the_key(serve: Serve) -> None:
    """A key of the shape that browsers send, with the padding bits that they set to 0."""
    key = base64.b64encode(bytes(range(16)))
    with connection(serve(Echo())) as client:
        client.send(handshake(replace={b"sec-websocket-key": key}))
        assert client.accepted().header(b"sec-websocket-accept") == b"Bz3qJYTGdOe8gUSpLosEdiLKDrk="


def test_options_of_responses_hold_for_the_handshake(serve: Serve) -> None:
    options = {"server_header": False, "date_header": False, "headers": [("x-every", "response")]}
    with connection(serve(Echo(), **options)) as client:
        client.send(HANDSHAKE)
        head = client.accepted()
    assert head.all(b"server") == head.all(b"date") == []
    assert head.all(b"x-every") == [b"response"]


HANDSHAKES: list[tuple[str, bytes]] = [
    ("as browsers send it", handshake(replace={b"connection": b"keep-alive, Upgrade"})),
    ("capitals", handshake(replace={b"upgrade": b"WebSocket", b"connection": b"UPGRADE"})),
    ("other order in the list", handshake(replace={b"connection": b"upgrade, keep-alive"})),
    ("list without spaces", handshake(replace={b"connection": b"keep-alive,upgrade"})),
    ("empty list members", handshake(replace={b"connection": b", ,upgrade,"})),
    ("two connection lines", handshake(headers=[(b"connection", b"keep-alive")])),
    ("several protocols", handshake(replace={b"upgrade": b"h2c, websocket"})),
    ("several upgrade lines", handshake(headers=[(b"upgrade", b"h2c")])),
    ("names in capitals", HANDSHAKE.replace(b"sec-websocket-", b"SEC-WebSocket-").replace(b"upgrade:", b"UPGRADE:")),
    ("space around the values", handshake(replace={b"sec-websocket-key": b" \t" + KEY + b" \t"})),
    ("content-length 0", handshake(headers=[(b"content-length", b"0")])),
    ("an origin", handshake(headers=[(b"origin", b"http://elsewhere.test")])),
    ("absolute target", handshake(b"http://test/")),
    ("unknown extension", handshake(headers=[(b"sec-websocket-extensions", b'x-unknown; a="b"; c')])),
]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("data", [row[1] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
def test_handshakes(serve: Serve, data: bytes, bytewise: bool) -> None:
    with connection(serve(Echo())) as client:
        (client.send_each_byte if bytewise else client.send)(data)
        head = client.accepted()
        assert head.header(b"sec-websocket-accept") == ACCEPT
        assert head.all(b"sec-websocket-extensions") == []
        client.send(text("hello"))
        assert client.message() == "hello"
        client.close_cleanly()


def without(name: bytes) -> bytes:
    return handshake(replace={name: None})


def keyed(key: bytes) -> bytes:
    return handshake(replace={b"sec-websocket-key": key})


def offering(name: bytes, value: bytes) -> bytes:
    return handshake(headers=[(b"sec-websocket-" + name, value)])


REFUSED: list[tuple[str, bytes, str]] = [
    ("POST", handshake(method=b"POST"), "GET"),
    ("PUT", handshake(method=b"PUT"), "GET"),
    ("HEAD", handshake(method=b"HEAD"), "GET"),
    ("no key", without(b"sec-websocket-key"), "sec-websocket-key"),
    ("two keys", handshake(headers=[(b"sec-websocket-key", KEY)]), "sec-websocket-key"),
    ("empty key", keyed(b""), "sec-websocket-key"),
    ("15 bytes", keyed(base64.b64encode(bytes(15))), "sec-websocket-key"),
    ("17 bytes", keyed(base64.b64encode(bytes(17))), "sec-websocket-key"),
    ("unpadded key", keyed(KEY.rstrip(b"=")), "sec-websocket-key"),
    ("no base64", keyed(b"!" * 22 + b"=="), "sec-websocket-key"),
    ("list of keys", keyed(KEY + b", " + KEY), "sec-websocket-key"),
    ("a body", handshake(headers=[(b"content-length", b"5")]) + b"hello", "body"),
    ("a chunked body", handshake(headers=[(b"transfer-encoding", b"chunked")]) + b"0\r\n\r\n", "body"),
    ("subprotocol with a space", offering(b"protocol", b"chat room"), "sec-websocket-protocol"),
    ("subprotocol in quotes", offering(b"protocol", b'"chat"'), "sec-websocket-protocol"),
    ("extension without a name", offering(b"extensions", b"; a=1"), "sec-websocket-extensions"),
    ("extension with a space", offering(b"extensions", b"per message"), "sec-websocket-extensions"),
    ("no token in quotes", offering(b"extensions", b'x; a="b c"'), "sec-websocket-extensions"),
    ("unfinished quotes", offering(b"extensions", b'x; a="b'), "sec-websocket-extensions"),
]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("data", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_ws_25_a_bad_handshake_is_400(serve: Serve, data: bytes, reason: str, bytewise: bool) -> None:
    called = Called()
    server = serve(called)
    with connection(server) as client:
        if bytewise:
            for position in range(len(data)):
                client.send_until_end(data[position : position + 1])
        else:
            client.send(data + GET)
        head = client.head()
        assert head.status == 400
        assert head.header(b"connection") == b"close"
        assert head.all(b"upgrade") == head.all(b"sec-websocket-accept") == []
        client.read_to_end()
    assert called.is_empty()
    server.expect_problem(reason)


@pytest.mark.parametrize("version", [None, b"", b"0", b"8", b"12", b"14", b"013", b"x", b"13, 8"])
def test_ws_25_another_version_is_426(serve: Serve, version: bytes | None) -> None:
    """RFC 6455 section 4.4: the answer names the version that would be taken, RFC 9110 section 15.5.22 the protocol."""
    called = Called()
    server = serve(called)
    with connection(server) as client:
        client.send(handshake(replace={b"sec-websocket-version": version}))
        response = client.response()
        assert response.status == 426
        assert response.header(b"sec-websocket-version") == b"13"
        assert response.header(b"upgrade") == b"websocket"
        assert sorted(b",".join(response.all(b"connection")).replace(b" ", b"").split(b",")) == [b"close", b"upgrade"]
        assert client.ends()
    assert called.is_empty()
    server.expect_problem("version")


def test_ws_25_two_versions_are_426(serve: Serve) -> None:
    server = serve(Called())
    with connection(server) as client:
        client.send(handshake(headers=[(b"sec-websocket-version", b"8")]))
        assert client.response().status == 426
    server.expect_problem("version")


def test_ws_25_frames_behind_a_refused_handshake_are_no_requests(serve: Serve) -> None:
    """What looks like a request in a frame must not be taken for one."""
    called = Called()
    server = serve(called)
    with connection(server) as client:
        client.send(without(b"sec-websocket-key") + request(target=b"/smuggled"))
        assert client.response().status == 400
        assert client.ends()
    assert called.is_empty()
    server.expect_problem("sec-websocket-key")


PLAIN: list[tuple[str, bytes]] = [
    ("HTTP/1.0", handshake(version=b"1.0")),
    ("no connection", without(b"connection")),
    ("connection without upgrade", handshake(replace={b"connection": b"keep-alive"})),
    ("no upgrade", without(b"upgrade")),
    ("another protocol", handshake(replace={b"upgrade": b"h2c"})),
    ("websocket with a version", handshake(replace={b"upgrade": b"websocket/2"})),
    ("similar words", handshake(replace={b"upgrade": b"websockets", b"connection": b"upgrades"})),
    ("fields alone", handshake(replace={b"upgrade": None, b"connection": None})),
]


@pytest.mark.parametrize("data", [row[1] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_requests_that_are_no_handshakes(serve: Serve, data: bytes) -> None:
    """RFC 9110 section 7.8: an upgrade may be ignored, and has to be in HTTP/1.0."""
    app = Either()
    with connection(serve(app)) as client:
        client.send(data)
        assert client.response().body == b"plain"
    assert app.next() == "http"


@pytest.mark.parametrize("ws", ["auto", "websockets", "websockets-sansio", "wsproto"])
def test_every_name_but_none_serves_websockets(serve: Serve, ws: str) -> None:
    with websocket(serve(Echo(), ws=ws)) as client:
        client.send(text("hello"))
        assert client.message() == "hello"


def test_ws_none_leaves_handshakes_to_the_application(serve: Serve) -> None:
    """They are requests like any other: the connection goes on."""
    app = Either()
    with connection(serve(app, ws="none")) as client:
        for data in (HANDSHAKE, without(b"sec-websocket-key"), handshake(method=b"POST")):
            client.send(data)
            response = client.response()
            assert (response.status, response.body) == (200, b"plain")
            assert response.all(b"upgrade") == []
            assert app.next() == "http"


def test_a_handshake_after_requests_on_the_same_connection(serve: Serve) -> None:
    app = Either()
    with connection(serve(app)) as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"plain"
        client.upgrade()
        client.send(text("hello"))
        assert client.message() == "hello"
    assert app.take(3) == ["http", "http", "websocket"]


def test_a_handshake_pipelined_behind_requests_with_its_first_messages(serve: Serve) -> None:
    """All in one segment."""
    with connection(serve(Either())) as client:
        client.send(GET + request(b"POST", body=b"hello") + HANDSHAKE + text("one") + text("two"))
        assert [client.response().body for _ in range(2)] == [b"plain"] * 2
        client.accepted()
        assert client.messages(2) == ["one", "two"]
        client.close_cleanly()


def test_nothing_behind_a_handshake_is_a_request(serve: Serve) -> None:
    """GET is no frame: 0x47 is a continuation, with a reserved bit and without a mask."""
    app = Either()
    server = serve(app)
    with websocket(server) as client:
        client.send(GET)
        assert client.closing()[0] == 1002
        assert client.ends()
    assert app.next() == "websocket"
    assert app.is_empty()
    server.expect_problem()


def test_the_head_limit_holds_for_handshakes(serve: Serve) -> None:
    server = serve(Called(), limit_request_head=1024)
    with connection(server) as client:
        client.send(handshake(headers=[(b"a", b"a" * 2000)]))
        assert client.response().status == 431
    server.expect_problem()


def test_timeouts_of_requests_are_not_of_websockets(serve: Serve) -> None:
    options = {"timeout_keep_alive": 0.1, "timeout_request_head": 0.1, "timeout_request_body": 0.1}
    with websocket(serve(Echo(), **options)) as client:
        assert client.is_silent(1.5)
        client.send(text("hello"))
        assert client.message() == "hello"


def test_limit_concurrency_counts_websockets(serve: Serve) -> None:
    """One that is open is a call that runs."""
    echo = Echo()
    server = serve(echo, limit_concurrency=1)
    with websocket(server) as client:
        with connection(server) as other:
            other.send(HANDSHAKE)
            response = other.response()
            assert response.status == 503
            assert response.all(b"sec-websocket-accept") == []
            assert other.ends()
        client.send(text("hello"))
        assert client.message() == "hello"
        client.close_cleanly()
    echo.disconnects.next()
    with websocket(server) as client:
        client.close_cleanly()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (handshake(b"/echo?a=b"), '"GET /echo?a=b HTTP/1.1" 101 Switching Protocols'),
        (handshake(b"/reject"), '"GET /reject HTTP/1.1" 403 Forbidden'),
        (handshake(b"/deny"), '"GET /deny HTTP/1.1" 401 Unauthorized'),
        (handshake(b"/raise"), '"GET /raise HTTP/1.1" 500 Internal Server Error'),
    ],
    ids=["accepted", "rejected", "denied", "failed"],
)
def test_the_access_log_has_one_line_for_each_handshake(start_process: StartProcess, data: bytes, line: str) -> None:
    """An accepted one is logged when it is accepted, not at its end."""
    server = start_process("tests.support.websocket_apps:by_path").wait_until_running()
    with connection(server) as client:
        client.send(data)
        client.head()
        host, port = client.socket.getsockname()
        server.wait_for_line(re.escape(f"{host}:{port} - {line}"))
    assert server.stop() == 0
    assert server.output.count(f"{host}:{port} - ") == 1
