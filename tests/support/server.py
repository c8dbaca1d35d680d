"""A server in a thread of the test's process: quick to start, and its application can be looked into."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, Self

from ferricorn import Config, Server
from tests.support.client import Address, Client, Response
from tests.support.deadline import DEADLINE
from tests.support.transports import Transport

DEFAULTS: dict[str, Any] = {
    "port": 0,
    "lifespan": "off",
    "access_log": False,
    "log_level": "debug",
    # Shorter than a test waits, so that a call which hangs is named in the log.
    "timeout_graceful_shutdown": 5.0,
    # The test and the server share an interpreter lock and maybe a slow machine: that is no news for a log.
    "stall_warning": 0.0,
}


class Log(logging.Handler):
    """Collects what the server logs, and gives its problems (warnings and above) out one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._problems: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if record.levelno >= logging.WARNING:
            self._problems.put(self.text(record))

    @staticmethod
    def text(record: logging.LogRecord) -> str:
        """The message, and the traceback if there is one."""
        return logging.Formatter().format(record)

    def next_problem(self) -> str:
        """The next warning or error with its traceback, waited for."""
        return self._problems.get(timeout=DEADLINE)

    def remaining_problems(self) -> list[str]:
        remaining = []
        while not self._problems.empty():
            remaining.append(self._problems.get())
        return remaining


class RunningServer:
    """Serves `app` on a port of its own from a thread of its own, until `stop`. Its clients speak `transport`."""

    def __init__(self, app: Callable[..., Any], *, transport: Transport = Transport.HTTP1, **options: Any) -> None:
        self.log = Log()
        self.transport = transport
        self.server = Server(Config(app, **(DEFAULTS | transport.options | options)))
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="server")

    def begin(self) -> None:
        """Starts, and does not wait until it serves."""
        logging.getLogger("ferricorn").addHandler(self.log)
        self._thread.start()

    def __enter__(self) -> Self:
        if not self._thread.ident:
            self.begin()
        try:
            asyncio.run(asyncio.wait_for(self.server.wait_started(), DEADLINE))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            logging.getLogger("ferricorn").removeHandler(self.log)

    @property
    def address(self) -> Address:
        return self.addresses[0]

    @property
    def addresses(self) -> list[Address]:
        return [parse_address(address) for address in self.server.addresses]

    @property
    def port(self) -> int:
        """Of the first address, which has to be one of TCP."""
        assert not isinstance(self.address, str)
        return self.address[1]

    def connect(self, **options: Any) -> Client:
        return self.transport.connect(self.address, **options)

    def exchange(self, data: bytes, *, to: bytes = b"GET") -> Response:
        """The response to the request `data`, on a connection of its own."""
        with self.connect() as client:
            client.send(data)
            return client.response(to=to)

    def begin_stop(self) -> None:
        """What a signal does: returns at once."""
        self.server.should_exit = True

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the server does not stop"

    def ends_within(self, seconds: float) -> bool:
        """Whether it has stopped, looked at for so long."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        self.begin_stop()
        self.join()

    def expect_problem(self, *fragments: str) -> None:
        """Waits for the next warning or error of the log; each of `fragments` has to be in it."""
        problem = self.log.next_problem()
        for fragment in fragments:
            assert fragment in problem, problem

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as failure:
            self.failure = failure


class Serve(Protocol):
    """Starts a server that the fixture stops."""

    def __call__(self, app: Callable[..., Any], **options: Any) -> RunningServer: ...


def parse_address(address: str) -> Address:
    """An address in the syntax of `--bind` as a socket takes it."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
