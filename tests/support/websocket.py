"""A WebSocket client that sends exactly the frames it is given, good or bad, and reads what comes frame by frame.

RFC 6455 section 5 in a page, and RFC 7692 by zlib: written here, so that no library stands between a test and the wire.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.client import Client, Head, HeaderList, request
from tests.support.process import ServerProcess
from tests.support.server import RunningServer
from tests.support.translation import Http2Client
from tests.support.transports import Transport

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455 section 1.3: a key, and the only answer to it."""

MASK = b"\x37\xfa\x21\x3d"
"""The example of RFC 6455 section 5.7."""

TAIL = b"\x00\x00\xff\xff"
"""What a compressed message leaves out (RFC 7692 section 7.2.1)."""

DEFLATE = (b"sec-websocket-extensions", b"permessage-deflate")
"""The header field that offers compression without parameters."""


class Opcode(enum.IntEnum):
    """RFC 6455 section 11.8."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


PATIENCE = 8.0
"""Seconds that a client waits for what should come at once: less than the ten after which the server gives up on a
close that is not answered, so that no test passes because of that."""

COMPRESSED = 0b100
"""RSV1, in the three reserved bits of a frame (RFC 7692 section 6)."""

FIELDS = {
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}
"""What makes a request a handshake (RFC 6455 section 4.1)."""


def handshake(
    target: bytes = b"/",
    headers: HeaderList = (),
    *,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    replace: dict[bytes, bytes | None] | None = None,
) -> bytes:
    """The bytes of a handshake. `replace` gives some `FIELDS` another value, None takes one away; `headers` follow."""
    fields = {**FIELDS, **(replace or {})}
    kept = [(name, value) for name, value in fields.items() if value is not None]
    return request(method, target, [*kept, *headers], version=version)


HANDSHAKE = handshake()


def masked(payload: bytes, mask: bytes) -> bytes:
    """`payload` under `mask`, four bytes (RFC 6455 section 5.3). Masking twice gives the payload again."""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(len(payload))


def frame_head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """The bytes before the mask. `rsv` are the three reserved bits, RSV1 the highest of them."""
    first = fin << 7 | rsv << 4 | opcode
    bit = masked << 7
    if length < 126:
        return struct.pack("!BB", first, bit | length)
    if length < 65_536:
        return struct.pack("!BBH", first, bit | 126, length)
    return struct.pack("!BBQ", first, bit | 127, length)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """One frame, as a client sends it; without a mask where `mask` is None."""
    head = frame_head(opcode, len(payload), fin=fin, rsv=rsv, masked=mask is not None)
    return head + payload if mask is None else head + mask + masked(payload, mask)


def fragments(opcode: int, parts: Iterable[bytes], *, rsv: int = 0) -> bytes:
    """One message in as many frames as there are `parts`."""
    payloads = list(parts)
    last = len(payloads) - 1
    frames = (
        frame(Opcode.CONTINUATION if number else opcode, part, fin=number == last, rsv=0 if number else rsv)
        for number, part in enumerate(payloads)
    )
    return b"".join(frames)


def text(message: str) -> bytes:
    return frame(Opcode.TEXT, message.encode())


def binary(message: bytes) -> bytes:
    return frame(Opcode.BINARY, message)


def ping(payload: bytes = b"") -> bytes:
    return frame(Opcode.PING, payload)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A close frame; without a payload where `code` is None."""
    return frame(Opcode.CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class Deflater:
    """Compresses messages one after the other, each with those before it as context unless `takeover` is False."""

    def __init__(self, *, bits: int = 15, takeover: bool = True, level: int = 6) -> None:
        self._parameters = (level, zlib.DEFLATED, -bits)
        self._takeover = takeover
        self._deflater = zlib.compressobj(*self._parameters)

    def message(self, data: bytes) -> bytes:
        """The payload of a compressed message."""
        if not self._takeover:
            self._deflater = zlib.compressobj(*self._parameters)
        return (self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


class Inflater:
    """Decompresses messages one after the other, and fails where one reaches beyond the window of `bits`."""

    def __init__(self, *, bits: int = 15, takeover: bool = True) -> None:
        self._bits = bits
        self._takeover = takeover
        self._inflater = zlib.decompressobj(-bits)

    def message(self, payload: bytes) -> bytes:
        if not self._takeover:
            self._inflater = zlib.decompressobj(-self._bits)
        return self._inflater.decompress(payload + TAIL)


@dataclass(frozen=True)
class Frame:
    """A frame of the server."""

    opcode: Opcode
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0


class WebSocket(Client):
    """One connection. What it reads must be what a server may send: unmasked, the length in as few bytes as it fits."""

    inflater: Inflater | None = None
    """Set by a test that has negotiated compression: without, a compressed message is a failure."""

    def upgrade(self, target: bytes = b"/", headers: HeaderList = ()) -> Head:
        """Sends a handshake, which has to be accepted."""
        self.send(handshake(target, headers))
        return self.accepted()

    def accepted(self) -> Head:
        """The response that accepts a handshake."""
        head = self.head()
        assert head.status == 101, head
        return head

    def frame(self) -> Frame:
        """The next frame, whatever it is."""
        first, second = self.read_exactly(2)
        assert second < 128, "the frame of a server is masked"
        length = second
        if second >= 126:
            length = int.from_bytes(self.read_exactly(2 if second == 126 else 8))
            assert length >= (126 if second == 126 else 65_536), "the length is in more bytes than it needs"
        return Frame(Opcode(first & 15), self.read_exactly(length), bool(first & 128), first >> 4 & 7)

    def message(self) -> str | bytes:
        """The next message. Nothing else may come before its end."""
        first = self.frame()
        assert first.opcode in (Opcode.TEXT, Opcode.BINARY), first
        payload, last = first.payload, first
        while not last.fin:
            last = self.frame()
            assert (last.opcode, last.rsv) == (Opcode.CONTINUATION, 0), last
            payload += last.payload
        if first.rsv:
            assert first.rsv == COMPRESSED, first
            assert self.inflater, "a compressed message, though compression was not negotiated"
            payload = self.inflater.message(payload)
        return payload.decode() if first.opcode == Opcode.TEXT else payload

    def messages(self, count: int) -> list[str | bytes]:
        return [self.message() for _ in range(count)]

    def pong(self) -> bytes:
        """The payload of the next frame, which has to be a pong."""
        last = self.frame()
        assert (last.opcode, last.fin, last.rsv) == (Opcode.PONG, True, 0), last
        return last.payload

    def ping(self) -> bytes:
        """The payload of the next frame, which has to be a ping."""
        last = self.frame()
        assert (last.opcode, last.fin, last.rsv) == (Opcode.PING, True, 0), last
        return last.payload

    def closing(self) -> tuple[int | None, str]:
        """Code and reason of the next frame, which has to close; the code is None where the frame is empty."""
        last = self.frame()
        assert (last.opcode, last.fin, last.rsv) == (Opcode.CLOSE, True, 0), last
        assert len(last.payload) != 1
        code = int.from_bytes(last.payload[:2]) if last.payload else None
        return code, last.payload[2:].decode()

    def closing_after_messages(self) -> tuple[int | None, str]:
        """Code and reason of the next close frame, whatever comes before it."""
        last = self.frame()
        while last.opcode != Opcode.CLOSE:
            last = self.frame()
        return int.from_bytes(last.payload[:2]) if last.payload else None, last.payload[2:].decode()

    def is_closed_with(self, code: int) -> str:
        """The reason of a close frame that has `code`, after which the connection has to end."""
        closed, reason = self.closing()
        assert closed == code
        assert self.ends(), "the connection goes on after its close"
        return reason

    def close_cleanly(self, code: int | None = 1000, reason: str = "") -> None:
        """The closing handshake: the server answers with the code it was sent, and ends the connection."""
        self.send(close(code, reason))
        assert self.closing()[0] == code
        assert self.ends(), "the connection goes on after the closing handshake"


class Http2WebSocket(WebSocket, Http2Client):
    """The same on a stream of HTTP/2 (RFC 8441): accepted by 200, and ended by the end of the stream, or a reset."""

    def head(self) -> Head:
        """The head of the response; as the tests' language has it, with 101 in place of 200 (RFC 8441 section 5)."""
        head = Http2Client.head(self)
        if head.status != 200 or self._reading not in self.tunnels:
            return head
        fields = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", ACCEPT))
        return dataclasses.replace(head, status=101, headers=(*head.headers, *fields))

    def ends(self) -> bool:
        return self.exchange_ends()

    def read_to_end(self) -> bytes:
        """Of the stream: the connection may go on."""
        is_read = self._reading and self._reading.over and not self._is_behind()
        return b"" if is_read else super().read_to_end()


@contextmanager
def websocket(
    server: RunningServer | ServerProcess,
    target: bytes = b"/",
    headers: HeaderList = (),
    *,
    receive_buffer: int | None = None,
) -> Iterator[WebSocket]:
    """A connection to `server` that has been accepted."""
    with connection(server, receive_buffer=receive_buffer) as client:
        client.upgrade(target, headers)
        yield client


def connection(server: RunningServer | ServerProcess, *, receive_buffer: int | None = None) -> WebSocket:
    """A connection to `server` on which nothing has been sent, over the transport of the test."""
    transport = server.transport if isinstance(server, RunningServer) else Transport.HTTP1
    kind = Http2WebSocket if transport.http2 else WebSocket
    address = server.addresses[0]
    return kind.connect(address, receive_buffer=receive_buffer, timeout=PATIENCE, tls=transport.context)
