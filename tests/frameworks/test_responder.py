"""What Responder has beyond the contract: its background queue, sessions, compression, a WSGI application inside."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close

from .conftest import Connect

FRAMEWORKS = ("responder",)


def test_background_queue(client: httpx.Client, name: str) -> None:
    assert client.get(f"/queue/{name}").json() == {"accepted": True}
    client.post(f"/signals/{name}.go")
    assert client.get(f"/signals/{name}.False").status_code == 200


def test_session(client: httpx.Client) -> None:
    assert [client.get("/session").json()["count"] for _ in range(3)] == [1, 2, 3]


def test_compressed_response(client: httpx.Client) -> None:
    response = client.get("/long", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) < 1000
    assert response.text == "ferris " * 10_000


def test_wsgi_application_inside(client: httpx.Client) -> None:
    """It runs in a thread and reads the body and writes the answer through the event loop."""
    response = client.post("/wsgi/path", content=b"x" * 200_000)
    assert response.text == "/wsgi /path " + "x" * 200_000


# WebSockets


def test_websocket_with_parameters(connect: Connect) -> None:
    socket = connect("/typed/7?word=hello")
    assert json.loads(socket.receive()) == {"number": 7, "word": "hello"}
    assert socket.read_to_close() == Close(1000, "")


@pytest.mark.parametrize("path", ["/typed/7", "/typed/7?word=hello&ticket=forged"])
def test_websocket_that_the_validation_or_a_hook_refuses(connect: Connect, path: str) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect(path)
    assert denied.value.response.status_code == 403
