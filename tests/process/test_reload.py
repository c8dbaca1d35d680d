"""`--reload`: a changed file is served soon, whatever runs; what cannot start is shown, and waited for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import request
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess
from tests.support.websocket import handshake

APPLICATION = """
import asyncio, time

VERSION = {version!r}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({{"type": f"{{event}}.complete"}})
        print("shutdown of", VERSION, flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        await receive()
        return
    if scope["path"] == "/block":
        print("blocks", flush=True)
        time.sleep(3600)
    await send({{"type": "http.response.start", "status": 200}})
    while scope["path"] == "/stream":
        await send({{"type": "http.response.body", "body": b"event", "more_body": True}})
        await asyncio.sleep(0.01)
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""

Reloading = Callable[..., ServerProcess]


def save(folder: Path, version: str) -> None:
    """As an editor does: the new file takes the old one's place."""
    temporary = folder / "reloaded.py.tmp"
    temporary.write_text(APPLICATION.format(version=version))
    os.replace(temporary, folder / "reloaded.py")


@pytest.fixture
def reloading(start_process: StartProcess, tmp_path: Path) -> Reloading:
    """Starts a server that watches `tmp_path`, with whatever application is there."""

    def start(*arguments: str) -> ServerProcess:
        places = ["--app-dir", str(tmp_path), "--reload-dir", str(tmp_path), "--reload-delay", "0.05"]
        return start_process(
            "reloaded:app", "--reload", *places, *arguments, environment={"PYTHONDONTWRITEBYTECODE": "1"}
        )

    return start


def wait_until_served(server: ServerProcess, version: str) -> None:
    """Asks again and again: every request is answered, by the old application or the new one."""
    deadline = time.monotonic() + DEADLINE
    while server.exchange(request(headers=[(b"connection", b"close")])).body != version.encode():
        assert time.monotonic() < deadline, server.output


def test_a_change_is_served(reloading: Reloading, tmp_path: Path) -> None:
    save(tmp_path, "one")
    server = reloading().wait_until_running()
    for version in ("two", "three", "four"):
        save(tmp_path, version)
        wait_until_served(server, version)
    assert server.stop() == 0
    assert [line for line in server.lines if "shutdown of" in line] == [
        f"shutdown of {version}" for version in ("one", "two", "three", "four")
    ]
    assert "for a change of" in server.output


@pytest.mark.parametrize("path", [b"/stream", b"/block"])
def test_what_runs_does_not_hold_it_up(reloading: Reloading, tmp_path: Path, path: bytes) -> None:
    save(tmp_path, "one")
    server = reloading("--timeout-graceful-shutdown", "3600").wait_until_running()
    with server.connect() as client:
        client.send(request(target=path))
        if path == b"/block":
            server.wait_for_line("^blocks$")
        else:
            client.head()
        save(tmp_path, "two")
        wait_until_served(server, "two")
    assert server.stop() == 0


def test_a_websocket_does_not_hold_it_up(reloading: Reloading, tmp_path: Path) -> None:
    save(tmp_path, "one")
    server = reloading("--timeout-graceful-shutdown", "3600", "--timeout-websocket-drain", "3600").wait_until_running()
    with server.connect() as client:
        client.send(handshake())
        assert client.head().status == 101
        save(tmp_path, "two")
        wait_until_served(server, "two")
    assert server.stop() == 0


def test_a_syntax_error_is_shown_and_waited_out(reloading: Reloading, tmp_path: Path) -> None:
    save(tmp_path, "one")
    server = reloading().wait_until_running()
    (tmp_path / "reloaded.py").write_text("def app(:\n")
    server.wait_for_line("SyntaxError")
    server.wait_for_line("Waiting for a change")
    save(tmp_path, "two")
    wait_until_served(server, "two")
    assert server.stop() == 0


def test_an_application_that_cannot_start_at_first(reloading: Reloading, tmp_path: Path) -> None:
    (tmp_path / "reloaded.py").write_text("raise LookupError('not yet')\n")
    server = reloading()
    server.wait_for_line("LookupError: not yet")
    server.wait_for_line("Waiting for a change")
    save(tmp_path, "one")
    server.wait_until_running()
    wait_until_served(server, "one")
    assert server.stop() == 0


def test_it_stops_while_it_waits_for_a_change(reloading: Reloading, tmp_path: Path) -> None:
    (tmp_path / "reloaded.py").write_text("raise LookupError('not yet')\n")
    server = reloading()
    server.wait_for_line("Waiting for a change")
    assert server.stop(signal.SIGINT) == 0


def test_only_the_files_that_are_asked_for(reloading: Reloading, tmp_path: Path) -> None:
    save(tmp_path, "one")
    server = reloading("--reload-include", "*.html", "--reload-exclude", "generated*").wait_until_running()
    (tmp_path / "generated.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "page.html").write_text("")
    assert "page.html" in server.wait_for_line("for a change of (.*)$")[1]
    wait_until_served(server, "one")
    assert server.stop() == 0
    assert "generated.py" not in server.output
    assert "notes.txt" not in server.output
