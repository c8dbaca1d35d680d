"""Requests sent before the last one is answered, and connections that serve many."""

from __future__ import annotations

import pytest

from tests.support.asgi import Gate, Journal, Receive, Scope, Send, body, read_body, respond, start
from tests.support.client import GET, chunked, request
from tests.support.server import Serve

pytestmark = pytest.mark.http1("pipelining")


async def say_path(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["path"].encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["path"].encode() + await read_body(receive))


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_http_34_answered_in_order(serve: Serve, bytewise: bool) -> None:
    targets = [b"/%d" % number for number in range(16)]
    data = b"".join(request(target=target) for target in targets)
    with serve(say_path).connect() as client:
        (client.send_each_byte if bytewise else client.send)(data)
        assert [client.response().body for _ in targets] == targets


def test_http_34_in_order_though_the_first_is_the_slowest(serve: Serve) -> None:
    gate, second = Gate(), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await gate.passed()
        else:
            second.add(None)
        await respond(send, scope["path"].encode())

    with serve(app).connect() as client:
        client.send(request(target=b"/slow") + request(target=b"/fast"))
        assert client.is_silent(0.1)
        gate.open()
        assert client.response().body == b"/slow"
        assert client.response().body == b"/fast"
        second.next()


def test_http_34_with_bodies_of_every_framing(serve: Serve) -> None:
    data = (
        request(b"POST", b"/1", body=b"GET / HTTP/1.1\r\n\r\n")
        + request(b"POST", b"/2", headers=[(b"transfer-encoding", b"chunked")], body=chunked(b"a", b"b" * 1000))
        + request(b"PUT", b"/3", headers=[(b"content-length", b"0")])
        + request(b"GET", b"/4")
    )
    expected = [b"/1GET / HTTP/1.1\r\n\r\n", b"/2a" + b"b" * 1000, b"/3", b"/4"]
    with serve(echo).connect() as client:
        client.send(data)
        assert [client.response().body for _ in range(4)] == expected


def test_http_34_nothing_is_answered_after_a_close(serve: Serve) -> None:
    paths: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.add(scope["path"])
        await respond(send)

    with serve(app).connect() as client:
        client.send(request(target=b"/last", headers=[(b"connection", b"close")]) + request(target=b"/ignored"))
        assert client.response().header(b"connection") == b"close"
        assert client.ends()
    assert paths.next() == "/last"
    assert paths.is_empty()


def test_http_34_streamed_responses_do_not_mix(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(10):
            await send(body(scope["path"].encode(), more=True))
        await send(body())

    with serve(app).connect() as client:
        client.send(b"".join(request(target=b"/%d" % number) for number in range(10)))
        for number in range(10):
            assert client.response().body == b"/%d" % number * 10


def test_head_and_get_in_turns(serve: Serve) -> None:
    with serve(say_path).connect() as client:
        client.send((request(b"HEAD", b"/head") + request(target=b"/get")) * 3)
        for _ in range(3):
            assert client.response(to=b"HEAD").header(b"content-length") == b"5"
            assert client.response().body == b"/get"


def test_a_thousand_pipelined_requests(serve: Serve) -> None:
    """More than one poll may handle: the rest must not be forgotten in the buffer."""
    count = 1000
    with serve(say_path).connect() as client:
        client.send(b"".join(request(target=b"/%d" % number) for number in range(count)))
        for number in range(count):
            assert client.response().body == b"/%d" % number


def test_empty_lines_before_a_request_are_skipped(serve: Serve) -> None:
    """RFC 9112 section 2.2."""
    with serve(say_path).connect() as client:
        client.send(b"\r\n" + GET + b"\r\n" + GET)
        assert [client.response().body for _ in range(2)] == [b"/", b"/"]


def test_fields_of_one_request_do_not_reach_the_next(serve: Serve) -> None:
    """Equal header blocks may be parsed once; those that are nearly equal must not."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, dict(scope["headers"]).get(b"x", b"none"))

    values = [b"1", b"1", b"2", None, b"1", b"11", b"1", None, None, b""]
    with serve(app).connect() as client:
        for value in values:
            client.send(request(headers=[] if value is None else [(b"x", value)]))
            assert client.response().body == (b"none" if value is None else value)


def test_a_request_after_each_response_on_one_connection(serve: Serve) -> None:
    with serve(echo).connect() as client:
        for number in range(200):
            client.send(request(b"POST", b"/%d" % number, body=b"x" * number))
            assert client.response().body == b"/%d" % number + b"x" * number
