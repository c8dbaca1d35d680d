"""A field that a client of HTTP/2 sends by its index is the same object in every scope of its connection."""

from __future__ import annotations

import queue

import pytest

from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.client import Client
from tests.support.server import Serve

pytestmark = [pytest.mark.http1("frames of its own"), pytest.mark.cleartext("frames of its own")]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS = 4, 1
END_STREAM_AND_HEADERS = 5

Headers = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field that goes into the table of both sides (RFC 7541 section 6.2.1)."""
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value


def pseudo(path: bytes) -> bytes:
    """:method and :scheme by their indices, :path as a literal that goes into no table."""
    return b"\x82\x86\x04" + bytes([len(path)]) + path


def requests_of(serve: Serve, *blocks: bytes) -> list[Headers]:
    """The header lists of the requests with these header blocks, one behind the other on a connection."""
    seen: queue.Queue[Headers] = queue.Queue()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.put(scope["headers"])
        await respond(send)

    with Client.connect(serve(app).address) as client:
        client.send(PREFACE + frame(SETTINGS, 0, 0))
        requests = []
        for number, block in enumerate(blocks):
            client.send(frame(HEADERS, END_STREAM_AND_HEADERS, 2 * number + 1, block))
            requests.append(seen.get(timeout=10))
    return requests


def test_what_is_indexed_is_made_once(serve: Serve) -> None:
    tag = literal(b"x-tag", b"1")
    # :authority from the static table's name, so that it has index 63 behind x-tag.
    first = pseudo(b"/1") + b"\x41\x07a.local" + tag
    one, two, three = requests_of(serve, first, pseudo(b"/2") + b"\xbf\xbe", pseudo(b"/3") + b"\xbf\xbe")
    assert one == two == three == [(b"host", b"a.local"), (b"x-tag", b"1")]
    assert all(mine is other for mine, other in zip(one, two, strict=True))
    assert all(mine is other for mine, other in zip(two, three, strict=True))
    assert one is not two


def test_what_is_not_indexed_is_made_anew(serve: Serve) -> None:
    block = pseudo(b"/1") + b"\x01\x07a.local"
    one, two = requests_of(serve, block, pseudo(b"/2") + b"\x01\x07a.local")
    assert one == two == [(b"host", b"a.local")]
    assert one[0] is not two[0]


def test_an_index_that_means_another_field_is_another_object(serve: Serve) -> None:
    """More entries come than tuples are kept, and the newest has index 62 each time."""
    fields = [(b"x", b"%d" % number) for number in range(300)]
    host = b"\x01\x07a.local"
    blocks = [pseudo(b"/") + host + literal(*field) + b"\xbe" for field in fields]
    for headers, field in zip(requests_of(serve, *blocks), fields, strict=True):
        assert headers[1:] == [field, field]
        assert headers[1] is headers[2]
