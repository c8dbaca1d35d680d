"""gunicorn's settings for TLS."""

from __future__ import annotations

from pathlib import Path

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
