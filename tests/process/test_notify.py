"""What systemd is told (sd_notify(3)), received by a real socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from ferricorn.systemd import Notifier
from tests.support.client import GET
from tests.support.deadline import DEADLINE
from tests.support.process import StartProcess

QUIET = 0.5
"""Seconds: many times the interval of a watchdog that is not fed meanwhile."""


class Manager:
    """The service manager's end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(DEADLINE)

    def close(self) -> None:
        self._socket.close()

    def next(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))

    def wait_for(self, name: str) -> dict[str, str]:
        while name not in (message := self.next()):
            pass
        return message

    def hears_something_within(self, seconds: float) -> bool:
        return bool(select([self._socket], [], [], seconds)[0])

    def discard(self) -> None:
        while self.hears_something_within(0):
            self.next()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@ferricorn-notify-{os.getpid()}"
    manager = Manager(address)
    yield manager
    manager.close()


def test_the_life_of_a_service(start_process: StartProcess, manager: Manager) -> None:
    server = start_process("tests.support.apps:hello", environment={"NOTIFY_SOCKET": manager.address})
    assert manager.next() == {"STATUS": "Starting the application"}
    ready = manager.next()
    server.wait_until_running()
    port = server.addresses[0][1]
    assert ready == {"READY": "1", "MAINPID": str(server.process.pid), "STATUS": f"Serving on 127.0.0.1:{port}"}
    assert server.exchange(GET).body == b"ok"
    assert server.stop() == 0
    assert manager.next() == {"STOPPING": "1", "STATUS": "Shutting down"}
    assert not manager.hears_something_within(0), "no watchdog was asked for"


def test_it_is_not_ready_before_the_application_is(start_process: StartProcess, manager: Manager) -> None:
    """The reason of a failure is what `systemctl status` shows."""
    server = start_process("tests.support.apps:failing_startup", environment={"NOTIFY_SOCKET": manager.address})
    assert server.wait() == 3
    assert manager.next() == {"STATUS": "Starting the application"}
    assert manager.next() == {"STATUS": "Application startup failed."}
    assert not manager.hears_something_within(0)


def test_the_watchdog_is_fed_while_the_loop_turns(
    start_process: StartProcess, manager: Manager, tmp_path: Path
) -> None:
    """A loop that an application blocks does not turn, whatever else the process does."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000", "FIFO": str(fifo)}
    server = start_process("tests.support.apps:blocking", environment=variables).wait_until_running()
    manager.wait_for("READY")
    assert manager.next() == manager.next() == {"WATCHDOG": "1"}
    with server.connect() as client:
        client.send(GET)
        server.wait_for_line("blocked")
        manager.discard()
        assert not manager.hears_something_within(QUIET)
        fifo.write_bytes(b"go on")
        assert client.response().body == b"go on"
    assert manager.next() == {"WATCHDOG": "1"}
    assert server.stop() == 0


def test_a_parent_process_speaks_for_its_workers(start_process: StartProcess, manager: Manager) -> None:
    """A reload has a beginning and an end; the workers say nothing, and none of them is the main process."""
    server = start_process("tests.support.apps:hello", "--workers", "2", environment={"NOTIFY_SOCKET": manager.address})
    ready = manager.next()
    port = server.wait_until_running().addresses[0][1]
    assert ready == {"READY": "1", "MAINPID": str(server.process.pid), "STATUS": f"Serving on 127.0.0.1:{port}"}
    server.send_signal(signal.SIGHUP)
    assert manager.next().keys() == {"RELOADING", "MONOTONIC_USEC", "STATUS"}
    assert manager.next() == ready
    assert server.stop() == 0
    assert manager.next() == {"STOPPING": "1", "STATUS": "Shutting down"}
    assert not manager.hears_something_within(0)


def test_a_reload_that_fails_ends_too(start_process: StartProcess, manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "changing.py").write_text("from tests.support.apps import hello as app")
    arguments = ["--app-dir", str(tmp_path), "--workers", "1"]
    server = start_process("changing:app", *arguments, environment={"NOTIFY_SOCKET": manager.address})
    ready = manager.wait_for("READY")
    (tmp_path / "changing.py").write_text("app = 1 / 0")
    server.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING")
    assert manager.wait_for("READY") == ready
    assert server.wait_until_running().exchange(GET).body == b"ok"
    assert server.stop() == 0


def test_workers_that_do_not_start_are_told(start_process: StartProcess, manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address}
    server = start_process("tests.support.apps:failing_startup", "--workers", "1", environment=variables)
    assert server.wait() == 3
    assert manager.next() == {"STATUS": "The workers could not start, so the server does not."}


def test_a_parent_process_feeds_the_watchdog(start_process: StartProcess, manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    server = start_process("tests.support.apps:hello", "--workers", "1", environment=variables)
    manager.wait_for("READY")
    assert [manager.next() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
    assert server.stop() == 0


def test_the_service_goes_on_in_the_process_that_takes_over(start_process: StartProcess, manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
    server = start_process("tests.support.apps:hello", "--workers", "1", environment=variables)
    assert manager.wait_for("READY")["MAINPID"] == str(server.process.pid)
    server.send_signal(signal.SIGUSR2)
    new = server.wait_for_line(r"Handing over to a new parent process \[(\d+)\]")[1]
    try:
        # systemd believes either: the old one where NotifyAccess= is main, the new one where it is all.
        told = [manager.wait_for("MAINPID"), manager.wait_for("MAINPID")]
        assert {"MAINPID": new} in told
        assert [message["MAINPID"] for message in told if "READY" in message] == [new]
        assert server.process.wait(DEADLINE) == 0
        manager.discard()
        assert manager.next() == {"WATCHDOG": "1"}
    finally:
        os.kill(int(new), signal.SIGTERM)
    assert manager.wait_for("STOPPING")
    server.wait()


def test_a_manager_that_is_not_there_is_a_warning(start_process: StartProcess, tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "1000"}
    server = start_process("tests.support.apps:hello", environment=variables).wait_until_running()
    assert server.exchange(GET).body == b"ok"
    assert server.stop() == 0
    assert [line for line in server.lines if "WARNING" in line] == [
        f"WARNING:  Cannot tell systemd how the service is ({tmp_path}/nobody): [Errno 2] No such file or directory"
    ]


def test_each_message(manager: Manager) -> None:
    notifier = Notifier(manager.address, watchdog=3)
    assert notifier.interval == 1.5
    notifier.ready()
    assert manager.next() == {"READY": "1", "MAINPID": str(os.getpid())}
    before = time.monotonic_ns() // 1000
    notifier.reloading("again")
    reloading = manager.next()
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
    assert reloading == {"RELOADING": "1", "STATUS": "again"}
    notifier.stopping()
    assert manager.next() == {"STOPPING": "1"}
    notifier.status("one\nREADY=1\n line")
    assert manager.next() == {"STATUS": "one READY=1 line"}
    notifier.main_pid(7)
    assert manager.next() == {"MAINPID": "7"}
    notifier.alive()
    assert manager.next() == {"WATCHDOG": "1"}


def test_a_full_queue_does_not_hold_the_loop_up(tmp_path: Path) -> None:
    """What is said again anyway may be lost, and no warning is worth it."""
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier(manager.address, watchdog=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while other.sendto(b"STATUS=busy", manager.address):
                pass
    notifier.alive()
    manager.discard()
    notifier.alive()
    assert manager.next() == {"WATCHDOG": "1"}
    manager.close()


def test_taken_from_the_environment(manager: Manager) -> None:
    other = {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "2000000", "NOTIFY_SOCKET": manager.address}
    ours = other | {"WATCHDOG_PID": str(os.getpid())}
    nobodys = {name: other[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    assert [Notifier.take(environment).interval for environment in (other, ours, nobodys)] == [0, 1, 1]
    assert other == ours == nobodys == {}
    manager.discard()


def test_without_a_manager_there_is_silence() -> None:
    notifier = Notifier.take({"WATCHDOG_USEC": "1"})
    notifier.ready("serving")
    notifier.alive()
    assert notifier.interval == 0
