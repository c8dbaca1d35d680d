"""How evenly worker processes share connections that are opened all at once: `python -m tests.soak.shares`.

Linux only: which process has which connection is read from /proc. The client is wrk, which has to be installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.soak.processes import descendants
from tests.support.process import ServerProcess

_ESTABLISHED = "01"


def main() -> int:
    options = parsed()
    shares = []
    arguments = ("--workers", str(options.workers), "--no-access-log", "--lifespan", "off", *options.more)
    with ServerProcess("tests.support.apps:hello", *arguments) as server:
        server.wait_until_running()
        address = server.addresses[0]
        assert not isinstance(address, str)
        port = address[1]
        url = f"http://127.0.0.1:{port}/"
        for _ in range(options.rounds):
            counts, requests = measured(server.process.pid, port, url, options)
            shares.append(max(counts) / max(sum(counts), 1))
            print(f"{counts}  largest {shares[-1]:.0%}  {requests} requests/s", flush=True)
        server.stop()
    print(f"{options.workers} workers, {options.connections} connections: largest share {max(shares):.0%} at the most")
    return int(max(shares) > options.most / options.workers)


def measured(supervisor: int, port: int, url: str, options: argparse.Namespace) -> tuple[list[int], str]:
    """How many connections each worker has while wrk runs, and how many requests a second there were."""
    command = ["wrk", "-t2", f"-c{options.connections}", f"-d{options.seconds}", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        # In the middle: wrk opens all of its connections at the start, and keeps them.
        time.sleep(options.seconds / 2)
        counts = sorted(connections_of(pid, port) for pid in descendants(supervisor))
        output = wrk.communicate()[0]
    found = re.search(r"Requests/sec:\s+(\d+)", output)
    if not found or "Socket errors" in output:
        raise SystemExit(output)
    return counts, found[1]


def connections_of(pid: int, port: int) -> int:
    """The established connections of a process whose local port this is (proc(5))."""
    sockets = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            sockets.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    ours = [f for f in lines if f[3] == _ESTABLISHED and f[1].endswith(f":{port:04X}")]
    return sum(f"socket:[{fields[9]}]" in sockets for fields in ours)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=2, help="of each round")
    parser.add_argument("--most", type=float, default=1.2, help="times the even share: what the largest may be")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further arguments of the server")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
