"""The server in a process of its own: for signals, exit statuses, logs and memory."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any, Protocol, Self

from tests.soak.processes import descendants
from tests.support.client import Address, Client, Response
from tests.support.deadline import DEADLINE

ROOT = Path(__file__).parents[2]
RUNNING = re.compile(r"running on (.*) \(Press")


class ServerProcess:
    """`python -m ferricorn APP ARGUMENTS`, on a free port unless `arguments` name a place. A context manager.

    `module` is one that becomes the command, after it has done something else; `stdout` is a descriptor for standard
    output, which is then not in `lines`; `through` are words of a command that runs this one.
    """

    def __init__(
        self,
        app: str,
        *arguments: str,
        pass_fds: Iterable[int] = (),
        environment: dict[str, str] | None = None,
        module: str = "ferricorn",
        stdout: int | None = None,
        through: Iterable[str] = (),
    ) -> None:
        self._stdout = stdout
        self._command = [*through, sys.executable, "-m", module, app, *arguments]
        if not {"--port", "--bind", "--uds", "--fd"} & set(arguments):
            self._command += ["--port", "0"]
        self._folder = ROOT
        self._pass_fds = tuple(pass_fds)
        self._environment = {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **(environment or {})}
        self.lines: list[str] = []
        self._new_lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.addresses: list[Address] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE if self._stdout is None else self._stdout,
            stderr=subprocess.STDOUT if self._stdout is None else subprocess.PIPE,
            text=True,
            pass_fds=self._pass_fds,
        )
        self._reader = threading.Thread(target=self._read, args=[self._output], name="log reader")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            # After a failure. Its workers might wait for something for ever, and hold the output open.
            workers = descendants(self.process.pid)
            self.process.kill()
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGKILL)
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert not self._reader.is_alive(), "a process that it has started goes on"
        self._output.close()

    @property
    def _output(self) -> IO[str]:
        output = self.process.stdout or self.process.stderr
        assert output is not None
        return output

    # --- looking

    def wait_until_running(self) -> Self:
        """Until it says where it listens."""
        places = self.wait_for_line(RUNNING)[1]
        self.addresses = [_as_address(place) for place in places.split(", ")]
        return self

    def wait_for_line(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """The first line from here on, of output and log together, in which `pattern` is found."""
        while (line := self._new_lines.get(timeout=DEADLINE)) is not None:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the process ended without {pattern!r}:\n{self.output}")

    @property
    def output(self) -> str:
        """All lines so far."""
        return "\n".join(self.lines)

    def resident_peak(self) -> int:
        """The most memory that it has had so far, in bytes (Linux)."""
        return self._status_line("VmHWM")

    def resident(self) -> int:
        """The memory that it has now, in bytes (Linux)."""
        return self._status_line("VmRSS")

    # --- doing

    def connect(self, **options: Any) -> Client:
        return Client.connect(self.addresses[0], **options)

    def exchange(self, data: bytes, *, to: bytes = b"GET") -> Response:
        with self.connect() as client:
            client.send(data)
            return client.response(to=to)

    def send_signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended and all it said is in `lines`."""
        status = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def stop(self, number: Signals = SIGTERM) -> int:
        self.send_signal(number)
        return self.wait()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))
            self._new_lines.put(line)
        self._new_lines.put(None)

    def _status_line(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert match, f"no {name} in /proc"
        return int(match[1]) * 1024


class Program(ServerProcess):
    """A program of somebody's own that serves: `python ARGUMENTS` in `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        # The applications are in the tests' own package.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        super().__init__("", environment={"PYTHONPATH": path})
        self._command = [sys.executable, *arguments]
        self._folder = folder


class StartProcess(Protocol):
    """Starts a server process that the fixture ends."""

    def __call__(self, app: str, *arguments: str, **more: Any) -> ServerProcess: ...


def threads(pid: int) -> list[str]:
    """The names of the process's threads, cut at 15 characters (Linux)."""
    names = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # One that ends meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().rstrip("\n"))
    return names


def _as_address(place: str) -> Address:
    """Out of the start-up line: `http://127.0.0.1:8000` or `unix socket /path`, with words ahead of it perhaps."""
    place = place.removeprefix("redirecting from ")
    if place.startswith("unix socket "):
        return place.removeprefix("unix socket ")
    host, _, port = re.sub(r"^https?://", "", place).rpartition(":")
    return host.strip("[]"), int(port)
