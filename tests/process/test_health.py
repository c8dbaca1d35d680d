"""The health path, and what a stop says there: for load balancers and for Kubernetes."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.support.client import GET, Client, Response, request
from tests.support.process import ServerProcess, StartProcess

HEALTH = request(target=b"/health")


def health(client: Client) -> Response:
    client.send(HEALTH)
    return client.response()


def start_delayed(start_process: StartProcess, *arguments: str) -> ServerProcess:
    delayed = ("--health-path", "/health", *arguments)
    return start_process("tests.support.apps:counting", *delayed).wait_until_running()


def begin_delay(server: ServerProcess) -> None:
    server.send_signal(signal.SIGTERM)
    server.wait_for_line("Serving for another")


def test_it_is_answered_without_the_application_and_its_log(start_process: StartProcess) -> None:
    server = start_delayed(start_process)
    with server.connect() as client:
        for _ in range(2):
            response = health(client)
            assert (response.status, response.body, response.header(b"connection")) == (200, b"ok\n", None)
        client.send(request(b"HEAD", b"/health?a=b"))
        assert client.response(to=b"HEAD").header(b"content-length") == b"3"
    assert server.exchange(GET).status == 200
    assert server.stop() == 0
    assert "shutdown: begun=1 cancelled=0" in server.output
    assert re.findall(r'"GET [^"]*"', server.output) == ['"GET / HTTP/1.1"']


def test_on_a_unix_socket(start_process: StartProcess, tmp_path: Path) -> None:
    server = start_delayed(start_process, "--uds", str(tmp_path / "socket"))
    assert server.exchange(HEALTH).body == b"ok\n"
    assert server.stop() == 0


def test_sigterm_begins_the_drain_delay(start_process: StartProcess) -> None:
    """Connections are served as ever, the health path says that it will end, and a second signal ends it."""
    server = start_delayed(start_process, "--drain-delay", "60")
    with server.connect() as old:
        assert health(old).status == 200
        begin_delay(server)
        old.send(GET)
        response = old.response()
        assert (response.status, response.header(b"connection")) == (200, None)
        with server.connect() as new:
            response = health(new)
            assert (response.status, response.body) == (503, b"draining\n")
            assert response.header(b"connection") == b"close"
            assert new.ends()
        assert server.stop() == 0
        assert old.ends()
    assert "shutdown: begun=1 cancelled=0" in server.output


def test_the_drain_delay_ends_by_itself(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "0.3")
    begin_delay(server)
    assert server.wait() == 0


def test_a_request_that_came_during_the_delay_is_finished(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "60")
    begin_delay(server)
    with server.connect() as client:
        client.send(GET)
        head = client.head()
        server.send_signal(signal.SIGTERM)
        assert head.status == 200
        client.read_exactly(200_000)
        assert client.ends()
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_other_signals_have_no_delay(start_process: StartProcess, number: signal.Signals) -> None:
    """Whoever presses CTRL+C sees to no load balancer."""
    server = start_delayed(start_process, "--drain-delay", "60")
    assert server.stop(number) == 0
    assert "Serving for another" not in server.output


def test_two_sigints_force_a_stop_during_the_delay(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "60")
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        begin_delay(server)
        server.send_signal(signal.SIGINT)
        server.wait_for_line("(?i)waiting for connections")
        assert server.stop(signal.SIGINT) == 130


def test_workers_say_together_that_the_server_will_stop(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "60", "--workers", "2")
    assert server.exchange(HEALTH).status == 200
    begin_delay(server)
    # Each hears of it by itself: until all have, some still say 200.
    in_a_row = 0
    while in_a_row < 20:
        in_a_row = in_a_row + 1 if server.exchange(HEALTH).status == 503 else 0
        assert server.exchange(GET).status == 200
    assert server.stop() == 0
    assert server.output.count("shutdown: begun=") == 2


def test_the_delay_of_workers_ends_by_itself(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "0.3", "--workers", "1")
    begin_delay(server)
    assert server.wait() == 0


def test_sigint_has_no_delay_with_workers_either(start_process: StartProcess) -> None:
    server = start_delayed(start_process, "--drain-delay", "60", "--workers", "1")
    assert server.stop(signal.SIGINT) == 0
    assert "Serving for another" not in server.output
