"""Sockets that systemd passes (sd_listen_fds(3)), with a process that gets them as systemd would hand them over."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from ferricorn import StartupError, systemd
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.process import ServerProcess, StartProcess


def activate(
    start_process: StartProcess, sockets: Sequence[socket.socket], *arguments: str, **environment: str
) -> ServerProcess:
    fds = [passed.fileno() for passed in sockets]
    environment["PASSED"] = " ".join(map(str, fds))
    app = "tests.support.apps:environment"
    return start_process(app, *arguments, module="tests.support.activated", pass_fds=fds, environment=environment)


def ask(address: tuple[str, int] | str) -> bytes:
    with Client.connect(address) as client:
        client.send(GET)
        return client.response().body


def test_they_stand_for_host_and_port(start_process: StartProcess, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        server = activate(start_process, [tcp, unix], "--host", "0.0.0.0", LISTEN_FDNAMES="web:local")
        server.wait_until_running()
        port = tcp.getsockname()[1]
        assert server.addresses == [("127.0.0.1", port), path]
        assert f"systemd passed the socket 'web': 127.0.0.1:{port}" in server.output
        assert f"systemd passed the socket 'local': unix:{path}" in server.output
        assert ask(("127.0.0.1", port)) == ask(path)
        assert server.stop() == 0
    assert Path(path).exists(), "who made the file removes it"


def test_children_do_not_take_them_again(start_process: StartProcess) -> None:
    """Nor do they tell systemd anything in their parent's place."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        more = {"LISTEN_FDNAMES": "web", "LISTEN_PIDFDID": "7", "NOTIFY_SOCKET": "", "WATCHDOG_USEC": "9000000"}
        server = activate(start_process, [listener], **more).wait_until_running()
        variables = ask(server.addresses[0]).decode().split()
        assert "PATH" in variables
        assert [name for name in variables if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))] == []


def test_a_restart_refuses_nobody(start_process: StartProcess) -> None:
    """systemd holds the socket all the while: who connects between two servers waits for the next."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert activate(start_process, [listener]).wait_until_running().stop() == 0
        with Client.connect(listener.getsockname()) as client:
            client.send(GET)
            server = activate(start_process, [listener]).wait_until_running()
            assert client.response().status == 200
            assert server.stop() == 0


def test_a_name_in_the_abstract_namespace(start_process: StartProcess) -> None:
    name = f"ferricorn-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        server = activate(start_process, [listener]).wait_until_running()
        assert server.addresses == [f"@{name}"]
        assert b"PATH" in ask(f"\0{name}")


def test_workers_serve_them(start_process: StartProcess, tmp_path: Path) -> None:
    """Nor is a worker who systemd means: the variables are gone by then."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path := str(tmp_path / "socket"))
        unix.listen()
        server = activate(start_process, [tcp, unix], "--workers", "2").wait_until_running()
        assert server.addresses == [tcp.getsockname(), path]
        for address in (tcp.getsockname(), path):
            variables = ask(address).decode().split()
            assert [name for name in variables if name.startswith("LISTEN_")] == []
        assert server.stop() == 0
    assert Path(path).exists()


def test_a_new_parent_process_takes_them_over(start_process: StartProcess, tmp_path: Path) -> None:
    """The file of a unix socket is still systemd's."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path := str(tmp_path / "socket"))
        unix.listen()
        server = activate(start_process, [tcp, unix], "--workers", "1").wait_until_running()
        server.send_signal(signal.SIGUSR2)
        new = int(server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1])
        try:
            assert server.process.wait(DEADLINE) == 0
            assert ask(tcp.getsockname()) == ask(path)
        finally:
            os.kill(new, signal.SIGTERM)
        server.wait()
        assert "ERROR" not in server.output
    assert Path(path).exists()


def test_those_of_another_process_are_not_served(start_process: StartProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = activate(start_process, [listener], LISTEN_PID="1").wait_until_running()
        assert server.addresses != [listener.getsockname()]
        sentence = f"systemd's sockets are for process 1, not for {server.process.pid}, this one: they are not served"
        assert sentence in server.output


def test_an_address_that_is_named_goes_before_them(start_process: StartProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = activate(start_process, [listener], "--bind", "127.0.0.1:0").wait_until_running()
        assert server.addresses != [listener.getsockname()]
        assert "systemd passed the socket 'unknown', which is not served" in server.output


def test_one_of_them_may_be_named_by_its_number(start_process: StartProcess) -> None:
    """As a command line for uvicorn had to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = activate(start_process, [listener], "--fd", "3").wait_until_running()
        assert server.addresses == [listener.getsockname()]
        assert "WARNING" not in server.output


def test_what_is_no_stream_is_an_error(start_process: StartProcess) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        server = activate(start_process, [datagrams], LISTEN_FDNAMES="udp")
        assert server.wait() == 3
    sentence = "Cannot listen on the socket 'udp' that systemd passed: the descriptor is no stream socket."
    assert sentence in server.output


def test_nothing_is_passed_where_the_variables_are_absent() -> None:
    environment = {"LISTEN_FDNAMES": "web"}
    assert systemd.take_sockets(environment) == []
    assert environment == {"LISTEN_FDNAMES": "web"}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"LISTEN_FDS": "many"}, "$LISTEN_FDS must be a number, not 'many'."),
        ({"LISTEN_FDS": "-1"}, "$LISTEN_FDS must be a number, not '-1'."),
        ({"LISTEN_FDS": "1000000"}, "$LISTEN_FDS must be a number, not '1000000'."),
        ({"LISTEN_FDS": "1"}, "$LISTEN_PID must be a number, not ''."),
        ({"LISTEN_FDS": "1000", "LISTEN_PID": f"{os.getpid()}"}, "promises descriptor"),
    ],
)
def test_variables_that_make_no_sense_are_an_error(
    variables: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process's own descriptors stay as they are.
    monkeypatch.setattr(systemd, "_FIRST_FD", 1_000_000)
    with pytest.raises(StartupError) as error:
        systemd.take_sockets(variables)
    assert sentence in str(error.value)
