"""Processes that end without being asked to: workers are replaced, and none outlives its parent."""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest

from tests.support.client import Truncated, request
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import (
    APP,
    Code,
    ask,
    ends,
    finish,
    held_request,
    wait_for_answer,
    wait_for_workers,
    wait_until,
)

preloaded = pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])


def start(start_process: StartProcess, *more: str, workers: int = 1) -> ServerProcess:
    return start_process(APP, "--workers", str(workers), *more).wait_until_running()


@preloaded
def test_a_killed_worker_is_replaced(start_once: StartProcess, more: tuple[str, ...]) -> None:
    server = start(start_once, *more, workers=2)
    killed, other = wait_for_workers(server, 2)
    os.kill(killed, SIGKILL)
    server.wait_for_line(rf"Worker process \[{killed}\] was ended by SIGKILL$")
    now = wait_for_workers(server, 2)
    assert other in now
    assert killed not in now
    assert server.stop() == 0


@preloaded
def test_a_worker_that_exits_is_replaced(start_once: StartProcess, more: tuple[str, ...]) -> None:
    """With the status that says that a start has failed, too: it had started."""
    server = start(start_once, *more)
    old = ask(server).pid
    with pytest.raises(Truncated):
        server.exchange(request(target=b"/exit"))
    server.wait_for_line(rf"Worker process \[{old}\] ended with status 1$")
    assert wait_for_answer(server, lambda answer: answer.pid != old)
    assert server.stop() == 0


def test_a_crash_loop_is_slowed_down_until_a_reload(start_once: StartProcess, code: Code) -> None:
    """A worker that is killed at its start may have been so by a machine without memory: it is tried again."""
    code.is_version("one", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    server = start_once(*code.arguments, "--workers", "1", environment=code.environment)
    for delay in ("0.5", "1"):
        server.wait_for_line(r"Worker process \[\d+\] was ended by SIGKILL before it was ready$")
        server.wait_for_line(rf"The next worker process is started in {re.escape(delay)} seconds$")
    code.is_version("two")
    server.send_signal(SIGHUP)
    assert ask(server.wait_until_running()).version == "two"
    assert server.stop() == 0


@preloaded
@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("nowhere:app", "there is no module 'nowhere'"),
        ("tests.support.apps:failing_startup", "no database"),
    ],
    ids=["import", "startup"],
)
def test_a_server_that_cannot_start_says_why_and_exits(
    start_once: StartProcess, app: str, reason: str, more: tuple[str, ...]
) -> None:
    server = start_once(app, "--workers", "2", *more)
    assert server.wait() == 3
    assert reason in server.output
    assert "The workers could not start, so the server does not." in server.output
    assert "running on" not in server.output
    assert "Traceback" not in server.output


def test_sigterm_for_one_worker_replaces_it(start_process: StartProcess) -> None:
    """What it has accepted it finishes. `kill` with the wrong process id is no outage."""
    server = start(start_process)
    with held_request(server) as client:
        old = ask(server)
        os.kill(old.pid, SIGTERM)
        server.wait_for_line("Waiting for connections to close")
        assert ask(server).pid != old.pid
        assert finish(client) == (old, b"close")
        assert client.ends_in_order()
    server.wait_for_line(rf"Finished server process \[{old.pid}\]$")
    assert server.stop() == 0
    assert "ERROR" not in server.output


@preloaded
def test_workers_do_not_outlive_their_parent(start_process: StartProcess, more: tuple[str, ...]) -> None:
    """They would hold its port against the next one. Their applications are shut down."""
    server = start(start_process, *more, workers=2)
    workers = wait_for_workers(server, 2)
    server.process.send_signal(SIGKILL)
    assert all(map(ends, workers))
    assert server.wait() == -SIGKILL
    assert {pid for pid in workers if f"shut down {pid}" in server.output} == workers


def test_a_worker_that_starts_does_not_outlive_its_parent(
    start_once: StartProcess, code: Code, fifo: Path, tmp_path: Path
) -> None:
    code.is_version("one", f"import os; print('importing', os.getpid(), flush=True); open({str(fifo)!r}).read()")
    server = start_once(*code.arguments, "--workers", "1", environment=code.environment)
    pid = int(server.wait_for_line(r"importing (\d+)")[1])
    server.process.send_signal(SIGKILL)
    server.process.wait()
    with fifo.open("wb"):
        pass
    assert ends(pid)
    assert server.wait() == -SIGKILL


@preloaded
def test_the_next_server_has_the_socket_of_one_that_was_killed(
    start_once: StartProcess, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """The file is left behind by the one, and is gone after the other."""
    path = tmp_path / "socket"
    first = start(start_once, "--uds", str(path), *more)
    pid = ask(first).pid
    first.process.send_signal(SIGKILL)
    assert ends(pid)
    assert path.exists()
    second = start(start_once, "--uds", str(path), *more)
    assert ask(second).pid != pid
    assert second.stop() == 0
    assert not path.exists()
    third = start(start_once, "--uds", str(path), *more)
    assert ask(third)
    assert third.stop() == 0
    assert not path.exists()


def test_a_killed_template_is_replaced_with_its_workers(start_once: StartProcess, tmp_path: Path) -> None:
    """The process that workers are forked from. Its workers go on, and the next one comes from another template."""
    server = start(start_once, "--preload")
    old = ask(server).pid
    template = int(Path(f"/proc/{old}/stat").read_text().rpartition(")")[2].split()[1])
    assert template != server.process.pid
    os.kill(template, SIGKILL)
    assert ends(template)
    assert ask(server).pid == old
    os.kill(old, SIGKILL)
    wait_until(lambda: not Path(f"/proc/{old}").exists() or ends(old), "the worker goes on")
    assert wait_for_answer(server, lambda answer: answer.pid != old)
    assert server.stop() == 0
