"""Requests by the thousand, whole and aborted, for memory to be looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.client import GET, Address, Client, chunked, request

Kind = Callable[[Address, int], None]
"""Sends so many requests to an address."""


def kept_alive(address: Address, count: int) -> None:
    with Client.connect(address) as client:
        for _ in range(0, count, 16):
            client.send(GET * 16)
            for _ in range(16):
                client.response()


def posted(address: Address, count: int) -> None:
    chunks = request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=chunked(b"a", b"b" * 1000))
    with Client.connect(address) as client:
        for _ in range(0, count, 2):
            client.send(request(b"POST", body=b"hello") + chunks)
            client.response()
            client.response()


def connecting(address: Address, count: int) -> None:
    for _ in range(count):
        with Client.connect(address) as client:
            client.send(GET)
            client.response()


def aborting(data: bytes, *, answered: bool = False) -> Kind:
    def send(address: Address, count: int) -> None:
        for _ in range(count):
            with Client.connect(address) as client:
                client.send(data)
                if answered:
                    client.head()
                client.reset()

    return send


HALF_A_BODY = request(b"POST", headers=[(b"content-length", b"100000")]) + b"half"

KINDS: Sequence[tuple[Kind, float]] = (
    (kept_alive, 0.5),
    (posted, 0.2),
    (connecting, 0.05),
    (aborting(GET[:20]), 0.05),
    (aborting(HALF_A_BODY), 0.05),
    (aborting(request(target=b"/stream"), answered=True), 0.05),
    (aborting(request(target=b"/wait")), 0.05),
    (aborting(request(target=b"/fail"), answered=True), 0.025),
    (aborting(b"nonsense\r\n\r\n", answered=True), 0.025),
)
"""Kinds of traffic, and which share of the requests is of each."""


def run(address: Address, count: int, kinds: Sequence[tuple[Kind, float]] = KINDS) -> None:
    """`count` requests, the kinds in their shares."""
    for send, share in kinds:
        send(address, int(count * share))
