"""A worker process: a server that is told by the supervisor, over a channel, when to stop.

`python -c` of a line in spawning.py that calls `main` is how it comes to life; with --preload, template.py forks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferricorn import logging, tls
from ferricorn._ferricorn import Board, Listener, __version__
from ferricorn.channel import Channel, Word
from ferricorn.config import Config
from ferricorn.errors import EXIT_STARTUP_FAILURE, StartupError
from ferricorn.logging import error_log as log
from ferricorn.process import become
from ferricorn.process_server import ProcessServer
from ferricorn.tls import Certificates

_UPGRADED: Final = (
    "ferricorn {} was upgraded to {} while it runs: SIGUSR2 to the parent process hands over to the new version\n"
)
_FORWARDED: Final = (signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker has to know to begin."""

    config: Config
    listeners: Mapping[int, bool]
    """Descriptors of sockets that listen, and whether each never speaks TLS."""
    board: int
    """Descriptor of the memory in which workers count."""
    path: Sequence[str]
    """sys.path, in effect from the first import."""
    ticket_secret: bytes
    """With it, every worker goes on with the TLS sessions of the others."""


def main(descriptor: int) -> None:
    """The process of a worker that was started anew. `descriptor`: of its end of the channel."""
    channel, orders, certificates = begin(descriptor)
    sys.exit(run(orders, channel, certificates))


def begin(descriptor: int) -> tuple[Channel, Orders, Certificates | None]:
    """What a new process of the server does first. `descriptor`: of its end of the supervisor's channel.

    Ends the process with status 3 where it cannot be what the supervisor wants.
    """
    ignore_forwarded()
    channel = Channel(socket.socket(fileno=descriptor))
    version = channel.receive_object()
    if version != __version__:
        # Nothing else that it sends can be relied on.
        sys.stderr.write(_UPGRADED.format(version, __version__))
        sys.exit(EXIT_STARTUP_FAILURE)
    orders: Orders = channel.receive_object()
    logging.configure(orders.config)
    try:
        # Their keys may be for root alone.
        certificates = tls.read(orders.config, orders.ticket_secret)
        become(orders.config)
    except StartupError as error:
        log.error("%s", error)
        sys.exit(EXIT_STARTUP_FAILURE)
    return channel, orders, certificates


def run(orders: Orders, channel: Channel, certificates: Certificates | None, found: object = None) -> int:
    """Serves until the supervisor says otherwise, `found` where it has been imported already. The exit status."""
    ignore_forwarded()
    board, rows = Board.attach(orders.board), channel.receive_object()
    os.close(orders.board)
    listeners = [Listener.bind(f"fd://{descriptor}", plain=plain) for descriptor, plain in orders.listeners.items()]
    server = WorkerServer(orders.config, listeners, channel, found)
    server.certificates = certificates
    if rows:
        server.place = (board, rows)
    signal.signal(signal.SIGUSR1, lambda *_: logging.reopen())
    server.run()
    return server.status


def ignore_forwarded() -> None:
    """Leaves what a terminal sends to all processes of a command to the supervisor."""
    # By a handler that does nothing: SIG_IGN would be inherited by the programs that the application starts.
    for number in _FORWARDED:
        signal.signal(number, lambda *_: None)


class WorkerServer(ProcessServer):
    """A server that serves with others, on sockets that are theirs too."""

    def __init__(self, config: Config, listeners: Sequence[Listener], channel: Channel, found: object) -> None:
        super().__init__(config, listeners)
        self.place: tuple[Board | None, Sequence[int]] = (None, ())
        """Where it counts, and the rows of its threads there."""
        self.certificates: Certificates | None = None
        self._channel = channel
        self._preloaded = found

    def _limit_reached(self, limit: int) -> None:
        self._channel.send(Word.RETIRE, f"has served {limit} requests")

    def _accepts_no_more(self) -> None:
        self._channel.send(Word.CLOSED)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[tuple[Board | None, Sequence[int]]]:
        # The supervisor answers for it.
        yield self.place

    def _read_certificates(self) -> None:
        self._certificates = self.certificates

    def _find(self) -> object:
        return super()._find() if self._preloaded is None else self._preloaded

    async def _serve(self, found: object) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._hear)
        try:
            await super()._serve(found)
        finally:
            loop.remove_reader(self._channel.fileno())

    def _say_where(self, listeners: Sequence[Listener]) -> None:  # noqa: ARG002 (the supervisor says it)
        self._channel.send(Word.READY)

    def _hear(self) -> None:
        messages = self._channel.receive()
        if messages is None:
            # Without a supervisor nobody would ever stop this process.
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self.should_exit = True
        for message in messages or ():
            self._obey(message)

    def _obey(self, message: list[Any]) -> None:
        match message:
            case [Word.STOP, patient, timeout]:
                self._end(patient, timeout)
            case [Word.HURRY]:
                super()._on_signal(signal.SIGQUIT)
            case [Word.CUT]:
                self.should_exit = True
                self.force_exit = True
            case [Word.UNHEALTHY]:
                self._say_unhealthy()
            case [Word.REOPEN]:
                logging.reopen()

    def _warn_of_lock(self) -> None:
        """The supervisor has."""

    def _delays(self) -> bool:
        """Never: the supervisor does, or the others go on serving."""
        return False

    def _end(self, patient: bool, timeout: float) -> None:
        self.drains_patiently = patient
        self.timeout_graceful_shutdown = timeout
        if self.should_exit and not patient:
            self._hasten()
        self.should_exit = True

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGINT:
            return
        if not self.should_exit:
            # Somebody meant this process alone: others have to take over.
            self._channel.send(Word.LEAVES)
            self.drains_patiently = True
        super()._on_signal(number)
