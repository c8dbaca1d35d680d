"""The log names what blocks the event loop, whatever it blocks it with; and nothing else is taken for a stall."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGSTOP, SIGUSR1

import pytest

from tests.support import blocking_apps
from tests.support.client import request
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess, threads

APP = "tests.support.blocking_apps:app"
SOON = ("--stall-warning", "0.2")
"""A threshold for what is known to block: it is reached soon, also where nothing blocks and the machine is slow."""
LONG = 1.5
"""Seconds, more than the default threshold: long enough to be told, if it were a stall."""


@contextlib.contextmanager
def blocked(server: ServerProcess, path: str, release: Path) -> Iterator[None]:
    """A request blocks the loop, until the context ends; then its response comes."""
    with server.connect() as client:
        client.send(request(target=path.encode()))
        yield
        # Who waits only for it to be opened may have closed it.
        with contextlib.suppress(BrokenPipeError), release.open("wb", 0) as file:
            file.write(b"x")
        assert client.response().status == 200


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "release"
    os.mkfifo(path)
    return path


def start(
    start_process: StartProcess, release: Path, *arguments: str, app: str = APP, **environment: str
) -> ServerProcess:
    return start_process(app, *arguments, environment={"RELEASE": str(release), **environment}).wait_until_running()


def warning(how: str) -> str:
    """The begin of the warning that names the line marked so."""
    return rf"^WARNING:  .*blocked for \d\.\d s by \S+ in {blocking_apps.__file__}:{blocking_apps.line_of(how)}\b"


@pytest.mark.parametrize("how", ["sleeping", "computing", "locking"])
def test_what_blocks_is_named_while_it_blocks(start_process: StartProcess, release: Path, how: str) -> None:
    server = start(start_process, release, *SOON)
    with blocked(server, f"/{how}", release):
        assert f" by {how} in " in server.wait_for_line(warning(how))[0]
        server.wait_for_line(rf'^  File ".*blocking_apps.py", line {blocking_apps.line_of(how)}, in {how}$')
        server.wait_for_line(rf"^    .*# {how}$")
    server.wait_for_line(r"^WARNING:  The event loop was blocked for \d+\.\d s\.$")
    assert server.stop() == 0
    assert len(re.findall("has been blocked", server.output)) == 1


def test_a_regular_expression_that_holds_the_lock(start_process: StartProcess, release: Path) -> None:
    server = start(start_process, release, *SOON)
    assert server.exchange(request(target=b"/matching")).status == 200
    said = server.wait_for_line(warning("matching"))
    assert re.search(r" by matching in \S+ \(inside match in \S+/re/__init__.py:\d+\)\.", said.string)
    assert server.stop() == 0


def test_another_thread_that_holds_the_lock(start_process: StartProcess, release: Path) -> None:
    """A call in a thread pool, as frameworks make them for plain functions, stops the loop with all other threads."""
    server = start(start_process, release, *SOON)
    assert server.exchange(request(target=b"/locking_elsewhere")).status == 200
    said = server.wait_for_line(warning("matching"))
    assert " in another thread, which holds the interpreter lock. Stack," in said.string
    assert server.stop() == 0


def test_a_log_handler_that_is_stuck(start_process: StartProcess, release: Path) -> None:
    """The log cannot be had: the warning is written all the same, and once."""
    server = start(start_process, release, *SOON)
    with blocked(server, "/logging", release):
        said = server.wait_for_line(warning("logging"))
        assert " by emit in " in said.string
    assert server.stop() == 0
    assert len(re.findall("has been blocked", server.output)) == 1


def test_signals_that_the_application_takes_are_left_alone(start_process: StartProcess, release: Path) -> None:
    server = start(start_process, release, *SOON)
    with blocked(server, "/taking_signals", release):
        server.wait_for_line(r"^WARNING:  .* blocked for \d\.\d s, and what blocks it cannot be read\.$")
    assert server.stop() == 0
    assert "signal " not in server.output


def test_the_application_uses_faulthandler_itself(start_process: StartProcess, release: Path) -> None:
    server = start(start_process, release, *SOON, app="tests.support.blocking_apps:with_faulthandler")
    with blocked(server, "/locking", release):
        server.wait_for_line(warning("locking"))
    server.send_signal(SIGUSR1)
    server.wait_for_line("most recent call first")
    with blocked(server, "/locking", release):
        server.wait_for_line(warning("locking"))
    assert server.stop() == 0


def test_a_blocked_server_can_be_interrupted(start_process: StartProcess, release: Path) -> None:
    server = start(start_process, release, *SOON)
    with server.connect() as client:
        client.send(request(target=b"/sleeping"))
        server.wait_for_line(warning("sleeping"))
        # Signals that come too fast are one: as a user would, until it ends.
        while server.process.poll() is None:
            server.send_signal(SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(0.1)
    assert server.wait() in {130, -SIGINT}


def test_what_is_no_stall(start_process: StartProcess, release: Path) -> None:
    """A call that waits without blocking, a process that was stopped, and a start that takes long."""
    app = "tests.support.blocking_apps:slow_start"
    server = start(start_process, release, app=app, START_SECONDS=str(LONG))
    assert server.exchange(request(target=b"/awaiting?%.1f" % LONG)).status == 200
    server.send_signal(SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(LONG)
    server.send_signal(SIGCONT)
    assert server.exchange(request(target=b"/awaiting?%.1f" % LONG)).status == 200
    assert server.stop() == 0
    assert "blocked" not in server.output


def test_nothing_is_watched_where_nobody_wants_to_know(start_process: StartProcess, release: Path) -> None:
    watched, unwatched = (start(start_process, release, *more) for more in ([], ["--stall-warning", "0"]))
    deadline = time.monotonic() + DEADLINE
    # Threads name themselves: this one may be there without its name.
    while "ferricorn-watch" not in threads(watched.process.pid):
        assert time.monotonic() < deadline
    assert "ferricorn-watch" not in threads(unwatched.process.pid)
