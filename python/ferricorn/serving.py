"""The native worker at work on the running event loop: made live, drained, cut, closed.

Knows no signals and no lifespan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final

from ferricorn._ferricorn import TICK_SECONDS, Board, Listener, TlsContext, Worker
from ferricorn.addresses import expanded
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.interface import Application
from ferricorn.logging import (
    Access,
    Route,
    access_log,
    access_route,
    flush_printed,
    log_accesses,
    write_accesses,
)
from ferricorn.logging import error_log as log
from ferricorn.stalls import LoopThread, log_stall

LOOK_SECONDS: Final = 0.5
"""How often what waits looks around: a signal that comes just before a wait is begun does not end it."""
_BEATS_PER_STALL: Final = 4
"""How often the loop shows that it runs in the time after which it counts as blocked."""
_CUT_SECONDS: Final = 1.0
"""How long cancelled requests may take to end."""
_CLOSE_SECONDS: Final = 5.0
"""How long a WebSocket's client and its application may take to end it after timeout_websocket_drain."""


def bound(config: Config, addresses: Sequence[str] | None = None) -> list[Listener]:
    """The sockets that `config` asks for, or those at `addresses`, listening. Raises StartupError where one fails."""
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(contextlib.closing(bind(address, config)))
            for address in (expanded(config.addresses) if addresses is None else addresses)
        ]
        opened.pop_all()
    return listeners


def redirecting(config: Config) -> list[Listener]:
    """The socket of `redirect_http`, if there is to be one. Raises StartupError."""
    return [bind(config.redirect_address, config, plain=True)] if config.redirect_address is not None else []


@contextlib.contextmanager
def closed_on_error(listeners: Iterable[Listener]) -> Iterator[None]:
    """Closes the listeners where something is raised."""
    try:
        yield
    except BaseException:
        for listener in listeners:
            listener.close()
        raise


@contextlib.contextmanager
def closing(listeners: Sequence[Listener]) -> Iterator[Sequence[Listener]]:
    """Closes the listeners in the end."""
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def bind(address: str, config: Config, *, plain: bool = False) -> Listener:
    """A socket that listens on `address`, never with TLS where it is `plain`. Raises StartupError."""
    mode = config.uds_mode & ~(config.umask or 0)
    try:
        return Listener.bind(address, backlog=config.backlog, mode=mode, plain=plain)
    except OSError as error:
        raise StartupError(f"Cannot listen on {address}: {(error.strerror or str(error)).lower()}.") from None
    except ValueError as error:
        raise StartupError(f"Cannot listen on {address}: {error}.") from None


class Serving:
    """Serves `application` on `listeners` from when it is made until `close`; counts in this row of `board`.

    With `tls`, https is spoken on all but the plain ones.

    `limit_reached` is called with the limit, once, when there were so many requests as limit_max_requests says, its
    jitter added: the worker goes on serving. `listeners_closed` is called once a drain has closed them.
    """

    def __init__(  # noqa: PLR0913 (keywords, each named where it is given)
        self,
        application: Application,
        config: Config,
        listeners: Sequence[Listener],
        state: dict[str, Any],
        *,
        limit_reached: Callable[[int], None] = lambda _: None,
        listeners_closed: Callable[[], None] = lambda: None,
        board: Board | None = None,
        row: int = 0,
        tls: TlsContext | None = None,
    ) -> None:
        max_requests = _with_jitter(config)
        self._beats_per_tick = _beats_per_tick(_stall_warning(config))
        self._beats = 0
        self._drained = asyncio.Event()
        self._listeners = listeners
        self._listeners_closed = listeners_closed
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(
            application.call,
            loop=self._loop,
            listeners=listeners,
            state=state,
            asgi_version=application.version,
            options=config.native_options()
            | {
                "access_log": _wants_access_log(config),
                "limit_max_requests": max_requests,
                "stall_warning": _stall_warning(config),
            },
            hooks=Reports(self._drained.set, lambda: limit_reached(max_requests), LoopThread(self._loop)),
            board=board,
            row=row,
            beats_per_tick=self._beats_per_tick,
            tls=tls,
        )
        try:
            self._loop.add_reader(self._worker.fileno(), self._worker.poll)
        except NotImplementedError:
            self._worker.close()
            raise StartupError(f"The event loop {self._loop!r} cannot watch file descriptors.") from None
        self._timer = self._loop.call_later(TICK_SECONDS / self._beats_per_tick, self._beat)

    def _beat(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS / self._beats_per_tick, self._beat)
        self._beats += 1
        if self._beats % self._beats_per_tick:
            self._worker.beat()
        else:
            self._worker.tick()

    async def drain(self, timeout: float, hurry: asyncio.Event, *, patient: bool = False) -> bool:
        """Stops accepting and lets what runs finish, for `timeout` seconds or until `hurry`. Whether all did finish.

        WebSockets go on for timeout_websocket_drain, also where that is longer. `patient` is for a process that another
        one replaces: within `timeout`, idle connections stay for as long as ever, and are served once more. `hasten`
        ends that.
        """
        self._worker.drain(patient=patient)
        # The worker has handles of its own: while one is left open, clients go on being queued.
        for listener in self._listeners:
            listener.close()
        self._listeners_closed()
        if not self._drained.is_set():
            log.info("Waiting for connections to close. (CTRL+C to force quit)")
            await _for(timeout, ends_before(self._drained.wait(), hurry))
            if patient:
                # Connections that only idled are nothing that was cut.
                self.hasten()
        finished = True
        if self._config.timeout_websocket_drain and not hurry.is_set() and self._worker.websockets:
            finished = self._finish_requests(timeout)
            # Their connections close as well. Requests alone that do not end when cancelled are not waited for.
            ended = self._drained.wait() if finished else self._websockets_ended()
            await _for(longest_drain(self._config, timeout) - timeout, ends_before(ended, hurry))
        return finished and self._drained.is_set()

    def _finish_requests(self, timeout: float) -> bool:
        """Cancels the requests that WebSockets outlive. Whether there were none."""
        cancelled = self._worker.cancel(websockets=False)
        if cancelled:
            log.error("Cancelled %d request(s): not finished %g seconds after the stop.", cancelled, timeout)
        return not cancelled

    async def _websockets_ended(self) -> None:
        while self._worker.websockets and not self._drained.is_set():
            await _for(LOOK_SECONDS, self._drained.wait())

    def set_healthy(self, healthy: bool) -> None:
        """What the health path says from now on, until a drain begins."""
        self._worker.set_healthy(healthy)

    def hasten(self) -> None:
        """Closes the connections that idle: those that a patient drain has left, or all where nothing was drained."""
        self._worker.drain()

    async def cut(self, reason: str) -> None:
        """Cancels the requests and WebSockets that still run, and gives them a moment to end."""
        # Where nothing was drained before, idle connections would be waited for.
        self.hasten()
        connections = self._worker.connections
        cancelled = self._worker.cancel()
        if cancelled or connections:
            log.error("Cancelled %d request(s) on %d connection(s): %s.", cancelled, connections, reason)
        await _for(_CUT_SECONDS, self._drained.wait())

    def close(self) -> None:
        """Closes every connection. Idempotent."""
        self._timer.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._worker.fileno())
        self._worker.close()


def longest_drain(config: Config, timeout: float) -> float:
    """How many seconds `Serving.drain` with this `timeout` may take: WebSockets may have longer."""
    drain = config.timeout_websocket_drain
    return max(timeout, drain + _CLOSE_SECONDS) if drain else timeout


def _with_jitter(config: Config) -> int:
    """After how many requests this worker is done; 0: never."""
    limit = config.limit_max_requests
    return limit and limit + random.randint(0, config.limit_max_requests_jitter)


def _wants_access_log(config: Config) -> bool:
    return config.access_log and access_log.isEnabledFor(logging.INFO)


def _stall_warning(config: Config) -> float:
    return config.stall_warning if log.isEnabledFor(logging.WARNING) else 0.0


def _beats_per_tick(stall_warning: float) -> int:
    """At most 100: below 20 ms, what blocks a loop cannot be told from a busy machine."""
    return min(math.ceil(_BEATS_PER_STALL * TICK_SECONDS / stall_warning), 100) if stall_warning else 1


async def _for(seconds: float, work: Coroutine[Any, Any, Any]) -> None:
    """Runs `work`, for so long at the most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


async def ends_before(work: Coroutine[Any, Any, Any], event: asyncio.Event) -> bool:
    """Runs `work` until it ends, or cancels it when `event` is set. Whether it ended by itself; its error is raised."""
    if event.is_set():
        work.close()
        return False
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        while not (task.done() or waiting.done()):
            await asyncio.wait({task, waiting}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


class Reports:
    """What the native worker tells, put into the log: its `hooks`."""

    def __init__(self, drained: Callable[[], None], limit_reached: Callable[[], None], thread: LoopThread) -> None:
        self.drained = drained
        self.limit_reached = limit_reached
        self.stack = thread.stack
        self.stalled = log_stall

    def application_failed(self, exception: BaseException | None, problem: str) -> None:
        log.error("%s", problem, exc_info=exception)

    def peer_failed(self, problem: str) -> None:
        log.warning("%s", problem)

    def file_failed(self, problem: str) -> None:
        log.error("%s", problem)

    def access_route(self) -> Route:
        return access_route()

    def access_log_begins(self) -> None:
        flush_printed()

    def accessed(self, accesses: Sequence[Access], lines: Sequence[str] | None) -> None:
        log_accesses(accesses, lines)

    def access_text(self, text: str) -> None:
        write_accesses(text)

    def access_log_failed(self, problem: str) -> None:
        log.error("%s", problem)
