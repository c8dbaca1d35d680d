"""gunicorn's settings for TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gunicorn import StartGunicorn
from tests.support.https import fetch, resumes, session_of
from tests.support.workers import APP


def test_gunicorns_settings_are_read(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    arguments = ["--certfile", issued.certfile, "--keyfile", issued.keyfile, "--workers", "2"]
    arguments += ["--ca-certs", authority.certfile, "--cert-reqs", "2"]
    server = start_gunicorn(APP, *arguments).wait_until_running().wait_until_serving(workers=2)
    context = authority.client_context(authority.issue("somebody", client=True))
    assert fetch(server.addresses[0], context).status == 200
    session = session_of(server.addresses[0], context)
    assert all(resumes(server.addresses[0], context, session) for _ in range(8))
    assert server.stop() == 0
    assert "has no effect" not in server.output


def test_a_hook_for_a_context_of_pythons_is_refused(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("localhost")
    settings = tmp_path / "gunicorn.conf.py"
    settings.write_text(
        "def ssl_context(config, default_ssl_context_factory):\n    return default_ssl_context_factory()\n"
    )
    server = start_gunicorn(APP, "-c", str(settings), "--certfile", issued.certfile, "--keyfile", issued.keyfile)
    assert server.wait() == 1
    assert "take the hook ssl_context away" in server.output


@pytest.mark.parametrize(
    ("arguments", "preface_is_taken"),
    [((), False), (("--http2-cleartext", "prior-knowledge", "--http2-max-concurrent-streams", "7"), True)],
    ids=["by default", "asked for"],
)
def test_http_2_is_spoken_where_it_is_asked_for(
    start_gunicorn: StartGunicorn, arguments: tuple[str, ...], preface_is_taken: bool
) -> None:
    server = start_gunicorn(APP, *arguments).wait_until_running().wait_until_serving(workers=1)
    with server.connect() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        answer = client.socket.recv(1000)
    assert answer.startswith(b"HTTP/1.1 ") is not preface_is_taken
    if preface_is_taken:
        # SETTINGS, with SETTINGS_MAX_CONCURRENT_STREAMS among them (RFC 9113 section 6.5.2).
        assert answer[3] == 4
        assert b"\x00\x03\x00\x00\x00\x07" in answer
    assert server.stop() == 0
