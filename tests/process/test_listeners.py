"""Where the server listens: addresses, unix sockets, inherited descriptors."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from ferricorn import StartupError
from ferricorn.addresses import expanded
from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.client import GET, Client
from tests.support.process import StartProcess
from tests.support.server import Serve


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def ask(address: tuple[str, int] | str) -> bytes:
    with Client.connect(address) as client:
        client.send(GET)
        return client.response().body


def test_several_binds(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = serve(hello, bind=["127.0.0.1:0", "127.0.0.1:0", "[::1]:0", f"unix:{path}"])
    assert len(set(server.addresses)) == 4
    assert server.addresses[-1] == path
    assert [ask(address) for address in server.addresses] == [b"ok"] * 4


def test_the_same_port_twice_is_refused(serve: Serve) -> None:
    server = serve(hello)
    with pytest.raises(StartupError, match=str(server.port)):
        serve(hello, port=server.port)
    server.expect_problem(str(server.port))


def test_a_port_can_be_used_again_at_once(serve: Serve) -> None:
    """Connections in TIME_WAIT do not hold it."""
    server = serve(hello)
    with server.connect() as client:
        client.send(GET)
        client.response()
        server.stop()
    assert serve(hello, port=server.port).exchange(GET).body == b"ok"


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_unix_socket_mode(serve: Serve, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "socket"
    before = os.umask(0o077)
    try:
        server = serve(hello, uds=str(path), uds_mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert server.exchange(GET).body == b"ok"


def test_unix_socket_is_removed_in_the_end(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve(hello, uds=str(path)).stop()
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """What a killed server left behind."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert serve(hello, uds=str(path)).exchange(GET).body == b"ok"


def test_a_file_that_is_no_socket_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(StartupError):
        serve(hello, uds=str(path))
    assert path.read_text() == "precious"


def test_inherited_descriptor(start_process: StartProcess) -> None:
    """As systemd and other supervisors hand it over; connections made before the server runs are served."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        fd = listener.fileno()
        with Client.connect(address) as early:
            early.send(GET)
            server = start_process("tests.support.apps:hello", "--fd", str(fd), pass_fds=[fd])
            assert early.response().body == b"ok"
        server.wait_until_running()
        assert server.addresses == [address]
        assert server.stop(signal.SIGTERM) == 0


def test_inherited_unix_socket(start_process: StartProcess, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        fd = listener.fileno()
        server = start_process("tests.support.apps:hello", "--bind", f"fd://{fd}", pass_fds=[fd]).wait_until_running()
        assert ask(path) == b"ok"
        assert server.stop() == 0
    assert Path(path).exists(), "who made the file removes it"


def test_ipv6(serve: Serve) -> None:
    server = serve(hello, host="::1")
    assert server.address[0] == "::1"
    assert server.exchange(GET).body == b"ok"


def test_a_host_name(serve: Serve) -> None:
    assert serve(hello, host="localhost").exchange(GET).body == b"ok"


BOTH = [("127.0.0.1", 8000), ("::1", 8000, 0, 0)]
EXPANDED: list[tuple[str, list[tuple[object, ...]], list[str]]] = [
    ("both:8000", [*BOTH, *BOTH], ["127.0.0.1:8000", "[::1]:8000"]),
    ("both:8000", [("192.0.2.1", 8000), ("::1", 8000, 0, 0)], ["[::1]:8000"]),
    ("both:8000", [("192.0.2.1", 8000)], ["both:8000"]),
    ("both:8000", [], ["both:8000"]),
    ("both:0", list(BOTH), ["both:0"]),
    ("127.0.0.1:8000", list(BOTH), ["127.0.0.1:8000"]),
    ("[::1]:8000", list(BOTH), ["[::1]:8000"]),
    (":8000", list(BOTH), [":8000"]),
    ("unix:a:1", list(BOTH), ["unix:a:1"]),
    ("fd://3", list(BOTH), ["fd://3"]),
]


@pytest.mark.parametrize(("address", "known", "listened_on"), EXPANDED)
def test_a_host_name_is_all_that_it_stands_for(
    monkeypatch: pytest.MonkeyPatch, address: str, known: list[tuple[object, ...]], listened_on: list[str]
) -> None:
    """But for addresses that this machine does not have."""

    def known_by_name(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if not known:
            raise socket.gaierror
        kinds = [socket.AF_INET6 if len(place) == 4 else socket.AF_INET for place in known]
        return [(kind, 0, 0, "", (place[0], port, *place[2:])) for kind, place in zip(kinds, known, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", known_by_name)
    assert expanded([address]) == listened_on


def test_a_host_name_with_two_addresses(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = [(socket.AF_INET, 0, 0, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    server = serve(hello, host="both.test", port=port)
    assert server.addresses == [("127.0.0.1", port), ("127.0.0.2", port)]
    assert [ask(address) for address in server.addresses] == [b"ok"] * 2
