"""What Falcon has beyond the contract: pings among events, scheduled sync work, sinks, static files by ranges."""

from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close

from .conftest import Connect

FRAMEWORKS = ("falcon",)


def test_events_with_pings(client: httpx.Client) -> None:
    response = client.get("/pings")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == ': ping\n\nevent: count\nid: 1\nretry: 500\ndata: {"number": 1}\n\n'


def test_scheduled_sync_work_runs_in_the_thread_pool(client: httpx.Client, name: str) -> None:
    assert client.get(f"/scheduled/{name}").status_code == 200
    assert client.get(f"/signals/{name}.False").status_code == 200


def test_sink(client: httpx.Client) -> None:
    assert client.get("/sink/a/b%20c/d").json() == {"rest": "a/b c/d"}


def test_static_file_by_range(client: httpx.Client, files: Path) -> None:
    response = client.get("/static/small.bin", headers={"range": "bytes=-100"})
    assert response.status_code == 206
    assert response.content == (files / "small.bin").read_bytes()[-100:]


# WebSockets


def test_http_error_after_the_handshake(connect: Connect) -> None:
    assert connect("/failing/ws").read_to_close() == Close(3429, "Too Many Requests")


def test_websocket_sink(connect: Connect) -> None:
    assert connect("/sink/ws/a/b%20c/d").receive_last() == "a/b c/d"


def test_middleware_around_websockets(connect: Connect, client: httpx.Client, name: str) -> None:
    socket = connect(f"/ws/echo?stamp={name}")
    assert client.get(f"/signals/{name}").status_code == 200
    socket.send("hello")
    assert socket.receive() == "hello"
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/echo?stamp=forged")
    assert denied.value.response.status_code == 403
