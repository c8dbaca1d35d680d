"""Socket.IO: python-socketio's ASGI application driven by its own client, as it is used in the field."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]

from .catalogue import Framework
from .conftest import CLIENT_SECONDS, assert_stops_cleanly
from .server import Server

FRAMEWORKS = ("socketio",)
TRANSPORTS = pytest.mark.parametrize(
    "transports", [["websocket"], ["polling", "websocket"]], ids=["websocket", "upgrade"]
)
"""A WebSocket from the start; polling first, then an upgrade to a WebSocket."""


class Client:
    """A connected client whose events can be waited for."""

    def __init__(self, url: str, **options: Any) -> None:
        self.events: Queue[tuple[str, Any]] = Queue()
        self.sio = socketio.Client(reconnection=False)
        self.sio.on("*", lambda event, *data: self.events.put((event, data)))
        self.sio.on("*", lambda event, *data: self.events.put((event, data)), namespace="/other")
        self.sio.on("disconnect", lambda reason: self.events.put(("disconnect", reason)))
        self.sio.on("question", lambda data: f"{data} it is")
        self.sio.connect(url, wait_timeout=CLIENT_SECONDS, **{"namespaces": ["/"], **options})

    def leave(self) -> None:
        """Disconnects, and closes what python-socketio leaves open when it was the server that went."""
        self.sio.disconnect()
        if self.sio.eio.ws is not None:
            self.sio.eio.ws.shutdown()

    def next_event(self) -> tuple[str, Any]:
        return self.events.get(timeout=CLIENT_SECONDS)


Enter = Callable[..., Client]


@pytest.fixture
def enter(server: Server) -> Iterator[Enter]:
    """Connects clients to the module's server, by a WebSocket from the start unless told otherwise."""
    with ExitStack() as opened:

        def enter(transports: list[str] | None = None, **options: Any) -> Client:
            client = Client(server.url, transports=transports or ["websocket"], **options)
            opened.callback(client.leave)
            return client

        yield enter


@pytest.mark.parametrize(
    ("transports", "transport"),
    [(["websocket"], "websocket"), (["polling", "websocket"], "websocket"), (["polling"], "polling")],
    ids=["websocket", "upgrade", "polling"],
)
def test_transport(enter: Enter, transports: list[str], transport: str) -> None:
    client = enter(transports)
    assert client.sio.transport() == transport
    assert client.sio.call("ask", "transport", timeout=CLIENT_SECONDS) == {"asked": "transport"}


@TRANSPORTS
@pytest.mark.parametrize(
    "data", ["text ķ ✓", {"nested": [1, None, {"deep": True}]}, b"\0\1binary", {"mixed": [b"one", "two", b"three"]}]
)
def test_event(enter: Enter, transports: list[str], data: Any) -> None:
    client = enter(transports)
    client.sio.emit("echo", data)
    assert client.next_event() == ("echoed", (data,))


@TRANSPORTS
def test_many_events_in_order(enter: Enter, transports: list[str]) -> None:
    client = enter(transports)
    for number in range(300):
        client.sio.emit("echo", number)
    assert [client.next_event()[1] for _ in range(300)] == [(number,) for number in range(300)]


@TRANSPORTS
def test_large_event(enter: Enter, transports: list[str]) -> None:
    data = bytes(range(256)) * (4 * 1024 * 1024 // 256)
    client = enter(transports)
    client.sio.emit("echo", data)
    assert client.next_event() == ("echoed", (data,))


@TRANSPORTS
def test_the_server_asks_the_client(enter: Enter, transports: list[str]) -> None:
    client = enter(transports)
    assert client.sio.call("ask_back", timeout=CLIENT_SECONDS) == "asking"
    assert client.next_event() == ("answered", ("what is it? it is",))


def test_room(enter: Enter, name: str) -> None:
    """One message for all who are in, by whatever transport, and for none of the others."""
    inside, polling, outside = enter(), enter(["polling"]), enter()
    for client in (inside, polling):
        client.sio.call("enter", name, timeout=CLIENT_SECONDS)
    outside.sio.emit("tell", (name, "hello, all"))
    assert [client.next_event() for client in (inside, polling)] == [("told", ("hello, all",))] * 2
    outside.sio.emit("echo", "alone")
    assert outside.next_event() == ("echoed", ("alone",))


def test_namespaces_share_a_connection(enter: Enter) -> None:
    client = enter(namespaces=["/", "/other"])
    client.sio.emit("echo", 1, namespace="/other")
    assert client.next_event() == ("echoed", ({"other": 1},))
    client.sio.emit("echo", 2)
    assert client.next_event() == ("echoed", (2,))


def test_one_event_waits_while_others_are_handled(enter: Enter, name: str) -> None:
    waiting, other = enter(), enter()
    answers: Queue[str] = Queue()
    waiting.sio.emit("wait", name, callback=answers.put)
    assert other.sio.call("ask", 1, timeout=CLIENT_SECONDS) == {"asked": 1}
    assert waiting.sio.call("ask", 2, timeout=CLIENT_SECONDS) == {"asked": 2}
    other.sio.emit("release", name)
    assert answers.get(timeout=CLIENT_SECONDS) == "waited"


@TRANSPORTS
def test_refusal(enter: Enter, transports: list[str]) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect: /"):
        enter(transports, auth={"ticket": "forged"})


@TRANSPORTS
def test_the_server_sees_the_client_leave(enter: Enter, server: Server, name: str, transports: list[str]) -> None:
    client = enter(transports, auth={"name": name})
    client.sio.disconnect()
    server.wait_logged(f"{name}: disconnected, ")


@TRANSPORTS
def test_the_client_sees_the_server_leave(enter: Enter, server: Server, name: str, transports: list[str]) -> None:
    client = enter(transports, auth={"name": name})
    client.sio.emit("leave")
    assert client.next_event() == ("disconnect", "server disconnect")
    server.wait_logged(f"{name}: disconnected, server disconnect")


@TRANSPORTS
def test_the_server_sees_the_client_vanish(enter: Enter, server: Server, name: str, transports: list[str]) -> None:
    client = enter(transports, auth={"name": name})
    assert client.sio.call("ask", "there?", timeout=CLIENT_SECONDS) == {"asked": "there?"}
    client.sio.eio.ws.sock.shutdown(socket.SHUT_RDWR)
    server.wait_logged(f"{name}: disconnected, transport close")


def test_a_server_stops_while_a_client_is_there(own_server: Server, framework: Framework) -> None:
    client = Client(own_server.url, transports=["websocket"])
    assert client.sio.call("ask", "there?", timeout=CLIENT_SECONDS) == {"asked": "there?"}
    assert_stops_cleanly(own_server, framework)
    assert client.next_event()[0] == "disconnect"
    client.leave()
