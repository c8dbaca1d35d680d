"""A server that is all of its process: the command's own, or a worker's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from ferricorn import logging, process
from ferricorn._ferricorn import Listener
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.lifespan import Lifespan
from ferricorn.logging import error_log as log
from ferricorn.server import Server
from ferricorn.serving import Serving
from ferricorn.signals import unwinding
from ferricorn.systemd import Notifier

EXIT_INTERRUPTED: Final = 130
"""What a shell reports for a program that SIGINT has ended."""
_STDIN: Final = 0
_LAST_SECONDS: Final = 2.0
"""How long threads that requests left behind may keep the process after everything else has ended."""


class ProcessServer(Server):
    """A server whose process ends with it, and with it the threads that requests left behind."""

    @property
    def status(self) -> int:
        """The process's exit status."""
        return EXIT_INTERRUPTED if self.force_exit else 0

    def _gave_up(self) -> None:
        timer = threading.Timer(_LAST_SECONDS, _exit_now, (self.status,))
        timer.daemon = True
        timer.start()


class CommandServer(ProcessServer):
    """The server of the command, where one process does everything: it speaks to systemd."""

    discovered = False
    """Whether the application was looked for, so that the log has to say which one it is."""

    @contextlib.contextmanager
    def _process(self) -> Iterator[None]:
        if self.discovered:
            say_discovered(self.config)
        self._notifier = Notifier.take(os.environ)
        # By a handler of Python's: one of the loop's would not be there before the loop.
        signal.signal(signal.SIGUSR1, lambda *_: logging.reopen())
        if self.config.is_ssl:
            self._has_terminal = os.isatty(_STDIN)
            signal.signal(signal.SIGHUP, lambda *_: self._on_hangup())
        try:
            with unwinding(), process.prepared(self.config) as listeners:
                self._listeners = list(listeners.values())
                self._read_certificates()
                process.become(self.config)
                self._notifier.status("Starting the application")
                yield
        except StartupError as error:
            self._notifier.status(str(error))
            raise

    def _on_hangup(self) -> None:
        """SIGHUP: reads the certificates again. It also comes when the terminal is gone: then nobody else ends this."""
        if self._has_terminal and not os.isatty(_STDIN):
            self.should_exit = True
        elif self._watch is not None:
            self._watch.reload()

    def _announce(self, listeners: Sequence[Listener]) -> None:
        super()._announce(listeners)
        self._notifier.ready(f"Serving on {', '.join(self.addresses)}")
        if self._notifier.interval:
            self._turned: set[Server] = set(self._others)
            """Further servers whose loops have turned since the watchdog was fed."""
            self._feed_watchdog()

    def _feed_watchdog(self) -> None:
        """From the event loops, so that one that is blocked goes hungry."""
        waits = len(self._turned) < len(self._others)
        asyncio.get_running_loop().call_later(self._notifier.interval / (8 if waits else 1), self._feed_watchdog)
        if not waits:
            self._notifier.alive()
            self._turned.clear()
            for other in self._others:
                other.ping(functools.partial(self._turned.add, other))

    async def _finish(self, serving: Serving | None, lifespan: Lifespan, patient: bool) -> None:
        self._notifier.stopping("Shutting down")
        await super()._finish(serving, lifespan, patient)


def say_discovered(config: Config) -> None:
    """Logs which application was found."""
    log.info("No application is named: serving %s", config.app, extra={"bold": config.app})


def _exit_now(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        # One may be closed, or not there at all; the worker's own lines were written when it was closed.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
