"""One behaviour test, every framework: the same URLs, the same expected results. README.md lists the contract."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import httpx
import pytest

from .catalogue import Feature
from .server import Server

GREETING = {"message": "hello", "numbers": [1, 2, 3]}
MEBIBYTE = 1024 * 1024


def digest_of(body: bytes) -> dict[str, object]:
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def events_in(lines: Iterator[str]) -> Iterator[str]:
    """The data of each server-sent event."""
    return (line.removeprefix("data:").strip() for line in lines if line.startswith("data:"))


# Requests and responses


def test_json(client: httpx.Client) -> None:
    response = client.get("/json")
    assert (response.status_code, response.json()) == (200, GREETING)
    assert response.headers["content-type"].startswith("application/json")


def test_json_body(client: httpx.Client) -> None:
    sent = {"text": "šķērs ✓", "nested": [{"deep": None}, 1.5, True]}
    response = client.post("/json", json=sent)
    assert response.json() == sent


def test_the_request_as_the_application_sees_it(client: httpx.Client) -> None:
    response = client.get("/request/caf%C3%A9%20ol%C3%A9?word=a%26b&word=%C3%BC+v")
    seen = response.json()
    assert seen["name"] == "café olé"
    assert seen["words"] == ["a&b", "ü v"]
    assert seen["scheme"] == "http"
    assert seen["host"] == client.base_url.netloc.decode()
    assert seen["client"] == "127.0.0.1"


def test_form(client: httpx.Client) -> None:
    sent = {"name": "Zoë & sons", "city": "Ōsaka"}
    assert client.post("/form", data=sent).json() == sent


@pytest.mark.parametrize("size", [0, 1000, 3 * MEBIBYTE])
def test_multipart_upload(client: httpx.Client, size: int) -> None:
    content = bytes(range(256)) * (size // 256)
    response = client.post(
        "/multipart", data={"title": "a título"}, files={"file": ("photo.png", content, "image/png")}
    )
    expected = {"title": "a título", "filename": "photo.png", "content_type": "image/png", **digest_of(content)}
    assert response.json() == expected


def test_cookies(client: httpx.Client) -> None:
    response = client.get("/cookies", headers={"cookie": "flavour=oat; count=3"})
    assert response.json() == {"flavour": "oat", "count": "3"}
    set_cookies = [value.split(";")[0] for value in response.headers.get_list("set-cookie")]
    assert sorted(set_cookies) == ["lang=fr", "session=abc", "theme=dark"]


def test_head(client: httpx.Client) -> None:
    """The same head as GET has, no body; and the connection is in step afterwards."""
    head, get = client.head("/json"), client.get("/json")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.get("content-length", get.headers["content-length"]) == get.headers["content-length"]
    assert get.json() == GREETING


def test_not_found(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get("/json").status_code == 200


def test_error_before_the_response(client: httpx.Client, other_client: httpx.Client) -> None:
    assert client.get("/error").status_code == 500
    assert other_client.get("/json").status_code == 200


def test_error_within_the_response_is_seen_by_the_client(raw: HTTPConnection, client: httpx.Client) -> None:
    """What was sent before arrives; then the connection ends early or is reset: the response does not look complete.

    A connection that is reset before the head would look like one that was lost, and be tried again by many clients.
    """
    raw.request("GET", "/error/stream")
    response = raw.getresponse()
    assert (response.status, response.readline()) == (200, b"partial\n")
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        response.read()
    assert client.get("/json").status_code == 200


# Files


def test_file(client: httpx.Client, files: Path) -> None:
    response = client.get("/files/small.bin")
    assert response.status_code == 200
    assert response.content == (files / "small.bin").read_bytes()
    assert response.headers["content-length"] == str((files / "small.bin").stat().st_size)


def test_head_of_a_file(client: httpx.Client, files: Path) -> None:
    response = client.head("/files/small.bin")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str((files / "small.bin").stat().st_size)
    assert client.get("/json").json() == GREETING


# Streams


def test_a_streamed_piece_arrives_before_the_next_one_exists(
    client: httpx.Client, other_client: httpx.Client, name: str
) -> None:
    with client.stream("GET", f"/stream/{name}") as response:
        pieces = response.iter_lines()
        assert next(pieces) == "first"
        other_client.post(f"/signals/{name}")
        assert list(pieces) == ["second"]


def test_events_arrive_until_the_client_goes(client: httpx.Client, other_client: httpx.Client, name: str) -> None:
    with client.stream("GET", f"/events/{name}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_in(response.iter_lines())
        assert [next(events) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert other_client.get(f"/signals/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/download/67108864", "/files/large.bin"])
def test_a_download_that_the_client_leaves(client: httpx.Client, other_client: httpx.Client, path: str) -> None:
    """A client may go when it likes: that is no failure, and leaves no traceback in the log (the fixture looks)."""
    with client.stream("GET", path) as response:
        assert len(next(response.iter_raw(1000))) == 1000
    assert other_client.get("/json").json() == GREETING


@pytest.mark.needs(Feature.QUIET_DISCONNECT)
def test_a_quiet_stream_learns_that_the_client_is_gone(
    client: httpx.Client, other_client: httpx.Client, name: str
) -> None:
    with client.stream("GET", f"/events/quiet/{name}") as response:
        assert next(events_in(response.iter_lines())) == "0"
    assert other_client.get(f"/signals/{name}").status_code == 200


@pytest.mark.needs(Feature.HANDLER_DISCONNECT)
def test_a_handler_learns_that_the_client_is_gone(raw: HTTPConnection, client: httpx.Client, name: str) -> None:
    raw.request("GET", f"/disconnect/{name}")
    assert client.get(f"/signals/{name}.started").status_code == 200
    raw.close()
    assert client.get(f"/signals/{name}").status_code == 200


@pytest.mark.needs(Feature.UPLOAD_DISCONNECT)
def test_a_reader_of_a_body_learns_that_the_client_is_gone(
    raw: HTTPConnection, client: httpx.Client, name: str
) -> None:
    raw.putrequest("POST", f"/upload/aborted/{name}")
    raw.putheader("content-length", "100000")
    raw.endheaders(b"x" * 50_000)
    assert client.get(f"/signals/{name}.started").status_code == 200
    raw.close()
    assert client.get(f"/signals/{name}").status_code == 200


# Tasks and threads


def test_a_background_task_runs_after_the_response(client: httpx.Client, name: str) -> None:
    """The client can use its connection while the task that the response left behind still runs."""
    assert client.get(f"/background/{name}").json() == {"accepted": True}
    assert client.get("/json").json() == GREETING
    client.post(f"/signals/{name}.go")
    assert client.get(f"/signals/{name}.done").status_code == 200


def test_a_sync_endpoint_runs_in_the_thread_pool(client: httpx.Client) -> None:
    assert client.get("/sync").json() == {"main_thread": False}


def test_a_blocked_sync_endpoint_blocks_nobody_else(raw: HTTPConnection, client: httpx.Client, name: str) -> None:
    raw.request("GET", f"/sync/blocked/{name}")
    assert client.get(f"/signals/{name}.started").status_code == 200
    assert client.get("/json").json() == GREETING
    client.post(f"/signals/{name}.go")
    assert json.loads(raw.getresponse().read()) == {"released": True}


def test_requests_run_side_by_side(server: Server, name: str) -> None:
    """None of these answers before all of them have arrived."""
    parties = 32

    async def meet() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=15, trust_env=False) as client:
            return await asyncio.gather(*(client.get(f"/together/{name}/{parties}") for _ in range(parties)))

    assert [response.json() for response in asyncio.run(meet())] == [{"parties": parties}] * parties


# Lifespan


@pytest.mark.needs(Feature.LIFESPAN)
def test_startup_ran_in_the_loop_of_the_requests(client: httpx.Client) -> None:
    """That shutdown runs too is seen when the server stops, by the fixture."""
    assert client.get("/lifespan").json() == {"started": True, "same_loop": True}


@pytest.mark.needs(Feature.LIFESPAN_STATE)
def test_requests_get_a_shallow_copy_of_the_lifespan_state(client: httpx.Client) -> None:
    first, second = (client.get("/state").json() for _ in range(2))
    assert second["visits"] == first["visits"] + 1
    assert first["fresh"] and second["fresh"]


# Bodies of unknown length, and bodies nobody reads


def test_chunked_upload(client: httpx.Client) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate([1, 10, 1000, 100_000, 3])]
    assert client.post("/upload", content=iter(pieces)).json() == digest_of(b"".join(pieces))


def test_empty_upload(client: httpx.Client) -> None:
    assert client.post("/upload", content=b"").json() == digest_of(b"")


def test_unread_body(client: httpx.Client) -> None:
    """An application that does not look at a body does not put the next request out of step."""
    response = client.request("POST", "/nowhere", content=b"POST /error HTTP/1.1\r\n\r\n" * 1000)
    assert response.status_code in (404, 405)
    assert client.get("/json").json() == GREETING


def test_many_requests_on_one_connection(client: httpx.Client) -> None:
    for number in range(50):
        body = b"%d" % number * number
        assert client.post("/upload", content=body).json() == digest_of(body)
        assert client.get("/json").json() == GREETING
