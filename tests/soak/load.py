"""Clients that keep their connections and use each again and again: what a load balancer does to a server.

What happens to a request is told by its kind, and whether the process that had its connection was killed on purpose.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Final

REQUEST: Final = b"GET / HTTP/1.1\r\nhost: storm\r\n\r\n"
TIMEOUT: Final = 20.0
"""Seconds that a response may take: longer than any server takes to start its workers anew."""
RETRY: Final = 0.05
"""Seconds until a client tries to connect again."""


class Load:
    """`connections` clients that send `requests` in all; each waits up to `wait` seconds between two."""

    def __init__(self, port: int, *, connections: int, requests: int, wait: float) -> None:
        self._port = port
        self._connections = connections
        self._left = requests
        self._wait = wait
        self.answered = 0
        self.failed: Counter[str] = Counter()
        """By kind: eof, reset, truncated, timeout, refused, and statuses other than 200."""
        self.held: Counter[str] = Counter()
        """The same, of connections that a worker had which was killed on purpose."""
        self.told: int = 0
        """Connections that ended as their last response had said."""
        self.closed_idle = 0
        """Connections that the server closed without a word while they idled, and not in the moment of their use."""
        self.killed_idle = 0
        """The same, of a worker which was killed on purpose."""
        self.opened = 0
        self.workers: dict[int, float] = {}
        """When each process has answered last (time.monotonic)."""
        self.times: list[float] = []
        """Seconds that each answer took."""
        self.excused: set[int] = set()
        """Our ports of connections whose process was killed on purpose."""
        self.when: list[tuple[float, str]] = []
        """Failures with their time."""
        self.stopped = False

    @property
    def is_over(self) -> bool:
        return self.stopped or self._left <= 0

    async def run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    async def _client(self) -> None:
        connection: Connection | None = None
        while not self.is_over:
            if connection is None:
                connection = await self._connect()
                continue
            # The first moment counts as well: a reload may come just behind a response.
            await asyncio.sleep(random.choice((0.0, 1.0)) and random.uniform(0, self._wait))
            if connection.lost:
                self._lost_idle(connection)
                connection = None
            elif not self.is_over:
                self._left -= 1
                connection = await self._ask(connection)
        if connection is not None:
            connection.close()

    async def _connect(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT):
                _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        except OSError as error:
            self._left -= 1
            self._fail("connecting timed out" if isinstance(error, TimeoutError) else "refused", self.failed)
            await asyncio.sleep(RETRY)
            return None
        self.opened += 1
        return connection

    async def _ask(self, connection: Connection) -> Connection | None:
        """Sends a request, and notes what comes of it. The connection, where it goes on."""
        begun = time.monotonic()
        problem = await connection.ask()
        now = time.monotonic()
        if problem:
            self._fail(problem, self.held if connection.port in self.excused else self.failed)
            connection.close()
            return None
        self.answered += 1
        self.times.append(now - begun)
        self.workers[connection.worker] = now
        if connection.is_last:
            self.told += 1
            connection.close()
            return None
        return connection

    def _lost_idle(self, connection: Connection) -> None:
        if connection.port in self.excused:
            self.killed_idle += 1
        else:
            self.closed_idle += 1

    def _fail(self, kind: str, into: Counter[str]) -> None:
        into[kind] += 1
        if into is self.failed:
            self.when.append((time.monotonic(), kind))


class Connection(asyncio.Protocol):
    """One connection of a client that reads responses with a content-length."""

    def __init__(self) -> None:
        self.port = 0
        self.worker = 0
        """The process that has answered last."""
        self.is_last = False
        """Whether the last response said that no other comes."""
        self.lost = False
        self._buffer = b""
        self._answer: asyncio.Future[str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    async def ask(self) -> str:
        """Sends a request and waits for its response. What went wrong, or nothing."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(REQUEST)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._answer
        except TimeoutError:
            return "timeout"
        finally:
            self._answer = None

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if end and self._answer is not None:
            status, *lines = head.lower().split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines)
            if len(body) >= int(fields[b"content-length"]):
                self._buffer = b""
                self._answered(status.split()[1], fields, body)

    def _answered(self, status: bytes, fields: dict[bytes, bytes], body: bytes) -> None:
        self.is_last = fields.get(b"connection") == b"close"
        problem = "" if status == b"200" else f"status {status.decode()}"
        self.worker = self.worker if problem else int(body)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(problem)

    def eof_received(self) -> None:
        # Known now, and not when the loop comes round to calling connection_lost: nothing is sent any more.
        self.lost = True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            kind = "truncated" if self._buffer else "eof" if error is None else "reset"
            self._answer.set_result(kind)
