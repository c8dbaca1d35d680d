"""Servers that speak TLS with a context of the test's own, and clients for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ferricorn import serving
from ferricorn._ferricorn import Listener, TlsContext, Worker
from tests.support.certificates import Authority, Issued
from tests.support.server import RunningServer, Serve
from tests.tls.clients import ServeTls


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority for tests that change nothing of it."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def example(shared: Authority) -> Issued:
    """A certificate for example.org."""
    return shared.issue("example.org", "*.example.org")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve_tls(serve: Serve, example: Issued, monkeypatch: pytest.MonkeyPatch) -> ServeTls:
    """Starts servers with a context, by default with one that has the certificate `example`."""

    def start(
        app: Callable[..., Any], context: TlsContext | None = None, beside: Sequence[Listener] = (), **options: Any
    ) -> RunningServer:
        tls = context or TlsContext([example.pair])

        def worker(*args: Any, **keys: Any) -> Worker:
            return Worker(*args, **(keys | {"tls": tls, "listeners": [*keys["listeners"], *beside]}))

        monkeypatch.setattr(serving, "Worker", worker)
        return serve(app, **options)

    return start


@pytest.fixture
def issued(authority: Authority) -> Issued:
    """A certificate for this machine."""
    return authority.issue("localhost")


@pytest.fixture
def tls(issued: Issued) -> list[str]:
    """What has the command serve it."""
    return ["--ssl-certfile", issued.certfile, "--ssl-keyfile", issued.keyfile]
