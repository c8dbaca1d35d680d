"""What Quart has beyond the contract: conditional files, and streams in their request's context."""

import json
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .conftest import Connect

FRAMEWORKS = ("quart",)


def test_one_range_of_a_file(client: httpx.Client, files: Path) -> None:
    response = client.get("/ranges/small.bin", headers={"range": "bytes=1000-1999"})
    assert response.status_code == 206
    assert response.content == (files / "small.bin").read_bytes()[1000:2000]


def test_a_file_the_client_has_already(client: httpx.Client) -> None:
    first = client.get("/ranges/small.bin")
    again = client.get("/ranges/small.bin", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/json").status_code == 200


def test_a_stream_keeps_the_context_of_its_request(client: httpx.Client, other_client: httpx.Client, name: str) -> None:
    with client.stream("GET", f"/context/{name}") as response:
        lines = response.iter_lines()
        assert next(lines) == f"/context/{name} first"
        other_client.post(f"/signals/{name}")
        assert list(lines) == [f"/context/{name} second"]


# WebSockets


@pytest.mark.parametrize("status", [401, 404, 429])
def test_abort_before_the_handshake_is_a_denial_response(connect: Connect, status: int) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect(f"/aborted/{status}")
    response = denied.value.response
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert response.body is not None
    assert len(response.body) == int(response.headers["content-length"])


def test_json_over_a_websocket(connect: Connect) -> None:
    socket = connect("/json/ws")
    for number in range(3):
        socket.send(json.dumps([number]))
        assert json.loads(socket.receive()) == {"path": "/json/ws", "got": [number]}


def test_session_of_a_websocket(connect: Connect, client: httpx.Client) -> None:
    client.get("/session")
    cookie = f"session={client.cookies['session']}"
    assert connect("/session/ws", additional_headers={"cookie": cookie}).receive_last() == "Zoë"
