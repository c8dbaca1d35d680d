"""The client's side of TLS over a socket: what `ssl.SSLSocket` gives, with both directions closed apart.

It knows no protocol above TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

RECORD = 16_384
"""What a record may hold (RFC 8446 section 5.1)."""


def client_context(*protocols: str, cafile: str | None = None) -> ssl.SSLContext:
    """Offers `protocols` by ALPN. Takes any certificate without `cafile`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cafile is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cafile)
    context.set_alpn_protocols(list(protocols))
    return context


class TlsSocket:
    """In the place of a socket that is connected. Raises ssl.SSLError when the handshake fails."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str = "localhost") -> None:
        self._socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._unsent = b""
        self._complete(self.tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]
        self._flush()

    def send(self, data: bytes | memoryview) -> int:
        """Some of `data`, one record at the most. What a timeout interrupts is taken: it goes first the next time."""
        self._flush()
        written = self.tls.write(data[:RECORD])
        with contextlib.suppress(TimeoutError):
            self._flush()
        return written

    def recv(self, count: int) -> bytes:
        """Nothing at close_notify. Raises ConnectionResetError where the connection ends without it."""
        try:
            return self._complete(lambda: self.tls.read(count))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError as error:
            raise ConnectionResetError("the connection ended without close_notify") from error

    def shutdown(self, how: int) -> None:
        """close_notify and FIN: nothing more will be sent, but what comes can be read."""
        assert how == socket.SHUT_WR
        # What the peer has sent meanwhile is in the way of its own close_notify, which is not waited for.
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self._flush()
        self._socket.shutdown(how)

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def setsockopt(self, level: int, option: int, value: bytes | int) -> None:
        self._socket.setsockopt(level, option, value)

    def getsockname(self) -> Any:
        return self._socket.getsockname()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Without close_notify, as a client that is gone."""
        self._socket.close()

    def _complete(self, operation: Callable[[], T]) -> T:
        """Does `operation` as soon as enough has come for it."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                return result

    def _fill(self) -> None:
        if data := self._socket.recv(65_536):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
