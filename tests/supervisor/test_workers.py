"""Several processes that serve on one socket: who they are, what they share, when one has had enough."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.client import Client, request
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import (
    APP,
    Answer,
    Code,
    ask,
    ends,
    finish,
    held_request,
    successor,
    wait_for_answer,
    wait_for_workers,
)

preloaded = pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])


def start(start_process: StartProcess, *more: str, workers: int = 1, **environment: str) -> ServerProcess:
    arguments = (APP, "--workers", str(workers), *more)
    return start_process(*arguments, environment=environment).wait_until_running()


@preloaded
def test_all_workers_serve(start_process: StartProcess, more: tuple[str, ...]) -> None:
    server = start(start_process, *more, workers=2)
    assert server.process.pid not in wait_for_workers(server, 2)
    assert server.stop() == 0
    assert server.output.count("Ferricorn running on") == 1


def test_a_worker_for_each_cpu(start_once: StartProcess) -> None:
    server = start(start_once, workers=0)
    wait_for_workers(server, len(os.sched_getaffinity(0)))
    assert server.stop() == 0


def test_workers_serve_on_every_address(start_once: StartProcess, tmp_path: Path) -> None:
    """And leave the umask as it was said to be, in the sockets' files as in the application."""
    path = tmp_path / "socket"
    server = start(start_once, "--bind", f"unix:{path}", "--bind", "127.0.0.1:0", "--umask", "027", workers=2)
    answers = []
    for address in server.addresses:
        with Client.connect(address) as client:
            client.send(request(target=b"/umask"))
            answers.append(client.response().body)
    assert answers == [b"27", b"27"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])
def test_the_hand_over_has_every_address(start_once: StartProcess, tmp_path: Path, more: tuple[str, ...]) -> None:
    path = tmp_path / "socket"
    server = start(start_once, "--bind", f"unix:{path}", "--bind", "127.0.0.1:0", *more)
    old = ask(server).pid
    inode = path.stat().st_ino
    server.send_signal(signal.SIGUSR2)
    with successor(server) as new:
        server.wait_for_line(rf"The new parent process \[{new}\] serves: this one stops")
        assert ends(server.process.pid)
        assert server.process.wait(DEADLINE) == 0
        for address in server.addresses:
            with Client.connect(address) as client:
                client.send(request())
                assert Answer.parse(client.response().body).pid != old
        assert path.stat().st_ino == inode
    assert not path.exists()


def test_the_first_stop_signal_after_a_hand_over_is_the_first(start_process: StartProcess) -> None:
    """It ends the patience with connections that idle, and cuts nothing."""
    server = start(start_process, "--timeout-keep-alive", "3600")
    with server.connect() as idle, held_request(server) as client:
        idle.send(request())
        idle.response()
        server.send_signal(signal.SIGUSR2)
        with successor(server):
            server.wait_for_line("Waiting for connections to close")
            server.send_signal(signal.SIGINT)
            assert idle.ends_in_order()
            assert finish(client)[1] == b"close"
            assert server.process.wait(DEADLINE) == 0


# --- preload


def test_preload_imports_once(start_once: StartProcess, code: Code, tmp_path: Path) -> None:
    """And once more for each reload."""
    log = tmp_path / "imports"
    code.is_version("one", f"open({str(log)!r}, 'a').write('imported\\n')")
    server = start_once(*code.arguments, "--workers", "2", "--preload", environment=code.environment)
    old = wait_for_workers(server.wait_until_running(), 2)
    assert log.read_text().count("imported") == 1
    server.send_signal(signal.SIGHUP)
    for _ in old:
        server.wait_for_line("Finished server process")
    assert not wait_for_workers(server, 2) & old
    assert log.read_text().count("imported") == 2
    assert server.stop() == 0


def test_threads_that_the_import_starts_are_told(start_once: StartProcess, code: Code) -> None:
    """No fork has them."""
    thread = "import threading; threading.Thread(target=threading.Event().wait, name='a pool', daemon=True).start()"
    code.is_version("one", thread)
    server = start_once(*code.arguments, "--workers", "1", "--preload", environment=code.environment)
    assert ask(server.wait_until_running()).version == "one"
    assert server.stop() == 0
    said = [line for line in server.lines if line.startswith("WARNING")]
    assert said == ["WARNING:  The import has started threads, which the workers will not have: a pool"]


# --- workers that have had enough


def test_a_worker_that_has_served_for_long_is_replaced(start_process: StartProcess) -> None:
    server = start(start_process, "--limit-worker-lifetime", "1")
    old = ask(server).pid
    server.wait_for_line(rf"Worker process \[{old}\] is replaced: it has served for 1 seconds$")
    server.wait_for_line(rf"Finished server process \[{old}\]$")
    assert ask(server).pid != old
    assert server.stop() == 0


@preloaded
def test_a_worker_that_has_grown_is_replaced(start_once: StartProcess, more: tuple[str, ...]) -> None:
    """Until then it serves, and the request that made it grow is answered."""
    server = start(start_once, "--limit-worker-memory", "160M", *more)
    old = ask(server).pid
    assert ask(server, b"/allocate?150").pid == old
    server.wait_for_line(rf"Worker process \[{old}\] is replaced: it has \d+ MiB of memory, more than 160 MiB$")
    server.wait_for_line(rf"Finished server process \[{old}\]$")
    assert ask(server).pid != old
    assert server.stop() == 0
    assert server.output.count("is replaced") == 1


# --- workers that do not answer any more


@preloaded
def test_a_blocked_worker_is_killed_and_replaced(
    start_process: StartProcess, fifo: Path, more: tuple[str, ...]
) -> None:
    server = start(start_process, "--timeout-worker-healthcheck", "2", *more, FIFO=str(fifo))
    old = ask(server).pid
    with server.connect() as client:
        client.send(request(target=b"/blocked"))
        server.wait_for_line("^blocked")
        server.wait_for_line(rf"Worker process \[{old}\] has had its event loop blocked for 2 seconds: killed$")
        client.read_to_end()
    assert wait_for_answer(server, lambda answer: answer.pid != old)
    assert server.stop() == 0


@preloaded
def test_a_long_import_is_left_alone(start_once: StartProcess, code: Code, fifo: Path, more: tuple[str, ...]) -> None:
    code.is_version("one", f"print('importing', flush=True); open({str(fifo)!r}).read()")
    limits = ("--timeout-worker-healthcheck", "0.5")
    server = start_once(*code.arguments, "--workers", "1", *limits, *more, environment=code.environment)
    server.wait_for_line("importing")
    # Three times as long as its loop may be blocked, once there is one.
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(1.5)
    assert "ended" not in server.output
    assert "killed" not in server.output
    with fifo.open("wb"):
        pass
    assert server.wait_until_running().addresses
    server.stop()


@preloaded
def test_an_idle_worker_is_not_blocked(start_once: StartProcess, more: tuple[str, ...]) -> None:
    """However short the time is, and though nobody warns of stalls: there is a beat in any such time."""
    server = start(start_once, "--timeout-worker-healthcheck", "3", "--stall-warning", "0", *more)
    old = ask(server).pid
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(3.5)
    assert ask(server).pid == old
    assert server.stop() == 0
