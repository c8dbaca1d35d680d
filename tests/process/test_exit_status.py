"""How the process ends when it cannot start."""

from __future__ import annotations

import socket

import pytest

from tests.support.process import StartProcess


def test_life_05_startup_failed_exits_with_3(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:failing_startup")
    assert server.wait() == 3
    assert "no database" in server.output
    assert "Traceback" not in server.output


def test_life_07_an_exception_in_startup_exits_with_3_when_lifespan_is_on(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:raising_startup", "--lifespan", "on")
    assert server.wait() == 3
    assert "no settings" in server.output


def test_a_port_in_use_exits_with_3(start_process: StartProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_process("tests.support.apps:hello", "--port", str(port))
        assert server.wait() == 3
    assert f"127.0.0.1:{port}" in server.output
    assert "Traceback" not in server.output


def test_a_missing_application_exits_with_3(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:missing")
    assert server.wait() == 3
    assert "missing" in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize("app", ["tests.support.apps:missing", "tests.support.apps:failing_startup"])
@pytest.mark.parametrize("more", [[], ["--preload"]], ids=["fresh", "preloaded"])
def test_workers_that_cannot_start_exit_with_3(start_process: StartProcess, app: str, more: list[str]) -> None:
    """At once: what did not start the first time is no crash, and is not tried again."""
    server = start_process(app, "--workers", "1", *more)
    assert server.wait() == 3
    assert server.lines[-1] == "ERROR:    The workers could not start, so the server does not."
    assert "is started in" not in server.output


def test_an_unknown_option_exits_with_2(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:hello", "--nonsense")
    assert server.wait() == 2
    assert "--nonsense" in server.output
