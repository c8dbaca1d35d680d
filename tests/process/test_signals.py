"""SIGTERM and SIGINT: what was accepted is answered whole, then the application is shut down, then the process ends."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.client import GET, Client, Truncated, request
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess

SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Load:
    """Clients that send request after request, each until its connection ends, and count whole and broken responses."""

    def __init__(self, server: ServerProcess, clients: int) -> None:
        self.whole = 0
        self.broken: list[str] = []
        self.under_way = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=[server]) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def _run(self, server: ServerProcess) -> None:
        with server.connect() as client:
            while self._one(client):
                pass

    def _one(self, client: Client) -> bool:
        """Whether the connection goes on. One that ends where no response has begun was idle for the server."""
        if not client.send_until_end(GET):
            return False
        try:
            response = client.response()
        except Truncated as error:
            if error.args[0]:
                self.broken.append(repr(error))
            return False
        with self._lock:
            self.whole += 1
            if len(response.body) != 200_000:
                self.broken.append(f"{len(response.body)} bytes")
            if self.whole >= 50:
                self.under_way.set()
        return response.header(b"connection") != b"close"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_con_09_a_stop_under_load_finishes_what_was_accepted(
    start_process: StartProcess, number: signal.Signals
) -> None:
    """Each call of the application that began ends in a whole response at its client."""
    server = start_process("tests.support.apps:counting", "--no-access-log").wait_until_running()
    load = Load(server, 16)
    assert load.under_way.wait(DEADLINE)
    assert server.stop(number) == 0
    load.join()
    assert load.broken == []
    assert f"shutdown: begun={load.whole} cancelled=0" in server.output


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_idle_server_stops_at_once(start_process: StartProcess, number: signal.Signals) -> None:
    server = start_process("tests.support.apps:hello").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        client.response()
        begun = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - begun < 3
        assert client.ends()


def test_con_09_a_call_that_never_ends_is_cut_at_the_graceful_timeout(start_process: StartProcess) -> None:
    """The call is cancelled, the client sees its connection end, the application is shut down all the same."""
    server = start_process("tests.support.apps:counting", "--timeout-graceful-shutdown", "0.5").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        begun = time.monotonic()
        assert server.stop() == 0
        assert 0.5 <= time.monotonic() - begun < 5
        client.read_to_end()
    assert "shutdown: begun=1 cancelled=1" in server.output


def test_con_09_a_call_that_does_not_let_itself_be_cancelled(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:stubborn", "--timeout-graceful-shutdown", "0.2").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/stubborn"))
        server.wait_for_line("stubborn begins")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 10


def test_a_second_sigint_does_not_wait(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:counting").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(signal.SIGINT)
        server.wait_for_line("(?i)waiting for connections")
        begun = time.monotonic()
        server.stop(signal.SIGINT)
        assert time.monotonic() - begun < 5


def test_no_new_connection_is_accepted_while_the_last_requests_run(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:counting", "--timeout-graceful-shutdown", "2").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("(?i)waiting for connections")
        with pytest.raises(ConnectionError):
            server.connect()
        server.wait()


def test_the_response_during_a_stop_says_that_the_connection_closes(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:counting").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        client.head()
        client.send(GET)
        client.read_exactly(200_000)
        head = client.head()
        server.send_signal(signal.SIGTERM)
        client.read_exactly(200_000)
        assert head.status == 200
        assert client.ends()
        assert server.wait() == 0


def test_sigquit_does_not_wait_for_requests(start_process: StartProcess) -> None:
    """They are cut; the application is shut down all the same."""
    server = start_process("tests.support.apps:counting").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        assert server.stop(signal.SIGQUIT) == 0
        client.read_to_end()
    assert "shutdown: begun=1 cancelled=1" in server.output
    assert "Cancelled 1 request(s) on 1 connection(s): asked to stop at once." in server.output


def test_sigquit_ends_the_wait_of_a_sigterm(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:counting").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("(?i)waiting for connections")
        assert server.stop(signal.SIGQUIT) == 0
    assert "shutdown: begun=1 cancelled=1" in server.output


def test_the_applications_shutdown_is_bounded(start_process: StartProcess) -> None:
    """Where all requests have finished, by a time of its own."""
    server = start_process("tests.support.apps:lingering", "--timeout-lifespan-shutdown", "0.3").wait_until_running()
    assert server.exchange(GET).status == 200
    assert server.stop() == 0
    assert "Application shutdown was not complete after 0.3 seconds: cancelling it." in server.output


def test_sigusr1_opens_the_log_files_again(start_process: StartProcess, tmp_path: Path) -> None:
    """Without worker processes too: the signal does not end the server."""
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    configuration = tmp_path / "log.json"
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": str(log)},
        "console": {"class": "logging.StreamHandler"},
    }
    loggers = {
        "ferricorn": {"handlers": ["console"], "level": "INFO"},
        "ferricorn.access": {"handlers": ["file"], "propagate": False},
    }
    configuration.write_text(json.dumps({"version": 1, "handlers": handlers, "loggers": loggers}))
    server = start_process("tests.support.apps:hello", "--log-config", str(configuration)).wait_until_running()
    server.exchange(GET)
    log.rename(rotated)
    server.send_signal(signal.SIGUSR1)
    while not log.exists():
        server.exchange(GET)
    # What was asked before may have been written to the old file.
    server.exchange(GET)
    assert server.stop() == 0
    assert "GET / HTTP/1.1" in log.read_text()
