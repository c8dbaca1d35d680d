"""SIGHUP: new workers with new code, one after the other, and nobody notices (CON-09)."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGHUP, SIGTERM, SIGTTIN

import pytest

from tests.support.client import GET, Client, request
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import (
    Answer,
    Code,
    ask,
    ask_on,
    finish,
    held_request,
    wait_for_a_look,
    wait_for_answer,
    wait_for_workers,
    wait_until,
)

preloaded = pytest.mark.parametrize("more", [(), ("--preload",)], ids=["fresh", "preloaded"])
KEPT = ("--timeout-keep-alive", "60")


def start(start_process: StartProcess, code: Code, *more: str, workers: int = 1) -> ServerProcess:
    arguments = (*code.arguments, "--workers", str(workers), *more)
    environment = {"FIFO": str(code.folder / "fifo"), **code.environment}
    return start_process(*arguments, environment=environment).wait_until_running()


def wait_for_drain(server: ServerProcess) -> None:
    """Until an old worker has been told to stop, and has begun to."""
    server.wait_for_line("Waiting for connections to close")


@preloaded
def test_new_code_is_served(start_once: StartProcess, code: Code, more: tuple[str, ...]) -> None:
    server = start(start_once, code, *more, workers=2)
    old = wait_for_workers(server, 2)
    code.is_version("two")
    server.send_signal(SIGHUP)
    for _ in old:
        server.wait_for_line("Finished server process")
    assert {ask(server).version for _ in range(10)} == {"two"}
    assert not wait_for_workers(server, 2) & old
    wait_until(lambda: "Reloaded" in server.output, "the reload does not end")
    assert server.stop() == 0
    assert "ERROR" not in server.output


def test_an_open_connection_is_answered_once_more_and_told(start_process: StartProcess, code: Code) -> None:
    server = start(start_process, code, *KEPT)
    with server.connect() as client, server.connect() as fresh:
        old, field = ask_on(client)
        assert (old.version, field) == ("one", None)
        # The worker has accepted this one too: it came before.
        ask(server)
        code.is_version("two")
        server.send_signal(SIGHUP)
        wait_for_drain(server)
        assert ask(server).version == "two"
        assert ask_on(client) == ask_on(fresh) == (old, b"close")
        assert client.ends_in_order()
        assert fresh.ends_in_order()
    server.wait_for_line(rf"Finished server process \[{old.pid}\]")
    assert server.stop() == 0


def test_a_running_request_is_finished_whole(start_process: StartProcess, code: Code) -> None:
    server = start(start_process, code)
    old = ask(server)
    with held_request(server) as client:
        code.is_version("two")
        server.send_signal(SIGHUP)
        wait_for_drain(server)
        assert ask(server).version == "two"
        assert finish(client) == (old, b"close")
        assert client.ends_in_order()
    assert server.stop() == 0


@preloaded
def test_broken_code_leaves_the_old_workers(start_once: StartProcess, code: Code, more: tuple[str, ...]) -> None:
    server = start(start_once, code, *more, workers=2)
    old = wait_for_workers(server, 2)
    code.write("import a_module_that_is_not_there")
    server.send_signal(SIGHUP)
    server.wait_for_line("No module named 'a_module_that_is_not_there'")
    server.wait_for_line("The new worker process could not start: the old ones go on")
    assert wait_for_workers(server, 2) == old
    code.is_version("two")
    server.send_signal(SIGHUP)
    assert wait_for_answer(server, lambda answer: answer.version == "two").pid not in old
    for _ in old:
        server.wait_for_line("Finished server process")
    assert server.stop() == 0


@preloaded
def test_a_reload_during_a_reload(start_once: StartProcess, code: Code, fifo: Path, more: tuple[str, ...]) -> None:
    """What the first one has started never serves."""
    server = start(start_once, code, *more)
    code.is_version("two", f"print('importing two', flush=True); open({str(fifo)!r}).read()")
    server.send_signal(SIGHUP)
    server.wait_for_line("importing two")
    code.is_version("three")
    server.send_signal(SIGHUP)
    assert wait_for_answer(server, lambda answer: answer.version != "one").version == "three"
    server.wait_for_line("Reloaded")
    assert server.stop() == 0
    assert server.output.count("Reloaded") == 1


@preloaded
def test_a_reload_is_over_when_new_connections_come_to_new_workers(
    start_once: StartProcess, code: Code, fifo: Path, more: tuple[str, ...]
) -> None:
    """Who was told to stop but is busy will still accept once, as soon as it comes to that."""
    server = start(start_once, code, *more)
    with server.connect() as client:
        client.send(request(target=b"/blocked"))
        server.wait_for_line("^blocked")
        code.is_version("two")
        server.send_signal(SIGHUP)
        assert wait_for_answer(server, lambda answer: answer.version == "two")
        wait_for_a_look(server)
        assert "Reloaded" not in server.output
        fifo.write_bytes(b"")
        server.wait_for_line("Reloaded")
        assert ask(server).version == "two"
        assert Answer.parse(client.response().body).version == "one"
    assert server.stop() == 0


def test_a_worker_that_serves_and_was_not_heard_yet_loses_no_connection(
    start_process: StartProcess, code: Code, fifo: Path
) -> None:
    """For the supervisor it is one that starts, and has become superfluous at that."""
    path = code.folder / "options.toml"
    path.touch()
    server = start(start_process, code, *KEPT, "--config", str(path))
    code.is_version("two", f"print('importing two', flush=True); open({str(fifo)!r}).read()")
    server.send_signal(SIGTTIN)
    server.wait_for_line("importing two")
    path.unlink()
    os.mkfifo(path)
    server.send_signal(SIGHUP)
    # Opened as soon as the supervisor reads it; which hears nobody until it has.
    with path.open("w"):
        code.is_version("three")
        fifo.write_bytes(b"")
        client, old = connected_to(server, "two")
    with client:
        server.wait_for_line(r"Finished server process|Waiting for connections to close")
        assert ask_on(client) == (old, b"close")
        assert client.ends_in_order()
    server.wait_for_line("Reloaded")
    assert server.stop() == 0


def connected_to(server: ServerProcess, version: str) -> tuple[Client, Answer]:
    """A connection to a worker of that version, and what it has answered."""
    while True:
        client = server.connect()
        answer, _ = ask_on(client)
        if answer.version == version:
            return client, answer
        client.close()


def test_the_configuration_is_read_again(start_once: StartProcess, code: Code) -> None:
    """One that is wrong is not taken over, and nothing is reloaded."""
    path = code.folder / "options.toml"
    path.write_text('header = ["x-set: one"]')
    server = start(start_once, code, "--config", str(path))
    old = ask(server)
    path.write_text("nonsense = 1")
    server.send_signal(SIGHUP)
    server.wait_for_line("Not reloaded: .*nonsense")
    assert ask(server) == old
    path.write_text('header = ["x-set: two"]')
    server.send_signal(SIGHUP)
    # Until the old worker has been told to stop, either may answer.
    wait_until(lambda: server.exchange(GET).header(b"x-set") == b"two", "the new configuration is not in effect")
    assert server.stop(SIGTERM) == 0
