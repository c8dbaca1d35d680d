"""What tests ask worker processes, and what they wait for."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGTTOU
from typing import NamedTuple

from tests.support.client import Client, request
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess

APP = "tests.support.worker_apps:app"
BODY = b"last"
POST = request(b"POST", b"/body", [(b"content-length", b"4")])
"""A request whose body is to follow: it runs until the test has sent `BODY`."""

_LOOK = 0.02
"""Seconds between two looks at what is waited for."""


class Answer(NamedTuple):
    """Which worker answered, and with which code."""

    version: str
    pid: int

    @classmethod
    def parse(cls, body: bytes) -> Answer:
        version, pid = body.decode().split()
        return cls(version, int(pid))


def ask(server: ServerProcess, target: bytes = b"/") -> Answer:
    """On a connection of its own."""
    return Answer.parse(server.exchange(request(target=target)).body)


def ask_on(client: Client, target: bytes = b"/") -> tuple[Answer, bytes | None]:
    """On this connection; with the field `connection` of the response."""
    client.send(request(target=target))
    response = client.response()
    return Answer.parse(response.body), response.header(b"connection")


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Looks again and again. Fails with `what`."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(_LOOK)


def wait_for_answer(server: ServerProcess, is_right: Callable[[Answer], bool]) -> Answer:
    """The first that is right. None may fail."""
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers.append(ask(server))
        return is_right(answers[-1])

    wait_until(is_answered, f"no answer is right: {answers[-5:]}")
    return answers[-1]


def wait_for_workers(server: ServerProcess, count: int) -> set[int]:
    """Until so many have answered: who they are."""
    seen: set[int] = set()

    def is_seen() -> bool:
        seen.add(ask(server).pid)
        return len(seen) >= count

    wait_until(is_seen, f"only these answer: {seen}")
    assert len(seen) == count
    return seen


def ends(pid: int) -> bool:
    """Whether the process `pid` ends, or has ended already. Waits for it (Linux)."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], DEADLINE)[0])
    finally:
        os.close(process)


def wait_for_a_look(server: ServerProcess) -> None:
    """Until the supervisor of one worker has acted on all that it had been told before."""
    for _ in range(2):
        # There is to be one at least: nothing changes, and the second one comes to a later round of its loop.
        server.send_signal(SIGTTOU)
        server.wait_for_line("Now running 1 worker process")


@contextmanager
def held_request(server: ServerProcess) -> Iterator[Client]:
    """A connection with a request that runs: `finish` ends it."""
    with server.connect() as client:
        client.send(POST)
        server.wait_for_line("body begins")
        yield client


def finish(client: Client) -> tuple[Answer, bytes | None]:
    """Sends the rest of a held request: its answer, and the field `connection`."""
    client.send(BODY)
    response = client.response()
    assert response.status == 200
    return Answer.parse(response.body), response.header(b"connection")


class Code:
    """A module of an application that a test changes: `web:app` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "web.py"
        self.arguments = ("web:app", "--app-dir", str(folder))
        # Two changes in one second may leave files of the same size and time.
        self.environment = {"PYTHONDONTWRITEBYTECODE": "1"}
        self.is_version("one")

    def is_version(self, version: str, first: str = "") -> None:
        """The code answers with `version`, after it has run `first`."""
        self.write(f"from tests.support.worker_apps import Answering\n{first}\napp = Answering({version!r})\n")

    def write(self, text: str) -> None:
        """In one step: nobody reads a half."""
        new = self.folder / "web.new"
        new.write_text(text)
        new.replace(self.path)


@contextmanager
def successor(server: ServerProcess) -> Iterator[int]:
    """The process that takes over from `server` after a SIGUSR2 that was sent. It is ended with the context."""
    pid = int(server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, 15)
        assert ends(pid)
