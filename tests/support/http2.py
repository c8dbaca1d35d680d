"""An HTTP/2 client for tests: the protocol by the `h2` library, which also judges what the server sends.

A test decides on every frame that matters: when a stream ends, what the windows are, what is reset. It repairs nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from tests.support.client import Address, Head, Response, Truncated, open_socket
from tests.support.deadline import DEADLINE
from tests.support.tls_socket import TlsSocket

Fields = list[tuple[bytes, bytes]]

GOAWAY = 7
"""Its frame type."""

ADVISED_STREAMS = 100
"""What no server should allow fewer of (RFC 9113 section 6.5.2)."""


@dataclass
class Exchange:
    """One stream, and what has come on it."""

    stream: int
    heads: list[Head] = field(default_factory=list)
    """The interim ones, then the final one."""
    parts: list[bytes] = field(default_factory=list)
    """The content of each DATA frame that has some."""
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    """By END_STREAM."""
    reset: int | None = None
    """The code of the server's RST_STREAM, which may come behind the end as well."""
    uncredited: int = 0
    """Received octets for which the server has no credit again, where the connection gives it by hand."""

    @property
    def interim(self) -> list[Head]:
        return [head for head in self.heads if head.status < 200]

    @property
    def head(self) -> Head | None:
        """The final one."""
        return self.heads[-1] if self.heads and self.heads[-1].status >= 200 else None

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    def response(self) -> Response:
        """The response, which has to be whole."""
        if not self.ended or self.head is None:
            raise Truncated(f"stream {self.stream}: {self.head}, {self.body[:100]!r}, reset {self.reset}")
        head = self.head
        return Response(
            head.version,
            head.status,
            head.reason,
            head.headers,
            self.body,
            tuple(self.parts),
            tuple(self.trailers),
            tuple(self.interim),
        )


class Http2:
    """One connection. `credit`: whether received content gives its window back at once."""

    def __init__(self, sock: socket.socket | TlsSocket, settings: Mapping[int, int], *, credit: bool = True) -> None:
        self.socket = sock
        self.credit = credit
        self.exchanges: dict[int, Exchange] = {}
        self.goaway: int | None = None
        """The code of the server's GOAWAY, the last of them."""
        self.last_stream: int | None = None
        """What the server's GOAWAY names as the last stream."""
        self.closed = False
        self._incoming = bytearray()
        self.pongs = 0
        self.news = 0
        """How many things have come that belong to a stream: heads, content, ends, resets."""
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            split_outbound_cookies=False,
        )
        self.protocol = h2.connection.H2Connection(config)
        self.protocol.local_settings.update({SettingCodes.ENABLE_PUSH: 0, **settings})
        self.protocol.initiate_connection()
        self.flush()

    @classmethod
    def connect(
        cls,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        settings: Mapping[int, int] | None = None,
        receive_buffer: int | None = None,
        timeout: float = DEADLINE,
        credit: bool = True,
    ) -> Self:
        """With prior knowledge, or with `tls` after ALPN. `settings` are the client's, by their numbers."""
        sock = open_socket(address, receive_buffer=receive_buffer, timeout=timeout)
        if tls is None:
            return cls(sock, settings or {}, credit=credit)
        try:
            secured = TlsSocket(sock, tls)
        except BaseException:
            sock.close()
            raise
        assert secured.tls.selected_alpn_protocol() == "h2", "h2 was not negotiated"
        return cls(secured, settings or {}, credit=credit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # --- sending

    def open(self, fields: Iterable[tuple[bytes, bytes]], *, end: bool = True) -> Exchange:
        """A new stream with HEADERS of `fields`, pseudo-header fields among them."""
        stream = self.protocol.get_next_available_stream_id()
        self.exchanges[stream] = exchange = Exchange(stream)
        self.protocol.send_headers(stream, list(fields), end_stream=end)
        self.flush()
        return exchange

    @property
    def may_open(self) -> bool:
        """Whether the server takes another stream now: no more than it should take of who has not seen its SETTINGS."""
        limit: int = min(self.protocol.remote_settings.max_concurrent_streams, ADVISED_STREAMS)
        return bool(self.protocol.open_outbound_streams < limit)

    def request(
        self,
        method: bytes = b"GET",
        path: bytes = b"/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        authority: bytes = b"test",
        end: bool = True,
    ) -> Exchange:
        """A new stream with a request."""
        return self.open([*self.pseudo(method, path, authority), *headers], end=end)

    def pseudo(self, method: bytes, path: bytes, authority: bytes = b"test") -> Fields:
        """The pseudo-header fields of a request."""
        return [(b":method", method), (b":scheme", self.scheme), (b":path", path), (b":authority", authority)]

    @property
    def scheme(self) -> bytes:
        return b"https" if isinstance(self.socket, TlsSocket) else b"http"

    def data(self, exchange: Exchange, content: bytes = b"", *, end: bool = False) -> int:
        """DATA, as the windows allow: waits for room. How much went: less where the stream is over before."""
        sent = 0
        if end and not content:
            self._send(lambda: self.protocol.end_stream(exchange.stream))
        while sent < len(content):
            room = self.room(exchange)
            if not room:
                if exchange.over or self.closed or not self.pump():
                    return sent
                continue
            part = content[sent : sent + room]
            last = end and sent + len(part) == len(content)
            if not self._send(partial(self.protocol.send_data, exchange.stream, part, end_stream=last)):
                return sent
            sent += len(part)
        return sent

    def room(self, exchange: Exchange) -> int:
        """How much the next DATA frame may have."""
        try:
            window: int = self.protocol.local_flow_control_window(exchange.stream)
        except h2.exceptions.ProtocolError:
            return 0
        return min(window, self.protocol.max_outbound_frame_size)

    def trailers(self, exchange: Exchange, fields: Fields) -> None:
        """HEADERS that end the stream."""
        self._send(lambda: self.protocol.send_headers(exchange.stream, fields, end_stream=True))

    def reset(self, exchange: Exchange, code: int = 8) -> None:
        """RST_STREAM; CANCEL unless another code is given."""
        self._send(lambda: self.protocol.reset_stream(exchange.stream, code))

    def give(self, octets: int, exchange: Exchange | None = None) -> None:
        """WINDOW_UPDATE, for the connection without an `exchange`."""
        self.protocol.increment_flow_control_window(octets, exchange.stream if exchange else None)
        self.flush()

    def raw(self, data: bytes) -> None:
        """Frames that the library would not send."""
        self.socket.sendall(data)

    def flush(self) -> bool:
        """Sends what the library has written. Whether that went."""
        try:
            self.socket.sendall(self.protocol.data_to_send())
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return False
        return True

    def _send(self, write: Callable[[], None]) -> bool:
        """False where the stream or the connection is over: nobody would read it."""
        try:
            write()
        except h2.exceptions.ProtocolError:
            return False
        return self.flush()

    # --- reading

    def wait(self, exchange: Exchange, until: Callable[[Exchange], object]) -> bool:
        """Reads until `until` holds of `exchange`, or until it is over. Whether it holds."""
        while not until(exchange):
            if exchange.over or not self.pump():
                return bool(until(exchange))
        return True

    def response(self, exchange: Exchange) -> Response:
        """The whole response. Raises Truncated."""
        self.wait(exchange, lambda exchange: exchange.over)
        return exchange.response()

    def ping(self) -> None:
        """Sends a PING and waits for its acknowledgement: the server has read what was sent before."""
        before = self.pongs
        self.protocol.ping(b"\0\0tests\0")
        self.flush()
        while self.pongs == before:
            assert self.pump(), "the connection ended before the PING was acknowledged"

    def pump(self) -> bool:
        """Reads once and deals with it. False when the connection has ended. Raises TimeoutError when nothing comes."""
        if self.closed:
            return False
        try:
            data = self.socket.recv(262_144)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.protocol.receive_data(self._without_goaway(data)):
            self._handle(event)
        self.flush()
        return True

    def _without_goaway(self, data: bytes) -> bytes:
        """The whole frames of what has come. The library takes nothing behind GOAWAY: responses may follow it."""
        self._incoming += data
        whole = bytearray()
        while len(self._incoming) >= 9 and len(self._incoming) >= (end := 9 + int.from_bytes(self._incoming[:3])):
            if self._incoming[3] == GOAWAY:
                self.last_stream = int.from_bytes(self._incoming[9:13])
                self.goaway = int.from_bytes(self._incoming[13:17])
            else:
                whole += self._incoming[:end]
            del self._incoming[:end]
        return bytes(whole)

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.InformationalResponseReceived() | h2.events.ResponseReceived():
                self._head(event)
            case h2.events.DataReceived():
                self._data(event)
            case h2.events.TrailersReceived():
                self._exchange(event).trailers = _pairs(event.headers)
            case h2.events.StreamEnded():
                self._exchange(event).ended = True
            case h2.events.StreamReset():
                self._exchange(event).reset = int(event.error_code or 0)
            case h2.events.PingAckReceived():
                self.pongs += 1

    def _head(self, event: h2.events.InformationalResponseReceived | h2.events.ResponseReceived) -> None:
        (name, status), *fields = _pairs(event.headers)
        assert name == b":status"
        self._exchange(event).heads.append(Head(b"2", int(status), b"", tuple(fields)))

    def _data(self, event: h2.events.DataReceived) -> None:
        exchange = self._exchange(event)
        if event.data:
            exchange.parts.append(event.data)
        length = event.flow_controlled_length or 0
        if not self.credit:
            exchange.uncredited += length
        elif length:
            self.protocol.acknowledge_received_data(length, exchange.stream)

    def _exchange(self, event: h2.events.Event) -> Exchange:
        self.news += 1
        return self.exchanges[event.stream_id]  # type: ignore[attr-defined]


def _pairs(headers: Iterable[tuple[bytes, bytes]] | None) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in headers or ()]
