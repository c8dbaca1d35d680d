"""One connection to the server under test: sends the frames it is given, reads frames, and knows no case.

It follows no rule by itself, but two: it acknowledges the server's SETTINGS, and keeps the HPACK state of what the
server sends, so that every response can be read.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import hpack

from . import frames
from .frames import Code, Flag, Frame, Type

DEADLINE = 4.0
"""Seconds that a case may wait for the server, all in all."""


class FailedError(Exception):
    """The server did something else; the message says what."""


class NotApplicableError(Exception):
    """The case asks for something that this server does not offer; the message says what."""


@dataclass(frozen=True)
class Target:
    """Where the server is. `tls` is None for cleartext with prior knowledge (RFC 9113 section 3.3)."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def scheme(self) -> bytes:
        return b"https" if self.tls else b"http"

    @property
    def authority(self) -> bytes:
        return f"{self.host}:{self.port}".encode()


def tls_context() -> ssl.SSLContext:
    """Offers h2 alone, and takes any certificate: the suite is about frames."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@dataclass
class Response:
    """What came on one stream."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(dict(self.headers)[b":status"])


class Peer:
    """A client's end of one connection. All reading together is bounded by DEADLINE."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.settings: dict[int, int] = {}
        """What the server has set."""
        self.closed = False
        self.read: list[Frame] = []
        """Every frame so far."""
        self.decoder = hpack.Decoder()
        self.encoder = hpack.Encoder()
        self._buffer = bytearray()
        self._until = time.monotonic() + DEADLINE
        self._responses: dict[int, Response] = {}
        self._block = b""
        self._block_stream = 0
        self._block_ends = False
        self.socket = _connect(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # --- sending

    def send(self, *data: bytes) -> None:
        """All of `data` in one write. That the server has closed meanwhile is no failure here: reading tells."""
        try:
            self.socket.sendall(b"".join(data))
        except (ConnectionError, ssl.SSLError):
            pass
        except TimeoutError as error:
            raise FailedError("the server takes no more octets") from error

    def handshake(self, settings: frames.Settings | None = None) -> None:
        """The preface of both sides (section 3.4), with all SETTINGS acknowledged."""
        self.send(frames.PREFACE, frames.settings(settings or {}))
        first = self.next_frame()
        if first is None or first.type != Type.SETTINGS or first.is_ack:
            raise FailedError(f"the first frame of a server is SETTINGS, this one sent {first or 'nothing'}")
        self.wait_for(lambda frame: frame.type == Type.SETTINGS and frame.is_ack, "SETTINGS with ACK")

    def block(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """The header block of `fields`, by a library that uses the dynamic table."""
        return self.encoder.encode(fields)

    def fields(
        self, method: bytes = b"GET", path: bytes = b"/", *more: tuple[bytes, bytes]
    ) -> list[tuple[bytes, bytes]]:
        """The header section of a request."""
        return [
            (b":method", method),
            (b":scheme", self.target.scheme),
            (b":path", path),
            (b":authority", self.target.authority),
            *more,
        ]

    def request(self, method: bytes = b"GET", path: bytes = b"/", *more: tuple[bytes, bytes]) -> bytes:
        """The header block of a request."""
        return self.block(self.fields(method, path, *more))

    # --- reading

    def next_frame(self) -> Frame | None:
        """The next frame; None when the connection has ended. Raises FailedError when nothing comes."""
        head = self._exactly(frames.HEAD_LENGTH)
        if head is None:
            return None
        payload = self._exactly(int.from_bytes(head[:3]))
        if payload is None:
            return None
        frame = Frame(head[3], head[4], int.from_bytes(head[5:9]) & frames.LARGEST_WINDOW, payload)
        self.read.append(frame)
        self._follow(frame)
        return frame

    def wait_for(self, wanted: Callable[[Frame], bool], name: str) -> Frame:
        """The next frame that is `wanted`. Raises FailedError for a connection that ends before, or is said to."""
        while (frame := self.next_frame()) is not None:
            if wanted(frame):
                return frame
            if frame.type == Type.GOAWAY and frame.code != Code.NO_ERROR:
                break
        raise FailedError(f"{name} should have come, the connection ended: {self.story()}")

    def response(self, stream: int = 1) -> Response:
        """The response of `stream`, once it has ended. Raises FailedError where it is reset."""
        response = self._responses.setdefault(stream, Response())
        while not (response.frames and response.frames[-1].ends_stream and not self._block_stream):
            frame = self.next_frame()
            if frame is None or (frame.type == Type.GOAWAY and frame.code != Code.NO_ERROR):
                raise FailedError(f"a response should have come on stream {stream}: {self.story()}")
            if frame.type == Type.RST_STREAM and frame.stream == stream:
                raise FailedError(f"a response should have come on stream {stream}, it was reset: {self.story()}")
        return response

    def head(self, stream: int = 1) -> Response:
        """The response of `stream` as far as it has come, with its final header section."""
        response = self._responses.setdefault(stream, Response())
        while not response.headers:
            frame = self.next_frame()
            if frame is None or (frame.type in (Type.GOAWAY, Type.RST_STREAM) and frame.code != Code.NO_ERROR):
                raise FailedError(f"a response should have begun on stream {stream}: {self.story()}")
        return response

    def body(self, stream: int, length: int) -> Response:
        """The response of `stream` as soon as `length` octets of its content are here."""
        response = self.head(stream)
        while len(response.body) < length:
            frame = self.next_frame()
            if frame is None or (frame.type in (Type.GOAWAY, Type.RST_STREAM) and frame.code != Code.NO_ERROR):
                raise FailedError(f"{length} octets should have come on stream {stream}: {self.story()}")
        return response

    def answers_ping(self, payload: bytes = b"are you?") -> list[Frame]:
        """Sends a PING, which has to be acknowledged; the frames that came before. So all that was sent was read."""
        before = len(self.read)
        self.send(frames.ping(payload))
        self.wait_for(
            lambda frame: frame.type == Type.PING and frame.is_ack and frame.payload == payload, "PING with ACK"
        )
        return self.read[before:-1]

    def wait_for_end(self) -> bool:
        """Whether the connection ends, after whatever is still read."""
        try:
            while self._receive():
                pass
        except FailedError:
            return False
        return True

    def story(self) -> str:
        """What has been read, for a message."""
        told = [str(frame) for frame in self.read[-6:] if frame.type != Type.SETTINGS or frame.stream]
        return "; ".join([*told, *(["closed"] if self.closed else [])]) or "nothing came"

    def _follow(self, frame: Frame) -> None:
        if frame.type == Type.SETTINGS and not frame.is_ack:
            self.settings.update(frame.settings)
            self.send(frames.settings(ack=True))
        if self._block_stream and frame.type != Type.CONTINUATION:
            raise FailedError(f"{frame} inside of a header block (section 4.3)")
        if frame.type in (Type.HEADERS, Type.CONTINUATION):
            self._follow_block(frame)
        elif frame.type == Type.DATA:
            response = self._open(frame)
            response.body += frame.content
            response.frames.append(frame)

    def _follow_block(self, frame: Frame) -> None:
        if frame.type == Type.HEADERS:
            self._block, self._block_stream, self._block_ends = b"", frame.stream, frame.ends_stream
            self._open(frame).frames.append(frame)
        self._block += frame.content if frame.type == Type.HEADERS else frame.payload
        if frame.flags & Flag.END_HEADERS:
            self._block_stream = 0
            self._complete_block(frame.stream)

    def _complete_block(self, stream: int) -> None:
        try:
            decoded = self.decoder.decode(self._block, raw=True)
        except hpack.HPACKError as error:
            raise FailedError(f"a header block that cannot be decoded: {error!r}") from error
        fields = [(bytes(name), bytes(value)) for name, value in decoded]
        response = self._responses[stream]
        if response.headers:
            response.trailers = fields
            return
        _check_response(fields)
        if fields[0][1].startswith(b"1"):
            response.interim.append(fields)
        else:
            response.headers = fields

    def _open(self, frame: Frame) -> Response:
        response = self._responses.setdefault(frame.stream, Response())
        if response.frames and response.frames[-1].ends_stream:
            raise FailedError(f"{frame} after the end of its stream (section 5.1)")
        if frame.stream == 0 or frame.stream % 2 == 0:
            raise FailedError(f"{frame} on a stream that no client opens (section 5.1.1)")
        return response

    def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            if not self._receive():
                return None
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _receive(self) -> bool:
        """Whether more came; False when the connection has ended, in whatever way."""
        if self.closed:
            return False
        left = self._until - time.monotonic()
        if left <= 0:
            raise FailedError(f"the server is silent: {self.story()}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError as error:
            raise FailedError(f"the server is silent: {self.story()}") from error
        except (ConnectionError, ssl.SSLError):
            data = b""
        self._buffer += data
        self.closed = not data
        return bool(data)


def _connect(target: Target) -> socket.socket:
    try:
        plain = socket.create_connection((target.host, target.port), DEADLINE)
    except OSError as error:
        raise FailedError(f"no connection: {error}") from error
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.tls is None:
        return plain
    try:
        secured = target.tls.wrap_socket(plain)
    except (OSError, ssl.SSLError) as error:
        plain.close()
        raise FailedError(f"no TLS: {error}") from error
    if secured.selected_alpn_protocol() != "h2":
        secured.close()
        raise FailedError("h2 is not negotiated")
    return secured


_FORBIDDEN = {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}


def _check_response(fields: list[tuple[bytes, bytes]]) -> None:
    """Every response is looked at so (sections 8.2, 8.2.2, 8.3.2, 8.6)."""
    names = [name for name, _ in fields]
    if names[:1] != [b":status"] or any(name.startswith(b":") for name in names[1:]):
        raise FailedError(f"a response has :status, first and alone: {names}")
    if bad := [name for name in names if name != name.lower() or name in _FORBIDDEN]:
        raise FailedError(f"fields that HTTP/2 does not allow: {bad}")
    if fields[0][1] == b"101":
        raise FailedError("there is no 101 in HTTP/2 (section 8.6)")
