"""--user, --group, --umask: who the process is once it serves, seen by the application and by the system."""

from __future__ import annotations

import ast
import contextlib
import grp
import os
import pwd
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import GET
from tests.support.process import ServerProcess, StartProcess

NOBODY = pwd.getpwnam("nobody")
OTHER_GROUP = next(group for group in grp.getgrall() if group.gr_gid not in (0, NOBODY.pw_gid))
APPLICATION = """
import os

def identity():
    return {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups()}

at_import = identity()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    umask = os.umask(0)
    os.umask(umask)
    told = repr({"at_import": at_import, "at_request": identity(), "umask": umask})
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": told.encode()})
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="os.getresuid is not everywhere")
pytestmark = [needs_root, needs_linux]


@pytest.fixture
def folder() -> Iterator[Path]:
    """With the application; anyone may read it, which a folder of pytest's is not made for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "told.py").write_text(APPLICATION)
        yield folder


@pytest.fixture
def start(start_process: StartProcess, folder: Path) -> StartProcess:
    def start(app: str, *arguments: str, module: str = "tests.support.preloaded", **more: Any) -> ServerProcess:
        return start_process(app, "--app-dir", str(folder), *arguments, module=module, **more)

    return start


def told(server: ServerProcess) -> dict[str, Any]:
    if not server.addresses:
        server.wait_until_running()
    answer: dict[str, Any] = ast.literal_eval(server.exchange(GET).body.decode())
    assert answer["at_import"] == answer["at_request"]
    return answer


def free_privileged_port() -> int:
    for port in range(1023, 600, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port below 1024 is free")


def test_a_user_brings_its_groups(start: StartProcess) -> None:
    answer = told(start("told:app", "--user", "nobody"))
    assert answer["at_request"] == {
        "uids": (NOBODY.pw_uid,) * 3,
        "gids": (NOBODY.pw_gid,) * 3,
        "groups": os.getgrouplist("nobody", NOBODY.pw_gid),
    }


def test_a_group_of_its_own(start: StartProcess) -> None:
    answer = told(start("told:app", "-u", str(NOBODY.pw_uid), "-g", OTHER_GROUP.gr_name))
    assert answer["at_request"]["uids"] == (NOBODY.pw_uid,) * 3
    assert answer["at_request"]["gids"] == (OTHER_GROUP.gr_gid,) * 3
    assert OTHER_GROUP.gr_gid in answer["at_request"]["groups"]


def test_numbers_that_no_database_has(start: StartProcess) -> None:
    """As in containers. No group is kept that root had."""
    answer = told(start("told:app", "--user", "54321", "--group", "54322"))
    assert answer["at_request"] == {"uids": (54321,) * 3, "gids": (54322,) * 3, "groups": [54322]}


def test_a_number_without_a_group_is_an_error(start: StartProcess) -> None:
    server = start("told:app", "--user", "54321")
    assert server.wait() == 3
    assert "User 54321 is not in the user database: its group has to be given, too (--group)." in server.output


@pytest.mark.parametrize(("option", "noun"), [("--user", "user"), ("--group", "group")])
def test_an_unknown_name_is_an_error_before_anything_is_bound(
    start: StartProcess, folder: Path, option: str, noun: str
) -> None:
    path = folder / "socket"
    server = start("told:app", option, "no-such-name", "--uds", str(path))
    assert server.wait() == 3
    assert f"There is no {noun} 'no-such-name'." in server.output
    assert "Traceback" not in server.output
    assert not path.exists()


def test_unix_sockets_belong_to_the_user(start: StartProcess, folder: Path) -> None:
    """The mode is that of --uds-mode, less what --umask takes away."""
    path = folder / "socket"
    server = start("told:app", "--user", "nobody", "--umask", "007", "--bind", f"unix:{path}", "--bind", "127.0.0.1:0")
    assert told(server)["umask"] == 0o007
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert server.stop() == 0


def test_the_pid_file_is_roots_and_becomes_empty_where_it_may_not_be_removed(start: StartProcess, folder: Path) -> None:
    """A file that the user could write to would have root's tools kill whom he likes."""
    path = folder / "pid"
    server = start("told:app", "--user", "nobody", "--umask", "077", "--pid-file", str(path)).wait_until_running()
    assert path.read_text() == f"{server.process.pid}\n"
    status = path.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o644)
    assert server.stop() == 0
    assert path.read_text() == ""
    assert sorted(file.name for file in folder.iterdir()) == ["pid", "told.py"]


def test_a_privileged_port_is_bound_before(start: StartProcess) -> None:
    """Where ports below 1024 need no right, this shows less."""
    port = free_privileged_port()
    server = start("told:app", "--user", "nobody", "--port", str(port))
    assert told(server)["at_request"]["uids"] == (NOBODY.pw_uid,) * 3
    assert server.addresses == [("127.0.0.1", port)]


@pytest.mark.parametrize("more", [[], ["--preload"]])
def test_workers_change_and_their_parent_does_not(start: StartProcess, folder: Path, more: list[str]) -> None:
    """So that the parent can remove its files, and start a worker after the next.

    On asyncio: uvloop imports more of the library when it is too late for an interpreter that only root can read.
    """
    files = ["--pid-file", str(folder / "pid"), "--uds", str(folder / "socket"), "--loop", "asyncio"]
    server = start("told:app", "--user", "nobody", "--workers", "1", *files, *more)
    assert told(server)["at_request"]["uids"] == (NOBODY.pw_uid,) * 3
    assert Path(f"/proc/{server.process.pid}").stat().st_uid == 0
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("Started server process")
    server.wait_for_line("Finished server process")
    assert told(server)["at_request"]["uids"] == (NOBODY.pw_uid,) * 3
    assert server.stop() == 0
    assert [file.name for file in folder.iterdir()] == ["told.py"]


def test_who_is_not_root_cannot_change(start: StartProcess) -> None:
    server = start("told:app", "--user", "root", module="tests.support.unprivileged")
    assert server.wait() == 3
    assert "Cannot become user root (uid 0, gid 0): operation not permitted." in server.output
    assert f"Only root may change user and group; this is uid {NOBODY.pw_uid}." in server.output


def test_who_is_the_user_already_needs_no_right(start: StartProcess) -> None:
    """As with systemd's User=."""
    answer = told(start("told:app", "--user", "nobody", module="tests.support.unprivileged"))
    assert answer["at_request"]["uids"] == (NOBODY.pw_uid,) * 3
