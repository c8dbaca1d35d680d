"""What the rows of the checklist say of HTTP/2 alone: pseudo-header fields, cookies, responses on their streams."""

from __future__ import annotations

import pytest

from tests.support.asgi import Gate, Journal, Receive, Scope, Send, respond, start
from tests.support.asgi import body as part
from tests.support.http2 import Http2
from tests.support.server import Serve
from tests.support.transports import Transport

Fields = list[tuple[bytes, bytes]]


class Received(Journal[Fields]):
    """An application that notes its requests' fields."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add([(name, value) for name, value in scope["headers"]])
        await respond(send)


def received(serve: Serve, *fields: tuple[bytes, bytes]) -> Fields:
    """What the application is given of a request with these fields behind :method, :scheme and :path."""
    app = Received()
    with Http2.connect(serve(app, transport=Transport.H2C).address) as client:
        opening = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]
        assert client.response(client.open([*opening, *fields])).status == 200
    return app.next()


def test_hdr_04_pseudo_header_fields_are_not_among_the_headers(serve: Serve) -> None:
    names = [name for name, _ in received(serve, (b":authority", b"test"), (b"a", b"1"))]
    assert names == [b"host", b"a"]


@pytest.mark.parametrize(
    "fields",
    [
        [(b":authority", b"test:80"), (b"a", b"1")],
        [(b":authority", b"test:80"), (b"a", b"1"), (b"host", b"test:80")],
    ],
    ids=["alone", "beside a host"],
)
def test_hdr_05_the_authority_is_the_host(serve: Serve, fields: Fields) -> None:
    headers = received(serve, *fields)
    assert [value for name, value in headers if name == b"host"] == [b"test:80"]
    assert (b"a", b"1") in headers


def test_hdr_05_the_host_comes_first(serve: Serve) -> None:
    assert received(serve, (b":authority", b"test"), (b"a", b"1"))[0] == (b"host", b"test")


def test_hdr_06_cookies_are_passed_on_as_they_came(serve: Serve) -> None:
    cookies = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]
    headers = received(serve, (b":authority", b"test"), *cookies)
    assert [pair for pair in headers if pair[0] == b"cookie"] == cookies


def test_hdr_15_connection_fields_reach_no_application(serve: Serve) -> None:
    """They make a request malformed (RFC 9113 section 8.2.2)."""
    app = Received()
    server = serve(app, transport=Transport.H2C)
    with Http2.connect(server.address) as client:
        exchange = client.request(headers=[(b"connection", b"keep-alive")])
        client.wait(exchange, lambda exchange: exchange.over)
        assert exchange.reset == 1
        assert client.response(client.request()).status == 200
    assert [name for name, _ in app.next()] == [b"host"]
    assert app.is_empty()
    server.log.remaining_problems()


def test_http_33_each_response_is_on_its_stream(serve: Serve) -> None:
    """Three that are sent by turns, the last one first."""
    gates = {b"/%d" % number: Gate() for number in range(3)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].encode()
        await send(start(headers=[(b"x-path", path)]))
        await send(part(b"one" + path, more=True))
        await gates[path].passed()
        await send(part(b"two" + path))

    with Http2.connect(serve(app, transport=Transport.H2C).address) as client:
        exchanges = {path: client.request(path=path) for path in gates}
        for path, exchange in exchanges.items():
            assert client.wait(exchange, lambda exchange: exchange.parts)
            assert exchange.body == b"one" + path
        for path in reversed(gates):
            gates[path].open()
            response = client.response(exchanges[path])
            assert (response.header(b"x-path"), response.body) == (path, b"one" + path + b"two" + path)
