"""A crowd of slow and rude clients beside one that behaves: see README.md here."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor

from tests.support.client import GET, Client, request
from tests.support.process import ServerProcess

HEAD_SECONDS = 5
"""The server's timeouts for heads, bodies and idle connections."""
QUIET_SECONDS = 7
"""After so long without a request, what was kept for the next has been given back."""
ALLOWED_RATIO = 3.0
"""How much longer than alone the 99th percentile of the one that behaves may be (the crowd's own work is on the same
machine), and half a millisecond besides."""

Address = tuple[str, int]
Outcome = str


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000, help="that drip; a quarter of each other kind")
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 20_000), limit))
    timeouts = [f"--timeout-{name}={HEAD_SECONDS}" for name in ("request-head", "request-body", "keep-alive")]
    with ServerProcess("tests.support.apps:mixed", "--no-access-log", *timeouts) as server:
        server.wait_until_running()
        address = server.addresses[0]
        assert isinstance(address, tuple)
        fine = await measure(address, options, server)
        return int(not fine or server.stop() != 0)


async def measure(address: Address, options: argparse.Namespace, server: ServerProcess) -> bool:
    # In a process of its own: what this one does for the crowd must not count.
    with ProcessPoolExecutor(1) as process:
        loop = asyncio.get_running_loop()
        alone = await loop.run_in_executor(process, latencies, address, 3.0)
        before = (server.resident(), descriptors(server))
        beside_them = loop.run_in_executor(process, latencies, address, options.seconds)
        outcomes = Counter(await asyncio.gather(*clients(address, options.clients)))
        beside = await beside_them
    await asyncio.sleep(QUIET_SECONDS)
    after = (server.resident(), descriptors(server))
    for name, times in (("alone", alone), ("beside the crowd", beside)):
        p50, p99 = percentile(times, 50), percentile(times, 99)
        print(f"{name:>18}: {len(times):>7,} requests, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    print(f"   the crowd's ends: {dict(sorted(outcomes.items()))}")
    print(f"             memory: {before[0] / 2**20:.1f} MiB before, {after[0] / 2**20:.1f} MiB after")
    print(f"        descriptors: {before[1]} before, {after[1]} after")
    kept = percentile(beside, 99) <= ALLOWED_RATIO * percentile(alone, 99) + 0.5
    return kept and after[1] <= before[1] and outcomes["left open"] == 0


def clients(address: Address, count: int) -> list[Awaitable[Outcome]]:
    """Each kind with what has to become of it in its name."""
    kinds: list[tuple[Callable[[Address], Awaitable[Outcome]], int]] = [
        (drips, count),
        (says_nothing, count // 4),
        (closes_half, count // 4),
        (resets_in_body, count // 4),
        (resets_in_response, count // 4),
    ]
    return [kind(address) for kind, number in kinds for _ in range(number)]


async def drips(address: Address) -> Outcome:
    """A head at one byte a second: 408 when its time is over."""
    reader, writer = await asyncio.open_connection(*address)
    for byte in GET:
        writer.write(bytes([byte]))
        try:
            return "408" if b" 408 " in await asyncio.wait_for(reader.read(100), 1) else "other answer"
        except TimeoutError:
            continue
        except ConnectionError:
            return "closed"
    return "left open"


async def says_nothing(address: Address) -> Outcome:
    reader, _ = await asyncio.open_connection(*address)
    try:
        await asyncio.wait_for(reader.read(), HEAD_SECONDS + 5)
    except TimeoutError:
        return "left open"
    return "silent ones closed"


async def closes_half(address: Address) -> Outcome:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(GET[:20])
    writer.write_eof()
    await asyncio.wait_for(reader.read(), HEAD_SECONDS + 5)
    return "half-closed ones closed"


async def resets_in_body(address: Address) -> Outcome:
    _, writer = await asyncio.open_connection(*address)
    writer.write(request(b"POST", headers=[(b"content-length", b"100000")]) + bytes(50_000))
    return await reset(writer)


async def resets_in_response(address: Address) -> Outcome:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request(target=b"/stream"))
    await reader.read(1)
    return await reset(writer)


async def reset(writer: asyncio.StreamWriter) -> Outcome:
    await asyncio.sleep(0.5)
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return "reset"


def latencies(address: Address, seconds: float) -> list[float]:
    """Milliseconds of one request after the other on one connection, with a pause between them."""
    times = []
    end = time.monotonic() + seconds
    with Client.connect(address) as client:
        while time.monotonic() < end:
            begun = time.perf_counter()
            client.send(GET)
            client.response()
            times.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.005)
    return times


def percentile(times: list[float], percent: int) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


def descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
