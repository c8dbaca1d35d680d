"""Metrics of several worker processes: added up, and kept when workers come and go."""

from __future__ import annotations

import os
import signal
from signal import SIGHUP, SIGKILL

import pytest

from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.metrics import Metrics
from tests.support.process import ServerProcess, StartProcess

HELLO = "tests.support.apps:hello"
OK = {"method": "GET", "status": "2xx"}
REQUESTS = 20

preloaded = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["fresh", "preloaded"])


def command(place: str, *options: str) -> tuple[str, ...]:
    return ("--workers", "2", "--metrics-bind", f"unix:{place}", "--lifespan", "off", *options)


def serving(process: ServerProcess, place: str) -> Metrics:
    """The metrics, once both workers serve."""
    process.wait_until_running()
    metrics = Metrics(place)
    metrics.wait_for("workers", lambda count: count == 2)
    return metrics


def start(start_process: StartProcess, place: str, *options: str) -> tuple[ServerProcess, Metrics]:
    process = start_process(HELLO, *command(place, *options))
    return process, serving(process, place)


def ask(process: ServerProcess, requests: int = REQUESTS) -> None:
    for _ in range(requests):
        assert process.exchange(GET).status == 200


@preloaded
def test_the_page_has_the_sum_of_all_workers(start_process: StartProcess, place: str, options: tuple[str, ...]) -> None:
    process, metrics = start(start_process, place, *options)
    ask(process)
    assert metrics.value("requests_total", **OK) == REQUESTS
    assert metrics.value("connections_accepted_total") == REQUESTS
    assert process.stop() == 0
    assert not os.path.exists(place)


@preloaded
def test_what_a_killed_worker_has_counted_stays(
    start_process: StartProcess, place: str, options: tuple[str, ...]
) -> None:
    process = start_process(HELLO, *command(place, *options))
    pid = int(process.wait_for_line(r"Started server process \[(\d+)\]")[1])
    metrics = serving(process, place)
    ask(process)
    os.kill(pid, SIGKILL)
    metrics.wait_for("worker_restarts_total", lambda count: count == 1, reason="crash")
    metrics.wait_for("workers", lambda count: count == 2)
    assert metrics.value("requests_total", **OK) == REQUESTS
    ask(process)
    assert metrics.value("requests_total", **OK) == 2 * REQUESTS
    assert process.stop() == 0


@preloaded
def test_a_reload_takes_nothing_away(start_process: StartProcess, place: str, options: tuple[str, ...]) -> None:
    process, metrics = start(start_process, place, *options)
    metrics.wait_for("workers", lambda count: count == 2)
    ask(process)
    process.send_signal(SIGHUP)
    for _ in range(2):
        process.wait_for_line("Finished server process")
    assert metrics.value("worker_restarts_total", reason="reload") == 2
    metrics.wait_for("workers", lambda count: count == 2)
    assert metrics.value("requests_total", **OK) == REQUESTS
    assert metrics.value("worker_restarts_total", reason="crash") == 0
    assert process.stop() == 0


def test_a_worker_that_has_had_its_requests_is_counted(start_process: StartProcess, place: str) -> None:
    process, metrics = start(start_process, place, "--limit-max-requests", "5")
    ask(process)
    metrics.wait_for("worker_restarts_total", lambda count: count >= 1, reason="max_requests")
    assert metrics.value("requests_total", **OK) == REQUESTS
    assert process.stop() == 0


def test_scaling_is_counted(start_process: StartProcess, place: str) -> None:
    process, metrics = start(start_process, place)
    process.send_signal(signal.SIGTTIN)
    metrics.wait_for("workers", lambda count: count == 3)
    assert metrics.value("worker_restarts_total", reason="scaled") == 1
    assert process.stop() == 0


def test_a_hand_over_takes_the_address_along(start_process: StartProcess, place: str) -> None:
    process, metrics = start(start_process, place)
    ask(process)
    process.send_signal(signal.SIGUSR2)
    successor = int(process.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
    try:
        process.wait_for_line(rf"The new parent process \[{successor}\] serves")
        assert process.process.wait(DEADLINE) == 0
        # The new one counts from the start, and its metrics are where the old ones were.
        metrics.wait_for("workers", lambda count: count == 2)
        assert metrics.value("requests_total", **OK) == 0
        ask(process)
        assert metrics.value("requests_total", **OK) == REQUESTS
    finally:
        os.kill(successor, signal.SIGTERM)
    process.wait_for_line(rf"Finished parent process \[{successor}\]")
    assert not os.path.exists(place)
