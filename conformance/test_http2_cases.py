"""Every case of the HTTP/2 suite against Ferricorn: a failure names the section of the RFC."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.autobahn.servers import FERRICORN, serve
from conformance.http2 import cases
from conformance.http2.case import CASES, PASSED, Case, run
from conformance.http2.peer import Target, tls_context
from conformance.http2.servers import SERVERS, make_certificate


@pytest.fixture(scope="session", params=["h2c", "h2"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Ferricorn in a process of its own, in cleartext and over TLS."""
    folder = tmp_path_factory.mktemp("http2")
    log = folder / "log"
    tls = request.param == "h2"
    server = dataclasses.replace(SERVERS[FERRICORN], certificate=make_certificate(folder) if tls else None)
    with serve(server, Path(sys.executable), log) as running:
        yield Target("127.0.0.1", int(running.url.rpartition(":")[2]), tls_context() if tls else None)
        assert running.exit_status() is None, log.read_text()


def test_all_cases_are_here() -> None:
    assert cases.__all__
    assert len(CASES) >= 290


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, target: Target) -> None:
    result = run(case, target)
    assert result.verdict == PASSED, f"RFC {case.section}: {result}"
    assert not result.remarks, f"RFC {case.section}: {result}"
