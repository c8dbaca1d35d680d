"""A server in a process of its own, as the clients are given it. Knows no client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.certificates import Authority
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from tests.support.certificates import Issued

HOST = "localhost"


@dataclass(frozen=True)
class Origin:
    """`url` is the scheme, host and port; `authority` signed its certificate, whether or not it shows it."""

    url: str
    port: int
    authority: Authority
    certificate: Issued

    @property
    def secure(self) -> bool:
        return self.url.startswith("https")


@contextmanager
def serving(scheme: str, folder: Path) -> Iterator[Origin]:
    """Serves app.py. In the end the server has to stop, with nothing in its log that is worse than information."""
    authority = Authority(folder)
    issued = authority.issue(HOST)
    tls = ("--ssl-certfile", issued.certfile, "--ssl-keyfile", issued.keyfile) if scheme == "https" else ()
    with ServerProcess("tests.interop.app:app", "--no-access-log", *tls) as server:
        server.wait_until_running()
        port = int(server.addresses[0][1])
        yield Origin(f"{scheme}://{HOST}:{port}", port, authority, issued)
        assert server.stop() == 0, server.output
        assert not [line for line in server.lines if "ERROR" in line or "WARNING" in line], server.output
