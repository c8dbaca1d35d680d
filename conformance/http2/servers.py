"""How each server under test is started with HTTP/2, in cleartext or with TLS. Knows no case."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.autobahn.servers import FERRICORN, Server, ServerFailedError

APP = "conformance.http2.app:app"


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class Http2Server(Server):
    """`arguments` are for both; `tls` come on top, with {chain} and {key} filled in."""

    tls: str
    certificate: Certificate | None = None

    def command(self, python: Path, port: int) -> list[str]:
        words = self.arguments.format(port=port).split()
        if self.certificate:
            words += self.tls.format(chain=self.certificate.chain, key=self.certificate.key).split()
        return [str(python), "-m", self.module, *words, APP]


_ALL = (
    Http2Server(
        FERRICORN,
        FERRICORN,
        "--port {port} --log-level error",
        (FERRICORN,),
        "--ssl-certfile {chain} --ssl-keyfile {key}",
    ),
    Http2Server(
        "hypercorn",
        "hypercorn",
        "--bind 127.0.0.1:{port} --worker-class uvloop --log-level CRITICAL",
        ("hypercorn", "h2"),
        "--certfile {chain} --keyfile {key}",
    ),
    Http2Server(
        "granian",
        "granian",
        "--interface asgi --port {port} --log-level error",
        ("granian",),
        "--ssl-certificate {chain} --ssl-keyfile {key}",
    ),
    Http2Server("h2corn", "h2corn", "--port {port} --no-access-log", ("h2corn",), "--certfile {chain} --keyfile {key}"),
    Http2Server(
        "peregrine",
        "peregrine",
        "--port {port} --log-level error",
        ("peregrine-server",),
        "--tls-cert {chain} --tls-key {key}",
    ),
    Http2Server(
        "weft", "weft", "--port {port} --log-level error", ("weft-server",), "--tls-cert {chain} --tls-key {key}"
    ),
)

SERVERS: Mapping[str, Http2Server] = {server.name: server for server in _ALL}


def make_certificate(folder: Path) -> Certificate:
    """One for 127.0.0.1 and localhost, signed by itself, in `folder`. Raises ServerFailedError without openssl."""
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out {made.chain} -keyout {made.key}"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerFailedError(f"openssl makes no certificate: {error}") from error
    return made
