"""gunicorn in a process of its own, with our worker class."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Protocol

from tests.support.client import Address, Client, Response
from tests.support.process import ServerProcess

LISTENING = re.compile(r"Listening at: (.*) \(\d+\)")
BOOTING = re.compile(r"Booting worker with pid: (\d+)")


class GunicornProcess(ServerProcess):
    """`gunicorn APP -k ferricorn.gunicorn.Worker ARGUMENTS`, on a free port unless `arguments` bind. A context manager.

    `folder` is where it runs and imports from, the project's own by default.
    """

    def __init__(self, app: str, *arguments: str, folder: Path | None = None, pass_fds: tuple[int, ...] = ()) -> None:
        super().__init__(app, pass_fds=pass_fds)
        self._command = [sys.executable, "-m", "gunicorn", app, "--no-control-socket"]
        if "-k" not in arguments:
            self._command += ["-k", "ferricorn.gunicorn.Worker"]
        if "--bind" not in arguments:
            self._command += ["--bind", "127.0.0.1:0"]
        if folder is not None:
            self._command += ["--chdir", str(folder)]
        self._command += arguments

    def wait_until_running(self) -> GunicornProcess:
        """Until the arbiter listens: who connects now waits for a worker."""
        places = self.wait_for_line(LISTENING)[1].split(",")
        self.addresses = [
            place.removeprefix("unix:") if place.startswith("unix:") else _host_and_port(place) for place in places
        ]
        return self

    def exchange_at(self, address: Address, data: bytes) -> Response:
        """A request at one of several addresses."""
        with Client.connect(address) as client:
            client.send(data)
            return client.response()

    def wait_until_serving(self, workers: int) -> GunicornProcess:
        """Until so many workers in all have begun to serve. A signal that reaches one before it has its own handlers is
        lost, and the arbiter, at a stop, then waits for the whole of its graceful timeout.
        """
        while sum("running on" in line for line in self.lines) < workers:
            self.wait_for_line("running on")
        return self

    def wait_for_worker(self) -> int:
        """The pid of the next worker that is started."""
        return int(self.wait_for_line(BOOTING)[1])


class StartGunicorn(Protocol):
    """Starts a gunicorn process that the fixture ends."""

    def __call__(
        self, app: str, *arguments: str, folder: Path | None = None, pass_fds: tuple[int, ...] = ()
    ) -> GunicornProcess: ...


def _host_and_port(url: str) -> tuple[str, int]:
    host, _, port = re.sub("^https?://", "", url).rpartition(":")
    return host.strip("[]"), int(port)
