"""What Channels has for WebSockets beyond the contract: JSON, messages to a channel, sessions, origins."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .catalogue import Framework
from .conftest import Connect
from .server import Server

FRAMEWORKS = ("channels", "channels-sync")


def test_json_consumer(connect: Connect, framework: Framework) -> None:
    socket = connect("/ws/json")
    socket.send('{"name": "Zoë"}')
    told = json.loads(socket.receive())
    assert told["got"] == {"name": "Zoë"}
    assert told.get("main_thread") == (False if framework.name == "channels-sync" else None)


def test_message_to_a_channel(connect: Connect) -> None:
    socket = connect("/ws/clock")
    assert socket.receive() == "12 o'clock"
    assert socket.read_to_close() is not None


def test_session_of_a_websocket(client: httpx.Client, connect: Connect) -> None:
    client.get("/session")
    cookie = f"sessionid={client.cookies['sessionid']}"
    assert json.loads(connect("/ws/session", additional_headers={"cookie": cookie}).receive_last()) == {"count": 1}


def test_origin(connect: Connect, server: Server) -> None:
    socket = connect("/ws/same-origin", origin=server.url)
    socket.send("hello")
    assert socket.receive() == "hello"
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/same-origin", origin="http://elsewhere.example")
    assert denied.value.response.status_code == 403
