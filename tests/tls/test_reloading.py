"""Certificates that change while the server serves: no connection is lost, and a bad file changes nothing."""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Issued
from tests.support.https import fetch, shown, traffic
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import APP, Answer, wait_until

SWAPS = 20
KINDS = [[], ["--workers", "2"], ["--threads", "2"]]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind) or "single")
ANEW = r"TLS certificates read anew: localhost until "
STAY = r"The TLS certificates stay as they were: '(.*?)': "


@pytest.fixture
def bundle(issued: Issued, tmp_path: Path) -> Path:
    """Certificate and key in one file."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(both(issued))
    return path


def both(issued: Issued) -> bytes:
    return Path(issued.certfile).read_bytes() + Path(issued.keyfile).read_bytes()


def put(path: Path, content: bytes) -> None:
    """In one step: nobody reads a half."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def start(start_process: StartProcess, bundle: Path, *arguments: str, interval: str = "0.02") -> ServerProcess:
    arguments = ("--ssl-certfile", str(bundle), "--ssl-reload-interval", interval, "--no-access-log", *arguments)
    return start_process(APP, *arguments).wait_until_running()


def pid_of(server: ServerProcess, context: ssl.SSLContext) -> int:
    return Answer.parse(fetch(server.addresses[0], context).body).pid


@every_kind
def test_twenty_swaps_under_load_lose_nothing(
    start_process: StartProcess, authority: Authority, bundle: Path, kind: list[str]
) -> None:
    server = start(start_process, bundle, *kind)
    context = authority.client_context()
    with traffic(server.addresses[0], context):
        for number in range(SWAPS):
            issued = authority.issue("localhost")
            if number == SWAPS // 2:
                # Somebody writes into the file itself, and is seen at it.
                bundle.write_bytes(both(issued)[:700])
                assert server.wait_for_line(STAY)[1] == str(bundle)
            put(bundle, both(issued))
            wait_until(lambda: shown(server.addresses[0], context) == issued.certificate, "the old one is shown")  # noqa: B023
    assert server.stop() == 0
    assert "Traceback" not in server.output
    assert "Not reloaded" not in server.output


def test_a_single_process_reads_them_at_sighup_and_goes_on(
    start_process: StartProcess, authority: Authority, bundle: Path
) -> None:
    server = start(start_process, bundle, interval="0")
    context = authority.client_context()
    pid = pid_of(server, context)
    last = authority.issue("localhost")
    with traffic(server.addresses[0], context):
        for issued in (authority.issue("localhost"), authority.issue("localhost"), last):
            put(bundle, both(issued))
            server.send_signal(signal.SIGHUP)
            server.wait_for_line(ANEW)
            assert shown(server.addresses[0], context) == issued.certificate
        put(bundle, b"nothing")
        server.send_signal(signal.SIGHUP)
        assert server.wait_for_line(STAY)[1] == str(bundle)
        assert shown(server.addresses[0], context) == last.certificate
    assert pid_of(server, context) == pid
    assert server.stop() == 0


def test_new_workers_read_new_files(start_process: StartProcess, authority: Authority, bundle: Path) -> None:
    server = start(start_process, bundle, "--workers", "2", interval="0")
    context = authority.client_context()
    issued = authority.issue("localhost")
    put(bundle, both(issued))
    with traffic(server.addresses[0], context):
        server.send_signal(signal.SIGHUP)
        server.wait_for_line("Reloaded")
    assert shown(server.addresses[0], context) == issued.certificate
    assert server.stop() == 0


def test_a_reload_with_a_bad_file_replaces_no_worker(
    start_process: StartProcess, authority: Authority, bundle: Path
) -> None:
    server = start(start_process, bundle, "--workers", "1", interval="0")
    context = authority.client_context()
    pid = pid_of(server, context)
    whole = bundle.read_bytes()
    put(bundle, b"nothing")
    server.send_signal(signal.SIGHUP)
    server.wait_for_line(r"Not reloaded: Cannot serve https: '.*/bundle.pem': has no certificate")
    assert pid_of(server, context) == pid
    put(bundle, whole)
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("Reloaded")
    assert pid_of(server, context) != pid
    assert server.stop() == 0


def test_a_worker_that_is_forked_late_has_the_files_of_today(
    start_process: StartProcess, authority: Authority, bundle: Path
) -> None:
    """--preload: the process that workers are forked from has read them when the server began."""
    server = start(start_process, bundle, "--workers", "1", "--preload", interval="0")
    context = authority.client_context()
    pid = pid_of(server, context)
    issued = authority.issue("localhost")
    put(bundle, both(issued))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: shown(server.addresses[0], context) == issued.certificate, "the old one is shown")
    assert server.stop() == 0


def test_a_client_authority_changes_too(
    start_process: StartProcess, authority: Authority, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "CN=Other")
    authorities = tmp_path / "clients.pem"
    put(authorities, Path(authority.certfile).read_bytes())
    required = ["--ssl-ca-certs", str(authorities), "--ssl-cert-reqs", "required"]
    server = start(start_process, bundle, *required)
    old, new = (each.issue("somebody", client=True) for each in (authority, other))
    fetch(server.addresses[0], authority.client_context(old))
    put(authorities, Path(other.certfile).read_bytes())
    server.wait_for_line(ANEW)
    fetch(server.addresses[0], authority.client_context(new))
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        fetch(server.addresses[0], authority.client_context(old))
    server.wait_for_line("the client's certificate is of no authority that is trusted here")
    assert server.stop() == 0
