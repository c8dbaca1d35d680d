"""What Responder has beyond the contract: its background queue, sessions, compression, a WSGI application inside."""

import httpx

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
