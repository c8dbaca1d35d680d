"""One server process: its start, what it says, what it weighs, its end."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO

COMMAND_VARIABLE = "FERRICORN_TEST_SERVER"
"""Names another server to run the suite on, with options: a module that has uvicorn's command line."""
DEFAULT_COMMAND = "ferricorn"
START_SECONDS = 30.0
STOP_SECONDS = 15.0
LOG_SECONDS = 10.0
HERE = Path(__file__).parent

_RUNNING = re.compile(r"running on (http://127\.0\.0\.1:\d+)", re.IGNORECASE)
_DELIBERATE = "deliberate failure"
_LINKS = ("was the direct cause of the following exception", "another exception occurred")
_NEVER = ("never retrieved", "was never awaited", "Exception ignored in", "Task was destroyed", "panicked at")
"""What a log may not say: signs of an exception that reached nobody."""


class Server:
    """A running server; made by `running`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.url = ""
        self._process = process
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._started: Future[str] = Future()
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read_log, args=(process.stdout,), daemon=True)
        self._reader.start()

    @property
    def stopped(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        """All of standard output and standard error up to now."""
        return "".join(self._lines)

    def wait_logged(self, text: str) -> None:
        """Waits for a line that has `text`. Raises AssertionError, with the log, if none comes."""
        with self._grown:
            assert self._grown.wait_for(lambda: text in self.log, LOG_SECONDS), f"no {text!r} in:\n{self.log}"

    @property
    def resident_bytes(self) -> int:
        """The memory of the process that is in RAM now."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())[0])
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._process.pid)], check=True, capture_output=True, text=True
        )
        return 1024 * int(told.stdout)

    def wait_started(self) -> None:
        """Waits for the start-up line and takes the port from it. Raises RuntimeError, with the log, if none comes."""
        try:
            self.url = self._started.result(START_SECONDS)
        except (TimeoutError, EOFError) as error:
            raise RuntimeError(f"the server did not start:\n{self.log}") from error

    def stop(self) -> int:
        """Ends the process as an operator does and returns its exit status; idempotent. Raises TimeoutExpired."""
        if not self.stopped:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        return status

    def kill(self) -> None:
        """Leaves no process behind, whatever went wrong."""
        if not self.stopped:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            with self._grown:
                self._lines.append(line)
                self._grown.notify_all()
            found = _RUNNING.search(line)
            if found and not self._started.done():
                self._started.set_result(found[1])
        if not self._started.done():
            self._started.set_exception(EOFError("the log ended"))


def command(target: str, *options: str) -> list[str]:
    """The command line that serves `target` ("module:attribute") on a free port of 127.0.0.1."""
    words = shlex.split(os.environ.get(COMMAND_VARIABLE) or DEFAULT_COMMAND)
    return [sys.executable, "-m", *words, target, "--host", "127.0.0.1", "--port", "0", *options]


def expected_status() -> int:
    """The exit status after SIGTERM: 0; uvicorn ends itself by the signal that it got."""
    words = shlex.split(os.environ.get(COMMAND_VARIABLE) or DEFAULT_COMMAND)
    return -signal.SIGTERM if words[0] == "uvicorn" else 0


@contextmanager
def running(target: str, files: Path, *options: str) -> Iterator[Server]:
    """A server process for `target`, the applications' files being in `files`; killed at the end at the latest."""
    environment = {name: value for name, value in os.environ.items() if name != COMMAND_VARIABLE}
    environment |= {"CONTRACT_FILES": str(files), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command(target, *options),
        cwd=HERE,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    server = Server(process)
    try:
        server.wait_started()
        yield server
    finally:
        server.kill()


def faults_in(log: str) -> list[str]:
    """The log's tracebacks and lost exceptions, but for those that the contract asks the applications for."""
    unasked = [chain for chain in _exception_chains(log) if _DELIBERATE not in chain]
    return unasked + [line for line in log.splitlines() if any(sign in line for sign in _NEVER)]


def _exception_chains(log: str) -> list[str]:
    """The log from each traceback to the next; those of one chain or of one exception group together."""
    _, *parts = re.split(r"^(.*)Traceback \(most recent call last\)", log, flags=re.MULTILINE)
    chains: list[str] = []
    for before, text in zip(parts[::2], parts[1::2], strict=True):
        if chains and ("|" in before or any(link in chains[-1] for link in _LINKS)):
            chains[-1] = chains[-1] + text
        else:
            chains.append(f"{before}Traceback{text}")
    return chains
