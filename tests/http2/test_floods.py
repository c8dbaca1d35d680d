"""Clients of HTTP/2 that make work or take memory, each with its number among the vulnerabilities where it has one.

The server is a process of its own, one for all of them. It gives such a connection up with the code that is expected,
says so in its log, answers everybody else meanwhile, and its memory stays bounded.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat

import pytest

from conformance.http2 import fields, frames
from conformance.http2.frames import Code, Setting, Type
from tests.support.client import GET, open_socket
from tests.support.deadline import DEADLINE
from tests.support.http2 import Http2
from tests.support.process import ServerProcess

GROWTH = 64 * 1024 * 1024
"""Bytes by which the server may grow in one flood."""
TURNS = 500
"""How often a flood is sent at the most, in pieces that have some hundred frames."""
EACH = 200

CALM = Code.ENHANCE_YOUR_CALM
REQUEST = fields.plain([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")])
UPLOAD = fields.plain([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")])
WAIT = fields.plain([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/wait"), (b":authority", b"test")])
STREAM = fields.plain([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/stream"), (b":authority", b"test")])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("tests.support.apps:mixed", "--lifespan", "off", "--no-access-log") as process:
        process.wait_until_running()
        assert process.exchange(GET).status == 200
        yield process
        assert process.stop() == 0


class Attacker:
    """A connection that sends what it is told as fast as the server takes it, and reads unless it is told not to."""

    def __init__(self, server: ServerProcess, settings: frames.Settings, *, reads: bool = True) -> None:
        self._server = server
        self._reads = reads
        self._socket = open_socket(server.addresses[0], receive_buffer=None if reads else 4096)
        self._socket.setblocking(False)
        self._unsent = frames.PREFACE + frames.settings(settings)
        self._received = bytearray()
        self.ended = False
        self.codes: list[int] = []
        """Of the server's GOAWAY frames."""

    def flood(self, pieces: Iterable[bytes]) -> None:
        """Sends `pieces`, as long as the connection goes on. Now and then somebody else has to be answered."""
        for turn, piece in enumerate(pieces):
            self._unsent += piece
            self._turn()
            if turn % 20 == 0:
                assert self._server.exchange(GET).status == 200
            if self.ended:
                return

    def wait_for_end(self) -> None:
        """Until the server has ended the connection."""
        while not self.ended:
            readable, _, _ = select.select([self._socket], [], [], DEADLINE)
            assert readable, "the connection goes on"
            self._read()

    def close(self) -> None:
        self._socket.close()

    def _turn(self) -> None:
        """Sends all that waits; less where the server takes nothing for a tenth of a second."""
        while self._unsent and not self.ended:
            readable, writable, _ = select.select([self._socket] * self._reads, [self._socket], [], 0.1)
            if readable:
                self._read()
            if writable:
                self._send()
            if not readable and not writable:
                return

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except ConnectionError:
            # What it said before is still there.
            self._unsent = b""
            self._reads = True
            self.wait_for_end()

    def _read(self) -> None:
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self._received += data
        self.ended = not data
        while len(self._received) >= 9:
            end = 9 + int.from_bytes(self._received[:3])
            if len(self._received) < end:
                return
            if self._received[3] == Type.GOAWAY:
                self.codes.append(int.from_bytes(self._received[13:17]))
            del self._received[:end]


def streams() -> Iterator[int]:
    return iter(range(1, 2**31, 2))


def each(make: Callable[[int], bytes]) -> Iterator[bytes]:
    """Pieces of what `make` makes for each stream."""
    numbers = streams()
    while True:
        yield b"".join(make(stream) for stream in islice(numbers, EACH))


def rapid_reset() -> Iterator[bytes]:
    return each(lambda stream: frames.headers(stream, WAIT) + frames.rst_stream(stream))


def made_you_reset() -> Iterator[bytes]:
    return each(lambda stream: frames.headers(stream, WAIT) + frames.window_update(stream, 0))


def malformed_requests() -> Iterator[bytes]:
    return each(lambda stream: frames.headers(stream, REQUEST + fields.literal(b"Upper", b"1")))


def streams_above_the_limit() -> Iterator[bytes]:
    return each(lambda stream: frames.headers(stream, UPLOAD, end=False))


def behind(beginning: bytes, frame: bytes) -> Iterator[bytes]:
    """`beginning` once, then `frame` without end."""
    yield beginning
    yield from repeat(frame * EACH)


def opened() -> bytes:
    return frames.headers(1, UPLOAD, end=False)


FLOODS: dict[str, tuple[Iterator[bytes], str]] = {
    # Where calls end late, as they do on Python 3.11, streams may be refused first.
    "rapid reset (CVE-2023-44487)": (rapid_reset(), "(reset|at the same time)"),
    "made you reset (CVE-2025-8671)": (made_you_reset(), "(errors on streams|at the same time)"),
    "malformed requests": (malformed_requests(), "errors on streams"),
    "streams above the limit": (streams_above_the_limit(), "at the same time"),
    "CONTINUATION (CVE-2024-27316)": (
        behind(frames.headers(1, REQUEST, complete=False), frames.continuation(1, b"\x00\x01a\x01b", complete=False)),
        "",
    ),
    "empty CONTINUATION": (
        behind(frames.headers(1, REQUEST, complete=False), frames.continuation(1, b"", complete=False)),
        "",
    ),
    "large CONTINUATION": (
        behind(
            frames.headers(1, REQUEST, complete=False),
            frames.continuation(1, fields.literal(b"a", bytes(16_000)), complete=False),
        ),
        "",
    ),
    "SETTINGS (CVE-2019-9515)": (repeat(frames.settings() * EACH), "SETTINGS and PING"),
    "SETTINGS of many": (
        repeat(frames.settings(*[(Setting.INITIAL_WINDOW_SIZE, size) for size in range(1000)]) * 20),
        "SETTINGS and PING",
    ),
    "PING (CVE-2019-9512)": (repeat(frames.ping() * EACH), "SETTINGS and PING"),
    "empty DATA (CVE-2019-9518)": (behind(opened(), frames.data(1)), "without data"),
    "padding alone (CVE-2019-9518)": (behind(opened(), frames.data(1, padding=10)), "without data"),
    "WINDOW_UPDATE": (repeat(frames.window_update(0, 1) * EACH), "WINDOW_UPDATE"),
    "WINDOW_UPDATE of a stream": (behind(opened(), frames.window_update(1, 1)), "WINDOW_UPDATE"),
    "PRIORITY (CVE-2019-9513)": (repeat(frames.priority(1, 0) * EACH), "do nothing"),
    "unknown frames": (repeat(frames.frame(0x42, 0, 0, b"?") * EACH), "do nothing"),
}


@pytest.mark.parametrize(("pieces", "said"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_its_connection_and_nothing_else(
    server: ServerProcess, pieces: Iterator[bytes], said: str
) -> None:
    before = server.resident_peak()
    attacker = Attacker(server, {})
    attacker.flood(islice(pieces, TURNS))
    attacker.wait_for_end()
    attacker.close()
    assert attacker.codes == [CALM]
    server.wait_for_line(f"gave up an HTTP/2 connection: .*{said}")
    assert server.exchange(GET).status == 200
    assert server.resident_peak() - before < GROWTH


def test_answers_that_nobody_reads(server: ServerProcess) -> None:
    """PING after PING by a client that reads no acknowledgement: they do not pile up."""
    before = server.resident_peak()
    attacker = Attacker(server, {}, reads=False)
    attacker.flood(repeat(frames.ping() * EACH, TURNS))
    attacker.wait_for_end()
    attacker.close()
    server.wait_for_line("gave up an HTTP/2 connection")
    assert server.resident_peak() - before < GROWTH


def bomb(stream: int) -> bytes:
    """A header block of 16 KiB that says 4 KiB some 16,000 times (CVE-2016-6581)."""
    entry = fields.indexing(b"a", bytes(b"a" * 4000)) if stream == 1 else b""
    return frames.headers(stream, REQUEST + entry + fields.indexed(fields.STATIC + 1) * 12_000)


def test_header_bombs_are_refused(server: ServerProcess) -> None:
    """What they would become is never there."""
    before = server.resident_peak()
    attacker = Attacker(server, {})
    attacker.flood(bomb(stream) for stream in islice(streams(), 300))
    attacker.close()
    assert server.exchange(GET).status == 200
    assert server.resident_peak() - before < GROWTH


def test_many_streams_without_a_window(server: ServerProcess) -> None:
    """Each has a response that never ends, and none may send a byte."""
    before = server.resident_peak()
    attackers = [Attacker(server, {Setting.INITIAL_WINDOW_SIZE: 0}) for _ in range(4)]
    for attacker in attackers:
        attacker.flood(frames.headers(stream, STREAM) for stream in islice(streams(), 100))
    with Http2.connect(server.addresses[0]) as other:
        for _ in range(20):
            assert other.response(other.request()).status == 200
    for attacker in attackers:
        assert not attacker.ended
        attacker.close()
    assert server.resident_peak() - before < GROWTH


def test_many_streams_that_are_not_read(server: ServerProcess) -> None:
    """The windows are as large as they can be, and the client reads nothing."""
    before = server.resident_peak()
    wide = {Setting.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW}
    attackers = [Attacker(server, wide, reads=False) for _ in range(4)]
    opening = frames.window_update(0, frames.LARGEST_WINDOW - frames.WINDOW)
    for attacker in attackers:
        attacker.flood([opening])
        attacker.flood(frames.headers(stream, STREAM) for stream in islice(streams(), 100))
    with Http2.connect(server.addresses[0]) as other:
        for _ in range(20):
            assert other.response(other.request()).status == 200
    for attacker in attackers:
        attacker.close()
    assert server.resident_peak() - before < GROWTH


def test_uploads_that_nobody_wants(server: ServerProcess) -> None:
    """An application that does not ask: as much is kept as the windows allow."""
    before = server.resident_peak()
    waits = fields.plain([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/stream"), (b":authority", b"a")])
    attackers = [Attacker(server, {Setting.INITIAL_WINDOW_SIZE: 0}) for _ in range(10)]
    content = frames.data(1, bytes(16_384)) * 60
    for attacker in attackers:
        attacker.flood([frames.headers(1, waits, end=False), content])
    assert server.exchange(GET).status == 200
    for attacker in attackers:
        attacker.close()
    assert server.resident_peak() - before < GROWTH
