"""What is counted, and when (docs/metrics.md)."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from tests.metrics.conftest import ServeCounted
from tests.support.asgi import Gate, Journal, Receive, Scope, Send, body, read_events, respond, start
from tests.support.client import GET, Client, request
from tests.support.deadline import DEADLINE
from tests.support.websocket import HANDSHAKE, Opcode, close, connection, frame, text, websocket
from tests.support.websocket_apps import Echo, accept, shut

SHORT = 0.05
"""Seconds that a test makes something take: a lower bound of what is measured."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """/404 answers with that status, and so on; /sleep blocks for a while."""
    await read_events(receive)
    if scope["path"] == "/sleep":
        time.sleep(SHORT)  # noqa: ASYNC251 (blocks on purpose)
    status = int(scope["path"][1:]) if scope["path"][1:].isdecimal() else 200
    await respond(send, b"" if status in {204, 304} else b"ok", status)


class Gated:
    """Says which call has begun, and answers when the gate is open."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.begun = Journal[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.add(scope["path"])
        await self.gate.passed()
        await respond(send)


def test_responses_are_counted_by_method_and_class(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app)
    asked = [(b"GET", 200), (b"GET", 201), (b"GET", 304), (b"POST", 404), (b"DELETE", 204), (b"PROPFIND", 503)]
    with server.connect() as client:
        for method, status in asked:
            client.send(request(method, b"/%d" % status))
            assert client.response(to=method).status == status
    values = metrics.values()
    counted = {key: value for key, value in values.items() if "requests_total" in key and value}
    assert counted == {
        'ferricorn_requests_total{method="GET",status="2xx"}': 2,
        'ferricorn_requests_total{method="GET",status="3xx"}': 1,
        'ferricorn_requests_total{method="POST",status="4xx"}': 1,
        'ferricorn_requests_total{method="DELETE",status="2xx"}': 1,
        'ferricorn_requests_total{method="other",status="5xx"}': 1,
    }
    assert values["ferricorn_request_duration_seconds_count"] == len(asked)
    assert values["ferricorn_request_queue_seconds_count"] == len(asked)


def test_a_duration_has_the_time_that_the_application_blocks(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app)
    assert server.exchange(request(target=b"/sleep")).status == 200
    values = metrics.values()
    assert values["ferricorn_request_duration_seconds_sum"] >= SHORT
    assert values['ferricorn_request_duration_seconds_bucket{le="0.025"}'] == 0
    assert values['ferricorn_request_duration_seconds_bucket{le="+Inf"}'] == 1


def test_a_duration_has_the_time_that_the_application_waits(serve_counted: ServeCounted) -> None:
    gated = Gated()
    server, metrics = serve_counted(gated)
    with server.connect() as client:
        client.send(GET)
        gated.begun.next()
        begun = time.monotonic()
        assert metrics.value("requests_in_flight") == 1
        assert metrics.value("request_duration_seconds_count") == 0
        waited = time.monotonic() - begun
        gated.gate.open()
        assert client.response().status == 200
    assert metrics.value("request_duration_seconds_sum") >= waited
    metrics.wait_for("requests_in_flight", lambda calls: calls == 0)


def test_a_request_behind_a_slow_one_of_its_turn_has_queued(serve_counted: ServeCounted) -> None:
    """Before Python 3.12 no call runs inside of a turn, so none waits there for another."""
    server, metrics = serve_counted(app)
    with server.connect() as client:
        client.send(request(target=b"/sleep") + GET)
        assert [client.response().status for _ in range(2)] == [200, 200]
    values = metrics.values()
    assert values["ferricorn_request_queue_seconds_count"] == 2
    assert values["ferricorn_request_queue_seconds_sum"] >= (SHORT if sys.version_info >= (3, 12) else 0)


def test_connections_and_their_bytes_are_counted(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app)
    with server.connect() as client, server.connect() as other:
        other.send(GET)
        size = sum(len(part) for part in (other.read_until(b"\r\n\r\n"), b"\r\n\r\n", other.read_exactly(2)))
        # The same connections the other way round: this one is known once it is answered.
        client.send(GET)
        assert client.response().status == 200
        metrics.wait_for("sent_bytes_total", lambda sent: sent == 2 * size)
        values = metrics.values()
    assert values["ferricorn_connections_open"] == values["ferricorn_connections_accepted_total"] == 2
    assert values["ferricorn_received_bytes_total"] == 2 * len(GET)
    metrics.wait_for("connections_open", lambda open_now: open_now == 0)
    assert metrics.value("connections_accepted_total") == 2


def test_connections_that_cannot_be_accepted_are_counted(serve_counted: ServeCounted) -> None:
    resource = pytest.importorskip("resource")
    server, metrics = serve_counted(app)
    assert server.exchange(GET).status == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        # More than there are connections of before that may still be about to close.
        clients = [opened.enter_context(Client(socket.socket())) for _ in range(8)]
        lowest_free = os.dup(clients[0].socket.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            for client in clients:
                client.socket.connect(server.address)
            server.expect_problem("cannot accept")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.socket.settimeout(DEADLINE)
            client.send(GET)
            assert client.response().status == 200
    assert metrics.value("accept_errors_total") >= 1
    server.log.remaining_problems()


def test_refused_requests_are_counted_by_status_alone(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app, limit_request_head=1024, limit_request_body=10)
    for data, status in [
        (b"GET /\r\n\r\n", 400),
        (request(target=b"/" + b"a" * 2000)[:1500], 414),
        (request(headers=[(b"a", b"a" * 2000)])[:1500], 431),
        (request(b"POST", body=bytes(20)), 413),
    ]:
        with server.connect() as client:
            client.send_until_end(data)
            assert client.response().status == status
        server.expect_problem()
        assert metrics.value("requests_refused_total", status=str(status)) == 1
    values = metrics.values()
    assert not any(value for key, value in values.items() if key.startswith("ferricorn_requests_total"))
    assert values["ferricorn_requests_abandoned_total"] == 0


def test_a_request_above_the_limit_is_a_refusal_and_a_response(serve_counted: ServeCounted) -> None:
    gated = Gated()
    server, metrics = serve_counted(gated, limit_concurrency=1)
    with server.connect() as client:
        client.send(GET)
        gated.begun.next()
        assert server.exchange(GET).status == 503
        gated.gate.open()
        assert client.response().status == 200
    assert metrics.value("requests_refused_total", status="503") == 1
    assert metrics.value("requests_total", method="GET", status="5xx") == 1


def test_timeouts_are_counted_by_kind(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(
        app, timeout_request_head=SHORT, timeout_keep_alive=SHORT, timeout_request_body=SHORT
    )
    with server.connect() as idle, server.connect() as late, server.connect() as stalled:
        idle.send(GET)
        assert idle.response().status == 200
        late.send(b"GET / HTTP/1.1\r\n")
        stalled.send(request(b"POST", headers=[(b"content-length", b"10")]))
        assert idle.ends()
        assert late.response().status == stalled.response().status == 408
    for kind in ("keep_alive", "request_head", "request_body"):
        assert metrics.value("timeouts_total", kind=kind) == 1, kind
    assert metrics.value("requests_abandoned_total") == 0
    for _ in range(2):
        server.expect_problem("did not arrive in time")


def test_a_request_whose_client_leaves_is_abandoned(serve_counted: ServeCounted) -> None:
    gated = Gated()
    server, metrics = serve_counted(gated)
    with server.connect() as client:
        client.send(GET)
        gated.begun.next()
        client.reset()
    metrics.wait_for("requests_abandoned_total", lambda count: count == 1)
    assert metrics.value("requests_in_flight") == 1
    gated.gate.open()
    metrics.wait_for("requests_in_flight", lambda count: count == 0)
    assert metrics.value("request_duration_seconds_count") == 0


async def short(scope: Scope, receive: Receive, send: Send) -> None:
    """Promises more than it sends."""
    await send(start(200, [(b"content-length", b"10")]))
    await send(body(b"12345"))


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails in the middle."""
    await send(start(200, [(b"content-length", b"10")]))
    await send(body(b"12345", more=True))
    raise LookupError


@pytest.mark.parametrize("broken", [short, raising])
def test_a_response_that_breaks_off_is_abandoned(serve_counted: ServeCounted, broken: object) -> None:
    server, metrics = serve_counted(broken)
    with server.connect() as client:
        client.send(GET)
        client.read_to_end()
    metrics.wait_for("requests_abandoned_total", lambda count: count == 1)
    assert metrics.value("requests_total", method="GET", status="2xx") == 0
    server.expect_problem()


def test_an_application_that_fails_is_a_5xx(serve_counted: ServeCounted) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    server, metrics = serve_counted(failing)
    assert server.exchange(GET).status == 500
    assert metrics.value("requests_total", method="GET", status="5xx") == 1
    server.expect_problem("LookupError")


def test_websockets_and_their_messages_are_counted(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(Echo())
    with websocket(server) as client:
        for number in range(3):
            client.send(text(f"{number}"))
            assert client.message() == f"{number}"
        values = metrics.values()
        assert values["ferricorn_websockets_open"] == values["ferricorn_websockets_accepted_total"] == 1
        assert values["ferricorn_websocket_messages_received_total"] == 3
        assert values["ferricorn_websocket_messages_sent_total"] == 3
        assert values['ferricorn_requests_total{method="GET",status="1xx"}'] == 1
        assert values["ferricorn_requests_in_flight"] == 1
        client.close_cleanly()
    metrics.wait_for("websockets_open", lambda count: count == 0)
    values = metrics.values()
    # A WebSocket has no response whose duration could be told, and its end is not a request's.
    assert values["ferricorn_request_duration_seconds_count"] == 0
    assert values["ferricorn_requests_abandoned_total"] == 0


def test_a_handshake_that_is_denied_is_a_response(serve_counted: ServeCounted) -> None:
    async def denying(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(shut())

    server, metrics = serve_counted(denying)
    assert server.exchange(HANDSHAKE).status == 403
    values = metrics.values()
    assert values['ferricorn_requests_total{method="GET",status="4xx"}'] == 1
    assert values["ferricorn_websockets_accepted_total"] == values["ferricorn_websockets_open"] == 0


def test_a_client_that_breaks_the_protocol_is_counted(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(Echo())
    with websocket(server) as client:
        client.send(frame(Opcode.TEXT, b"\xff"))
        client.is_closed_with(1007)
    assert metrics.value("websocket_violations_total") == 1
    server.expect_problem("1007")


def test_pongs_are_timed(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(Echo(), ws_ping_interval=SHORT)
    with websocket(server) as client:
        for _ in range(2):
            payload = client.ping()
            client.send(frame(Opcode.PONG, payload))
        metrics.wait_for("websocket_round_trip_seconds_count", lambda count: count >= 1)
        client.send(close())
        client.closing_after_messages()
    metrics.wait_for("websocket_round_trip_seconds_count", lambda count: count >= 2)


def test_a_pong_just_before_the_end_is_timed(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(Echo(), ws_ping_interval=SHORT)
    with websocket(server) as client:
        payload = client.ping()
        client.send(frame(Opcode.PONG, payload) + close())
        client.closing_after_messages()
    metrics.wait_for("websocket_round_trip_seconds_count", lambda count: count >= 1)


def test_an_open_websocket_that_the_application_leaves_is_not_abandoned(serve_counted: ServeCounted) -> None:
    async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(accept())

    server, metrics = serve_counted(leaving)
    with connection(server) as client:
        client.upgrade()
        assert client.closing()[0] == 1000
        client.send(close())
        assert client.ends()
    metrics.wait_for("websockets_open", lambda count: count == 0)
    assert metrics.value("requests_abandoned_total") == 0


def test_a_blocked_application_hides_nothing(serve_counted: ServeCounted) -> None:
    """The page is answered while the loop does not come back, says how late it is, and then that it was late."""
    blocked, release = Journal[None](), threading.Event()

    async def blocking(scope: Scope, receive: Receive, send: Send) -> None:
        blocked.add(None)
        assert release.wait(DEADLINE)
        await respond(send)

    server, metrics = serve_counted(blocking)
    with server.connect() as client:
        client.send(GET)
        blocked.next()
        try:
            before = metrics.wait_for("event_loop_blocked_seconds", lambda seconds: seconds > SHORT)
            assert metrics.value("requests_in_flight") == 1
            assert metrics.wait_for("event_loop_blocked_seconds", lambda seconds: seconds > before) > before
        finally:
            release.set()
        assert client.response().status == 200
    metrics.wait_for("event_loop_lag_seconds_sum", lambda seconds: seconds > SHORT)
    metrics.wait_for("event_loop_blocked_seconds", lambda seconds: seconds < SHORT)
