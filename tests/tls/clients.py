"""Clients that speak TLS: Python's, whole or byte by byte, and OpenSSL's command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ferricorn._ferricorn import Listener, TlsContext
from tests.support.client import Client
from tests.support.deadline import DEADLINE
from tests.support.server import RunningServer


class ServeTls(Protocol):
    """Starts a server that speaks TLS, and that the fixture stops; `beside` are further listeners of it."""

    def __call__(
        self,
        app: Callable[..., Any],
        context: TlsContext | None = None,
        beside: Sequence[Listener] = (),
        **options: Any,
    ) -> RunningServer: ...


def connect(
    server: RunningServer,
    context: ssl.SSLContext,
    name: str | None = "example.org",
    *,
    preface: bytes = b"",
    **options: Any,
) -> Client:
    """A connection after its handshake. An end without close_notify is an error: ssl.SSLEOFError."""
    raw = server.connect(**options).socket
    raw.sendall(preface)
    if name is None:
        context.check_hostname = False
    try:
        secured = context.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False)
    except BaseException:
        raw.close()
        raise
    return Client(secured)


def tls_of(client: Client) -> ssl.SSLSocket:
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket


class SplitClient:
    """TLS over a socket, in parts of so many bytes."""

    def __init__(self, server: RunningServer, context: ssl.SSLContext, size: int) -> None:
        self.socket = server.connect().socket
        self.size = size
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="example.org")
        self._run(self.tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._run(lambda: self.tls.write(data))
        self._flush()

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            data += self._run(lambda: self.tls.read(65536))
        return data

    def close(self) -> None:
        self.socket.close()

    def _run(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                received = self.socket.recv(self.size)
                assert received, "the server has closed"
                self._incoming.write(received)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        data = self._outgoing.read()
        for position in range(0, len(data), self.size):
            self.socket.sendall(data[position : position + self.size])


def s_client(server: RunningServer, *options: str, name: str = "example.org") -> str:
    """What `openssl s_client` says of a connection on which it sends nothing."""
    command = shutil.which("openssl")
    assert command, "there is no openssl"
    arguments = [command, "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", name, *options]
    ended = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return ended.stdout + ended.stderr
