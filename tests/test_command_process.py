"""The command in a process of its own, with its settings in files: found, read and served."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.deadline import DEADLINE

APPLICATION = """
import os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": os.environ["GREETING"].encode()})
"""

SETTINGS = """
port = 0
env-file = ".env"
header = ["X-From: a file"]

[log_config.formatters.access]
"()" = "uvicorn.logging.AccessFormatter"
fmt = "%(request_line)s %(status_code)s"

[log_config.handlers]
default = {class = "logging.StreamHandler", stream = "ext://sys.stdout"}
access = {class = "logging.FileHandler", filename = "access.log", formatter = "access"}

[log_config.loggers]
uvicorn = {handlers = ["default"], level = "INFO"}
"uvicorn.access" = {handlers = ["access"], propagate = false}
"""


def test_everything_from_files(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text(APPLICATION)
    (tmp_path / "ferricorn.toml").write_text(SETTINGS)
    (tmp_path / ".env").write_text("GREETING=hello")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("FERRICORN_", "UVICORN_"))}
    command = subprocess.Popen(
        [sys.executable, "-m", "ferricorn"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    with command:
        try:
            assert command.stdout is not None
            lines = iter(command.stdout.readline, "")
            assert next(lines) == "No application is named: serving api:app\n"
            address = next(match[1] for line in lines if (match := re.search(r"running on (http://\S+)", line)))
            with urllib.request.urlopen(f"{address}/path", timeout=DEADLINE) as response:
                assert (response.read(), response.headers["x-from"]) == (b"hello", "a file")
            command.send_signal(signal.SIGTERM)
            assert "Shutting down\n" in list(lines)
            assert command.wait(DEADLINE) == 0
        finally:
            command.kill()
    assert (tmp_path / "access.log").read_text() == "GET /path HTTP/1.1 200 OK\n"
