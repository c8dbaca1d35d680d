"""64 MiB each way through a WebSocket of every framework, while the server's memory stays where it was."""

import asyncio
import hashlib
from collections.abc import Iterator

import httpx
import pytest
import websockets.asyncio.client as asynchronous

from .catalogue import WEBSOCKETS, Feature
from .conftest import Connect
from .server import Server
from .test_memory import ALLOWED_GROWTH, CHUNK, MEBIBYTE, SAMPLE_EVERY, SIZE, Memory, digest_of_chunks
from .websocket import CLIENT_SECONDS, Client

FRAMEWORKS = WEBSOCKETS
COUNT = SIZE // len(CHUNK)
STALL_SECONDS = 0.25
"""How long nothing more has to be taken for a client to count as held back."""


@pytest.fixture
def memory(server: Server, connect: Connect) -> Memory:
    """Measured from a server that has already moved messages each way."""
    connect(f"/ws/download/{4 * MEBIBYTE}", compression=None).read_to_close()
    echo = connect("/ws/echo", compression=None)
    for _ in range(64):
        echo.send(CHUNK)
        echo.receive()
    return Memory(server)


def sampled_digest(messages: Iterator[bytes], memory: Memory) -> tuple[int, str]:
    """Size and SHA-256 of what comes, the memory watched meanwhile."""
    size, sha256 = 0, hashlib.sha256()
    for number, message in enumerate(messages):
        size += len(message)
        sha256.update(message)
        if number % SAMPLE_EVERY == 0:
            memory.sample()
    return size, sha256.hexdigest()


def receiving(socket: Client, count: int) -> Iterator[bytes]:
    for _ in range(count):
        message = socket.receive()
        assert isinstance(message, bytes)
        yield message


@pytest.mark.parametrize("compression", ["deflate", None])
def test_download(connect: Connect, memory: Memory, compression: str | None) -> None:
    socket = connect(f"/ws/download/{SIZE}", compression=compression)
    assert sampled_digest(receiving(socket, COUNT), memory) == (SIZE, digest_of_chunks(COUNT))
    assert memory.growth < ALLOWED_GROWTH


@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(connect: Connect, memory: Memory, compression: str | None) -> None:
    """In messages of 1 MiB, one after the other."""
    socket, message = connect("/ws/echo", compression=compression), CHUNK * 16
    for _ in range(SIZE // len(message)):
        socket.send(message)
        assert socket.receive() == message
        memory.sample()
    assert memory.growth < ALLOWED_GROWTH


def test_a_client_that_does_not_read_holds_the_application_back(
    connect: Connect, client: httpx.Client, memory: Memory
) -> None:
    socket = connect(f"/ws/download/{SIZE}", compression=None)
    for _ in range(100):
        client.post("/signals/any")
        memory.sample()
    assert memory.growth < ALLOWED_GROWTH
    assert sampled_digest(receiving(socket, COUNT), memory) == (SIZE, digest_of_chunks(COUNT))


@pytest.mark.needs(Feature.MESSAGE_BACKPRESSURE)
def test_an_application_that_does_not_receive_holds_the_client_back(
    server: Server, client: httpx.Client, memory: Memory, name: str
) -> None:
    """All that was sent is there when the application goes on. The client is one that sends and receives at once."""
    sent: list[int] = []

    async def send_all(socket: asynchronous.ClientConnection) -> None:
        for number in range(COUNT):
            await socket.send(CHUNK)
            sent.append(number)

    async def exchange() -> None:
        url = f"{server.url}/ws/held/{name}".replace("http:", "ws:", 1)
        async with asynchronous.connect(url, compression=None, proxy=None) as socket:
            await socket.send("wait")
            await asyncio.to_thread(client.get, f"/signals/{name}.started")
            sending = asyncio.create_task(send_all(socket))
            await until_stalled(sent)
            memory.sample()
            assert len(sent) < COUNT
            await asyncio.to_thread(client.post, f"/signals/{name}.go")
            for _ in range(COUNT):
                assert await asyncio.wait_for(socket.recv(), CLIENT_SECONDS) == CHUNK
            memory.sample()
            await sending

    asyncio.run(exchange())
    assert memory.growth < ALLOWED_GROWTH


async def until_stalled(sent: list[int]) -> None:
    """Returns when nothing more has been sent for `STALL_SECONDS`."""
    before = -1
    while len(sent) > before:
        before = len(sent)
        await asyncio.sleep(STALL_SECONDS)
