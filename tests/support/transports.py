"""The transports that behaviour is the same over: HTTP/1.1 and HTTP/2, each in cleartext and over TLS."""

from __future__ import annotations

import atexit
import enum
import functools
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import Any

from tests.support.client import Address, Client
from tests.support.tls_socket import client_context
from tests.support.translation import Http2Client


class Transport(enum.Enum):
    """What a test's client speaks. The value is what a test's name shows."""

    HTTP1 = "http1"
    HTTPS1 = "https1"
    H2C = "h2c"
    H2 = "h2"

    @property
    def tls(self) -> bool:
        return self in (Transport.HTTPS1, Transport.H2)

    @property
    def http2(self) -> bool:
        return self in (Transport.H2C, Transport.H2)

    @property
    def http_version(self) -> str:
        """As a scope has it."""
        return "2" if self.http2 else "1.1"

    def scheme(self, clear: str = "http") -> str:
        """As a scope has it: `clear`, or the same with TLS."""
        return f"{clear}s" if self.tls else clear

    @property
    def options(self) -> dict[str, Any]:
        """What a server needs for it."""
        if not self.tls:
            return {}
        certificate, key = _certificate()
        return {"ssl_certfile": certificate, "ssl_keyfile": key}

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a client needs for it."""
        return _context("h2" if self.http2 else "http/1.1") if self.tls else None

    @property
    def client(self) -> type[Client]:
        return Http2Client if self.http2 else Client

    def connect(self, address: Address, **options: Any) -> Client:
        return self.client.connect(address, tls=self.context, **options)


@functools.cache
def _certificate() -> tuple[str, str]:
    """The files of a certificate for localhost, made once in each process."""
    # Only who tests TLS needs the library that makes certificates.
    from tests.support.certificates import Authority

    folder = Path(tempfile.mkdtemp(prefix="ferricorn-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    issued = Authority(folder).issue("localhost")
    return issued.certfile, issued.keyfile


@functools.cache
def _context(protocol: str) -> ssl.SSLContext:
    return client_context(protocol)
