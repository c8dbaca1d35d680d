"""SIGUSR2 where the command is a script, as installers make it: what it is by now is what takes over."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess

FIRST = f"""\
#!{sys.executable}
from ferricorn.cli import main
main()
"""
SECOND = f"""\
#!/bin/sh
echo the second version
exec {sys.executable} -m ferricorn "$@"
"""
"""Not for the interpreter that runs the first."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "ferricorn"
    script.write_text(FIRST)
    script.chmod(0o755)
    return script


def start(start_process: StartProcess, script: Path) -> ServerProcess:
    variables = {"SCRIPT": str(script)}
    arguments = ["tests.support.apps:hello", "--workers", "1", "--app-dir", str(Path.cwd())]
    server = start_process(*arguments, module="tests.support.script", environment=variables)
    return server.wait_until_running()


def test_a_new_interpreter_takes_over(start_process: StartProcess, script: Path) -> None:
    server = start(start_process, script)
    script.write_text(SECOND)
    server.send_signal(signal.SIGUSR2)
    new = int(server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
    try:
        assert server.process.wait(DEADLINE) == 0
        assert server.exchange(GET).body == b"ok"
    finally:
        os.kill(new, signal.SIGTERM)
    server.wait()
    assert "the second version" in server.lines


@pytest.mark.parametrize("broken", ["#!/nowhere/python\n", "#!/bin/false\n"])
def test_one_that_does_not_start_changes_nothing(start_process: StartProcess, script: Path, broken: str) -> None:
    server = start(start_process, script)
    script.write_text(broken)
    server.send_signal(signal.SIGUSR2)
    server.wait_for_line(r"ERROR:    The new parent process .*(cannot be started|this one goes on)")
    assert server.exchange(GET).body == b"ok"
    assert server.stop() == 0
