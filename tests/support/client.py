"""A client that sends exactly the bytes it is given and reads responses by their framing alone (RFC 9112 section 6.3).

It repairs nothing and hides nothing: no redirects, no retries, no header that a test did not write.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

from tests.support.deadline import DEADLINE
from tests.support.tls_socket import TlsSocket

Address = tuple[str, int] | str
"""Where a server listens: host and port, or the path of a unix socket."""

HeaderList = Iterable[tuple[bytes, bytes]]

GET = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"


def request(
    method: bytes = b"GET",
    target: bytes = b"/",
    headers: HeaderList = (),
    body: bytes = b"",
    *,
    version: bytes = b"1.1",
) -> bytes:
    """The bytes of one request. `host` comes first, `content-length` is added where there is a body and no framing."""
    fields = [(b"host", b"test"), *headers]
    names = {name.lower() for name, _ in fields}
    if body and not names & {b"content-length", b"transfer-encoding"}:
        fields.append((b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    return b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, target, version, lines, body)


def chunked(*chunks: bytes) -> bytes:
    """`chunks` in the chunked transfer coding, the last chunk included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Head:
    """A status line and its fields, as they came."""

    version: bytes
    status: int
    reason: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def parse(cls, block: bytes) -> Self:
        status_line, *lines = block.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/(\d\.\d) (\d{3}) ([^\r\n]*)", status_line)
        assert match, f"not a status line: {status_line!r}"
        fields = tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines))
        return cls(match[1], int(match[2]), match[3], fields)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: bytes) -> bytes | None:
        """The value of the field `name`, None without one. Two of them are a failure."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} came more than once: {values!r}"
        return values[0] if values else None


@dataclass(frozen=True)
class Response(Head):
    """A whole response."""

    body: bytes = b""
    chunks: tuple[bytes, ...] = ()
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    interim: tuple[Head, ...] = field(default=())
    """The 1xx responses that came before it."""


class Truncated(Exception):
    """The connection ended inside of a response."""


def open_socket(address: Address, *, receive_buffer: int | None = None, timeout: float = DEADLINE) -> socket.socket:
    """A socket that is connected, with TCP_NODELAY where there is TCP."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class Client:
    """One connection."""

    def __init__(self, sock: socket.socket | TlsSocket) -> None:
        # What a socket with TLS cannot do is asked for in tests of cleartext alone.
        self.socket = cast(socket.socket, sock)
        self._buffer = bytearray()
        self._ended = False

    @classmethod
    def connect(
        cls,
        address: Address,
        *,
        receive_buffer: int | None = None,
        timeout: float = DEADLINE,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """`receive_buffer` (bytes) makes the kernel take less before the server's writes have to wait."""
        sock = open_socket(address, receive_buffer=receive_buffer, timeout=timeout)
        if tls is None:
            return cls(sock)
        try:
            return cls(TlsSocket(sock, tls))
        except BaseException:
            sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- sending

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_each_byte(self, data: bytes) -> None:
        """One system call, and mostly one segment, for each byte."""
        for position in range(len(data)):
            self.socket.sendall(data[position : position + 1])

    def send_until_full(self, data: bytes, *, patience: float) -> int:
        """Sends `data` over and over until the connection takes no byte for `patience` seconds; how many went."""
        self.socket.settimeout(patience)
        view = memoryview(data)
        sent = 0
        try:
            while True:
                sent += self.socket.send(view[sent % len(data) :])
        except TimeoutError:
            return sent
        finally:
            self.socket.settimeout(DEADLINE)

    def send_until_end(self, data: bytes) -> bool:
        """Sends `data`, or as much as goes before the server closes. Whether all of it went."""
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def half_close(self) -> None:
        """FIN: nothing more will be sent, but answers can be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST: the connection is gone at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    # --- reading

    def response(self, *, to: bytes = b"GET") -> Response:
        """One final response, and what came before it. Raises Truncated. `to` is the request's method."""
        interim: list[Head] = []
        while (head := self.head()).status < 200 and head.status != 101:
            interim.append(head)
        chunks, trailers = self._content(head, to)
        return Response(
            head.version,
            head.status,
            head.reason,
            head.headers,
            b"".join(chunks),
            tuple(chunks),
            trailers,
            tuple(interim),
        )

    def head(self) -> Head:
        """A status line and its fields, up to the empty line."""
        return Head.parse(self.read_until(b"\r\n\r\n"))

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; the last one is empty, and what follows it is left."""
        size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
        if size == 0:
            return b""
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n", "a chunk has another length than it says"
        return data

    def skip_chunks(self) -> int:
        """Reads a chunked body without trailers to its end and forgets it; how many bytes there were."""
        received = 0
        while data := self.chunk():
            received += len(data)
        assert self.read_exactly(2) == b"\r\n"
        return received

    def read_until(self, marker: bytes) -> bytes:
        """What comes before `marker`, which is taken away too."""
        searched = 0
        while (position := self._buffer.find(marker, searched)) < 0:
            searched = max(0, len(self._buffer) - len(marker) + 1)
            self._fill()
        data = bytes(self._buffer[:position])
        del self._buffer[: position + len(marker)]
        return data

    def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_to_end(self) -> bytes:
        """All bytes up to the end of the connection, be it orderly or a reset."""
        while self._receive():
            pass
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def ends(self) -> bool:
        """Whether the connection ends without another byte. Waits for the one or the other."""
        return not self._buffer and not self._receive()

    def exchange_ends(self) -> bool:
        """Whether nothing more belongs to the response that was read, whose exchange is the connection's last.

        To HTTP/1.1 the connection ends. To HTTP/2 it goes on, with its other streams."""
        return self.ends()

    def ends_in_order(self) -> bool:
        """Whether the connection ends without another byte, by a FIN and not by a reset."""
        return not self._buffer and not self.socket.recv(1)

    def read_for(self, seconds: float) -> bytes:
        """What is here, and what comes until nothing has come for `seconds`."""
        self.socket.settimeout(seconds)
        try:
            while self._receive():
                pass
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(DEADLINE)
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def is_silent(self, seconds: float) -> bool:
        """Whether the server sends nothing, and does not close either, for `seconds`."""
        if self._buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)
        return False

    def _content(self, head: Head, method: bytes) -> tuple[list[bytes], tuple[tuple[bytes, bytes], ...]]:
        if method == b"HEAD" or head.status in (204, 304) or head.status < 200:
            return [], ()
        if (coding := head.header(b"transfer-encoding")) is not None:
            assert coding == b"chunked", f"an unknown transfer coding: {coding!r}"
            assert not head.all(b"content-length"), "a response with two framings"
            return self._chunked_content()
        if (length := head.header(b"content-length")) is not None:
            return [self.read_exactly(int(length))], ()
        return [self.read_to_end()], ()

    def _chunked_content(self) -> tuple[list[bytes], tuple[tuple[bytes, bytes], ...]]:
        chunks: list[bytes] = []
        while data := self.chunk():
            chunks.append(data)
        trailers: list[tuple[bytes, bytes]] = []
        while line := self.read_until(b"\r\n"):
            name, _, value = line.partition(b":")
            trailers.append((name, value.strip()))
        return chunks, tuple(trailers)

    def _fill(self) -> None:
        if not self._receive():
            raise Truncated(bytes(self._buffer))

    def _receive(self) -> bool:
        if self._ended:
            return False
        try:
            data = self.socket.recv(262_144)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self._buffer += data
        self._ended = not data
        return bool(data)
