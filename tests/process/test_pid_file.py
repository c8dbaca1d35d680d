"""--pid-file: there while the server lives, and never anybody else's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ferricorn import Config, Server, StartupError
from ferricorn.pidfile import PidFile
from ferricorn.signals import unwinding
from tests.support.deadline import DEADLINE
from tests.support.process import StartProcess


def test_it_holds_the_process_id_until_the_end(start_process: StartProcess, tmp_path: Path) -> None:
    path = tmp_path / "ferricorn.pid"
    server = start_process("tests.support.apps:hello", "--pid-file", str(path)).wait_until_running()
    assert path.read_text() == f"{server.process.pid}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_it_is_there_before_the_application_is_imported(start_process: StartProcess, tmp_path: Path) -> None:
    """And it goes when the application cannot be."""
    path = tmp_path / "it.pid"
    (tmp_path / "looking.py").write_text(f"raise SystemExit(open({str(path)!r}).read())")
    server = start_process("looking:app", "--app-dir", str(tmp_path), "--pid-file", str(path))
    assert server.wait() != 0
    assert str(server.process.pid) in server.output
    assert not path.exists()


def test_sigterm_while_the_application_is_imported_leaves_nothing_behind(
    start_process: StartProcess, tmp_path: Path
) -> None:
    """Nor the unix socket's file. An import may take a minute: it is not waited for."""
    made = tmp_path / "made"
    made.mkdir()
    (tmp_path / "slow.py").write_text("import signal; print('importing', flush=True); signal.pause()")
    files = ["--pid-file", str(made / "pid"), "--uds", str(made / "socket")]
    server = start_process("slow:app", "--app-dir", str(tmp_path), *files)
    server.wait_for_line("importing")
    assert sorted(file.name for file in made.iterdir()) == ["pid", "socket"]
    assert server.stop() == -signal.SIGTERM
    assert list(made.iterdir()) == []


def test_sigterm_ends_process_1_of_a_container_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps a signal from it that it has no handler for; 143 is what a shell reports for SIGTERM."""
    before, raise_signal = signal.getsignal(signal.SIGTERM), signal.raise_signal
    monkeypatch.setattr(signal, "raise_signal", lambda number: None)
    with pytest.raises(SystemExit, match="143"), unwinding():
        raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_running_server_is_an_error(start_process: StartProcess, tmp_path: Path) -> None:
    path = tmp_path / "ferricorn.pid"
    first = start_process("tests.support.apps:hello", "--pid-file", str(path)).wait_until_running()
    second = start_process("tests.support.apps:hello", "--pid-file", str(path))
    assert second.wait() == 3
    assert f"{path} names process {first.process.pid}, which runs: is the server running already?" in second.output
    assert path.read_text() == f"{first.process.pid}\n"
    assert first.stop() == 0


def test_with_workers_it_is_the_parents(start_process: StartProcess, tmp_path: Path) -> None:
    """A new parent process takes it over (SIGUSR2), and removes it in its end."""
    path = tmp_path / "ferricorn.pid"
    server = start_process("tests.support.apps:hello", "--workers", "1", "-p", str(path)).wait_until_running()
    assert path.read_text() == f"{server.process.pid}\n"
    server.send_signal(signal.SIGUSR2)
    new = int(server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
    try:
        server.wait_for_line(r"serves: this one stops")
        assert server.process.wait(DEADLINE) == 0
        assert path.read_text() == f"{new}\n"
    finally:
        os.kill(new, signal.SIGTERM)
    server.wait()
    assert list(tmp_path.iterdir()) == []


def test_it_leaves_the_file_of_its_successor(start_process: StartProcess, tmp_path: Path) -> None:
    path = tmp_path / "ferricorn.pid"
    server = start_process("tests.support.apps:hello", "--pid-file", str(path)).wait_until_running()
    path.write_text("1\n")
    assert server.stop() == 0
    assert path.read_text() == "1\n"


def test_a_folder_that_is_not_there_is_an_error(start_process: StartProcess, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "ferricorn.pid"
    server = start_process("tests.support.apps:hello", "--pid-file", str(path))
    assert server.wait() == 3
    assert f"Cannot write the pid file {path}: no such file or directory." in server.output


def ended() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize("left", [lambda: f"{ended()}\n", lambda: "", lambda: f"{os.getpid()}", lambda: f"{2**70}"])
def test_a_stale_one_is_replaced(left: Callable[[], str], tmp_path: Path) -> None:
    """Also one with our own id: in a container every first process is number 1."""
    path = tmp_path / "pid"
    path.write_text(left())
    file = PidFile(str(path))
    file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_text("precious")
    with pytest.raises(StartupError, match="no pid file"):
        PidFile(str(path)).write()
    assert path.read_text() == "precious"


def test_one_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(StartupError, match="is a directory"):
        PidFile(str(path)).write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_who_hands_over_may_live(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(StartupError):
        PidFile(str(path)).write()
    PidFile(str(path)).write(instead_of=os.getppid())
    assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("option", ["pid_file", "user", "group", "umask"])
def test_a_server_in_a_program_leaves_its_process_alone(option: str) -> None:
    """It says so: silence would run what should be nobody's as root."""

    async def app(*_: object) -> None:
        raise AssertionError("is not called")

    value = 0o77 if option == "umask" else "nobody"
    with pytest.raises(SystemExit, match="3"):
        Server(Config(app, port=0, **{option: value})).run()  # type: ignore[arg-type]
