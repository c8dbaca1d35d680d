"""Requests that are wrong, or that two parties could read differently (RFC 9112): each has its status, and closes.

The cases go through a socket whole and byte by byte; the protocol crate's own tests have many more of them.
"""

from __future__ import annotations

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send, read_body, respond
from tests.support.client import Client, request
from tests.support.server import Serve

pytestmark = pytest.mark.http1("what HTTP/2 refuses is in conformance/http2")

HOST = b"host: test\r\n"


def with_fields(lines: bytes, *, version: bytes = b"1.1", host: bytes = HOST, body: bytes = b"") -> bytes:
    return b"POST / HTTP/" + version + b"\r\n" + host + lines + b"\r\n" + body


CHUNKED = b"transfer-encoding: chunked\r\n"

REFUSED: list[tuple[str, bytes, int]] = [
    # framing that two parties could read differently
    ("both framings", with_fields(b"content-length: 5\r\n" + CHUNKED, body=b"0\r\n\r\n"), 400),
    ("two lengths", with_fields(b"content-length: 5\r\ncontent-length: 6\r\n", body=b"hello!"), 400),
    ("list of lengths", with_fields(b"content-length: 5, 6\r\n", body=b"hello!"), 400),
    ("signed length", with_fields(b"content-length: +5\r\n", body=b"hello"), 400),
    ("negative length", with_fields(b"content-length: -5\r\n", body=b"hello"), 400),
    ("hexadecimal length", with_fields(b"content-length: 0x5\r\n", body=b"hello"), 400),
    ("empty length", with_fields(b"content-length:\r\n"), 400),
    ("length with a space", with_fields(b"content-length: 1 0\r\n", body=b"hellohello"), 400),
    ("huge length", with_fields(b"content-length: 99999999999999999999\r\n"), 400),
    ("not chunked last", with_fields(b"transfer-encoding: chunked, gzip\r\n"), 400),
    ("chunked twice", with_fields(CHUNKED + CHUNKED, body=b"0\r\n\r\n"), 400),
    ("chunked in HTTP/1.0", with_fields(CHUNKED, version=b"1.0", body=b"0\r\n\r\n"), 400),
    ("unknown coding", with_fields(b"transfer-encoding: rot13, chunked\r\n", body=b"0\r\n\r\n"), 501),
    ("quoted coding", with_fields(b'transfer-encoding: "chunked"\r\n', body=b"0\r\n\r\n"), 400),
    # fields
    ("space before colon", with_fields(b"a : 1\r\n"), 400),
    ("tab before colon", with_fields(b"a\t: 1\r\n"), 400),
    ("folded line", with_fields(b"a: 1\r\n 2\r\n"), 400),
    ("folded first line", b"GET / HTTP/1.1\r\n host: test\r\n\r\n", 400),
    ("no colon", with_fields(b"abc\r\n"), 400),
    ("empty name", with_fields(b": 1\r\n"), 400),
    ("name in brackets", with_fields(b"a(b): 1\r\n"), 400),
    ("NUL in value", with_fields(b"a: 1\x002\r\n"), 400),
    ("bare CR in value", with_fields(b"a: 1\r2\r\n"), 400),
    ("bare LF", b"GET / HTTP/1.1\nhost: test\n\n", 400),
    ("bare LF after a field", with_fields(b"a: 1\nb: 2\r\n"), 400),
    ("control byte in value", with_fields(b"a: 1\x012\r\n"), 400),
    ("DEL in value", with_fields(b"a: 1\x7f\r\n"), 400),
    ("byte beyond ASCII in name", with_fields(b"\xe9: 1\r\n"), 400),
    # host
    ("no host", with_fields(b"", host=b""), 400),
    ("two hosts", with_fields(HOST), 400),
    ("list of hosts", with_fields(b"", host=b"host: a, b\r\n"), 400),
    # request line
    ("no version", b"GET /\r\n\r\n", 400),
    ("no target", b"GET HTTP/1.1\r\n\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("space in target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("control byte in target", b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("no method", b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("method in brackets", b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("target without slash", b"GET index HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("lower-case protocol", b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    ("asterisk for GET", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20), 400),
    ("HTTP/2.0 in words", request(version=b"2.0"), 505),
    ("HTTP/0.9 in words", request(version=b"0.9"), 505),
    ("HTTP/3.7", request(version=b"3.7"), 505),
    ("CONNECT", b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n", 501),
    ("expectation", with_fields(b"expect: something\r\ncontent-length: 1\r\n"), 417),
]


class Called(Journal[str]):
    """An application that notes its calls."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add(scope["method"])
        await read_body(receive)
        await respond(send)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("data", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(serve: Serve, data: bytes, status: int, bytewise: bool) -> None:
    called = Called()
    server = serve(called)
    with server.connect() as client:
        if bytewise:
            drip(client, data)
        else:
            client.send(data + request(target=b"/smuggled"))
        response = client.response()
        assert response.status == status
        assert response.header(b"connection") == b"close"
        assert client.ends(), "nothing behind a refused request may be answered"
    assert called.is_empty()
    server.expect_problem()


def drip(client: Client, data: bytes) -> None:
    """Byte by byte, until the server has had enough."""
    for position in range(len(data)):
        if not client.send_until_end(data[position : position + 1]):
            return


ACCEPTED: list[tuple[str, bytes]] = [
    ("equal lengths", with_fields(b"content-length: 2\r\ncontent-length: 2\r\n", body=b"ok")),
    ("no space after colon", with_fields(b"a:1\r\n")),
    ("empty value", with_fields(b"a:\r\n")),
    ("bytes beyond ASCII in value", with_fields(b"a: \xc3\xa9\xff\r\n")),
    ("chunked in capitals", with_fields(b"Transfer-Encoding: CHUNKED\r\n", body=b"0\r\n\r\n")),
    ("empty host", with_fields(b"", host=b"host:\r\n")),
    ("no host in HTTP/1.0", with_fields(b"", host=b"", version=b"1.0")),
    ("host with port", with_fields(b"", host=b"host: [::1]:8000\r\n")),
    ("strange characters in target", b"GET /{}|^\"<>`~!$&'()*+,;=:@ HTTP/1.1\r\n" + HOST + b"\r\n"),
]


@pytest.mark.parametrize("data", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(serve: Serve, data: bytes) -> None:
    """Unusual, but only one way to read it. (Equal lengths may also be refused.)"""
    server = serve(Called())
    status = server.exchange(data).status
    if data is ACCEPTED[0][1] and status == 400:
        server.expect_problem()
    else:
        assert status == 200


CHUNKS: list[tuple[str, bytes]] = [
    ("no hexadecimal digit", b"g\r\n"),
    ("empty size", b"\r\nhello"),
    ("sign", b"+5\r\nhello\r\n"),
    ("prefix", b"0x5\r\nhello\r\n"),
    ("space before size", b" 5\r\nhello\r\n"),
    ("bare LF", b"5\nhello\n"),
    ("longer than its size", b"5\r\nhelloo\r\n"),
    ("17 digits", b"10000000000000000\r\n"),
    ("extension without end", b"5;" + b"a" * 100_000),
    ("CR in extension", b"5;a\rb\r\nhello\r\n"),
    ("NUL in extension", b"5;a\0\r\nhello\r\n"),
    ("trailers without end", b"0\r\n" + b"a: 1\r\n" * 50_000),
    ("folded trailer", b"0\r\na: 1\r\n 2\r\n\r\n"),
    ("broken trailer", b"0\r\nabc\r\n\r\n"),
]


@pytest.mark.parametrize("framed", [row[1] for row in CHUNKS], ids=[row[0] for row in CHUNKS])
def test_broken_chunks(serve: Serve, framed: bytes) -> None:
    """The application sees no end of the body; the client sees a refusal, or at least the end."""
    events: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        while event.get("more_body"):
            event = await receive()
        events.add(event["type"])

    server = serve(app)
    with server.connect() as client:
        client.send_until_end(with_fields(CHUNKED) + framed)
        assert client.response().status in (400, 431)
        assert client.ends()
    if not events.is_empty():
        assert events.next() == "http.disconnect"
    server.expect_problem()


def test_one_log_line_for_each(serve: Serve) -> None:
    """What a hostile client sends does not make further lines of its own."""
    server = serve(Called())
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"a\x1b[31m : b\r\n\r\n")
        client.response()
    problem = server.log.next_problem()
    assert "\n" not in problem
    assert "\x1b" not in problem
    assert "127.0.0.1" in problem
    server.stop()
    assert server.log.remaining_problems() == []


def test_an_upgrade_that_the_server_does_not_know_is_ignored(serve: Serve) -> None:
    """RFC 9110 section 7.8."""
    with serve(Called()).connect() as client:
        for upgrade in (b"h2c", b"something/1.0"):
            client.send(request(headers=[(b"connection", b"upgrade"), (b"upgrade", upgrade)]))
            assert client.response().status == 200
