"""What Quart has beyond the contract: conditional files, and streams in their request's context."""

from pathlib import Path

import httpx

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
