"""A process that has had its number of requests."""

from __future__ import annotations

import contextlib

from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.client import GET, Truncated
from tests.support.process import StartProcess
from tests.support.server import Serve


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def test_a_server_in_a_program_stops_after_its_number_of_requests(serve: Serve) -> None:
    """Gracefully: the response to the last of them is whole."""
    server = serve(hello, limit_max_requests=3)
    with server.connect() as client:
        for _ in range(3):
            client.send(GET)
            assert client.response().status == 200
        assert client.ends()
    server.join()
    assert any(record.getMessage().startswith("Stopping after 3 requests") for record in server.log.records)


def test_the_command_replaces_a_worker_after_its_number_of_requests(start_process: StartProcess) -> None:
    """The connection that it has is answered on, and then closed."""
    server = start_process("tests.support.apps:hello", "--max-requests", "3").wait_until_running()
    with server.connect() as client:
        for _ in range(3):
            client.send(GET)
            assert client.response().body == b"ok"
        server.wait_for_line(r"Worker process \[\d+\] is replaced: it has served 3 requests")
        server.wait_for_line("Started server process")
        server.wait_for_line("Shutting down")
        client.send(GET)
        assert client.response().header(b"connection") == b"close"
        assert client.ends()
    assert server.exchange(GET).body == b"ok"
    assert server.stop() == 0


def test_the_jitter_adds_some(serve: Serve) -> None:
    """A number from the limit to the limit and the jitter, both included."""
    server = serve(hello, limit_max_requests=2, limit_max_requests_jitter=2)
    while not server.server.should_exit:
        # Until the server has stopped, and then it refuses.
        with contextlib.suppress(ConnectionError, Truncated):
            server.exchange(GET)
    server.join()
    limits = [record.args for record in server.log.records if str(record.msg).startswith("Stopping after")]
    assert limits in [[(2,)], [(3,)], [(4,)]]


def test_jitter_without_a_limit_is_nothing(serve: Serve) -> None:
    server = serve(hello, limit_max_requests_jitter=1)
    with server.connect() as client:
        for _ in range(5):
            client.send(GET)
            assert client.response().status == 200
    assert not server.server.should_exit
