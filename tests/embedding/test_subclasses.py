"""Subclasses of `Server` that programs have written for uvicorn's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from ferricorn import Config, Server
from tests.support.client import Client
from tests.support.deadline import DEADLINE
from tests.support.embedded import QUIET, App, body_from, run_async, when_ready
from tests.support.server import parse_address


class InThread(Server):
    """The way to have a server in tests that is passed around most."""

    def install_signal_handlers(self) -> None:
        """Of older uvicorns; nobody calls it there any more either."""

    @contextlib.contextmanager
    def run_in_thread(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            while not self.started:
                thread.join(0.001)
                assert thread.is_alive()
            yield
        finally:
            self.should_exit = True
            thread.join(DEADLINE)
        assert not thread.is_alive()


def test_a_server_that_runs_in_a_thread(loop: str) -> None:
    server = InThread(Config(App(), loop=loop, **QUIET))
    with server.run_in_thread():
        assert body_from(server) == b"ok"
    with pytest.raises(ConnectionError):
        Client.connect(parse_address(server.addresses[0]))


class Noting(Server):
    """Does something of its own when a signal comes, before the server stops."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.seen: list[tuple[int, bool]] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.seen.append((sig, self.should_exit))
        super().handle_exit(sig, frame)


@pytest.mark.parametrize("way", ["run", "serve"])
def test_handle_exit_may_be_extended(loop: str, way: str) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    server = Noting(Config(App(), loop=loop, **QUIET))
    try:
        with when_ready(server, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            server.run() if way == "run" else run_async(loop, server.serve())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert server.seen == [(signal.SIGTERM, False)]
    assert server.should_exit


class Deaf(Server):
    """Leaves signals to the program around it."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.parametrize("way", ["run", "serve"])
def test_signals_may_be_left_to_the_program(loop: str, way: str) -> None:
    server = Deaf(Config(App(), loop=loop, **QUIET))
    seen: list[int] = []

    def note_and_stop(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, note_and_stop)
    try:
        with when_ready(server, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            server.run() if way == "run" else run_async(loop, server.serve())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize("name", ["startup", "shutdown", "main_loop", "on_tick"])
def test_what_would_never_be_called_is_refused(name: str) -> None:
    async def overridden(self: Server) -> None: ...

    with pytest.raises(TypeError) as refusal:
        type("Mine", (Server,), {name: overridden})
    assert str(refusal.value).startswith(f"Mine.{name} would never be called by ferricorn.Server: ")


def test_the_page_names_what_a_server_has() -> None:
    page = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()
    names = re.findall(r"^\| `(?:await )?(\w+)", page, re.MULTILINE)
    server = Server(Config(App(), **QUIET))
    public = {name for name in dir(server) if not name.startswith("_")}
    assert len(names) > 8
    assert set(names) <= public
