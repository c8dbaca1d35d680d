"""Sockets that the program makes: handed to the server as uvicorn takes them, and found where uvicorn has them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ferricorn import Config, Server, StartupError
from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.embedded import QUIET, App, body_from, in_thread, run_async


@contextmanager
def bound(family: socket.AddressFamily, address: object) -> Iterator[socket.socket]:
    with socket.socket(family) as made:
        made.bind(address)  # type: ignore[arg-type]
        yield made


def test_run_on_sockets_of_the_program(loop: str, tmp_path: Path) -> None:
    """They need not listen yet, and take the place of what the configuration names."""
    server = Server(Config(App(), loop=loop, fd=4095, log_level="warning"))
    path = str(tmp_path / "socket")
    with ExitStack() as made:
        sockets = [
            made.enter_context(bound(socket.AF_INET, ("127.0.0.1", 0))),
            made.enter_context(bound(socket.AF_INET6, ("::1", 0))),
            made.enter_context(bound(socket.AF_UNIX, path)),
        ]
        names = [made_.getsockname() for made_ in sockets]
        with in_thread(lambda: server.run(sockets=sockets)):
            assert server.ready.wait(DEADLINE)
            assert [body_from(server, index) for index in range(3)] == [b"ok"] * 3
            assert [place.getsockname() for place in server.servers[0].sockets] == names
            server.should_exit = True


def test_serve_on_a_socket_closes_it_when_it_stops_accepting(loop: str) -> None:
    """As uvicorn does: where it stayed open, clients would go on being queued."""

    async def main() -> None:
        server = Server(Config(App(), **QUIET))
        given = socket.create_server(("127.0.0.1", 0))
        address = given.getsockname()
        serving = asyncio.create_task(server.serve(sockets=[given]))
        await server.wait_started()
        assert await asyncio.to_thread(body_from, server) == b"ok"
        server.should_exit = True
        await serving
        assert given.fileno() == -1
        with pytest.raises(ConnectionRefusedError):
            Client.connect(address)

    run_async(loop, main())


def test_a_client_that_came_before_the_server_is_served(loop: str) -> None:
    server = Server(Config(App(), loop=loop, **QUIET))
    with socket.create_server(("127.0.0.1", 0)) as given, Client.connect(given.getsockname()) as client:
        client.send(GET)
        with in_thread(lambda: server.run([given])):
            assert client.response().body == b"ok"
            server.should_exit = True


def test_a_socket_that_cannot_listen_is_told_in_a_sentence() -> None:
    with socket.socket() as taken, socket.create_server(("127.0.0.1", 0)) as listening:
        taken.bind(("127.0.0.1", 0))
        taken.connect(listening.getsockname())
        with pytest.raises(StartupError) as raised:
            asyncio.run(Server(Config(App(), **QUIET)).serve(sockets=[listening, taken]))
        assert str(raised.value).startswith("Cannot listen on <socket.socket fd=")
        assert str(raised.value).endswith(": invalid argument.")
        assert listening.fileno() > 0, "it never served: the sockets are still the program's"


def test_a_closed_socket_is_told_in_a_sentence() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    given.close()
    with pytest.raises(StartupError, match=r"Cannot listen on <socket.socket \[closed\].*: bad file descriptor\."):
        asyncio.run(Server(Config(App(), **QUIET)).serve(sockets=[given]))


def test_the_port_is_where_uvicorn_has_it(loop: str) -> None:
    server = Server(Config(App(), loop=loop, **QUIET))
    assert server.servers == []
    with in_thread(server.run):
        assert server.ready.wait(DEADLINE)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        assert server.addresses == (f"{host}:{port}",)
        server.should_exit = True
