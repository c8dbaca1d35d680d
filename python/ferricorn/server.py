"""One server: from the options to a running application, and back to the last closed connection.

    find the application > bind > lifespan startup > serve ... stop > drain > lifespan shutdown

`Server.run` makes an event loop for it, `Server.serve` uses the one that runs. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final

from ferricorn import application, logging, metrics, process, tls
from ferricorn._ferricorn import Board, Listener
from ferricorn.config import Config
from ferricorn.errors import EXIT_STARTUP_FAILURE, StartupError
from ferricorn.interface import Application
from ferricorn.lifespan import Lifespan
from ferricorn.logging import error_log as log
from ferricorn.loops import LoopFactory, loop_factory
from ferricorn.serving import LOOK_SECONDS, Serving, bound, closed_on_error, closing, ends_before, redirecting
from ferricorn.signals import Repeat, captured
from ferricorn.sockets import ListeningServer, adopted
from ferricorn.tls import Certificates, Watch
from ferricorn.tracing import traced

if TYPE_CHECKING:
    from ferricorn.threads import ThreadServer

_NEVER_CALLED: Final = {
    "startup": "put it into the application's lifespan, or after wait_started()",
    "shutdown": "put it into the application's lifespan, or after serve()",
    "main_loop": "let a task of your own run beside serve()",
    "on_tick": "let a task of your own run beside serve()",
}
"""Methods of uvicorn's Server that are its inner works, each with another place for what a subclass adds to them."""


class Server:
    """Serves one application once: `Server(Config("main:app")).run()`, or `await` its `serve()` in an event loop.

    `should_exit = True` stops it, from any thread; `ready.wait(timeout)` waits until it serves, from any other thread.
    """

    def __init_subclass__(cls) -> None:
        """Raises TypeError for a subclass that was written for uvicorn's and would not be called."""
        super().__init_subclass__()
        for name in _NEVER_CALLED.keys() & vars(cls).keys():
            raise TypeError(f"{cls.__name__}.{name} would never be called by ferricorn.Server: {_NEVER_CALLED[name]}")

    def __init__(self, config: Config, listeners: Sequence[Listener] | None = None) -> None:
        """`listeners`: sockets that listen already, in place of those that `config` names; the server closes them."""
        self.config = config
        self.timeout_graceful_shutdown = config.timeout_graceful_shutdown
        """Seconds that running requests get at the stop; may be changed until then."""
        self.drains_patiently = False
        """Whether the stop leaves connections that idle open for a while, since other processes go on serving."""
        self._listeners = listeners
        self._sockets: Sequence[socket.socket] | None = None
        self._board: Board | None = None
        self._rows: Sequence[int] = ()
        self._others: Sequence[ThreadServer] = ()
        self._accepting = 1
        """How many loops accept, or will."""
        self._repeat = Repeat.HANDLED
        self._ticket_secret: bytes | None = None
        self._certificates: Certificates | None = None
        self._watch: Watch | None = None
        self.addresses: tuple[str, ...] = ()
        """Where it listens, once started, in the syntax of `bind`, with the real port: ("127.0.0.1:8000",)."""
        self.ready = threading.Event()
        """Set when the server serves. Never set when it could not start: wait with a timeout."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._force = asyncio.Event()
        self._serving: Serving | None = None
        self._delaying = False
        self._should_exit = False
        self._force_exit = False
        self._used = False
        self._owns_process = False
        self._outcome: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A future that runs cannot be cancelled: one waiter that is cancelled must not take the others with it.
        self._outcome.set_running_or_notify_cancel()

    def __reduce__(self) -> tuple[type[Server], tuple[Config]]:
        """So that multiprocessing can have `server.run` for the target of a process."""
        return type(self), (self.config,)

    @property
    def started(self) -> bool:
        """Whether the server has begun to serve. Stays True when it has stopped."""
        return self.ready.is_set()

    @property
    def servers(self) -> list[ListeningServer]:
        """As in uvicorn: `server.servers[0].sockets[0].getsockname()`. `addresses` says it in one word."""
        return [ListeningServer(self.addresses)] if self.addresses else []

    @property
    def should_exit(self) -> bool:
        """Set it to True to stop the server; running requests may finish, within timeout_graceful_shutdown."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        self._wake(self._stop, value)
        self._tell_others()

    @property
    def force_exit(self) -> bool:
        """Set it to True, after should_exit, to wait no longer: requests are cut, lifespan shutdown is left out."""
        return self._force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_exit = value
        self._wake(self._hurry, value)
        self._wake(self._force, value)
        self._tell_others()

    async def wait_started(self) -> None:
        """Returns when the server serves, in any event loop. Raises StartupError when the server cannot start."""
        await asyncio.wrap_future(self._outcome)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        """Called for each SIGINT, SIGTERM and SIGQUIT, in the main thread: begins the stop. A subclass may do more."""
        self._on_signal(sig)

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        """Around serving: `handle_exit` gets the signals. A subclass leaves them alone by returning a nullcontext."""
        return captured(lambda number: self.handle_exit(number, None), self._repeat)

    def run(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serves on an event loop of its own until should_exit, SIGINT or SIGTERM.

        `sockets` are bound ones, to listen on in place of what the configuration names; they are closed when the server
        stops accepting. Raises SystemExit(3) when it cannot start. Works in any thread; signals are seen in the main
        thread. Where an event loop runs already (a notebook), the server gets a thread of its own, and this call waits
        for it as well.
        """
        self._sockets = sockets
        try:
            with self._startup():
                found = self._find()
                factory = loop_factory(self.config.loop)
                if _in_event_loop():
                    self._run_in_thread(found, factory)
                else:
                    with self.capture_signals():
                        self._run_here(found, factory)
        except StartupError:
            sys.exit(EXIT_STARTUP_FAILURE)

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serves on the running event loop until should_exit, SIGINT or SIGTERM; the signals are then raised again.

        `sockets` as in `run`. Raises StartupError when it cannot start. Cancelled, it cancels what runs and shuts the
        application down.
        """
        self._sockets, self._repeat = sockets, Repeat.ALL
        with self._startup(), self.capture_signals():
            await self._serve(self._find())

    def _find(self) -> object:
        return application.find(self.config)

    @contextlib.contextmanager
    def _startup(self) -> Iterator[None]:
        """Around everything: begins with the log, and tells those who wait when the server did not start."""
        if self._used:
            raise RuntimeError("a Server serves once; make another one")
        self._used = True
        try:
            logging.configure(self.config)
            with self._process(), tls.watched(self._certificates, self.config) as self._watch:
                yield
        except BaseException as error:
            if isinstance(error, StartupError):
                log.error("%s", error, exc_info=error.__cause__)
            self._settle(error)
            raise
        self._settle(StartupError("The server was stopped before it had started."))

    @contextlib.contextmanager
    def _process(self) -> Iterator[None]:
        """What is done to the process, around everything. Here nothing is: it belongs to the program around."""
        if self._listeners is None:
            process.refuse(self.config)
        self._read_certificates()
        yield

    def _read_certificates(self) -> None:
        """Before anything changes that reading them may need. Raises StartupError."""
        self._certificates = tls.read(self.config, self._ticket_secret)

    def _settle(self, problem: BaseException | None) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(problem) if problem else self._outcome.set_result(None)

    def _run_in_thread(self, found: object, factory: LoopFactory) -> None:
        # A signal means this call: raised again, it would take the loop around it down as well.
        self._repeat = Repeat.NONE
        with self.capture_signals(), concurrent.futures.ThreadPoolExecutor(1, "ferricorn") as thread:
            serving = thread.submit(self._run_here, found, factory)
            try:
                while not concurrent.futures.wait([serving], LOOK_SECONDS).done:
                    pass
            finally:
                self.should_exit = True
        serving.result()

    def _run_here(self, found: object, factory: LoopFactory) -> None:
        self._owns_process = threading.current_thread() is threading.main_thread()
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._serve(found))
        finally:
            if self._owns_process:
                gc.unfreeze()

    async def _serve(self, found: object) -> None:
        self._begin_loop()
        log.info("Started server process [%d]", os.getpid())
        adapted = await application.make(found, self.config)
        with closing(self._listen()) as listeners, self._counted() as (self._board, self._rows):
            await self._live(adapted, listeners)
        log.info("Finished server process [%d]", os.getpid())

    def _begin_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Asked for before there was a loop to wake.
        if self._should_exit:
            self._stop.set()
        if self._force_exit:
            self._hurry.set()
            self._force.set()

    async def _live(self, adapted: Application, listeners: Sequence[Listener]) -> None:
        lifespan = Lifespan(adapted, self.config.lifespan)
        if await ends_before(lifespan.startup(), self._stop):
            await self._serve_until_stopped(adapted, listeners, lifespan)
        else:
            self._say("Stopped before the application had started.")

    @contextlib.contextmanager
    def _counted(self) -> Iterator[tuple[Board | None, Sequence[int]]]:
        """Where the threads count, and their rows there: the server's own board, answered for, where somebody asks."""
        with metrics.counted(self.config) as board:
            yield board, range(self.config.thread_count)

    def _listen(self) -> Sequence[Listener]:
        if self._listeners is not None and self._sockets is None:
            return self._listeners
        plain = redirecting(self.config)
        with closed_on_error(plain):
            served = bound(self.config) if self._sockets is None else adopted(self._sockets, self.config.backlog)
        return [*served, *plain]

    async def _serve_until_stopped(
        self, adapted: Application, listeners: Sequence[Listener], lifespan: Lifespan
    ) -> None:
        serving: Serving | None = None
        patient = True
        try:
            if await self._has_others(adapted, listeners):
                serving = Serving(
                    self._traced(adapted),
                    self.config,
                    listeners,
                    lifespan.state,
                    limit_reached=self._limit_reached,
                    listeners_closed=self._listeners_closed,
                    board=self._board,
                    row=self._rows[0] if self._rows else 0,
                    tls=self._certificates.context if self._certificates else None,
                )
                self._serving = serving
                self._announce(listeners)
                await self._stop.wait()
        except asyncio.CancelledError:
            patient = False
            raise
        finally:
            await self._finish(serving, lifespan, patient)
            self._serving = None

    async def _has_others(self, adapted: Application, listeners: Sequence[Listener]) -> bool:
        """Whether all further threads serve; not where it is stopped before. Raises StartupError where one cannot."""
        return self.config.thread_count == 1 or await ends_before(self._start_others(adapted, listeners), self._stop)

    async def _start_others(self, adapted: Application, listeners: Sequence[Listener]) -> None:
        # Here, for its servers are of this class.
        from ferricorn.threads import ThreadServer

        self._warn_of_lock()
        factory = loop_factory(self.config.loop)
        rows = self._rows or range(self.config.thread_count)
        self._others = [
            ThreadServer(
                self.config,
                listeners,
                adapted,
                board=self._board,
                row=row,
                on_limit=lambda limit: self._call_soon(lambda: self._other_reached_limit(limit)),
                on_closed=lambda: self._call_soon(self._listeners_closed),
                on_end=lambda: self._call_soon(self._other_ended),
                certificates=self._certificates,
            )
            for row in rows[1:]
        ]
        self._accepting += len(self._others)
        for other in self._others:
            other.start(factory)
        # Told to stop just before there was anybody to tell.
        self._tell_others()
        await asyncio.gather(*(other.wait_started() for other in self._others))
        if any(other.ended.done() for other in self._others):
            self.should_exit = True

    def _warn_of_lock(self) -> None:
        from ferricorn.threads import warn_of_lock

        warn_of_lock(self.config)

    def _other_reached_limit(self, limit: int) -> None:
        if not self._should_exit:
            self._limit_reached(limit)

    def _other_ended(self) -> None:
        # All stop together, whatever one of them has stopped for. Before that, what kept it from serving is raised.
        if self.started:
            self.should_exit = True

    def _listeners_closed(self) -> None:
        """One of the loops accepts no more."""
        self._accepting -= 1
        if self._accepting == 0:
            self._accepts_no_more()

    def _accepts_no_more(self) -> None:
        """No client can connect any more: each loop has begun to drain. Not called where one ends without that."""

    def _tell_others(self) -> None:
        for other in self._others:
            other.follow(self)

    async def _await_others(self) -> None:
        if not self._others:
            return
        from ferricorn.threads import ended, served

        await served(self._others)
        if any(other.gave_up for other in self._others):
            self._gave_up()
        await ended(self._others)

    def _say(self, message: str, *arguments: object) -> None:
        """Logs what is said once for the process."""
        log.info(message, *arguments)

    def _limit_reached(self, limit: int) -> None:
        log.info("Stopping after %d requests, as limit_max_requests says.", limit)
        self.should_exit = True

    def _traced(self, adapted: Application) -> Application:
        if log.isEnabledFor(logging.TRACE):
            return Application(traced(adapted.call), adapted.version)
        return adapted

    def _announce(self, listeners: Sequence[Listener]) -> None:
        if self._owns_process:
            # What the start made stays: the collector need not walk through it with every full collection.
            gc.collect()
            gc.freeze()
        self.addresses = tuple(listener.address for listener in listeners if not listener.plain)
        self._say_where(listeners)
        self.ready.set()
        self._settle(None)

    def _say_where(self, listeners: Sequence[Listener]) -> None:
        if self._certificates is not None:
            self._certificates.announce()
        say_where(listeners, self.config)

    async def _finish(self, serving: Serving | None, lifespan: Lifespan, patient: bool) -> None:
        """Drains within the graceful timeout, or cuts at once where not `patient`; then lifespan shutdown (LIFE-10)."""
        self._say("Shutting down")
        for given in self._sockets or ():
            given.close()
        if self._others:
            self.should_exit = True
        if not patient:
            self._hurry_others()
        try:
            await self._finish_here(serving, lifespan, patient)
        finally:
            await self._await_others()

    async def _finish_here(self, serving: Serving | None, lifespan: Lifespan, patient: bool) -> None:
        try:
            finished = serving is None or await self._close(serving, patient)
        except asyncio.CancelledError:
            await lifespan.abandon()
            raise
        if self._force_exit:
            await lifespan.abandon()
        else:
            # Longer while all goes well: what the application saves now is worth waiting for. Force still ends it.
            well = self.config.timeout_lifespan_shutdown or None
            timeout = well if finished else self.timeout_graceful_shutdown
            await ends_before(lifespan.shutdown(timeout), self._force)
        if not finished:
            self._gave_up()

    async def _close(self, serving: Serving, patient: bool) -> bool:
        """Whether all requests finished by themselves."""
        try:
            finished = patient and await serving.drain(
                self.timeout_graceful_shutdown, self._hurry, patient=self.drains_patiently
            )
            if not finished:
                await serving.cut(self._reason_to_cut(patient))
            return finished
        finally:
            serving.close()

    def _reason_to_cut(self, patient: bool) -> str:
        if self._force_exit:
            return "forced to exit"
        if self._hurry.is_set():
            return "asked to stop at once"
        if not patient:
            return "the server was cancelled"
        return f"not finished {self.timeout_graceful_shutdown:g} seconds after the stop"

    def _gave_up(self) -> None:
        """Requests were cut: their threads may run on."""

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGINT and self._force_exit:
            # Something blocks the loop, or it would have ended by now: interrupt that.
            raise KeyboardInterrupt
        if number == signal.SIGINT and self._should_exit:
            self.force_exit = True
        elif number == signal.SIGTERM and self._delays():
            self._delaying = True
            self._call_soon(self._begin_delay)
        else:
            if number == signal.SIGQUIT:
                self._hurry_up()
            self.should_exit = True

    def _hurry_up(self) -> None:
        """Waits for requests no longer, once it stops."""
        self._wake(self._hurry, True)
        self._hurry_others()

    def _hurry_others(self) -> None:
        for other in self._others:
            other.hurry()

    def _delays(self) -> bool:
        """Whether SIGTERM begins the drain delay: the first one does, while the server serves."""
        is_serving = self._serving is not None
        return self.config.drain_delay > 0 and is_serving and not (self._delaying or self._should_exit)

    def _begin_delay(self) -> None:
        """Serves on for drain_delay seconds, says on the health path that it will not for longer, and then stops."""
        if self._serving is not None:
            seconds = self.config.drain_delay
            say_delay(seconds)
            self._say_unhealthy()
            asyncio.get_running_loop().call_later(seconds, self._end_delay)

    def _say_unhealthy(self) -> None:
        if self._serving is not None:
            self._serving.set_healthy(False)
        for other in self._others:
            other.say_unhealthy()

    def _hasten(self) -> None:
        if self._serving is not None:
            self._serving.hasten()
        for other in self._others:
            other.hasten()

    def _end_delay(self) -> None:
        self.should_exit = True

    def _wake(self, event: asyncio.Event, value: bool) -> None:
        if value:
            self._call_soon(event.set)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if self._loop is not None:
            # A closed loop has nothing left to wake.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(callback)


def say_where(listeners: Iterable[Listener], config: Config) -> None:
    """Logs that the server serves, and where."""
    scheme = "https" if config.is_ssl else "http"
    served, plain = [], []
    for listener in listeners:
        if listener.plain:
            plain.append(_as_url(listener.address, "http"))
        else:
            served.append(_as_url(listener.address, scheme))
    places = ", ".join(served)
    if plain:
        places += f", redirecting from {', '.join(plain)}"
    log.info("Ferricorn running on %s (Press CTRL+C to quit)", places, extra={"bold": places})


def say_delay(seconds: float) -> None:
    """Logs that the server stops, but not yet."""
    log.info("Serving for another %g seconds. (a second signal ends that)", seconds)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _as_url(address: str, scheme: str) -> str:
    return address.replace("unix:", "unix socket ", 1) if address.startswith("unix:") else f"{scheme}://{address}"
