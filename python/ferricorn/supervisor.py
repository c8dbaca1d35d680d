"""The supervisor: owns the listening sockets and sees to it that worker processes serve them. Serves nothing itself.

pool.py decides how many workers there are to be, spawning.py makes them; this file waits for signals, for what workers
say and for the time, and does what was decided. One thread, no event loop.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ferricorn import handover, logging, metrics, process, tls
from ferricorn._ferricorn import Board, Listener
from ferricorn.channel import Word
from ferricorn.config import Config
from ferricorn.errors import EXIT_STARTUP_FAILURE, StartupError
from ferricorn.health import Pulse, Verdict, outworn
from ferricorn.logging import error_log as log
from ferricorn.pool import Member, Pool, Stage
from ferricorn.process_server import EXIT_INTERRUPTED, say_discovered
from ferricorn.server import say_delay, say_where
from ferricorn.serving import longest_drain
from ferricorn.signals import Inbox
from ferricorn.spawning import ForkedWorkers, FreshWorkers, Nursery, WorkerProcess
from ferricorn.systemd import Notifier
from ferricorn.threads import warn_of_lock
from ferricorn.tls import SECRET_BYTES, Certificates
from ferricorn.worker_process import Orders

_LOOK_SECONDS: Final = 0.5
"""How often the workers' memory, age and health are looked at."""
_RELOAD_SECONDS: Final = 0.5
_RELOAD_MARGIN: Final = 5.0
"""How long requests, and then the rest of a worker, may take to end when a file has changed."""
_NAMES: Final = 3
"""So many changed files are named."""
_STOP_MARGIN: Final = 15.0
"""What a worker may take for its end beyond the timeouts that it was given, before it is killed."""
_SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
_SPARE_WORKERS: Final = 128
"""So many workers beyond their number may count: those that still stop, those of SIGTTIN. No others do."""
_NEEDS_NAME: Final = "Worker processes import the application: it has to be given as text, for example 'main:app'."
_FIXED: Final = (
    "addresses",
    "backlog",
    "uds_mode",
    "pid_file",
    "umask",
    "metrics_bind",
    "preload",
    "reload",
    "redirect_http",
)
"""What a reload does not change."""
_SCALED: Final = {signal.SIGTTIN: +1, signal.SIGTTOU: -1}


@dataclass(eq=False, slots=True)
class Worker:
    """A worker of the pool, with its process."""

    member: Member
    process: WorkerProcess
    rows: Sequence[int]
    """Where its threads count on the board; empty where there is no place for them."""
    pulses: Sequence[Pulse]
    """Of the event loop that counts in each row."""


class Supervisor:
    """Runs `config.workers` worker processes: `Supervisor(Config("main:app", workers=4)).run()`.

    `reread` gives the configuration anew for a reload (SIGHUP); where to listen stays as it was.
    """

    def __init__(self, config: Config, reread: Callable[[], Config] | None = None) -> None:
        self.config = config
        self.addresses: tuple[str, ...] = ()
        """Where it listens, in the syntax of `bind`, with the real ports."""
        self.status = 0
        """The process's exit status, when `run` has returned."""
        self.discovered = False
        """Whether the application was looked for, so that the log has to say which one it is."""
        self._reread = reread
        self._should_exit = False
        self._stops = 0
        self._has_announced = False
        self._listeners: Mapping[str, Listener] = {}
        self._certificates: Certificates | None = None
        self._metrics: Mapping[str, Listener] = {}
        self._board = Board((config.worker_count + _SPARE_WORKERS) * config.thread_count)
        self._rows = list(reversed(range(self._board.rows)))
        self._workers: dict[Member, Worker] = {}
        self._inbox = Inbox(_SIGNALS)
        self._selector = selectors.DefaultSelector()
        self._nursery: Nursery = _nursery(config, self._selector)
        self._pool = Pool(self, config.worker_count)
        self._successor: handover.Successor | None = None
        self._predecessor = handover.Predecessor.take(os.environ)
        self._ticket_secret = self._predecessor.secret(SECRET_BYTES) or secrets.token_bytes(SECRET_BYTES)
        self._notifier = Notifier.take(os.environ)
        self._next_alive = 0.0 if self._notifier.interval else math.inf
        self._is_reloading = False
        self._stops_patiently = False
        """Another process goes on serving."""
        self._stop_at = math.inf

    @property
    def should_exit(self) -> bool:
        """Set it to True, in any thread, to stop the workers and return from `run`."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        self._inbox.wake()

    def run(self) -> None:
        """Serves until should_exit, SIGINT, SIGTERM or SIGQUIT. Raises SystemExit(3) when it cannot start."""
        try:
            logging.configure(self.config)
            if not isinstance(self.config.app, str):
                raise StartupError(_NEEDS_NAME)
            if self.discovered:
                say_discovered(self.config)
            log.info("Started parent process [%d]", os.getpid())
            warn_of_lock(self.config)
            # Each worker reads them for itself: what is wrong with them is told here, once.
            self._certificates = tls.read(self.config)
            with process.prepared(self.config, self._predecessor) as self._listeners:
                self.addresses = tuple(each.address for each in self._listeners.values() if not each.plain)
                with metrics.serving(self.config, self._board, self._predecessor) as self._metrics:
                    self._run()
        except StartupError as error:
            self._notifier.status(str(error))
            log.error("%s", error, exc_info=error.__cause__)
            sys.exit(EXIT_STARTUP_FAILURE)
        log.info("Finished parent process [%d]", os.getpid())

    # --- the loop

    def _run(self) -> None:
        with self._selector, self._inbox, contextlib.closing(self._nursery), self._files():
            self._watch(self._inbox.fileno(), lambda: None)
            self._supervise()

    @contextlib.contextmanager
    def _files(self) -> Iterator[None]:
        """Has the workers replaced when a file changes, where that is wanted."""
        if not self.config.reload:
            yield
            return
        if self.config.workers not in (None, 1):
            log.warning("One worker process runs, and not %d: that is what --reload can replace", self.config.workers)
        # Here, for it loads what only development needs.
        from ferricorn.reload_watch import FileWatch

        with FileWatch(self.config) as files:
            folders = ", ".join(map(str, files.selection.folders))
            log.info("Watching the files in %s (by %s)", folders, files.method, extra={"bold": folders})
            self._watch(files.fileno(), lambda: self._reload_for(files.take()))
            yield

    def _supervise(self) -> None:
        next_look = time.monotonic()
        while not self._is_over():
            self._pool.step(time.monotonic())
            self._settle()
            wait = min(self._pool.next_step(), next_look, self._next_alive) - time.monotonic()
            for key, _ in self._selector.select(max(wait, 0.0)):
                key.data()
            for number in self._inbox.take():
                self._handle_signal(number)
            if self._should_exit and not self._pool.stopping:
                self._stop(patient=False)
            self._reap()
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _LOOK_SECONDS
                self._look(now)
            if now >= self._next_alive:
                self._next_alive = now + self._notifier.interval
                self._notifier.alive()
        if self._pool.failed and not self._pool.stopping:
            raise StartupError("The workers could not start, so the server does not.")

    def _is_over(self) -> bool:
        return (self._pool.stopping or (self._pool.failed and not self.config.reload)) and not self._workers

    def _watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def _unwatch(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def _handle_signal(self, number: int) -> None:
        match number:
            case signal.SIGINT | signal.SIGTERM:
                self._stop_signal(number)
            case signal.SIGQUIT:
                self._stop(patient=False)
                self._tell_all(Word.HURRY)
            case signal.SIGHUP:
                self._reload()
            case signal.SIGTTIN | signal.SIGTTOU:
                self._scale(_SCALED[signal.Signals(number)])
            case signal.SIGUSR1:
                logging.reopen()
                self._tell_all(Word.REOPEN)
            case signal.SIGUSR2:
                self._hand_over()

    # --- what operators ask for

    def _stop_signal(self, number: int) -> None:
        if number == signal.SIGTERM and self.config.drain_delay and self._stop_at == math.inf and self._pool.serving:
            self._delay_stop()
            return
        self._stops += 1
        if not self._pool.stopping or self._stops_patiently:
            self._stop(patient=False)
        elif number == signal.SIGINT:
            self.status = EXIT_INTERRUPTED
            if self._stops > 2:
                self._kill_all()
            else:
                self._tell_all(Word.CUT)

    def _delay_stop(self) -> None:
        say_delay(self.config.drain_delay)
        self._stop_at = time.monotonic() + self.config.drain_delay
        self._tell_all(Word.UNHEALTHY)

    def _stop(self, *, patient: bool) -> None:
        if not self._pool.stopping:
            log.info("Stopping %d worker process(es)", len(self._workers))
            if not patient:
                self._notifier.stopping("Shutting down")
                if self._successor is not None:
                    # It is the server that was told to stop, not this process of it.
                    self._successor.stop()
        self._stops_patiently = patient
        self._pool.stop(time.monotonic(), patient=patient)

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.process.kill(signal.SIGKILL)

    def _tell_all(self, word: Word) -> None:
        for worker in self._workers.values():
            worker.process.channel.send(word)

    def _reload(self) -> None:
        if self._pool.stopping:
            return
        try:
            if self._reread is not None:
                self._take_over(self._reread())
        except StartupError as error:
            log.error("Not reloaded: %s", error)
            return
        log.info("Reloading: every worker process is replaced")
        for member in self._pool.members:
            if member.stage is not Stage.STOPPING:
                self._board.count_restart("reload")
        self._notifier.reloading("Reloading")
        self._is_reloading = True
        self._pool.renew()

    def _take_over(self, config: Config) -> None:
        """What the files say now. Raises StartupError, and leaves everything as it is."""
        certificates = tls.read(config)
        logging.configure(config)
        if certificates is not None:
            certificates.announce()
        fixed = [name for name in _FIXED if getattr(config, name) != getattr(self.config, name)]
        if fixed:
            log.warning("Changed, but in effect only after a restart: %s", ", ".join(fixed))
        if config.worker_count != self.config.worker_count:
            self._pool.count = config.worker_count
        self.config = config

    def _reload_for(self, changed: Sequence[Path]) -> None:
        if changed and not self._pool.stopping:
            names = ", ".join(map(_relative, changed[:_NAMES])) + (" and others" if len(changed) > _NAMES else "")
            log.info("Reloading, for a change of %s", names, extra={"bold": names})
            self._pool.replace_now(time.monotonic())

    def _scale(self, change: int) -> None:
        self._pool.count = max(self._pool.count + change, 1)
        self._board.count_restart("scaled")
        log.info("Now running %d worker process(es)", self._pool.count)

    def _hand_over(self) -> None:
        if self._pool.stopping or self._successor is not None:
            return
        try:
            self._successor = handover.Successor(
                {**self._listeners, **self._metrics}, self._notifier.environment, self._ticket_secret
            )
        except OSError as error:
            log.error("The new parent process cannot be started: %s", error)
            return
        log.info("Handing over to a new parent process [%d]", self._successor.pid)
        self._watch(self._successor.fileno(), self._hear_successor)

    def _hear_successor(self) -> None:
        assert self._successor is not None
        successor, self._successor = self._successor, None
        self._unwatch(successor.fileno())
        if successor.has_taken_over():
            for listener in (*self._listeners.values(), *self._metrics.values()):
                listener.removes_file = False
            log.info("The new parent process [%d] serves: this one stops", successor.pid)
            self._notifier.main_pid(successor.pid)
            self._stop(patient=True)
        elif not self._pool.stopping:
            log.error("The new parent process [%d] did not start: this one goes on", successor.pid)

    # --- what workers do

    def _hear(self, worker: Worker) -> None:
        messages = worker.process.channel.receive()
        if messages is None:
            self._unwatch(worker.process.channel.fileno())
        for message in messages or ():
            self._hear_message(worker, message)

    def _hear_message(self, worker: Worker, message: list[Any]) -> None:
        now = time.monotonic()
        match message:
            case [Word.READY]:
                worker.pulses = _pulses(worker.rows, now)
                self._pool.became_ready(worker.member, now)
                if self._stop_at < math.inf:
                    worker.process.channel.send(Word.UNHEALTHY)
                self._announce()
            case [Word.RETIRE, reason]:
                self._retire(worker, Verdict("max_requests", reason))
            case [Word.CLOSED]:
                self._pool.closed(worker.member)
            case [Word.LEAVES]:
                self._pool.leaves(worker.member, now, self._longest_stop())

    def _announce(self) -> None:
        if not self._has_announced:
            self._has_announced = True
            if self._certificates is not None:
                self._certificates.announce()
            say_where(self._listeners.values(), self.config)
            self._notifier.ready(f"Serving on {', '.join(self.addresses)}")
        if len(self._pool.serving) >= self._pool.count:
            self._predecessor.tell_ready()

    def _retire(self, worker: Worker, verdict: Verdict) -> None:
        if worker.member.stage is not Stage.READY:
            return
        log.info("Worker process [%d] is replaced: it %s", worker.process.pid, verdict.sentence)
        self._board.count_restart(verdict.reason)
        self._pool.retires(worker.member)

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            status = worker.process.poll()
            if status is not None:
                self._bury(worker, status)

    def _bury(self, worker: Worker, status: int) -> None:
        # What it said last may still be unread.
        self._hear(worker)
        self._unwatch(worker.process.channel.fileno())
        worker.process.channel.close()
        del self._workers[worker.member]
        for row in worker.rows:
            self._board.retire(row)
            self._rows.append(row)
        if worker.member.stage is Stage.STOPPING:
            log.debug("Worker process [%d] %s", worker.process.pid, _how(status))
        else:
            before = " before it was ready" if worker.member.stage is Stage.STARTING else ""
            log.error("Worker process [%d] %s%s", worker.process.pid, _how(status), before)
            self._board.count_restart("crash")
        self._pool.exited(worker.member, time.monotonic(), by_itself=status >= 0)
        self._nursery.keep({self._pool.generation, *(member.generation for member in self._pool.members)})

    def _look(self, now: float) -> None:
        if now >= self._stop_at and not self._pool.stopping:
            self._stop(patient=False)
        for worker in self._workers.values():
            if worker.member.stage in (Stage.READY, Stage.RETIRING):
                self._look_at(worker, now)

    def _look_at(self, worker: Worker, now: float) -> None:
        for row, pulse in zip(worker.rows, worker.pulses, strict=True):
            pulse.look(self._board.beats(row), now)
        limit = self.config.timeout_worker_healthcheck
        verdicts = [pulse.verdict(limit, now) for pulse in worker.pulses] if limit else []
        if verdict := next(filter(None, verdicts), None):
            log.error("Worker process [%d] %s: killed", worker.process.pid, verdict.sentence)
            worker.process.kill(signal.SIGKILL)
        elif worker.member.stage is Stage.READY:
            verdict = outworn(self.config, now - worker.member.ready, worker.process.pid)
            if verdict is not None:
                self._retire(worker, verdict)

    def _settle(self) -> None:
        """Says that a reload is over, when it is."""
        if self._is_reloading and self._pool.is_settled and not self._pool.stopping:
            log.info("Reloaded")
            self._end_reload()

    def _end_reload(self) -> None:
        if self._is_reloading:
            self._is_reloading = False
            self._notifier.ready(f"Serving on {', '.join(self.addresses)}")

    # --- what the pool decides

    def start(self, member: Member) -> None:
        descriptors = {listener.fileno(): listener.plain for listener in self._listeners.values()}
        threads = self.config.thread_count
        rows = [self._rows.pop() for _ in range(threads)] if len(self._rows) >= threads else []
        orders = Orders(self.config, descriptors, self._board.fileno(), sys.path, self._ticket_secret)
        started = self._nursery.start(member.generation, orders, rows)
        worker = self._workers[member] = Worker(member, started, rows, _pulses(rows, time.monotonic()))
        self._watch(started.channel.fileno(), lambda: self._hear(worker))

    def stop(self, member: Member, *, patient: bool) -> float:
        worker = self._workers[member].process
        # Who waits for the effect of a change does not wait for a stream of events that somebody watches.
        hurries = self.config.reload and not self._pool.stopping
        timeout = _RELOAD_SECONDS if hurries else self.config.timeout_graceful_shutdown
        worker.channel.send(Word.STOP, patient, timeout)
        if member.stage is Stage.STARTING:
            worker.kill(signal.SIGTERM)
        return _RELOAD_SECONDS + _RELOAD_MARGIN if hurries else self._longest_stop()

    def kill(self, member: Member) -> None:
        worker = self._workers[member].process
        log.error("Worker process [%d] did not stop in time: killed", worker.pid)
        worker.kill(signal.SIGKILL)

    def failed(self) -> None:
        if self.config.reload:
            log.info("Waiting for a change of the files")

    def rollout_failed(self) -> None:
        log.error("The new worker process could not start: the old ones go on")
        self._end_reload()

    def starts_again(self, delay: float) -> None:
        if delay:
            log.warning("The next worker process is started in %g seconds", delay)

    def _longest_stop(self) -> float:
        graceful = self.config.timeout_graceful_shutdown
        shutdown = max(self.config.timeout_lifespan_shutdown or math.inf, graceful)
        return longest_drain(self.config, graceful) + shutdown + _STOP_MARGIN


def _nursery(config: Config, selector: selectors.BaseSelector) -> Nursery:
    return ForkedWorkers(selector) if config.preload and not config.reload else FreshWorkers()


def _pulses(rows: Sequence[int], now: float) -> list[Pulse]:
    return [Pulse(now) for _ in rows]


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
