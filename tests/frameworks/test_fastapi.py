"""What FastAPI has beyond the contract: validation, dependencies that end after the response, typed streams."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close

from .conftest import Connect

FRAMEWORKS = ("fastapi",)


def test_validated_body(client: httpx.Client) -> None:
    response = client.post("/orders", json={"article": "tea", "amount": 2})
    assert (response.status_code, response.json()) == (201, {"article": "tea", "amount": 2})


def test_refused_body(client: httpx.Client) -> None:
    response = client.post("/orders", json={"article": "tea", "amount": -2})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "amount"]


def test_several_files(client: httpx.Client) -> None:
    sizes = [10, 70_000, 0, 2_000_000]
    parts = [("photos", (f"{size}.png", bytes(size))) for size in sizes]
    assert client.post("/albums", files=parts).json() == sizes


@pytest.mark.parametrize(("suffix", "status"), [("", 200), ("/thread", 200), ("/error", 500)])
def test_a_dependency_is_given_back(
    client: httpx.Client, other_client: httpx.Client, name: str, suffix: str, status: int
) -> None:
    assert client.get(f"/dependency/{name}{suffix}").status_code == status
    assert other_client.get(f"/signals/{name}.closed").status_code == 200


def test_streamed_json_lines(client: httpx.Client) -> None:
    lines = client.get("/lines").text.splitlines()
    assert [json.loads(line)["amount"] for line in lines] == [1, 2, 3]


def test_events_resumed(client: httpx.Client) -> None:
    response = client.get("/resumed", headers={"last-event-id": "41"})
    numbers = [json.loads(line[6:])["number"] for line in response.text.splitlines() if line.startswith("data: ")]
    assert numbers == [42, 43, 44]


def test_openapi(client: httpx.Client) -> None:
    assert "/orders" in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").headers["content-type"].startswith("text/html")


# WebSockets


def test_websocket_with_parameters_and_dependencies(connect: Connect) -> None:
    socket = connect("/ticket/7?words=a&words=b", additional_headers={"cookie": "ticket=yellow"})
    assert json.loads(socket.receive()) == {"number": 7, "ticket": "yellow", "words": ["a", "b"]}
    assert socket.read_to_close() == Close(4001, "over")


@pytest.mark.parametrize(
    ("path", "cookie"), [("/ticket/7?words=a", ""), ("/ticket/seven?words=a", "ticket=x"), ("/ticket/7", "ticket=x")]
)
def test_websocket_that_a_dependency_or_the_validation_refuses(connect: Connect, path: str, cookie: str) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect(path, additional_headers={"cookie": cookie})
    assert denied.value.response.status_code == 403


@pytest.mark.parametrize("way", ["close", "vanish"])
def test_a_dependency_is_given_back_when_its_websocket_ends(
    connect: Connect, client: httpx.Client, name: str, way: str
) -> None:
    socket = connect(f"/connection/{name}")
    assert socket.receive() == "connected"
    getattr(socket, way)()
    assert client.get(f"/signals/{name}.closed").status_code == 200


def test_models_over_a_websocket(connect: Connect) -> None:
    socket = connect("/orders/ws")
    socket.send('{"article": "tea", "amount": 2}')
    assert json.loads(socket.receive()) == {"article": "tea", "amount": 2}
