"""The container's start script: from the environment variables of tiangolo/uvicorn-gunicorn to a server that serves."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.process import ROOT, ServerProcess

SCRIPT = ROOT / "deploy" / "docker" / "start.py"
APPLICATION = """
import os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    answer = os.environ.get("ANSWER", "ok").encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer})
"""


@pytest.fixture
def start() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("docker_start", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The container's /app, with an application in /app/app/main.py."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> Any:
    """What the server's options are in an environment, by --print-config; and what was said on standard error."""

    def run(*arguments: str, **environment: str) -> tuple[dict[str, Any], str]:
        result = subprocess.run(
            [sys.executable, str(SCRIPT), *arguments, "--print-config"],
            env=clean() | {"APP_FOLDER": str(folder)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return tomllib.loads(result.stdout), result.stderr

    return run


def clean() -> dict[str, str]:
    """The environment, without what would be options."""
    ours = ("FERRICORN_", "UVICORN_")
    names = {"HOST", "PORT", "BIND", "WEB_CONCURRENCY", "WORKERS_PER_CORE", "MAX_WORKERS", "LOG_LEVEL", "TIMEOUT"}
    return {name: text for name, text in os.environ.items() if not (name.startswith(ours) or name in names)}


def test_defaults_are_those_of_the_image(settings: Any, folder: Path) -> None:
    chosen, said = settings()
    assert chosen["app"] == "app.main:app"
    assert chosen["app_dir"] == str(folder)
    assert (chosen["host"], chosen["port"], chosen["log_level"]) == ("0.0.0.0", 80, "info")
    assert chosen["workers"] >= 2
    assert chosen["timeout_graceful_shutdown"] == 120
    assert chosen["timeout_worker_healthcheck"] == 120
    assert chosen["timeout_keep_alive"] == 5
    assert chosen["access_log"] is True
    assert chosen["health_path"] == "/-/health"
    assert said == ""


def test_every_variable_that_means_something(settings: Any) -> None:
    chosen, said = settings(
        MODULE_NAME="other.place",
        VARIABLE_NAME="api",
        HOST="127.0.0.1",
        PORT="8001",
        LOG_LEVEL="debug",
        WEB_CONCURRENCY="3",
        GRACEFUL_TIMEOUT="7",
        TIMEOUT="8",
        KEEP_ALIVE="9",
        ACCESS_LOG="",
        HEALTH_PATH="/healthy",
    )
    assert chosen["app"] == "other.place:api"
    assert (chosen["host"], chosen["port"], chosen["log_level"]) == ("127.0.0.1", 8001, "debug")
    assert chosen["workers"] == 3
    assert chosen["timeout_graceful_shutdown"] == 7
    assert chosen["timeout_worker_healthcheck"] == 8
    assert chosen["timeout_keep_alive"] == 9
    assert chosen["access_log"] is False
    assert chosen["health_path"] == "/healthy"
    assert said == ""


def test_app_module_and_bind_come_first(settings: Any) -> None:
    chosen, _ = settings(APP_MODULE="a.b:c", MODULE_NAME="other", BIND="0.0.0.0:9000,unix:/run/app.sock", PORT="1")
    assert chosen["app"] == "a.b:c"
    assert chosen["bind"] == ["0.0.0.0:9000", "unix:/run/app.sock"]


def test_arguments_come_last_and_gunicorns_flags_before_them(settings: Any) -> None:
    chosen, _ = settings("--port", "9999", GUNICORN_CMD_ARGS="--keep-alive 11 --backlog 100 --bind 127.0.0.1:7000")
    assert chosen["timeout_keep_alive"] == 11
    assert chosen["backlog"] == 100
    assert chosen["bind"] == ["127.0.0.1:7000"]
    assert chosen["port"] == 9999


def test_main_without_a_package(settings: Any, folder: Path) -> None:
    (folder / "app" / "main.py").rename(folder / "main.py")
    chosen, _ = settings()
    assert chosen["app"] == "main:app"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 4),
        ({"WORKERS_PER_CORE": "0.5"}, 2),
        ({"WORKERS_PER_CORE": "0.25"}, 2),
        ({"WORKERS_PER_CORE": "3"}, 12),
        ({"WORKERS_PER_CORE": "3", "MAX_WORKERS": "5"}, 5),
        ({"MAX_WORKERS": "1"}, 1),
        ({"WEB_CONCURRENCY": "1", "MAX_WORKERS": "5"}, 1),
    ],
)
def test_workers_on_four_cpus(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(start, "cpus", lambda: 4)
    assert start.workers(environment) == expected


def test_what_has_no_meaning_is_told(settings: Any, folder: Path) -> None:
    (folder / "gunicorn_conf.py").touch()
    _, said = settings(WORKER_CLASS="uvicorn.workers.UvicornWorker", ACCESS_LOG="/logs/access", ERROR_LOG="/logs/error")
    lines = said.splitlines()
    assert len(lines) == 4
    for line, subject in zip(lines, ("gunicorn_conf.py", "WORKER_CLASS", "ACCESS_LOG", "ERROR_LOG"), strict=True):
        assert subject in line
        assert line.startswith("start.py: ")


def test_reload_is_one_process(start: ModuleType, folder: Path) -> None:
    environment = {"APP_FOLDER": str(folder), "PORT": "8080", "WEB_CONCURRENCY": "4"}
    command = start.command_line(["--reload", "--reload-dir", "/app"], environment)
    assert "--workers" not in command
    assert command[-3:] == ["--reload", "--reload-dir", "/app"]
    assert command[command.index("--port") + 1] == "8080"


class Container(ServerProcess):
    """The start script in the place of the command."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        super().__init__("", environment={"APP_FOLDER": str(folder), "HOST": "127.0.0.1", "PORT": "0"} | environment)
        self._command = [sys.executable, str(SCRIPT), *arguments]


@pytest.fixture
def contain() -> Iterator[Any]:
    """Starts the script in a process that ends with the test."""
    with ExitStack() as running:
        yield lambda *arguments, **environment: running.enter_context(Container(*arguments, **environment))


def health(environment: dict[str, str]) -> int:
    """The exit status of the container's health check."""
    command = [sys.executable, str(SCRIPT), "--health"]
    return subprocess.run(command, env=clean() | environment, check=False).returncode


def test_it_serves_after_the_script_that_comes_first(contain: Any, folder: Path) -> None:
    """The script is sourced: what it exports is there for the application, and for what comes behind it."""
    (folder / "prestart.sh").write_text("echo prestart runs\nexport ANSWER=prepared WEB_CONCURRENCY=2\n")
    server = contain(folder)
    server.wait_for_line("Running script .*prestart.sh")
    server.wait_for_line("prestart runs")
    server.wait_until_running()
    assert server.exchange(GET).body == b"prepared"
    _, port = server.addresses[0]
    assert health({"PORT": str(port)}) == 0
    assert health({"BIND": f"127.0.0.1:{port}", "HEALTH_PATH": ""}) == 0
    assert server.stop() == 0
    assert health({"PORT": str(port)}) == 1


def test_it_reloads_where_it_is_told_to(contain: Any, folder: Path) -> None:
    """As that image's start-reload.sh: one process, and the timeouts do not count."""
    server = contain(folder, "--reload", "--reload-dir", str(folder), WEB_CONCURRENCY="4", GRACEFUL_TIMEOUT="no number")
    server.wait_until_running()
    assert server.exchange(GET).body == b"ok"
    (folder / "app" / "main.py").write_text(APPLICATION.replace('"ok"', '"changed"'))
    server.wait_for_line("Reloading, for a change of .*main.py")
    end = time.monotonic() + DEADLINE
    while server.exchange(GET).body != b"changed":
        assert time.monotonic() < end
    assert server.stop() == 0


def test_a_script_that_fails_keeps_the_server_from_starting(contain: Any, folder: Path) -> None:
    script = folder / "other.sh"
    script.write_text("false\necho never\n")
    server = contain(folder, PRE_START_PATH=str(script))
    assert server.wait() == 1
    assert "never" not in server.output
    assert "running on" not in server.output


def test_health_over_a_unix_socket(contain: Any, folder: Path) -> None:
    server = contain(folder, BIND=f"unix:{folder / 'socket'}", WEB_CONCURRENCY="1")
    server.wait_until_running()
    assert health({"BIND": f"unix:{folder / 'socket'}"}) == 0


def test_the_image_names_what_is_there() -> None:
    """Every file that the Dockerfile copies out of the project exists."""
    text = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    copied = [line.split() for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)]
    sources = [name for words in copied for name in words[:-1] if not name.startswith("--")]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []
