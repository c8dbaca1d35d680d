"""SIGUSR2: another parent process takes the sockets over. What it does for a pid file, systemd and metrics: there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.process import StartProcess


def test_a_connection_is_served_once_more_and_then_by_the_new_one(start_process: StartProcess) -> None:
    server = start_process("tests.soak.apps:app", "--workers", "1").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        before = client.response().body
        server.send_signal(signal.SIGUSR2)
        new = int(server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
        try:
            server.wait_for_line(r"serves: this one stops")
            server.wait_for_line("Waiting for connections to close")
            client.send(GET)
            response = client.response()
            assert response.body == before
            assert response.header(b"connection") == b"close"
            assert server.exchange(GET).body != before
            assert server.process.wait(DEADLINE) == 0
        finally:
            os.kill(new, signal.SIGTERM)
        server.wait()


def test_a_stop_meanwhile_stops_the_new_one_as_well(start_process: StartProcess, tmp_path: Path) -> None:
    """The one that starts is the same server: it does not go on by itself."""
    slow = tmp_path / "slow"
    server = start_process(
        "tests.support.apps:slow_where_told", "--workers", "1", environment={"SLOW_WHERE": str(slow)}
    ).wait_until_running()
    slow.touch()
    server.send_signal(signal.SIGUSR2)
    server.wait_for_line("startup takes its time")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not server._reader.is_alive(), "a process is left that holds the log open"
    assert "serves: this one stops" not in server.output
    assert "did not start" not in server.output
