"""Starts a server on its core, waits until it answers as it should, and ends it. Knows no measure."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from harness.counters import process_tree
from harness.dialogue import dialogue
from harness.exchange import WrongResponseError
from harness.native import BENCH, binary
from harness.scenarios import HELLO, HttpScenario, Scenario
from harness.servers import Target

START_SECONDS = 30.0
_POLL_SECONDS = 0.02


class ServerFailedError(Exception):
    """The server did not start, or did not answer as expected; its output is in the message."""


@dataclass(frozen=True)
class Running:
    """A server that has answered correctly."""

    pid: int
    port: int


@contextmanager
def serve(target: Target, scenario: Scenario, core: int | None) -> Iterator[Running]:
    """A server for the scenario, pinned on the core (None: not). Raises ServerFailedError, NotNegotiatedError."""
    port = free_port()
    with tempfile.TemporaryFile("w+b") as output:
        process = start(command(target, scenario, port), core, output)
        try:
            wait_until_right(process, scenario, port, output)
            yield Running(process.pid, port)
            if process.poll() is not None:
                raise ServerFailedError(f"ended with status {process.returncode} under load: {_tail(output)}")
        finally:
            end(process)


def command(target: Target, scenario: Scenario, port: int) -> list[str]:
    if target.server:
        return target.server.command(target.python, scenario, port)
    if not isinstance(scenario, HttpScenario):
        raise TypeError(f"{target.label} cannot serve {scenario.name}")
    size = [] if scenario.expected == HELLO else [str(len(scenario.expected))]
    return [str(binary("epoll")), str(port), *size]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(arguments: list[str], core: int | None, output: IO[bytes], **environment: str) -> subprocess.Popen[bytes]:
    """Starts the command in a session of its own, with bench/ on Python's path and hashing made repeatable."""
    pinned = arguments if core is None else ["taskset", "--cpu-list", str(core), *arguments]
    paths = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH"))))
    variables = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", **environment}
    return subprocess.Popen(
        pinned, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=variables, cwd=BENCH, start_new_session=True
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills the server with all its workers: what it would still do on a polite signal is not measured here."""
    members = process_tree(process.pid) if process.poll() is None else []
    for member in reversed(members):
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def wait_until_right(process: subprocess.Popen[bytes], scenario: Scenario, port: int, output: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            check(scenario, port)
        except ConnectionRefusedError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailedError(f"does not listen: {_tail(output)}") from error
            time.sleep(_POLL_SECONDS)
        except (OSError, WrongResponseError) as error:
            raise ServerFailedError(f"wrong answer: {error}; {_tail(output)}") from error
        else:
            return


def check(scenario: Scenario, port: int) -> None:
    """One exchange, and a second one on the same connection. Raises as dialogue does."""
    with dialogue(scenario, port) as exchange:
        exchange()
        exchange()


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read()[-2000:].decode(errors="replace") or "no output"
