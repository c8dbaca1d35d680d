"""The other signals: how a server with workers stops, how it grows and shrinks, how it opens its log files again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1

import pytest

from tests.soak.processes import descendants
from tests.support.client import request
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

LOGGING = """
import logging

from tests.support.worker_apps import Answering

logging.basicConfig(filename={file!r}, format="%(process)d", level="INFO")

class Logging(Answering):
    async def __call__(self, *arguments):
        logging.info("called")
        await super().__call__(*arguments)

app = Logging("one")
"""


def start(start_process: StartProcess, *more: str, workers: int = 1, **environment: str) -> ServerProcess:
    arguments = (APP, "--workers", str(workers), *more)
    return start_process(*arguments, environment=environment).wait_until_running()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=lambda number: number.name)
def test_a_stop_lets_running_requests_finish(start_process: StartProcess, number: signal.Signals) -> None:
    server = start(start_process)
    with held_request(server) as client:
        server.send_signal(number)
        server.wait_for_line("Waiting for connections to close")
        assert finish(client)[1] == b"close"
        assert client.ends()
    assert server.wait() == 0
    assert "shut down" in server.output


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])
@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=lambda number: number.name)
def test_a_stop_may_reach_every_process(
    start_process: StartProcess, number: signal.Signals, more: tuple[str, ...]
) -> None:
    """As a terminal sends SIGINT, and systemd SIGTERM by default (KillMode=control-group)."""
    server = start(start_process, *more, workers=2)
    wait_for_workers(server, 2)
    with held_request(server) as client:
        for pid in (*descendants(server.process.pid), server.process.pid):
            os.kill(pid, number)
        server.wait_for_line("Waiting for connections to close")
        assert finish(client)[1] == b"close"
        assert client.ends()
    assert server.wait() == 0
    assert "ERROR" not in server.output
    assert "Traceback" not in server.output


def test_a_stop_closes_idle_connections_at_once(start_process: StartProcess) -> None:
    """All of the server goes: nobody could use them for long."""
    server = start(start_process, "--timeout-keep-alive", "3600")
    with server.connect() as client:
        client.send(request())
        client.response()
        server.send_signal(SIGTERM)
        assert client.ends_in_order()
    assert server.wait() == 0


def test_a_second_sigint_does_not_wait(start_process: StartProcess) -> None:
    server = start(start_process)
    with held_request(server) as client:
        server.send_signal(SIGINT)
        server.wait_for_line("Waiting for connections to close")
        assert server.stop(SIGINT) == 130
        client.read_to_end()
    assert "shut down" not in server.output


def test_a_third_sigint_ends_what_is_blocked(start_process: StartProcess, fifo: Path) -> None:
    server = start(start_process, FIFO=str(fifo))
    pid = ask(server).pid
    with server.connect() as client:
        client.send(request(target=b"/blocked"))
        server.wait_for_line("blocked")
        # Signals that come too fast are one: as a user would, until it ends.
        while server.process.poll() is None:
            server.send_signal(SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(0.1)
    assert server.wait() in {130, -SIGINT}
    assert ends(pid)


def test_sigquit_cuts_what_runs_and_shuts_the_application_down(start_process: StartProcess) -> None:
    server = start(start_process)
    with held_request(server) as client:
        assert server.stop(SIGQUIT) == 0
        client.read_to_end()
    assert "asked to stop at once" in server.output
    assert "shut down" in server.output


def test_sigquit_ends_the_wait_of_a_sigterm(start_process: StartProcess) -> None:
    server = start(start_process)
    with held_request(server):
        server.send_signal(SIGTERM)
        server.wait_for_line("Waiting for connections to close")
        assert server.stop(SIGQUIT) == 0
    assert "shut down" in server.output


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])
def test_a_stop_while_the_application_is_imported(
    start_once: StartProcess, tmp_path: Path, fifo: Path, more: tuple[str, ...]
) -> None:
    """An import may take a minute: it is not waited for."""
    (tmp_path / "slow.py").write_text(f"print('importing', flush=True); open({str(fifo)!r}).read()")
    server = start_once("slow:app", "--app-dir", str(tmp_path), "--workers", "1", *more)
    server.wait_for_line("importing")
    assert server.stop() == 0


def test_one_more_and_one_less(start_once: StartProcess) -> None:
    server = start(start_once)
    first = ask(server).pid
    server.send_signal(SIGTTIN)
    server.wait_for_line(r"Now running 2 worker process\(es\)")
    both = wait_for_workers(server, 2)
    assert first in both
    server.send_signal(SIGTTOU)
    server.wait_for_line(r"Now running 1 worker process\(es\)")
    server.wait_for_line(rf"Finished server process \[{first}\]")
    assert {ask(server).pid for _ in range(10)} == both - {first}
    server.send_signal(SIGTTOU)
    # One stays.
    server.wait_for_line(r"Now running 1 worker process\(es\)")
    assert {ask(server).pid} == both - {first}
    assert server.stop() == 0


def log_config(folder: Path) -> Path:
    file = {"class": "logging.FileHandler", "filename": str(folder / "access.log"), "formatter": "pid"}
    path = folder / "logging.json"
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"pid": {"format": "%(process)d"}},
                "handlers": {"file": file, "screen": {"class": "logging.StreamHandler"}},
                "loggers": {
                    "ferricorn": {"handlers": ["screen"], "level": "INFO"},
                    "ferricorn.access": {"handlers": ["file"], "propagate": False},
                },
            }
        )
    )
    return path


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])
def test_sigusr1_opens_the_log_files_again(start_once: StartProcess, tmp_path: Path, more: tuple[str, ...]) -> None:
    """In each process: after a rotation all workers write to the new file."""
    server = start(start_once, "--log-config", str(log_config(tmp_path)), "--access-log", *more, workers=2)
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    workers = {str(pid) for pid in wait_for_workers(server, 2)}

    def has_all_workers(path: Path) -> bool:
        ask(server)
        return path.exists() and workers <= {*path.read_text().split()}

    wait_until(lambda: has_all_workers(log), "the access log is not written")
    log.rename(rotated)
    # Until the signal, they write to the file that has another name now.
    size = rotated.stat().st_size
    ask(server)
    wait_until(lambda: rotated.stat().st_size > size, "the renamed file is not written to")
    server.send_signal(SIGUSR1)
    wait_until(lambda: has_all_workers(log), "the new file does not have lines of all workers")
    assert server.stop() == 0
    assert not {pid for pid in workers if os.path.exists(f"/proc/{pid}")}


def test_a_worker_that_is_forked_after_a_rotation_writes_to_the_new_file(start_once: StartProcess, code: Code) -> None:
    """The application has opened the file in its import: it is open in the process that workers are forked from."""
    log = code.folder / "application.log"
    code.write(LOGGING.format(file=str(log)))
    arguments = (*code.arguments, "--workers", "1", "--preload")
    server = start_once(*arguments, environment=code.environment).wait_until_running()
    old = ask(server).pid
    assert str(old) in log.read_text().split()
    log.rename(code.folder / "application.log.1")
    server.send_signal(SIGUSR1)
    wait_until(log.exists, "the file is not opened again")
    os.kill(old, SIGKILL)
    new = wait_for_answer(server, lambda answer: answer.pid != old).pid
    assert str(new) in log.read_text().split()
    assert server.stop() == 0
