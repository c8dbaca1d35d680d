"""The process that worker processes are forked from with --preload: the application imported once, its memory shared.

The supervisor asks for a worker by sending the worker's end of a channel; what it hears is ["forked", pid] and
["exited", pid, status]. No thread and no event loop runs here, so that a fork is safe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import sys
import threading
from typing import Final

from ferricorn import application, logging
from ferricorn.channel import Channel, Word
from ferricorn.errors import EXIT_STARTUP_FAILURE, StartupError
from ferricorn.logging import error_log as log
from ferricorn.loops import loop_factory
from ferricorn.signals import Inbox
from ferricorn.worker_process import begin, run

_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM)


def main(descriptor: int) -> None:
    """The template process. `descriptor`: of its end of the supervisor's channel. Returns in each worker alone."""
    channel, orders, certificates = begin(descriptor)
    try:
        found = application.find(orders.config)
        loop_factory(orders.config.loop)
    except StartupError as error:
        log.error("%s", error, exc_info=error.__cause__)
        sys.exit(EXIT_STARTUP_FAILURE)
    _prepare()
    with Inbox(_SIGNALS) as inbox:
        worker = _fork_as_asked(channel, inbox)
    # From here on this is a worker.
    channel.close()
    # What the import has opened may have been renamed since: a rotation is told to workers alone.
    logging.reopen()
    sys.exit(run(orders, worker, certificates, found))


def _prepare() -> None:
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        log.warning("The import has started threads, which the workers will not have: %s", ", ".join(others))
    # What is here now is never looked at by a collector, so that its pages stay shared.
    gc.collect()
    gc.freeze()


def _fork_as_asked(channel: Channel, inbox: Inbox) -> Channel:
    """Forks until the supervisor has gone. Returns in the workers, with the channel of each."""
    channel.send(Word.READY)
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(inbox, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if signal.SIGTERM in inbox.take():
                sys.exit(0)
            _report_ended(channel)
            if channel.fileno() in ready:
                end = channel.receive_descriptor()
                if end is None:
                    sys.exit(0)
                pid = os.fork()
                if not pid:
                    return Channel(end)
                end.close()
                channel.send(Word.FORKED, pid)


def _report_ended(channel: Channel) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            pid, status = ended
            channel.send(Word.EXITED, pid, os.waitstatus_to_exitcode(status))
