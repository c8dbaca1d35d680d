"""Reloads, killed workers and hand-overs under a steady load, for any server: see README.md here."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from tests.soak.load import Load
from tests.soak.processes import Holding, Process, adopt_orphans, command, descendants, kill_and_tell_clients, reap
from tests.support.process import ROOT

APP: Final = "tests.soak.apps:app"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 1.0
ENDED: Final = "yes"
RECENT: Final = 1.0
"""Seconds: who has answered within them is a worker that serves."""
MAX_REQUESTS: Final = "1000"
ALLOWED_GROWTH: Final = 1024
"""KiB by which a supervisor's memory may differ after its reloads: some 200 of them, at 5 KiB each."""


@dataclass(frozen=True)
class Server:
    """How a server is started, and what it has of what a storm is made of."""

    arguments: str
    """Behind `python -m`; PORT stands for the port."""
    reloads: bool = True
    """Whether SIGHUP replaces the workers."""
    max_requests: str = ""
    """The option that replaces a worker after so many requests."""
    hand_over: str = ""
    """`itself`: SIGUSR2 starts another and ends this one; `operator`: this one has to be ended with SIGTERM."""


SERVERS: Final = {
    "ferricorn": Server(
        f"ferricorn {APP} --workers 2 --no-access-log --port PORT",
        max_requests="--limit-max-requests",
        hand_over="itself",
    ),
    "ferricorn-gunicorn": Server(
        f"gunicorn {APP} -k ferricorn.gunicorn.Worker --workers 2 --no-control-socket --bind 127.0.0.1:PORT",
        max_requests="--max-requests",
        hand_over="operator",
    ),
    "gunicorn": Server(
        f"gunicorn {APP} -k asgi --workers 2 --no-control-socket --bind 127.0.0.1:PORT",
        max_requests="--max-requests",
        hand_over="operator",
    ),
    "uvicorn-gunicorn": Server(
        f"gunicorn {APP} -k uvicorn_worker.UvicornWorker --workers 2 --no-control-socket --bind 127.0.0.1:PORT",
        max_requests="--max-requests",
        hand_over="operator",
    ),
    "uvicorn": Server(
        f"uvicorn {APP} --workers 2 --no-access-log --port PORT",
        max_requests="--limit-max-requests",
    ),
    "granian": Server(f"granian {APP} --interface asgi --workers 2 --respawn-failed-workers --port PORT"),
    "hypercorn": Server(
        f"hypercorn {APP} --workers 2 --bind 127.0.0.1:PORT", reloads=False, max_requests="--max-requests"
    ),
    "weft": Server(f"weft {APP} --workers 2 --port PORT"),
    "peregrine": Server(f"peregrine {APP} --workers 2 --port PORT"),
}


class Running:
    """The server, whose processes may change while it runs. A context manager that leaves none behind."""

    def __init__(self, arguments: list[str]) -> None:
        self.port = free_port()
        self._arguments = [argument.replace("PORT", str(self.port)) for argument in arguments]
        self._command = [os.fsencode(argument) for argument in self._arguments[3:]]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._arguments, cwd=ROOT, stdout=self.log, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        left = descendants(os.getpid())
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        reap({self.process.pid})
        self.log.close()

    def wait_until_answering(self) -> int:
        """The pid of a worker that has answered."""
        end = time.monotonic() + START_SECONDS
        while (worker := self.ask()) is None:
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"the server does not answer:\n{self.output()}")
            time.sleep(0.05)
        return worker

    def wait_until_complete(self, workers: int) -> set[int]:
        """The server's processes, once there are as many as it takes to have so many workers, and stay for a while."""
        end = time.monotonic() + START_SECONDS
        seen, since = set(descendants(self.process.pid)), time.monotonic()
        while len(seen) < workers or time.monotonic() - since < SETTLED_SECONDS:
            if (now := set(descendants(self.process.pid))) != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() > end:
                raise SystemExit(f"the server has not all of its processes:\n{self.output()}")
            time.sleep(0.05)
        return seen

    def ask(self) -> int | None:
        """The pid of who answers on a new connection; None where nobody does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: storm\r\nconnection: close\r\n\r\n")
                return int(b"".join(iter(lambda: client.recv(4096), b"")).rpartition(b"\r\n\r\n")[2])
        except (OSError, ValueError):
            return None

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def supervisor(self, workers: list[int]) -> int:
        """The newest process with the server's command line that one of `workers` descends from."""
        found = [ancestor for pid in workers if (ancestor := self._supervisor_of(pid))]
        return max(found, key=lambda process: process.started).pid if found else self.process.pid

    def _supervisor_of(self, pid: int) -> Process | None:
        process = Process.look(pid)
        while process and (process := Process.look(process.parent)) and process.pid != os.getpid():
            # A server that starts itself anew may name its module otherwise.
            if command(process.pid)[-len(self._command) :] == self._command:
                return process
        return None

    def stop(self, workers: list[int]) -> str:
        """How it ends at SIGTERM: `yes` is well. Where a hand-over is under way, each of the two is told."""
        if not descendants(os.getpid()):
            return "it did before"
        told = {self.supervisor(workers)}
        _terminate(told)
        end = time.monotonic() + STOP_SECONDS
        while (left := descendants(os.getpid())) and time.monotonic() < end:
            self.process.poll()
            reap({self.process.pid})
            if adopted := {process.pid for process in left.values() if process.parent == os.getpid()} - told:
                told |= adopted
                _terminate(adopted)
            time.sleep(0.05)
        return f"no: {len(left)} processes left" if left else ENDED


def _terminate(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@dataclass
class Storm:
    """What is done to the server while the load runs."""

    server: Running
    load: Load
    hand_over: str
    done: dict[str, int] = field(default_factory=dict)
    log: list[tuple[float, str]] = field(default_factory=list)

    def workers(self) -> list[int]:
        """Those that serve: they have answered just now, and live."""
        now = time.monotonic()
        recent = [pid for pid, when in self.load.workers.items() if now - when < RECENT]
        return [pid for pid in recent if (process := Process.look(pid)) and process.is_alive]

    async def every(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            reap({self.server.process.pid})
            self.load.stopped |= self.server.process.poll() is not None and not descendants(os.getpid())
            with suppress(ProcessLookupError):
                await what()

    async def reload(self) -> None:
        os.kill(self.server.supervisor(self.workers()), signal.SIGHUP)
        self._note("reloads")

    async def kill(self) -> None:
        if workers := self.workers():
            victim = random.choice(workers)
            # The clients' own ends of connections that it has accepted.
            self.load.excused |= kill_and_tell_clients(victim, self.server.port)
            self._note("kills")

    async def hand(self) -> None:
        """One hand-over, if none is under way."""
        old = self.server.supervisor(self.workers())
        os.kill(old, signal.SIGUSR2)
        self._note("hand-overs")
        if self.hand_over == "operator":
            while self.server.supervisor(self.workers()) == old:
                await asyncio.sleep(0.1)
            os.kill(old, signal.SIGTERM)

    def _note(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1
        self.log.append((time.monotonic(), what))


async def storm(options: argparse.Namespace, name: str, server: Server, arguments: list[str]) -> Outcome:
    with Running(arguments) as running:
        running.wait_until_answering()
        load = Load(running.port, connections=options.connections, requests=options.requests, wait=options.wait)
        weather = Storm(running, load, server.hand_over)
        begun = time.monotonic()
        tasks = [
            asyncio.create_task(weather.every(seconds, what))
            for seconds, what, has in (
                (options.reload_every, weather.reload, server.reloads),
                (options.kill_every, weather.kill, True),
                (options.hand_over_every, weather.hand, bool(server.hand_over)),
            )
            if seconds and has
        ]
        try:
            async with asyncio.timeout(options.seconds):
                await load.run()
        except TimeoutError:
            load.stopped = True
        for task in tasks:
            task.cancel()
        seconds = time.monotonic() - begun
        ended = running.stop(weather.workers() or list(load.workers))
        outcome = Outcome(name, load, weather, seconds, ended)
        if options.log:
            options.log.write(running.output())
        if options.verbose:
            outcome.print_failures(begun)
    return outcome


@dataclass(frozen=True)
class Outcome:
    """What came of one storm."""

    name: str
    load: Load
    weather: Storm
    seconds: float
    ended: str

    @property
    def failed(self) -> int:
        return self.load.failed.total()

    def print(self) -> None:
        load, times = self.load, sorted(self.load.times)
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.weather.done.items())) or "nothing"
        by = f"{len(load.workers)} workers"
        print(f"{self.name}: {load.answered:,} answered in {self.seconds:.0f} s by {by}; {done}")
        print(f"  failed: {load.failed.total()} {dict(load.failed)}")
        print(
            f"  failed, held by a killed worker: {load.held.total()} {dict(load.held)}; idle there {load.killed_idle}"
        )
        print(f"  connections: {load.opened:,} opened, {load.told:,} told to close, {load.closed_idle} closed idle")
        if times:
            p50, p99 = (statistics.quantiles(times, n=100)[n] * 1000 for n in (49, 98))
            print(f"  latency: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {times[-1] * 1000:.0f} ms")
        if self.ended != ENDED:
            print(f"  ends at SIGTERM: {self.ended}")

    def print_failures(self, begun: float) -> None:
        """Each failure with the last thing that was done before it."""
        for when, kind in self.load.when[:50]:
            before = [(when - at, what) for at, what in self.weather.log if at <= when]
            last = f"{before[-1][0]:.2f} s after the last of {before[-1][1]}" if before else "before anything was done"
            print(f"    {when - begun:6.2f} s: {kind}, {last}")

    def row(self) -> str:
        load, kinds = self.load, ", ".join(f"{count} {kind}" for kind, count in self.load.failed.items())
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.weather.done.items()))
        longest = max(load.times, default=0.0)
        cells = (
            self.name,
            done,
            f"{load.answered:,}",
            f"{self.failed}" + (f" ({kinds})" if kinds else ""),
            f"{load.held.total()}",
            f"{load.closed_idle}",
            f"{longest:.1f} s",
            self.ended,
        )
        return f"| {' | '.join(cells)} |"


HEADING: Final = (
    "| server | done to it | answered | failed | held by killed | closed idle | longest | ends |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def reloads(name: str, arguments: list[str], count: int) -> bool:
    """Whether the supervisor has the same after `count` reloads as before. Prints what it has in between."""
    warm_up = 5
    with Running(arguments) as running:
        first = running.wait_until_answering()
        complete = len(running.wait_until_complete(2))
        supervisor = running.supervisor([first])
        print(f"{name}: reload, descriptors, sockets, resident KiB, threads, children", flush=True)
        seen: list[Holding] = []
        for number in range(-warm_up, count + 1):
            if number >= 0 and number % max(count // 10, 1) == 0:
                seen.append(Holding.of(supervisor))
                has = seen[-1]
                row = (number, has.descriptors, has.sockets, has.resident, has.threads, has.children)
                print("  " + "  ".join(f"{cell:>7}" for cell in row), flush=True)
            if number < count:
                reload_once(running, supervisor, complete)
        before, after = seen[0], seen[-1]
        grown = after.resident - before.resident
        ended = running.stop([])
    flat = (before.descriptors, before.sockets, before.threads, before.children) == (
        after.descriptors,
        after.sockets,
        after.threads,
        after.children,
    )
    print(f"  {'flat' if flat and grown <= ALLOWED_GROWTH else 'NOT FLAT'}; memory {grown:+} KiB; ends: {ended}")
    return flat and grown <= ALLOWED_GROWTH and ended == ENDED


def reload_once(running: Running, supervisor: int, complete: int) -> None:
    """SIGHUP, until both workers are replaced, there are `complete` processes again, and a new worker has answered."""
    old = set(descendants(supervisor, with_dead=True))
    os.kill(supervisor, signal.SIGHUP)
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        now = set(descendants(supervisor, with_dead=True))
        if len(now) == complete and len(now - old) >= 2 and running.ask() in now - old:
            return
        time.sleep(0.02)
    raise SystemExit(f"the reload did not come to an end:\n{running.output()[-4000:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
        return port


def arguments_of(server: Server, options: argparse.Namespace) -> list[str]:
    arguments = [options.python, "-m", *server.arguments.split()]
    if server.max_requests and options.max_requests and not options.reloads:
        arguments += [server.max_requests, options.max_requests]
    return [*arguments, *options.more]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", default=["ferricorn"], help=f"of {', '.join(SERVERS)}; or all")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--wait", type=float, default=0.2, help="the longest between two requests of a connection")
    parser.add_argument("--seconds", type=float, default=300, help="the longest that it may take")
    parser.add_argument("--reload-every", type=float, default=2, help="seconds; 0: no SIGHUP")
    parser.add_argument("--kill-every", type=float, default=5, help="seconds; 0: no SIGKILL")
    parser.add_argument("--hand-over-every", type=float, default=10, help="seconds; 0: no SIGUSR2")
    parser.add_argument("--max-requests", default=MAX_REQUESTS, help="after which a worker is replaced; '': never")
    parser.add_argument("--reloads", type=int, default=0, help="look at the supervisor over so many instead")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the servers")
    parser.add_argument("--log", type=argparse.FileType("w"), help="write what the servers say to this file")
    parser.add_argument("--verbose", action="store_true", help="say when each failure happened")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further arguments of the server")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    adopt_orphans()
    names = list(SERVERS) if options.servers == ["all"] else options.servers
    if options.reloads:
        flat = [reloads(name, arguments_of(SERVERS[name], options), options.reloads) for name in names]
        return int(not all(flat))
    outcomes = []
    for name in names:
        server = SERVERS[name]
        outcomes.append(asyncio.run(storm(options, name, server, arguments_of(server, options))))
        outcomes[-1].print()
    if len(outcomes) > 1:
        print(HEADING, *(outcome.row() for outcome in outcomes), sep="\n")
    return int(any(outcome.failed or outcome.ended != ENDED for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
