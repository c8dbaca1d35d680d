"""What Litestar has beyond the contract: hooks after the response, named events, MessagePack, static files."""

import json
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close

from .conftest import Connect
from .server import Server

FRAMEWORKS = ("litestar",)
PACKED = b"\x82\xa4name\xa4Zo\xc3\xab\xa4city\xa6\xc5\x8csaka"


def test_hook_after_the_response(client: httpx.Client, name: str) -> None:
    assert client.get(f"/noted/{name}").json() == {"name": name}
    assert client.get(f"/signals/{name}").status_code == 200


def test_streaming_a_synchronous_iterator(client: httpx.Client) -> None:
    assert client.get("/sync/lines").text == "".join(f"line {number}\n" for number in range(100))


def test_named_events(client: httpx.Client) -> None:
    lines = client.get("/events/named").text.replace("\r\n", "\n")
    assert lines == "".join(f"id: {number}\nevent: count\ndata: {number}\n\n" for number in range(3))


def test_message_pack(client: httpx.Client) -> None:
    """The bytes go through both ways as they are: {"name": "Zoë", "city": "Ōsaka"}."""
    response = client.post("/packed", content=PACKED, headers={"content-type": "application/vnd.msgpack"})
    assert response.content == PACKED


def test_static_files(client: httpx.Client, files: Path) -> None:
    assert client.get("/static/small.bin").content == (files / "small.bin").read_bytes()
    assert client.head("/static/small.bin").headers["content-length"] == str((files / "small.bin").stat().st_size)
    assert client.get("/static/none.bin").status_code == 404


# WebSockets


def test_listener(connect: Connect) -> None:
    socket = connect("/listener/person")
    for number in range(3):
        socket.send(json.dumps({"name": f"zoë {number}", "city": "Ōsaka"}))
        assert json.loads(socket.receive()) == {"name": f"ZOË {number}", "city": "Ōsaka"}


def test_synchronous_listener(connect: Connect) -> None:
    socket = connect("/listener/sync")
    socket.send(b"works")
    assert socket.receive() == b"works in a thread"


@pytest.mark.parametrize("way", ["close", "vanish"])
def test_listener_as_a_class(connect: Connect, server: Server, name: str, way: str) -> None:
    socket = connect(f"/listener/{name}/visitor")
    server.wait_logged(f"{name}: came")
    socket.send("was here")
    assert socket.receive() == f"{name} was here"
    getattr(socket, way)()
    server.wait_logged(f"{name}: went")


@pytest.mark.parametrize("way", ["close", "vanish"])
def test_stream_that_the_client_leaves(connect: Connect, client: httpx.Client, name: str, way: str) -> None:
    socket = connect(f"/streamed/{name}")
    assert [json.loads(socket.receive()) for _ in range(3)] == [{"tick": "0"}, {"tick": "1"}, {"tick": "2"}]
    getattr(socket, way)()
    assert client.get(f"/signals/{name}").status_code == 200


def test_message_pack_over_a_websocket(connect: Connect) -> None:
    socket = connect("/packed/ws")
    socket.send(PACKED)
    assert socket.receive() == PACKED


def test_guard(connect: Connect) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect("/guarded/ws")
    assert denied.value.response.status_code == 403
    let_in = connect("/guarded/ws", additional_headers={"cookie": "ticket=yellow"})
    assert let_in.read_to_close() == Close(4001, "over")
