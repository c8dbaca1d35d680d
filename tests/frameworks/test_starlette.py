"""What Starlette has beyond the contract: files by ranges, middleware around everything, sessions, mounts."""

import json
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from .conftest import Connect
from .server import Server
from .test_contract import digest_of, events_in

FRAMEWORKS = ("starlette",)


def test_one_range_of_a_file(client: httpx.Client, files: Path) -> None:
    response = client.get("/files/small.bin", headers={"range": "bytes=1000-1999"})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes 1000-1999/{(files / 'small.bin').stat().st_size}"
    assert response.content == (files / "small.bin").read_bytes()[1000:2000]


def test_several_ranges_of_a_file(client: httpx.Client, files: Path) -> None:
    response = client.get("/files/small.bin", headers={"range": "bytes=0-9, 200000-200009"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges")
    content = (files / "small.bin").read_bytes()
    assert content[:10] in response.content and content[200_000:200_010] in response.content


def test_a_file_the_client_has_already(client: httpx.Client, files: Path) -> None:
    first = client.get("/static/small.bin")
    again = client.get("/static/small.bin", headers={"if-none-match": first.headers["etag"]})
    assert first.content == (files / "small.bin").read_bytes()
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/json").status_code == 200


def test_a_file_that_is_removed_after_the_response(client: httpx.Client) -> None:
    """Sent whole: whoever sends it has it open before the application is told to go on."""
    assert digest_of(client.get("/file/temporary").content) == digest_of(bytes(range(256)) * 256 * 32)


def test_streaming_a_synchronous_iterator(client: httpx.Client) -> None:
    lines = client.get("/sync/lines").text.splitlines()
    assert lines == [f"line {number} False" for number in range(100)]


def test_root_path_of_a_mount(client: httpx.Client) -> None:
    response = client.get("/mounted/where")
    assert response.text == f"/mounted {client.base_url.join('/mounted/where')}"


def test_session(client: httpx.Client) -> None:
    assert [client.get("/stamped/session").json()["count"] for _ in range(3)] == [1, 2, 3]


def test_middleware_around_a_stream(client: httpx.Client, other_client: httpx.Client, name: str) -> None:
    with client.stream("GET", f"/stamped/stream/{name}") as response:
        assert response.headers["x-stamp"] == "set"
        pieces = response.iter_lines()
        assert next(pieces) == "first"
        other_client.post(f"/signals/{name}")
        assert list(pieces) == ["second"]


def test_middleware_around_events_that_the_client_leaves(
    client: httpx.Client, other_client: httpx.Client, name: str
) -> None:
    with client.stream("GET", f"/stamped/events/{name}") as response:
        events = events_in(response.iter_lines())
        assert [next(events) for _ in range(3)] == ["0", "1", "2"]
    assert other_client.get(f"/signals/{name}").status_code == 200


def test_middleware_around_an_upload(client: httpx.Client) -> None:
    body = bytes(range(256)) * 4096
    assert client.post("/stamped/upload", content=body).json() == digest_of(body)


def test_middleware_around_a_background_task(client: httpx.Client, other_client: httpx.Client, name: str) -> None:
    assert client.get(f"/stamped/background/{name}").json() == {"accepted": True}
    other_client.post(f"/signals/{name}.go")
    assert other_client.get(f"/signals/{name}.done").status_code == 200


def test_an_exception_after_the_whole_response_is_logged_and_the_connection_goes_on(
    raw: HTTPConnection, server: Server
) -> None:
    """Starlette answers 500 itself and then lets the exception out, for the server's log."""
    raw.request("GET", "/error")
    response = raw.getresponse()
    assert (response.status, response.read()) == (500, b"Internal Server Error")
    server.wait_logged("RuntimeError: deliberate failure")
    raw.request("GET", "/json")
    assert raw.getresponse().status == 200


# WebSockets


def test_websocket_as_a_class(connect: Connect, server: Server, name: str) -> None:
    socket = connect(f"/counter/{name}")
    for number in (1, 2, 3):
        socket.send(str(number))
    assert [socket.receive() for _ in range(3)] == ["1", "3", "6"]
    socket.close(3001)
    server.wait_logged(f"{name}: disconnected with 3001")


@pytest.mark.parametrize(
    ("kind", "sent", "received"),
    [("text", "abc", "ABC"), ("bytes", b"abc", b"cba"), ("json", '{"a": [1]}', b'{"got":{"a":[1]}}')],
)
def test_iterating_over_messages(
    connect: Connect, client: httpx.Client, name: str, kind: str, sent: str | bytes, received: str | bytes
) -> None:
    socket = connect(f"/iterate/{kind}/{name}")
    for _ in range(3):
        socket.send(sent)
        assert socket.receive() == received
    socket.close()
    assert client.get(f"/signals/{name}").status_code == 200


def test_streamed_denial_response(client: httpx.Client, name: str) -> None:
    """A piece of it arrives before the next one exists; the connection ends with it."""
    handshake = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with client.stream("GET", f"/denied/{name}", headers=handshake) as response:
        assert (response.status_code, response.headers["x-denial"]) == (418, "streamed")
        assert "upgrade" not in response.headers
        assert not [header for header in response.headers if header.startswith("sec-websocket")]
        pieces = response.iter_lines()
        assert next(pieces) == "first"
        client.post(f"/signals/{name}")
        assert list(pieces) == ["second"]


def test_session_of_a_websocket(client: httpx.Client, connect: Connect) -> None:
    """Through BaseHTTPMiddleware, which lets WebSockets pass, and with the cookie of an HTTP response."""
    client.get("/stamped/session")
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    socket = connect("/stamped/session/ws", additional_headers={"cookie": cookies})
    assert json.loads(socket.receive_last()) == {"count": 1}
