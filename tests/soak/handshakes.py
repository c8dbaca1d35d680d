"""What TLS handshakes cost, and what many at once cost those who have connected: `python -m tests.soak.handshakes`.

Linux only: what the server computes is read from /proc.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certificates import Authority, Key
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess


def main() -> int:
    options = parsed()
    worst = 0.0
    keys: list[tuple[str, Key]] = [
        ("ECDSA P-256", ec.generate_private_key(ec.SECP256R1())),
        ("RSA 2048", rsa.generate_private_key(65537, 2048)),
    ]
    for name, key in keys:
        with tempfile.TemporaryDirectory() as folder:
            authority = Authority(Path(folder))
            issued = authority.issue("example.org", key=key)
            arguments = ("--no-access-log", "--ssl-certfile", issued.certfile, "--ssl-keyfile", issued.keyfile)
            with ServerProcess("tests.support.apps:hello", *arguments, *options.more) as server:
                server.wait_until_running()
                address = server.addresses[0]
                assert not isinstance(address, str)
                worst = max(worst, measure(name, address[1], server.process.pid, authority.client_context(), options))
                server.stop()
    return int(worst > options.most / 1000)


def measure(name: str, port: int, pid: int, context: ssl.SSLContext, options: argparse.Namespace) -> float:
    """Prints what handshakes with one key cost; the longest that another client waited, in seconds."""
    connect(port, context).close()
    before = busy(pid)
    for _ in range(options.connections):
        connect(port, context).close()
    cost = (busy(pid) - before) / options.connections
    alone, among = [], []
    with Client(connect(port, context)) as probe:
        alone += latencies(probe, lambda done: len(done) < 500)
        waiting = [begun(port, context) for _ in range(options.connections)]
        crowd = threading.Thread(target=shake_hands, args=(waiting,))
        for sock, hello in waiting:
            sock.sendall(hello)
        crowd.start()
        among += latencies(probe, lambda _: crowd.is_alive())
    crowd.join()
    print(
        f"{name}: {cost * 1e6:.0f} us of the server each; a request takes {statistics.median(alone) * 1e3:.2f} ms,"
        f" {max(alone) * 1e3:.2f} at the most; with {options.connections} handshakes at once"
        f" {statistics.median(among) * 1e3:.2f} ms, {max(among) * 1e3:.2f} at the most",
        flush=True,
    )
    return max(among)


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    return context.wrap_socket(sock, server_hostname="example.org")


def begun(port: int, context: ssl.SSLContext) -> tuple[socket.socket, bytes]:
    """A connection, and the ClientHello that is to be sent on it."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.org").do_handshake()
    return sock, outgoing.read()


def shake_hands(waiting: Iterable[tuple[socket.socket, bytes]]) -> None:
    """Waits until each has been answered."""
    for sock, _ in waiting:
        assert sock.recv(1), "the server has closed"
        sock.close()


def latencies(client: Client, goes_on: Callable[[list[float]], bool]) -> list[float]:
    """How long each request of one client takes, in seconds."""
    taken: list[float] = []
    while goes_on(taken) or not taken:
        begin = time.perf_counter()
        client.send(GET)
        client.response()
        taken.append(time.perf_counter() - begin)
    return taken


def busy(pid: int) -> float:
    """Seconds of all processors that a process has had."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200, help="handshakes, one by one and then at once")
    parser.add_argument("--most", type=float, default=50, help="milliseconds: what a request among them may take")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further arguments of the server")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
