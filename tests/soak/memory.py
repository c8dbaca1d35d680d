"""A million requests, and what they leave: see README.md here."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from contextlib import ExitStack

from tests.support.client import GET
from tests.support.process import ServerProcess
from tests.support.traffic import run

MIB = 1024 * 1024
ALLOWED = 2 * MIB
"""Bytes: what allocators and caches may still take after the first tenth."""
ALLOWED_IDLE = 2048
"""Bytes of the process for each idle connection."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--idle", type=int, default=0, help="idle keep-alive connections to open afterwards")
    parser.add_argument("--loop", default="auto")
    options = parser.parse_args()
    quiet = ("--no-access-log", "--timeout-keep-alive", "600")
    with ServerProcess("tests.support.apps:mixed", "--loop", options.loop, *quiet) as server:
        server.wait_until_running()
        grows = requests_grow(server, options.requests)
        costs = options.idle > 0 and idle_connections_cost(server, options.idle)
        status = server.stop()
    return int(grows or costs or status != 0)


def requests_grow(server: ServerProcess, count: int) -> bool:
    """Whether memory grew over the last nine tenths of `count` requests."""
    measured = []
    begun = time.monotonic()
    for tenth in range(1, 11):
        run(server.addresses[0], count // 10)
        measured.append(server.resident())
        print(
            f"{tenth * count // 10:>10,} requests  {measured[-1] / MIB:7.2f} MiB  {time.monotonic() - begun:6.0f} s",
            flush=True,
        )
    growth = max(measured[-2:]) - measured[0]
    print(f"growth {growth / MIB:.2f} MiB (allowed {ALLOWED / MIB:.0f})")
    return growth > ALLOWED


def idle_connections_cost(server: ServerProcess, count: int) -> bool:
    """Whether `count` connections that have had a response each cost more than they may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    before = server.resident()
    with ExitStack() as opened:
        for _ in range(count):
            client = opened.enter_context(server.connect())
            client.send(GET)
            client.response()
        each = (server.resident() - before) / count
    print(f"{count:,} idle connections: {each:.0f} bytes each (allowed {ALLOWED_IDLE})")
    return each > ALLOWED_IDLE


if __name__ == "__main__":
    sys.exit(main())
