"""Further event loops of a process, each in a thread of its own: the option `threads`.

The server that has the process, its lead, runs in the first thread and tells the others. One application object serves
in all of them; its lifespan is called once in each loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from ferricorn._ferricorn import Board, Listener
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.interface import Application
from ferricorn.logging import error_log as log
from ferricorn.loops import LoopFactory
from ferricorn.server import Server
from ferricorn.tls import Certificates

_NEVER_STARTED: Final = "A thread was stopped before it served."


def warn_of_lock(config: Config) -> None:
    """Logs that threads gain nothing where the interpreter has its lock."""
    if config.thread_count > 1 and has_lock():
        log.warning("--threads needs a free-threaded Python to be of use; --workers uses several CPUs")


def has_lock() -> bool:
    """Whether one thread at a time runs Python code: always so before Python 3.13."""
    enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or enabled()


class ThreadServer(Server):
    """Serves on an event loop of its own in a thread of its own. Knows no signals; `follow` and the like stop it.

    `on_limit`, `on_closed` and `on_end` are called in its thread: when it has served limit_max_requests, when it
    accepts no more, and when it has ended.
    """

    def __init__(  # noqa: PLR0913 (keywords, each named where it is given)
        self,
        config: Config,
        listeners: Sequence[Listener],
        application: Application,
        *,
        board: Board | None,
        row: int,
        on_limit: Callable[[int], None],
        on_closed: Callable[[], None],
        on_end: Callable[[], None],
        certificates: Certificates | None,
    ) -> None:
        super().__init__(config, listeners)
        self._certificates = certificates
        self._application = application
        self._board, self._rows = board, (row,)
        self._on_limit = on_limit
        self._on_closed = on_closed
        self._on_end = on_end
        self.gave_up = False
        """Whether it cut requests, whose threads may run on."""
        self.served: concurrent.futures.Future[None] = concurrent.futures.Future()
        """Done when it has shut the application down: the loop is then about to be closed."""
        self.ended: concurrent.futures.Future[BaseException | None] = concurrent.futures.Future()
        """Done when its loop is closed; with what was raised."""
        for future in (self.served, self.ended):
            future.set_running_or_notify_cancel()

    # --- in the lead's thread

    def start(self, factory: LoopFactory) -> None:
        """Begins. `wait_started` says when it serves, or raises what kept it from that."""
        thread = threading.Thread(target=self._work, args=[factory], name="ferricorn loop", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._end(StartupError(f"No thread can be had: {error}."))

    def follow(self, lead: Server) -> None:
        """Stops as `lead` does, if it does."""
        self.drains_patiently = lead.drains_patiently
        self.timeout_graceful_shutdown = lead.timeout_graceful_shutdown
        self.should_exit = lead.should_exit
        self.force_exit = lead.force_exit

    def hurry(self) -> None:
        """Waits for requests no longer, once it stops."""
        self._hurry_up()

    def hasten(self) -> None:
        """Closes the connections that idle."""
        self._call_soon(self._hasten)

    def say_unhealthy(self) -> None:
        """Has the health path say that the server is going to stop."""
        self._call_soon(self._say_unhealthy)

    def ping(self, callback: Callable[[], None]) -> None:
        """Has its loop call this, when it turns."""
        self._call_soon(callback)

    # --- in its own

    def _work(self, factory: LoopFactory) -> None:
        error: BaseException | None = None
        try:
            self._run_here(self._application, factory)
        except BaseException as raised:
            error = raised
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._settle(error or StartupError(_NEVER_STARTED))
        if not self.served.done():
            self.served.set_result(None)
        self.ended.set_result(error)
        self._on_end()

    async def _serve(self, found: object) -> None:  # noqa: ARG002 (it is made already)
        self._begin_loop()
        try:
            await self._live(self._application, self._listeners or ())
        finally:
            self.served.set_result(None)

    async def _has_others(self, adapted: Application, listeners: Sequence[Listener]) -> bool:  # noqa: ARG002
        return True

    def _announce(self, listeners: Sequence[Listener]) -> None:
        self.addresses = tuple(listener.address for listener in listeners if not listener.plain)
        self.ready.set()
        self._settle(None)

    def _limit_reached(self, limit: int) -> None:
        self._on_limit(limit)

    def _accepts_no_more(self) -> None:
        self._on_closed()

    def _gave_up(self) -> None:
        self.gave_up = True

    def _say(self, message: str, *arguments: object) -> None:
        """The lead says it for all."""


async def served(servers: Sequence[ThreadServer]) -> None:
    """Waits until all have shut the application down."""
    await _all_done([server.served for server in servers])


async def ended(servers: Sequence[ThreadServer]) -> None:
    """Waits until all have ended. Raises what ended one that served."""
    await _all_done([server.ended for server in servers])
    for server in servers:
        error = server.ended.result()
        if error is not None and server.started:
            raise error


async def _all_done(futures: Sequence[concurrent.futures.Future[Any]]) -> None:
    if futures:
        await asyncio.wait([asyncio.wrap_future(future) for future in futures])
