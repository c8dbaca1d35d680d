"""https from every kind of process: which certificate there is, that sessions go on, and what is read as whom."""

from __future__ import annotations

import os
import pty
import pwd
import shutil
import signal
import ssl
import stat
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Issued
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.https import connect, fetch, resumes, session_of, shown, tls_of
from tests.support.process import ServerProcess, StartProcess
from tests.support.server import Serve
from tests.support.workers import APP, Answer, successor, wait_until

KINDS = [[], ["--workers", "2"], ["--workers", "2", "--preload"], ["--threads", "2"]]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind) or "single")
with_workers = pytest.mark.parametrize("kind", KINDS[1:3], ids=["fresh", "forked"])
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


def ask(server: ServerProcess, context: ssl.SSLContext) -> Answer:
    return Answer.parse(fetch(server.addresses[0], context).body)


@every_kind
def test_every_process_serves_https(
    start_process: StartProcess, authority: Authority, tls: list[str], kind: list[str]
) -> None:
    server = start_process(APP, *kind, *tls).wait_until_running()
    context = authority.client_context()
    assert ask(server, context)
    assert server.stop() == 0
    assert f"running on https://127.0.0.1:{server.addresses[0][1]} (Press" in server.output
    assert sum("TLS certificates for localhost until 20" in line for line in server.lines) == 1
    assert not any("WARNING" in line or "ERROR" in line for line in server.lines if "--threads" not in line)


def test_a_program_serves_https(serve: Serve, authority: Authority, issued: Issued) -> None:
    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        assert scope["type"] == "http"
        body = f"{scope['scheme']} {'tls' in scope['extensions']}".encode()  # type: ignore[operator]
        await send({"type": "http.response.start", "status": 200})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    server = serve(app, ssl_certfile=issued.certfile, ssl_keyfile=issued.keyfile, lifespan="off")
    assert fetch(server.address, authority.client_context()).body == b"https True"


@with_workers
def test_a_session_goes_on_with_every_worker(
    start_process: StartProcess, authority: Authority, tls: list[str], kind: list[str]
) -> None:
    server = start_process(APP, *kind, *tls).wait_until_running()
    context = authority.client_context()
    session = session_of(server.addresses[0], context)
    seen: set[int] = set()

    def is_seen() -> bool:
        with connect(server.addresses[0], context, session=session) as client:
            client.send(GET)
            seen.add(Answer.parse(client.response().body).pid)
            assert tls_of(client).session_reused
        return len(seen) == 2

    wait_until(is_seen, "one worker alone has answered")
    assert server.stop() == 0


@with_workers
def test_a_session_goes_on_with_those_who_come_later(
    start_process: StartProcess, authority: Authority, tls: list[str], kind: list[str]
) -> None:
    server = start_process(APP, *kind, *tls).wait_until_running()
    context = authority.client_context()
    session = session_of(server.addresses[0], context)
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("Reloaded")
    assert resumes(server.addresses[0], context, session)
    server.send_signal(signal.SIGUSR2)
    with successor(server):
        # With --preload two interpreters start one after the other, each in its own time.
        server.wait_for_line("serves: this one stops")
        # Not until the output ends: the new process has it too.
        assert server.process.wait(DEADLINE) == 0
        assert resumes(server.addresses[0], context, session)


def test_two_names_have_two_certificates(start_process: StartProcess, authority: Authority, tls: list[str]) -> None:
    other = authority.issue("other.example", "*.other.example")
    further = ["--ssl-certfile", other.certfile, "--ssl-keyfile", other.keyfile]
    server = start_process(APP, *tls, *further).wait_until_running()
    context = authority.client_context()
    for name in ("other.example", "www.other.example", "OTHER.example"):
        assert shown(server.addresses[0], context, name) == other.certificate
    for asked in ("localhost", "unknown.example", None):
        assert shown(server.addresses[0], context, asked) != other.certificate
    assert server.stop() == 0


def test_a_password_comes_from_the_environment(
    start_process: StartProcess, authority: Authority, issued: Issued
) -> None:
    keyfile = authority.write_key("encrypted.pem", issued.key, password=b"a, b c")
    arguments = ["--ssl-certfile", issued.certfile, "--ssl-keyfile", keyfile]
    server = start_process(APP, *arguments, environment={"FERRICORN_SSL_KEYFILE_PASSWORD": "a, b c"})
    assert ask(server.wait_until_running(), authority.client_context())
    assert server.stop() == 0
    for environment in ({}, {"FERRICORN_SSL_KEYFILE_PASSWORD": "wrong"}):
        server = start_process(APP, *arguments, environment=environment)
        assert server.wait() == 3
        assert f"Cannot serve https: '{keyfile}': has " in server.output
        assert "password" in server.output
        assert "wrong" not in server.output


@every_kind
def test_what_is_wrong_with_a_file_is_told_once(
    start_process: StartProcess, authority: Authority, issued: Issued, kind: list[str]
) -> None:
    other = authority.issue("localhost")
    arguments = ["--ssl-certfile", issued.certfile, "--ssl-keyfile", other.keyfile]
    server = start_process(APP, *kind, *arguments)
    assert server.wait() == 3
    told = f"Cannot serve https: '{other.keyfile}': is not the key of the certificate in '{issued.certfile}'."
    assert sum(told in line for line in server.lines) == 1
    assert "Traceback" not in server.output


@needs_root
@pytest.mark.parametrize("kind", [[], ["--threads", "2"]], ids=["single", "threads"])
def test_keys_that_only_root_may_read_are_read(
    start_process: StartProcess, authority: Authority, issued: Issued, tls: list[str], kind: list[str]
) -> None:
    os.chmod(issued.keyfile, 0o600)
    user = ["--user", "nobody", "--ssl-reload-interval", "0.01"]
    server = start_process(APP, *kind, *tls, *user, module="tests.support.preloaded").wait_until_running()
    pid = ask(server, authority.client_context()).pid
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert server.stop() == 0
    assert "ERROR" not in server.output


@needs_root
def test_a_unix_socket_to_redirect_from_is_the_users(
    start_process: StartProcess, tls: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "plain.sock"
    arguments = [*tls, "--user", "nobody", "--redirect-http", f"unix:{path}"]
    server = start_process(APP, *arguments, module="tests.support.preloaded").wait_until_running()
    assert path.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    with Client.connect(str(path)) as client:
        client.send(GET)
        response = client.response()
    # Whoever comes that way came through a proxy, which is at the default ports.
    assert (response.status, response.header(b"location")) == (308, b"https://test/")
    assert server.stop() == 0


def test_a_development_certificate_is_served_and_trusted(start_process: StartProcess, tmp_path: Path) -> None:
    home = tmp_path / "data" / "ferricorn"
    for attempt in range(2):
        server = start_process(APP, "--dev-cert", environment={"XDG_DATA_HOME": str(home.parent)}).wait_until_running()
        context = ssl.create_default_context(cafile=str(home / "authority.pem"))
        for name in ("localhost", "127.0.0.1"):
            with connect(server.addresses[0], context, name) as client:
                client.send(GET)
                assert client.response().status == 200
        assert server.stop() == 0
        assert (f"Have clients trust {home}/authority.pem" in server.output) is (attempt == 0)
    assert stat.S_IMODE((home / "server.pem").stat().st_mode) == 0o600
    shutil.rmtree(home)


def test_who_speaks_without_tls_is_refused(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls).wait_until_running()
    with Client.connect(server.addresses[0]) as client:
        client.send(GET)
        server.wait_for_line("speaks HTTP, and this is a port for HTTPS")
    assert server.stop() == 0


def test_sighup_of_a_terminal_that_is_gone_ends_it(start_process: StartProcess, tls: list[str]) -> None:
    """Else it would serve on where nobody sees it. From anybody else, SIGHUP has certificates read again."""
    terminal, its_end = pty.openpty()
    code = f"import os, sys; os.dup2({its_end}, 0); os.execv(sys.argv[1], sys.argv[1:])"
    with_terminal = [sys.executable, "-c", code]
    server = start_process(APP, *tls, through=with_terminal, pass_fds=[its_end]).wait_until_running()
    os.close(its_end)
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("TLS certificates read anew")
    os.close(terminal)
    server.send_signal(signal.SIGHUP)
    assert server.wait() == 0
    assert "Finished server process" in server.output


def test_a_proxy_tells_of_its_client_ahead_of_the_handshake(
    start_process: StartProcess, authority: Authority, tls: list[str]
) -> None:
    """As HAProxy's `send-proxy` does in front of a server with a certificate of its own."""
    server = start_process(APP, *tls, "--proxy-protocol").wait_until_running()
    with Client.connect(server.addresses[0]) as plain:
        plain.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n")
        context = authority.client_context()
        with Client(context.wrap_socket(plain.socket, server_hostname="localhost")) as client:
            client.send(GET)
            assert client.response().status == 200
    assert '192.0.2.1:1234 - "GET / HTTP/1.1" 200' in server.wait_for_line(r'"GET /').string
    assert server.stop() == 0
