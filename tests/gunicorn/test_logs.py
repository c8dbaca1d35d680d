"""gunicorn's loggers write what our worker has to say."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.support.client import GET, request
from tests.support.deadline import DEADLINE
from tests.support.gunicorn import StartGunicorn

APP = "tests.gunicorn.apps:app"


def test_lines_have_gunicorns_format(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    worker = server.wait_for_worker()
    server.wait_for_line(rf"^\[[-0-9: +]+\] \[{worker}\] \[INFO\] Application startup complete")
    server.exchange(request(target=b"/fail"))
    server.wait_for_line(rf"^\[[-0-9: +]+\] \[{worker}\] \[ERROR\] Exception in ASGI application")
    server.wait_for_line("LookupError: nothing there")


def test_no_access_log_unless_it_is_asked_for(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    server.exchange(GET)
    server.stop()
    assert "GET /" not in server.output


def test_access_log_on_standard_output(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--access-logfile", "-").wait_until_running()
    server.exchange(request(target=b"/here"))
    server.wait_for_line(r'"GET /here HTTP/1.1" 200')


def test_the_format_of_the_access_log_is_gunicorns(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--access-logfile", "-", "--access-logformat", "own %(m)s %(U)s %(s)s")
    server.wait_until_running()
    server.exchange(request(target=b"/here?x"))
    server.wait_for_line("^own GET /here 200$")


def test_the_level_is_gunicorns(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start_gunicorn(
        APP, "--log-level", "warning", "--access-logfile", "-", "--bind", f"unix:{path}", "--capture-output"
    )
    # What the application prints is all that tells that it has begun.
    server.wait_for_line("startup in")
    server.addresses = [str(path)]
    server.exchange(b"GET / HTTP/1.1\r\n\r\n")
    server.wait_for_line(r"\[WARNING\] .*host")
    assert "INFO" not in server.output


def test_files_are_opened_anew_at_sigusr1(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    """As logrotate has it: the files are moved away, the signal is sent, and the worker writes into new ones."""
    access, error, path = tmp_path / "access.log", tmp_path / "error.log", tmp_path / "socket"
    server = start_gunicorn(
        APP, "--access-logfile", str(access), "--error-logfile", str(error), "--bind", f"unix:{path}"
    )
    server.wait_for_line("startup in")
    server.addresses = [str(path)]
    server.exchange(request(target=b"/before"))
    access.rename(tmp_path / "access.old")
    error.rename(tmp_path / "error.old")
    server.send_signal(signal.SIGUSR1)
    end = time.monotonic() + DEADLINE
    while not (access.exists() and "GET /after " in access.read_text()):
        assert time.monotonic() < end
        server.exchange(request(target=b"/after"))
    server.exchange(request(target=b"/fail"))
    assert server.stop() == 0
    assert "GET /before " in (tmp_path / "access.old").read_text()
    assert "Application startup complete" in (tmp_path / "error.old").read_text()
    assert "LookupError: nothing there" in error.read_text()
    assert "Shutting down" in error.read_text()
