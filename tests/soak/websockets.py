"""Fifty thousand idle WebSockets, what each costs, and whether each is pinged in time: see README.md here."""

from __future__ import annotations

import argparse
import asyncio
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.support.apps import waiting_websocket
from tests.support.asgi import Event, Scope
from tests.support.process import ROOT, ServerProcess

ALLOWED = 2560
"""Bytes of the process for each, beyond what the application's own task, frames and scope take."""
INTERVAL = 20.0
"""Seconds from one ping of the server to the next."""
LATEST = 1.0
"""Seconds by which a ping may be late: the server looks at its deadlines twice a second."""
SPARE = 100
"""Descriptors for all else."""
PER_ADDRESS = 20_000
"""Connections from one loopback address: there are only so many ports."""
HANDSHAKE = (
    b"GET /idle HTTP/1.1\r\nHost: localhost\r\nUser-Agent: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PONG = b"\x8a\x84\0\0\0\0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=50_000, help="how many")
    parser.add_argument("--bare", action="store_true", help="only say what as many tasks take without any server")
    options = parser.parse_args()
    if options.bare:
        print(*asyncio.run(bare(options.idle)))
        return 0
    count = allowed_by_descriptors(options.idle)
    with ServerProcess("tests.support.apps:waiting_websocket", "--no-access-log") as server:
        server.wait_until_running()
        before = server.resident()
        address = server.addresses[0]
        assert not isinstance(address, str)
        idle = Idle(address[1], count)
        opened = (server.resident() - before) / count
        late = idle.watch(2.2 * INTERVAL)
        watched = (server.resident() - before) / count
        idle.close()
        status = server.stop()
    task, scope = of_the_application(count)
    ours = max(opened, watched) - task - scope
    print(f"{count:,} idle WebSockets: {opened:.0f} bytes each, {watched:.0f} after {2.2 * INTERVAL:.0f} s")
    print(f"  of these the application's task and frames {task}, its scope {scope}")
    print(f"  ours {ours:.0f} (allowed {ALLOWED}), {ours + scope:.0f} with the scope")
    print(f"  {idle.pings:,} pings, the latest that was watched {late:.2f} s late (allowed {LATEST})")
    return int(ours > ALLOWED or late > LATEST or idle.pings < 2 * count or status != 0)


class Idle:
    """Clients that answer pings and do nothing else."""

    def __init__(self, port: int, count: int) -> None:
        self.pings = 0
        self._selector = selectors.DefaultSelector()
        self._last: dict[socket.socket, float] = {}
        self._watched: set[socket.socket] = set()
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port), source_address=(source(number), 0))
            client.sendall(HANDSHAKE)
            assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
            self._last[client] = time.monotonic()
            self._selector.register(client, selectors.EVENT_READ)
            if number % 500 == 0:
                self._answer(0)
                progress(f"{number:,} of {count:,} open")

    def watch(self, seconds: float) -> float:
        """By how many seconds the latest ping was late, of those that follow another while we watch.

        While connections are opened, this process itself may look late.
        """
        self._watched.clear()
        end = time.monotonic() + seconds
        late = 0.0
        while (now := time.monotonic()) < end:
            late = max(late, self._answer(end - now))
            progress(f"{self.pings:,} pings answered, {end - now:.0f} s left")
        return max(late, *(time.monotonic() - self._last[client] - INTERVAL for client in self._watched))

    def close(self) -> None:
        self._selector.close()
        for client in self._last:
            client.close()

    def _answer(self, timeout: float) -> float:
        late = 0.0
        for key, _ in self._selector.select(timeout):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            ping = client.recv(4096)
            assert len(ping) == 6 and ping[:2] == b"\x89\x04", ping
            client.sendall(PONG + ping[2:])
            self.pings += 1
            now = time.monotonic()
            if client in self._watched:
                late = max(late, now - self._last[client] - INTERVAL)
            self._watched.add(client)
            self._last[client] = now
        return late


def allowed_by_descriptors(count: int) -> int:
    """As many, or as this process and its server may have descriptors for, which is then said."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, count + SPARE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < count + SPARE:
        print(f"not {count:,} but {limit - SPARE:,}: a process may have no more than {hard:,} descriptors here")
    return limit - SPARE


def source(number: int) -> str:
    return f"127.0.0.{1 + number // PER_ADDRESS}"


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def of_the_application(count: int) -> tuple[int, int]:
    """Bytes each of its tasks takes with its frames, and of its scope: as many, in a process without a server."""
    command = [sys.executable, "-m", "tests.soak.websockets", "--bare", "--idle", str(count)]
    task, scope = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return int(task), int(scope)


async def bare(count: int) -> tuple[int, int]:
    loop = asyncio.get_running_loop()

    def receive() -> asyncio.Future[Event]:
        return loop.create_future()

    async def send(event: Event) -> None:
        assert event["type"] == "websocket.accept"

    before = resident()
    scopes = list(scopes_like_ours(count))
    with_scopes = resident()
    tasks = [asyncio.ensure_future(waiting_websocket(scope, receive, send)) for scope in scopes]
    await asyncio.sleep(0.1)
    with_tasks = resident()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return (with_tasks - with_scopes) // count, (with_scopes - before) // count


def scopes_like_ours(count: int) -> Iterator[Scope]:
    names = [b"host", b"user-agent", b"connection", b"upgrade", b"sec-websocket-version", b"sec-websocket-key"]
    for number in range(count):
        yield {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": f"/idle{number}"[:5],
            "raw_path": bytes(memoryview(b"/idle")),
            "query_string": b"",
            "root_path": "",
            "headers": [(name, bytes(bytearray(18))) for name in names],
            "client": (f"127.0.0.{1 + number % 3}", 40_000 + number % 20_000),
            "server": (f"127.0.0.{number % 1 + 1}", 20_000 + number % 1),
            "state": {},
            "extensions": {"websocket.http.response": {}},
            "subprotocols": [],
        }


def resident() -> int:
    """Bytes of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
