"""HTTP/1.1 over one blocking socket, with TLS or without: enough to check a server before it is measured.

Knows no server.
"""

import socket
import ssl
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self


class WrongResponseError(Exception):
    """A response that is not the expected one."""


class NotNegotiatedError(Exception):
    """The server answered without what is compared, a protocol or an extension: there is nothing to compare."""


def tls_context(certificate: Path, alpn: str) -> ssl.SSLContext:
    """TLS 1.3 that offers one protocol and trusts this one certificate."""
    context = ssl.create_default_context(cafile=certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([alpn])
    return context


def open_socket(port: int, tls: ssl.SSLContext | None, *, timeout: float) -> socket.socket:
    """Connected to a server on 127.0.0.1, its handshake done."""
    connected = socket.create_connection(("127.0.0.1", port), timeout)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(connected, server_hostname="127.0.0.1") if tls else connected


class Connection:
    """A keep-alive connection to a server on 127.0.0.1."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, *, timeout: float = 10.0) -> None:
        self._socket = open_socket(port, tls, timeout=timeout)
        self._reader: BufferedReader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.close()
        self._socket.close()

    def exchange(self, request: bytes, expected: bytes, *, depth: int = 1) -> None:
        """Sends the request `depth` times at once and reads as many responses.

        Raises WrongResponseError unless each has status 200 and the expected body.
        """
        self._socket.sendall(request * depth)
        for _ in range(depth):
            status, body = self._read_response()
            if status != b"200" or body != expected:
                raise WrongResponseError(f"status {status.decode()}, body {body[:80]!r} ({len(body)} bytes)")

    def _read_response(self) -> tuple[bytes, bytes]:
        status = self._line().split(b" ")[1]
        headers = dict(self._read_headers())
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return status, self._read_chunks()
        if b"content-length" not in headers:
            raise WrongResponseError("neither Content-Length nor chunked")
        return status, self._reader.read(int(headers[b"content-length"]))

    def _read_headers(self) -> list[tuple[bytes, bytes]]:
        fields: list[tuple[bytes, bytes]] = []
        while line := self._line():
            name, _, value = line.partition(b":")
            fields.append((name.strip().lower(), value.strip()))
        return fields

    def _read_chunks(self) -> bytes:
        chunks: list[bytes] = []
        while size := int(self._line(), 16):
            chunks.append(self._reader.read(size))
            self._line()
        self._line()
        return b"".join(chunks)

    def _line(self) -> bytes:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise WrongResponseError(f"the connection ended in {line!r}")
        return line[:-2]
