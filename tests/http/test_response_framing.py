"""How responses are delimited (RFC 9112 section 6), and which of the application's header fields take part in that."""

from __future__ import annotations

import pytest

from tests.support.asgi import Application, Receive, Scope, Send, body, respond, start
from tests.support.client import GET, HeaderList, request
from tests.support.server import Serve
from tests.support.transports import Transport

HTTP_10 = b"GET / HTTP/1.0\r\n\r\n"


def answering(headers: HeaderList, *parts: bytes, status: int = 200) -> Application:
    """An application that sends `parts`, the last of them with `more_body` false."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(status, headers))
        for part in parts[:-1]:
            await send(body(part, more=True))
        await send(body(parts[-1] if parts else b""))

    return app


@pytest.mark.parametrize(
    "headers",
    [
        [(b"transfer-encoding", b"chunked")],
        [(b"Transfer-Encoding", b"identity")],
        [(b"transfer-encoding", b"gzip, chunked"), (b"content-length", b"6")],
        [(b"transfer-encoding", b"identity"), (b"content-length", b"6")],
    ],
)
def test_http_19_transfer_encoding_of_the_application_is_ignored(
    serve: Serve, transport: Transport, headers: HeaderList
) -> None:
    with serve(answering(headers, b"one", b"two")).connect() as client:
        for _ in range(2):
            client.send(GET)
            response = client.response()
            assert response.body == b"onetwo"
            framing = len(response.all(b"content-length")) + len(response.all(b"transfer-encoding"))
            assert framing in ((0, 1) if transport.http2 else (1,))
            assert not transport.http2 or not response.all(b"transfer-encoding")


@pytest.mark.http1("chunks")
def test_http_20_streams_without_a_length_are_chunked(serve: Serve) -> None:
    with serve(answering([], b"one", b"", b"two")).connect() as client:
        for _ in range(2):
            client.send(GET)
            response = client.response()
            assert response.header(b"transfer-encoding") == b"chunked"
            assert response.body == b"onetwo"
            assert response.chunks == (b"one", b"two"), "an empty part must not end the body"


@pytest.mark.parametrize("parts", [(b"whole",), ()], ids=["body", "no body"])
def test_http_20_a_response_in_one_event_is_delimited(serve: Serve, parts: tuple[bytes, ...]) -> None:
    with serve(answering([], *parts)).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"".join(parts)


@pytest.mark.http1("HTTP/1.0")
@pytest.mark.parametrize("connection", [[], [(b"connection", b"keep-alive")]], ids=["plain", "keep-alive"])
def test_http_20_streams_to_http_1_0_end_with_the_connection(serve: Serve, connection: HeaderList) -> None:
    with serve(answering([], b"one", b"two")).connect() as client:
        client.send(request(headers=connection, version=b"1.0"))
        head = client.head()
        assert head.header(b"transfer-encoding") is None
        assert head.header(b"content-length") is None
        assert client.read_to_end() == b"onetwo"


@pytest.mark.http1("HTTP/1.0")
def test_http_20_http_1_0_with_a_length_can_be_kept_alive(serve: Serve) -> None:
    with serve(answering([(b"content-length", b"6")], b"one", b"two")).connect() as client:
        for _ in range(2):
            client.send(request(headers=[(b"connection", b"keep-alive")], version=b"1.0"))
            response = client.response()
            assert response.body == b"onetwo"
            assert response.header(b"connection") == b"keep-alive"


@pytest.mark.http1("HTTP/1.0")
def test_http_20_http_1_0_closes_unless_asked_not_to(serve: Serve) -> None:
    with serve(answering([(b"content-length", b"3")], b"one")).connect() as client:
        client.send(HTTP_10)
        assert client.response().body == b"one"
        assert client.ends()


def test_http_21_content_length_is_passed_through(serve: Serve) -> None:
    response = serve(answering([(b"content-length", b"6")], b"one", b"two")).exchange(GET)
    assert response.header(b"content-length") == b"6"
    assert response.header(b"transfer-encoding") is None
    assert response.body == b"onetwo"


def test_http_21_two_equal_content_lengths_are_one(serve: Serve) -> None:
    """Or refused: what must not happen is that both go out."""
    app = answering([(b"content-length", b"2"), (b"Content-Length", b"2")], b"ok")
    server = serve(app)
    response = server.exchange(GET)
    if response.status == 500:
        server.expect_problem("content-length")
    else:
        assert response.all(b"content-length") == [b"2"]


def test_http_22_content_encoding_is_the_application_s(serve: Serve) -> None:
    headers = [(b"content-encoding", b"gzip"), (b"content-length", b"3")]
    response = serve(answering(headers, b"\x1f\x8b\x08")).exchange(request(headers=[(b"accept-encoding", b"identity")]))
    assert response.header(b"content-encoding") == b"gzip"
    assert response.body == b"\x1f\x8b\x08"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("parts", [(b"one", b"two"), (b"whole",), ()], ids=["parts", "whole", "nothing"])
def test_http_23_no_body_for_204_and_304(serve: Serve, status: int, parts: tuple[bytes, ...]) -> None:
    """The bytes are swallowed without an error, and the connection goes on."""
    with serve(answering([], *parts, status=status)).connect() as client:
        client.send(GET + GET)
        for _ in range(2):
            head = client.head()
            assert head.status == status
            assert head.header(b"transfer-encoding") is None
            assert head.header(b"content-length") in ((None,) if status == 204 else (None, b"0"))


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"6")]], ids=["no length", "length"])
@pytest.mark.parametrize("parts", [(b"one", b"two"), ()], ids=["body", "no body"])
def test_http_23_no_body_for_head(serve: Serve, headers: HeaderList, parts: tuple[bytes, ...]) -> None:
    with serve(answering(headers, *parts)).connect() as client:
        client.send(request(b"HEAD") * 2)
        for _ in range(2):
            head = client.head()
            assert head.status == 200
            if headers:
                assert head.header(b"content-length") == b"6"


def test_http_23_content_length_is_kept_on_304(serve: Serve) -> None:
    with serve(answering([(b"content-length", b"6")], status=304)).connect() as client:
        client.send(GET + GET)
        for _ in range(2):
            assert client.head().header(b"content-length") == b"6"


def test_http_23_no_content_length_on_204(serve: Serve) -> None:
    """RFC 9110 section 8.6 forbids it there."""
    with serve(answering([(b"content-length", b"0")], status=204)).connect() as client:
        client.send(GET + GET)
        for _ in range(2):
            assert client.head().header(b"content-length") is None


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 65_536, 1_000_001])
@pytest.mark.parametrize("framed", ["length", "chunked", pytest.param("close", marks=pytest.mark.http1("of HTTP/1.0"))])
def test_bodies_of_many_sizes(serve: Serve, size: int, framed: str) -> None:
    data = bytes(number % 251 for number in range(size))
    headers = [(b"content-length", b"%d" % (2 * size))] if framed == "length" else []
    version = b"1.0" if framed == "close" else b"1.1"
    response = serve(answering(headers, data, data)).exchange(request(version=version))
    assert response.body == data * 2


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200, [(b"connection", b"close"), (b"content-length", b"2")]))
    await send(body(b"ok"))


@pytest.mark.http1("HTTP/2 has no connection field")
def test_the_application_can_close_the_connection(serve: Serve) -> None:
    with serve(stubborn).connect() as client:
        client.send(GET)
        response = client.response()
        assert response.header(b"connection") == b"close"
        assert client.ends()


@pytest.mark.http1("HTTP/2 has no connection field")
def test_the_client_can_close_the_connection(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)

    with serve(app).connect() as client:
        client.send(request(headers=[(b"connection", b"Close")]))
        response = client.response()
        assert response.header(b"connection") == b"close"
        assert client.ends()


@pytest.mark.http1("HTTP/2 has no status line")
def test_the_status_line(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status=int(scope["path"][1:]))

    with serve(app).connect() as client:
        for status, reason in ((b"200", b"OK"), (b"404", b"Not Found"), (b"599", b"")):
            client.send(request(target=b"/" + status))
            assert client.read_until(b"\r\n") == b"HTTP/1.1 " + status + b" " + reason
            client.read_until(b"\r\n\r\nok")
