"""What every application of this folder shares. It knows no framework and no server.

The files that the applications send are made by the test and found through the environment variable `CONTRACT_FILES`.
"""

import asyncio
import hashlib
import itertools
import os
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

GREETING = {"message": "hello", "numbers": [1, 2, 3]}
COOKIES = {"session": "abc", "theme": "dark", "lang": "fr"}
FILES = Path(os.environ["CONTRACT_FILES"])
CHUNK = bytes(range(256)) * 256
"""64 KiB: what `/download` is made of."""
ACCEPT_HEADERS = (("x-greeting", "hello"), ("set-cookie", "session=abc"), ("set-cookie", "theme=dark"))
"""What `/ws/headers` puts into the handshake's response."""
DENIAL_STATUS = 401
DENIAL_HEADERS = (("x-denial", "no ticket"), ("www-authenticate", "Ticket"))
DENIAL = {"denied": "no ticket"}
"""`/ws/denied`: the JSON body of the response that is given in place of a WebSocket."""
DELIBERATE = "deliberate failure"
"""The text of the exceptions that the contract asks for; any other traceback in the log is a fault."""
SHUTDOWN_NOTE = "application: shut down"
PATIENCE_SECONDS = 10.0


Digest = dict[str, int | str]
"""`{"size": ..., "sha256": ...}`: what is told about a body that would be too long to send back."""


class Signals:
    """Named one-time events that cross requests and threads: one request waits for what another one sets."""

    def __init__(self) -> None:
        self._futures: dict[str, Future[None]] = {}
        self._arrivals: dict[str, int] = {}
        self._lock = threading.Lock()

    def set(self, name: str) -> None:
        """Sets the event, from any thread; setting it again changes nothing."""
        with self._lock:
            future = self._future(name)
            if not future.done():
                future.set_result(None)

    async def wait(self, name: str) -> None:
        """Waits without blocking the loop. Raises TimeoutError after `PATIENCE_SECONDS`."""
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._future(name))), PATIENCE_SECONDS)

    def wait_blocking(self, name: str) -> None:
        """Blocks the calling thread. Raises TimeoutError after `PATIENCE_SECONDS`."""
        self._future(name).result(PATIENCE_SECONDS)

    async def meet(self, name: str, parties: int) -> None:
        """Returns once `parties` callers have arrived, which they can only do side by side."""
        self._arrivals[name] = self._arrivals.get(name, 0) + 1
        if self._arrivals[name] == parties:
            self.set(name)
        await self.wait(name)

    def _future(self, name: str) -> "Future[None]":
        return self._futures.setdefault(name, Future())


signals = Signals()


class Visits:
    """The object that an application puts into its lifespan state: one for all requests."""

    def __init__(self) -> None:
        self.count = 0


class Rooms:
    """Who is where, for the broadcasts: each member has a queue, and a message goes into all queues of its room."""

    def __init__(self) -> None:
        self._members: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)

    @contextmanager
    def member(self, room: str) -> Iterator["asyncio.Queue[str]"]:
        """A member's queue, for as long as the member is in the room."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._members[room].add(queue)
        try:
            yield queue
        finally:
            self._members[room].remove(queue)

    def tell(self, room: str, text: str) -> None:
        """Puts `text` into the queue of each member, the sender's included."""
        for queue in self._members[room]:
            queue.put_nowait(text)


rooms = Rooms()


def note(text: str) -> None:
    """Writes a line into the log, where the tests wait for it."""
    print(text, file=sys.stderr, flush=True)


def note_shutdown() -> None:
    """Writes the line by which the tests see that the application's shutdown ran."""
    note(SHUTDOWN_NOTE)


def note_disconnect(name: str, code: int | None, reason: str | None = None) -> None:
    """Writes how a WebSocket ended, as the framework tells it; `reason` is left out where the framework keeps it."""
    note(f"{name}: disconnected with {code}" + ("" if reason is None else f" {reason!r}"))


def on_main_thread() -> bool:
    """Whether the caller runs where the event loop runs."""
    return threading.current_thread() is threading.main_thread()


def blocking_chunks(size: int) -> Iterator[bytes]:
    """`size` bytes: `CHUNK` over and over, the last one cut."""
    for start in range(0, size, len(CHUNK)):
        yield CHUNK[: size - start]


async def chunks(size: int) -> AsyncIterator[bytes]:
    """As `blocking_chunks`, for frameworks that stream asynchronous iterators."""
    for chunk in blocking_chunks(size):
        yield chunk


async def digest(body: AsyncIterable[bytes]) -> Digest:
    """Consumes a body piece by piece, keeping none of it."""
    size, sha256 = 0, hashlib.sha256()
    async for piece in body:
        size += len(piece)
        sha256.update(piece)
    return {"size": size, "sha256": sha256.hexdigest()}


def digest_of(body: bytes) -> Digest:
    """As `digest`, of what is already in memory."""
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def gated(name: str) -> AsyncIterator[bytes]:
    """`/stream`: the second piece comes only after the client, having seen the first, sets the signal."""
    yield b"first\n"
    await signals.wait(name)
    yield b"second\n"


async def failing() -> AsyncIterator[bytes]:
    """`/error/stream`: breaks after the response has started."""
    yield b"partial\n"
    raise RuntimeError(DELIBERATE)


async def ticks(name: str) -> AsyncIterator[str]:
    """`/events`: numbers without end; sets the signal when the framework gives the iterator up."""
    try:
        for number in itertools.count():
            yield str(number)
            await asyncio.sleep(0.01)
    finally:
        signals.set(name)


async def one_tick(name: str) -> AsyncIterator[str]:
    """`/events/quiet`: one event, then nothing to send, ever; sets the signal as `ticks` does."""
    try:
        yield "0"
        await asyncio.Event().wait()
    finally:
        signals.set(name)


def as_event(data: str) -> bytes:
    """One server-sent event on the wire, for frameworks that leave the format to the application."""
    return f"data: {data}\n\n".encode()


async def as_events(items: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """As `as_event`, for each item."""
    async for item in items:
        yield as_event(item)
