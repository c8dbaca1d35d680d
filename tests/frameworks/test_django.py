"""What Django has beyond the contract, plain and behind Channels: no lifespan, sync code, sessions, SCRIPT_NAME."""

import json
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from . import websocket
from .catalogue import CATALOGUE, Framework
from .conftest import assert_stops_cleanly, connected
from .server import Server, running

FRAMEWORKS = ("django", "channels")


def test_an_application_without_lifespan_is_served(client: httpx.Client, server: Server) -> None:
    """Both raise ValueError for the scope. The log tells it in one line, which is no alarm."""
    assert client.get("/json").status_code == 200
    assert "lifespan" in server.log
    assert "Traceback" not in server.log


def test_session(client: httpx.Client) -> None:
    assert [client.get("/session").json()["count"] for _ in range(3)] == [1, 2, 3]


def test_database_query_from_an_asynchronous_view(client: httpx.Client) -> None:
    assert [client.get("/query").json() for _ in range(20)] == [{"answer": 42}] * 20


def test_asynchronous_code_in_a_synchronous_view(raw: HTTPConnection, client: httpx.Client, name: str) -> None:
    raw.request("GET", f"/sync/back/{name}")
    assert client.get(f"/signals/{name}.started").status_code == 200
    client.post(f"/signals/{name}.go")
    assert json.loads(raw.getresponse().read()) == {"main_thread": True}


def test_streaming_a_synchronous_iterator(client: httpx.Client) -> None:
    assert client.get("/sync/lines").text == "".join(f"line {number}\n" for number in range(100))


def test_root_path(framework: Framework, files: Path) -> None:
    """The prefix is part of the requested path; Django takes it off to find the view, and puts it into its links."""
    with running(framework.target, files, "--root-path", "/prefix") as server, connected(server) as client:
        told = client.get("/prefix/reverse?q=1").json()
        assert told == {"path": "/prefix/reverse", "url": f"{server.url}/prefix/reverse?q=1", "link": "/prefix/json"}
        assert_stops_cleanly(server, framework)


def test_a_websocket_for_plain_django_is_answered_with_an_error(files: Path) -> None:
    """Its handler raises for the scope, which leaves a traceback in the log; other requests go on."""
    framework = CATALOGUE["django"]
    with running(framework.target, files) as server, connected(server) as client:
        with pytest.raises(InvalidStatus) as denied, websocket.connected(f"{server.url}/ws/echo"):
            pass
        assert denied.value.response.status_code == 500
        assert client.get("/json").status_code == 200
        server.wait_logged("Django can only handle ASGI/HTTP connections, not websocket.")
