"""Several event loops in one process, each in a thread of its own: `--threads`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, Signals

import pytest

from ferricorn.config import Config
from ferricorn.cpus import cpus
from ferricorn.threads import has_lock
from tests.support.client import GET, Client, request
from tests.support.metrics import Metrics
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import wait_for_a_look

APP = "tests.support.threaded_apps:app"
MOST_CONNECTIONS = 500
"""So many in a row are not accepted by one thread alone."""

single_or_worker = pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["single", "worker"])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """What the application waits for where it is told to; not there yet."""
    return tmp_path / "release"


def start(start_process: StartProcess, release: Path, *options: str, app: str = APP, threads: int = 2) -> ServerProcess:
    return start_process(app, "--threads", str(threads), *options, environment={"RELEASE": str(release)})


def serving(start_process: StartProcess, release: Path, *options: str, threads: int = 2) -> ServerProcess:
    return start(start_process, release, *options, threads=threads).wait_until_running()


def ask(client: Client, target: bytes = b"/") -> str:
    """The thread that answers, which is that of its state's lifespan."""
    client.send(request(target=target))
    return answered(client)


def answered(client: Client) -> str:
    response = client.response()
    assert response.status == 200
    thread, of_state = response.body.decode().split()
    assert thread == of_state
    return thread


@contextlib.contextmanager
def a_client_of_each(server: ServerProcess, threads: int = 2) -> Iterator[dict[str, Client]]:
    """A connection to each thread, by the thread."""
    with contextlib.ExitStack() as opened:
        found: dict[str, Client] = {}
        for _ in range(MOST_CONNECTIONS):
            client = opened.enter_context(server.connect())
            found.setdefault(ask(client), client)
            if len(found) == threads:
                break
        assert len(found) == threads
        yield found


def begin_waiting(server: ServerProcess, clients: dict[str, Client]) -> None:
    for client in clients.values():
        client.send(request(target=b"/wait"))
        server.wait_for_line("^waiting$")


@single_or_worker
def test_every_thread_serves_with_a_lifespan_of_its_own(
    start_process: StartProcess, release: Path, options: tuple[str, ...]
) -> None:
    server = serving(start_process, release, *options, threads=3)
    with a_client_of_each(server, 3) as clients:
        for thread, client in clients.items():
            assert ask(client) == thread
    assert server.stop() == 0
    assert server.output.count("Application startup complete.") == 3
    assert server.output.count("Application shutdown complete.") == 3
    assert server.output.count("Shutting down") == 1


@single_or_worker
def test_a_stop_lets_the_requests_of_every_thread_finish(
    start_process: StartProcess, release: Path, options: tuple[str, ...]
) -> None:
    server = serving(start_process, release, *options)
    with a_client_of_each(server) as clients:
        begin_waiting(server, clients)
        server.send_signal(SIGTERM)
        for _ in clients:
            server.wait_for_line("Waiting for connections to close")
        release.touch()
        assert {answered(client) for client in clients.values()} == set(clients)
    assert server.wait() == 0
    assert "Cancelled" not in server.output


@single_or_worker
@pytest.mark.parametrize(("signals", "status"), [((SIGQUIT,), 0), ((SIGINT, SIGINT), 130)], ids=["quit", "forced"])
def test_requests_of_every_thread_are_cut(
    start_process: StartProcess, release: Path, options: tuple[str, ...], signals: tuple[Signals, ...], status: int
) -> None:
    server = serving(start_process, release, *options)
    with a_client_of_each(server) as clients:
        begin_waiting(server, clients)
        first, *more = signals
        server.send_signal(first)
        for number in more:
            for _ in clients:
                server.wait_for_line("Waiting for connections to close")
            server.send_signal(number)
        assert server.wait() == status
    assert server.output.count("Cancelled 1 request(s)") == 2


def test_the_graceful_timeout_is_that_of_every_thread(start_process: StartProcess, release: Path) -> None:
    server = serving(start_process, release, "--timeout-graceful-shutdown", "0.1")
    with a_client_of_each(server) as clients:
        begin_waiting(server, clients)
        assert server.stop() == 0
    assert server.output.count("not finished 0.1 seconds after the stop") == 2


@single_or_worker
def test_a_thread_that_cannot_start_stops_all(
    start_process: StartProcess, release: Path, options: tuple[str, ...]
) -> None:
    server = start(start_process, release, *options, app="tests.support.threaded_apps:failing_second")
    assert server.wait() == 3
    assert "once is enough" in server.output
    assert "running on" not in server.output
    assert server.output.count("Application startup failed.") == 1
    # The thread that had started was not left behind.
    assert server.output.count("Application shutdown complete.") == 1


def test_a_reload_replaces_all_threads(start_process: StartProcess, release: Path) -> None:
    server = serving(start_process, release, "--workers", "1")
    with a_client_of_each(server) as before:
        server.send_signal(SIGHUP)
        server.wait_for_line("Reloaded")
        # Idle connections are served once more.
        for thread, client in before.items():
            assert ask(client) == thread
    with a_client_of_each(server):
        assert server.stop() == 0


def test_a_reload_waits_for_all_threads_to_stop_accepting(start_process: StartProcess, release: Path) -> None:
    os.mkfifo(release)
    server = serving(start_process, release, "--workers", "1")
    with a_client_of_each(server) as clients:
        for client in clients.values():
            client.send(request(target=b"/block-other"))
        server.wait_for_line("^blocking$")
        server.send_signal(SIGHUP)
        server.wait_for_line("Waiting for connections to close")
        wait_for_a_look(server)
        assert "Reloaded" not in server.output
        release.write_bytes(b"")
        server.wait_for_line("Reloaded")
        assert {answered(client) for client in clients.values()} == {*clients}
    assert server.stop() == 0


@single_or_worker
def test_metrics_are_the_sums_of_all_threads(
    start_process: StartProcess, release: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    place = str(tmp_path / "metrics")
    server = serving(start_process, release, *options, "--metrics-bind", f"unix:{place}")
    metrics = Metrics(place)
    with a_client_of_each(server) as clients:
        served = requests(metrics)
        for client in clients.values():
            ask(client)
        metrics.wait_for("requests_total", lambda count: count == served + 2, method="GET", status="2xx")
        assert metrics.value("workers") == 2
    assert server.stop() == 0


def test_what_a_worker_has_counted_in_all_threads_stays(
    start_process: StartProcess, release: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "metrics")
    server = serving(start_process, release, "--workers", "1", "--metrics-bind", f"unix:{place}")
    metrics = Metrics(place)
    with a_client_of_each(server):
        pass
    served = requests(metrics)
    server.send_signal(SIGHUP)
    server.wait_for_line("Reloaded")
    metrics.wait_for("workers", lambda count: count == 2)
    assert metrics.value("requests_total", method="GET", status="2xx") == served
    assert server.stop() == 0


def test_a_blocked_thread_is_named_while_the_others_serve(start_process: StartProcess, release: Path) -> None:
    os.mkfifo(release)
    server = serving(start_process, release, "--stall-warning", "0.2")
    with a_client_of_each(server) as clients:
        blocked, other = clients
        clients[blocked].send(request(target=b"/block"))
        server.wait_for_line("^blocking$")
        server.wait_for_line("has been blocked for .* by app in ")
        assert ask(clients[other]) == other
        with server.connect() as new:
            assert ask(new) == other
        release.write_bytes(b"x")
        assert answered(clients[blocked]) == blocked
    assert server.stop() == 0


def test_a_worker_with_a_blocked_thread_is_replaced(start_process: StartProcess, release: Path) -> None:
    os.mkfifo(release)
    server = serving(start_process, release, "--workers", "1", "--timeout-worker-healthcheck", "2")
    with a_client_of_each(server) as clients:
        next(reversed(clients.values())).send(request(target=b"/block"))
        server.wait_for_line("has had its event loop blocked for 2 seconds: killed")
        server.wait_for_line("Application startup complete.")
    with a_client_of_each(server):
        assert server.stop() == 0


@single_or_worker
def test_every_thread_says_that_the_server_is_going_to_stop(
    start_process: StartProcess, release: Path, options: tuple[str, ...]
) -> None:
    server = serving(start_process, release, *options, "--health-path", "/health", "--drain-delay", "1000")
    with a_client_of_each(server) as clients:
        server.send_signal(SIGTERM)
        server.wait_for_line("Serving for another 1000 seconds")
        for client in clients.values():
            # It is told by the thread that got the signal.
            while (status := health(client)) != 503:
                assert status == 200
        assert server.stop(SIGTERM) == 0


def requests(metrics: Metrics) -> float:
    """How many were answered, where each connection had one: counted a moment after the client has the answer."""
    accepted = metrics.value("connections_accepted_total")
    return metrics.wait_for("requests_total", lambda count: count == accepted, method="GET", status="2xx")


def health(client: Client) -> int:
    client.send(request(target=b"/health"))
    return client.response().status


def test_each_thread_counts_to_the_limit(start_process: StartProcess, release: Path) -> None:
    server = serving(start_process, release, "--limit-max-requests", "600")
    with a_client_of_each(server) as clients:
        client = next(reversed(clients.values()))
        for _ in range(600):
            client.send(GET)
            assert client.response().status == 200
    server.wait_for_line("is replaced: it has served 600 requests")
    assert server.stop() == 0


@pytest.mark.skipif(not has_lock(), reason="this Python runs threads at the same time")
@single_or_worker
def test_threads_without_a_gain_are_told_of_once(
    start_process: StartProcess, release: Path, options: tuple[str, ...]
) -> None:
    server = serving(start_process, release, *options)
    assert server.stop() == 0
    assert server.output.count("--threads needs a free-threaded Python to be of use") == 1


def test_how_many_threads() -> None:
    assert Config(APP).thread_count == 1
    assert Config(APP, threads=1).thread_count == 1
    assert Config(APP, threads=3).thread_count == 3
    assert Config(APP, threads=0).thread_count == cpus()
