"""64 MiB each way through every framework, while the server's memory stays where it was."""

import hashlib
import select
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from .catalogue import Feature
from .server import Server

MEBIBYTE = 1024 * 1024
SIZE = 64 * MEBIBYTE
ALLOWED_GROWTH = 24 * MEBIBYTE
CHUNK = bytes(range(256)) * 256
"""64 KiB: what the applications send over and over, and what is sent to them."""
SAMPLE_EVERY = 32
"""Chunks (2 MiB) between two looks at the memory."""
STALL_SECONDS = 0.25
"""How long the socket has to take nothing more for an upload to count as held back."""


class Memory:
    """The growth of a server's memory from when this is made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._baseline = server.resident_bytes
        self.growth = 0

    def sample(self) -> None:
        self.growth = max(self.growth, self._server.resident_bytes - self._baseline)


@pytest.fixture
def memory(server: Server, client: httpx.Client) -> Memory:
    """Measured from a server that has already moved a body each way."""
    client.get(f"/download/{4 * MEBIBYTE}")
    client.post("/upload", content=CHUNK * 64)
    client.get("/files/small.bin")
    return Memory(server)


def sampled_chunks(memory: Memory, count: int) -> Iterator[bytes]:
    """`count` chunks to send, the memory watched meanwhile."""
    for number in range(count):
        if number % SAMPLE_EVERY == 0:
            memory.sample()
        yield CHUNK


def sampled_digest(response: httpx.Response, memory: Memory) -> tuple[int, str]:
    """Size and SHA-256 of what comes, the memory watched meanwhile."""
    size, sha256 = 0, hashlib.sha256()
    for number, piece in enumerate(response.iter_raw(len(CHUNK))):
        size += len(piece)
        sha256.update(piece)
        if number % SAMPLE_EVERY == 0:
            memory.sample()
    return size, sha256.hexdigest()


def digest_of_chunks(count: int) -> str:
    sha256 = hashlib.sha256()
    for _ in range(count):
        sha256.update(CHUNK)
    return sha256.hexdigest()


def test_download(client: httpx.Client, memory: Memory) -> None:
    with client.stream("GET", f"/download/{SIZE}") as response:
        assert sampled_digest(response, memory) == (SIZE, digest_of_chunks(SIZE // len(CHUNK)))
    assert memory.growth < ALLOWED_GROWTH


@pytest.mark.needs(Feature.FILES_IN_PIECES)
def test_file_download(client: httpx.Client, memory: Memory) -> None:
    with client.stream("GET", "/files/large.bin") as response:
        assert response.headers["content-length"] == str(SIZE)
        assert sampled_digest(response, memory) == (SIZE, hashlib.sha256(bytes(SIZE)).hexdigest())
    assert memory.growth < ALLOWED_GROWTH


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_upload(client: httpx.Client, memory: Memory, framing: str) -> None:
    count = SIZE // len(CHUNK)
    headers = {"content-length": str(SIZE)} if framing == "content-length" else {}
    response = client.post("/upload", content=sampled_chunks(memory, count), headers=headers)
    assert response.json() == {"size": SIZE, "sha256": digest_of_chunks(count)}
    assert memory.growth < ALLOWED_GROWTH


def test_a_client_that_does_not_read_holds_the_application_back(
    raw: HTTPConnection, client: httpx.Client, memory: Memory
) -> None:
    raw.request("GET", f"/download/{SIZE}", headers={"accept-encoding": "identity"})
    response = raw.getresponse()
    for _ in range(100):
        client.get("/json")
        memory.sample()
    assert memory.growth < ALLOWED_GROWTH
    assert len(response.read()) == SIZE


@pytest.mark.needs(Feature.UPLOAD_BACKPRESSURE)
def test_an_application_that_does_not_read_holds_the_client_back(
    raw: HTTPConnection, client: httpx.Client, memory: Memory, name: str
) -> None:
    raw.putrequest("POST", f"/upload/gated/{name}")
    raw.putheader("content-length", str(SIZE))
    raw.endheaders(b"\0")
    assert client.get(f"/signals/{name}.started").status_code == 200
    sent = 1 + send_until_stalled(raw, SIZE - 1)
    memory.sample()
    assert sent < SIZE
    assert memory.growth < ALLOWED_GROWTH
    client.post(f"/signals/{name}.go")
    raw.sock.sendall(bytes(SIZE - sent))
    assert b'"size":67108864' in raw.getresponse().read().replace(b" ", b"")


def send_until_stalled(connection: HTTPConnection, limit: int) -> int:
    """Sends up to `limit` zeros, as many as are taken without a pause of `STALL_SECONDS`; returns how many."""
    sent = 0
    connection.sock.setblocking(False)
    while sent < limit and select.select([], [connection.sock], [], STALL_SECONDS)[1]:
        sent += connection.sock.send(bytes(min(len(CHUNK), limit - sent)))
    connection.sock.setblocking(True)
    return sent
