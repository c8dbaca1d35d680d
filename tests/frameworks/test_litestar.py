"""What Litestar has beyond the contract: hooks after the response, named events, MessagePack, static files."""

from pathlib import Path

import httpx

FRAMEWORKS = ("litestar",)


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
    packed = b"\x82\xa4name\xa4Zo\xc3\xab\xa4city\xa6\xc5\x8csaka"
    response = client.post("/packed", content=packed, headers={"content-type": "application/vnd.msgpack"})
    assert response.content == packed


def test_static_files(client: httpx.Client, files: Path) -> None:
    assert client.get("/static/small.bin").content == (files / "small.bin").read_bytes()
    assert client.head("/static/small.bin").headers["content-length"] == str((files / "small.bin").stat().st_size)
    assert client.get("/static/none.bin").status_code == 404
