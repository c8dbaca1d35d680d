"""The servers under test: how each is started for the echo application, and how it is ended. Knows no case."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.harness.counters import CpuTime

from .environment import ROOT

FERRICORN = "ferricorn"
APP = "conformance.app:app"
# Twice the largest message of the suite, so that no server's limit is what a case finds.
MAX_SIZE = 32 * 1024 * 1024
START_SECONDS = 30.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02


class ServerFailedError(Exception):
    """The server is not installed, or did not start; the message has the end of its log."""


@dataclass(frozen=True)
class Server:
    """A Python server: `PYTHON -m MODULE ARGUMENTS`, with {port} filled in and the application behind."""

    name: str
    module: str
    arguments: str
    distributions: tuple[str, ...]
    """What it is made of, the server first: their versions are told."""

    def command(self, python: Path, port: int) -> list[str]:
        return [str(python), "-m", self.module, *self.arguments.format(port=port, size=MAX_SIZE).split(), APP]


_UVICORN = "--port {port} --log-level warning --ws-max-size {size} --ws "

_ALL = (
    Server(FERRICORN, FERRICORN, "--port {port} --log-level warning --ws-max-size {size}", (FERRICORN,)),
    Server("uvicorn", "uvicorn", _UVICORN + "auto", ("uvicorn", "websockets")),
    Server("uvicorn-legacy", "uvicorn", _UVICORN + "websockets", ("uvicorn", "websockets")),
    Server("uvicorn-wsproto", "uvicorn", _UVICORN + "wsproto", ("uvicorn", "wsproto")),
    # Its limit is 16 MiB, and cannot be set on the command line.
    Server(
        "hypercorn",
        "hypercorn",
        "--bind 127.0.0.1:{port} --worker-class uvloop --log-level WARNING",
        ("hypercorn", "wsproto"),
    ),
    Server("granian", "granian", "--interface asgi --port {port} --log-level warning", ("granian",)),
    # These two do not compress unless they are told to.
    Server(
        "peregrine",
        "peregrine",
        "--port {port} --log-level warning --ws-max-message {size} --ws-compress",
        ("peregrine-server",),
    ),
    Server("weft", "weft", "--port {port} --log-level warning --ws-max-message {size} --ws-compress", ("weft-server",)),
    Server("h2corn", "h2corn", "--port {port} --no-access-log --websocket-max-message-size {size}", ("h2corn",)),
    Server("daphne", "daphne", "-p {port} -v 0", ("daphne", "autobahn")),
)

SERVERS: Mapping[str, Server] = {server.name: server for server in _ALL}


@dataclass(frozen=True)
class Running:
    """A server that listens. `process` is None where it is somebody else's, named by its address."""

    url: str
    process: subprocess.Popen[bytes] | None = None

    def cpu_seconds(self) -> float:
        """CPU time of the server's process tree until now; 0 where that cannot be told."""
        if self.process is None or sys.platform != "linux":
            return 0.0
        return CpuTime.of_tree(self.process.pid).total

    def exit_status(self) -> int | None:
        """None while it runs, as a server should all the time."""
        return self.process.poll() if self.process else None


@contextmanager
def serve(server: Server, python: Path, log: Path) -> Iterator[Running]:
    """The echo application on a free port, with the server's output in `log`. Raises ServerFailedError."""
    port = _free_port()
    command = server.command(python, port)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        _wait_listening(process, command, port, log)
        yield Running(f"ws://127.0.0.1:{port}", process)
    finally:
        _end(process)


def versions(server: Server, python: Path) -> str:
    """Such as "uvicorn 0.30.1, wsproto 1.2.0". Raises ServerFailedError where one is not installed."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps([m.version(name) for name in sys.argv[1:]]))"
    try:
        told = subprocess.run([python, "-c", code, *server.distributions], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ServerFailedError(f"not installed for {python}: {' or '.join(server.distributions)}") from error
    return ", ".join(map(" ".join, zip(server.distributions, json.loads(told.stdout), strict=True)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_listening(process: subprocess.Popen[bytes], command: Sequence[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError as error:
            # No server here says in a way common to all that it listens, so that it is asked again and again.
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailedError(f"does not listen: {' '.join(command)}\n{_tail(log)}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    """As an operator ends it; what is left of its session after that is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] or "no output"
