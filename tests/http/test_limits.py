"""Bounds on what clients may send and on how much runs at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asgi import Event, Gate, Journal, Receive, Scope, Send, body, read_body, read_events, respond, start
from tests.support.client import GET, chunked, request
from tests.support.server import Serve

DISCONNECT = {"type": "http.disconnect"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, await read_body(receive))


class Called(Journal[str]):
    """An application that notes that it was called."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.add(scope["path"])
        await respond(send)


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_a_target_beyond_the_head_limit_is_414(serve: Serve, bytewise: bool) -> None:
    called = Called()
    server = serve(called, limit_request_head=1024)
    with server.connect() as client:
        data = request(target=b"/" + b"a" * 2000)
        (client.send_each_byte if bytewise else client.send_until_end)(data[:1500])
        assert client.response().status == 414
        assert client.exchange_ends()
    assert called.is_empty()
    server.expect_problem()


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
@pytest.mark.parametrize(
    "headers",
    [[(b"a", b"a" * 2000)], [(b"a" * 2000, b"a")], [(b"a%d" % number, b"a" * 40) for number in range(50)]],
    ids=["value", "name", "many"],
)
def test_fields_beyond_the_head_limit_are_431(serve: Serve, headers: list[tuple[bytes, bytes]]) -> None:
    called = Called()
    server = serve(called, limit_request_head=1024)
    with server.connect() as client:
        client.send(request(headers=headers))
        assert client.response().status == 431
        assert client.exchange_ends()
    assert called.is_empty()
    server.expect_problem()


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
def test_a_head_without_end_is_cut_at_the_limit(serve: Serve) -> None:
    """The server answers before it has read more than its bound."""
    server = serve(Called(), limit_request_head=4096)
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n")
        while client.send_until_end(b"x-%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" % 1):
            if not client.is_silent(0.001):
                break
        assert client.response().status == 431
    server.expect_problem()


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
def test_a_line_without_end_is_cut_at_the_limit(serve: Serve) -> None:
    server = serve(Called(), limit_request_head=4096)
    with server.connect() as client:
        client.send_until_end(b"GET /" + b"a" * 10_000)
        assert client.response().status == 414
    server.expect_problem()


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
def test_a_head_up_to_the_limit_is_taken(serve: Serve) -> None:
    """The default bound, 65,536 bytes, to the byte."""
    padding = 65_536 - len(request(headers=[(b"a", b"")]))
    with serve(Called()).connect() as client:
        for _ in range(2):
            client.send(request(headers=[(b"a", b"a" * padding)]))
            assert client.response().status == 200


@pytest.mark.http1("HTTP/2 has a bound of its own for fields")
def test_the_head_limit_holds_for_each_request_of_a_connection(serve: Serve) -> None:
    with serve(Called(), limit_request_head=1024).connect() as client:
        client.send(request(headers=[(b"a", b"a" * 900)]) * 10)
        assert [client.response().status for _ in range(10)] == [200] * 10


def test_a_content_length_beyond_the_body_limit_is_413(serve: Serve) -> None:
    """Before the application is called, and before the body is sent."""
    called = Called()
    server = serve(called, limit_request_body=1000)
    with server.connect() as client:
        client.send(request(b"POST", headers=[(b"content-length", b"1001"), (b"expect", b"100-continue")]))
        response = client.response()
        assert (response.status, response.interim) == (413, ())
        assert client.exchange_ends()
    assert called.is_empty()
    server.expect_problem()


def test_a_content_length_up_to_the_body_limit_is_taken(serve: Serve) -> None:
    assert serve(echo, limit_request_body=1000).exchange(request(b"POST", body=bytes(1000))).body == bytes(1000)


def test_chunks_beyond_the_body_limit_are_413(serve: Serve) -> None:
    """Found while the application already reads: it must not take the part for the whole."""
    events: Journal[list[Event]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.add(await read_events(receive))

    server = serve(app, limit_request_body=1000)
    with server.connect() as client:
        data = request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=chunked(*[bytes(100)] * 11))
        client.send(data)
        assert client.response().status == 413
        assert client.exchange_ends()
    received = events.next()
    assert received[-1] == DISCONNECT
    assert sum(len(event["body"]) for event in received[:-1]) <= 1000
    server.expect_problem()


def test_chunks_up_to_the_body_limit_are_taken(serve: Serve) -> None:
    data = request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=chunked(*[bytes(100)] * 10))
    assert serve(echo, limit_request_body=1000).exchange(data).body == bytes(1000)


def test_a_body_limit_of_zero_is_none(serve: Serve) -> None:
    data = bytes(3_000_000)
    assert serve(echo, limit_request_body=0).exchange(request(b"POST", body=data)).body == data


def test_requests_above_the_concurrency_limit_are_503(serve: Serve) -> None:
    running, gate = Journal[None](), Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            running.add(None)
            await gate.passed()
        await respond(send)

    server = serve(app, limit_concurrency=2)
    with server.connect() as one, server.connect() as other:
        for client in (one, other):
            client.send(request(target=b"/wait"))
            running.next()
        with server.connect() as third:
            third.send(GET)
            assert third.response().status == 503
            assert third.exchange_ends()
        gate.open()
        assert one.response().status == 200
        assert other.response().status == 200
    server.log.remaining_problems()
    assert server.exchange(GET).status == 200


def test_the_concurrency_limit_counts_calls_not_connections(serve: Serve) -> None:
    """Idle connections take no place, and a call that works on after its response does."""
    answered, gate = Journal[None](), Gate()
    ended: Journal[None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        if scope["path"] == "/work":
            answered.add(None)
            await gate.passed()
            asyncio.get_running_loop().call_soon(lambda: ended.add(None))

    server = serve(app, limit_concurrency=1)
    idle = [server.connect() for _ in range(3)]
    for client in idle:
        client.send(GET)
        assert client.response().status == 200
    idle[0].send(request(target=b"/work"))
    assert idle[0].response().status == 200
    answered.next()
    idle[1].send(GET)
    assert idle[1].response().status == 503
    gate.open()
    ended.next()
    idle[2].send(GET)
    assert idle[2].response().status == 200
    for client in idle:
        client.close()
    server.log.remaining_problems()


@pytest.mark.http1("pipelining")
def test_a_refused_request_does_not_spoil_a_running_response(serve: Serve) -> None:
    """Pipelined behind a response that streams: the first is whole, then comes the refusal."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        await gate.passed()
        await send(body(b"two"))

    server = serve(app)
    with server.connect() as client:
        client.send(GET + b"nonsense\r\n\r\n")
        client.head()
        assert client.chunk() == b"one"
        gate.open()
        assert client.chunk() == b"two"
        assert client.chunk() == b""
        client.read_until(b"\r\n")
        assert client.response().status == 400
        assert client.exchange_ends()
    server.expect_problem()
