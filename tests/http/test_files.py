"""Files as response bodies (EXT-06 to EXT-10) that are large, not in memory, or shrinking; and what is no file."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.asgi import Application, Event, Gate, Journal, Receive, Scope, Send, body, raised_by, start
from tests.support.client import GET, request
from tests.support.server import Serve

CONTENT = bytes(range(251)) * 4096
LARGE = 5 << 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """5 GiB of which only the last ten bytes take room: no offset of its end fits into 32 bits."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(LARGE - 10)
        file.seek(LARGE - 10)
        file.write(b"0123456789")
    return path


def pathsend(path: Path) -> Event:
    return {"type": "http.response.pathsend", "path": str(path)}


def zerocopysend(file: Any, **more: Any) -> Event:
    return {"type": "http.response.zerocopysend", "file": file, **more}


def sending(event: Event, length: int | None = None) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [] if length is None else [(b"content-length", b"%d" % length)]))
        await send(event)

    return app


def refusing(event: Event, errors: Journal[Exception | None]) -> Application:
    """Tells what `send` says of the event, and responds with something else."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        errors.add(await raised_by(send(event)))
        await send(body(b"other"))

    return app


def forget(file: Path) -> None:
    """Has the system drop what it has of the file in memory."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def open_files() -> set[str]:
    """What the process has open, by name."""
    names = set()
    for descriptor in os.listdir("/proc/self/fd"):
        # The listing's own is closed by now.
        with suppress(OSError):
            names.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return names


# --- what is read from the disk


@pytest.mark.parametrize("count", [1, 3])
def test_ext_08_a_file_that_is_not_in_memory(serve: Serve, file: Path, count: int) -> None:
    server = serve(sending(pathsend(file), len(CONTENT)))
    for _ in range(count):
        forget(file)
        assert server.exchange(GET).body == CONTENT


def test_ext_06_parts_of_a_file_that_is_not_in_memory(serve: Serve, file: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        with file.open("rb") as opened:
            await send(zerocopysend(opened, offset=500_000, count=300_001, more_body=True))
            await send(body(b"|", more=True))
            await send(zerocopysend(opened, offset=1, count=1, more_body=True))
            await send(zerocopysend(opened, offset=len(CONTENT) - 1))

    server = serve(app)
    forget(file)
    expected = CONTENT[500_000:800_001] + b"|" + CONTENT[1:2] + CONTENT[-1:]
    assert server.exchange(GET).body == expected


def test_ext_08_many_clients_of_a_file_that_is_not_in_memory(serve: Serve, file: Path) -> None:
    server = serve(sending(pathsend(file)))
    forget(file)
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        client.send(GET)
    for client in clients:
        with client:
            assert client.response().body == CONTENT


# --- large files


def test_ext_06_the_end_of_a_file_of_more_than_4_gib(serve: Serve, sparse: Path) -> None:
    with sparse.open("rb") as opened:
        app = sending(zerocopysend(opened, offset=LARGE - 15, count=100), 15)
        assert serve(app).exchange(GET).body == bytes(5) + b"0123456789"


def test_ext_06_head_of_a_file_of_more_than_4_gib(serve: Serve, sparse: Path) -> None:
    with sparse.open("rb") as opened:
        response = serve(sending(zerocopysend(opened), LARGE)).exchange(request(b"HEAD"), to=b"HEAD")
        assert response.header(b"content-length") == b"%d" % LARGE


def test_ext_08_a_file_of_more_than_4_gib_that_nobody_reads(serve: Serve, sparse: Path) -> None:
    """Its length is promised whole, and other clients are served beside it."""
    server = serve(sending(pathsend(sparse), LARGE))
    with server.connect() as slow:
        slow.send(GET)
        assert slow.head().header(b"content-length") == b"%d" % LARGE
        assert server.exchange(request(b"HEAD"), to=b"HEAD").status == 200
        slow.reset()


@pytest.mark.parametrize("offset", [len(CONTENT), len(CONTENT) + 1, 2**40, 2**63 - 1])
def test_ext_06_from_beyond_the_end_there_is_nothing(serve: Serve, file: Path, offset: int) -> None:
    with file.open("rb") as opened:
        for count in (None, 1, 2**63):
            assert serve(sending(zerocopysend(opened, offset=offset, count=count))).exchange(GET).body == b""


# --- what is no file


@contextmanager
def pipe() -> Iterator[int]:
    reads, writes = os.pipe()
    try:
        yield reads
    finally:
        os.close(reads)
        os.close(writes)


def test_ext_09_a_pipe_is_refused_and_not_waited_for(serve: Serve, tmp_path: Path) -> None:
    errors: Journal[Exception | None] = Journal()
    os.mkfifo(tmp_path / "pipe")
    assert serve(refusing(pathsend(tmp_path / "pipe"), errors)).exchange(GET).body == b"other"
    error = errors.next()
    assert isinstance(error, OSError) and "not a regular file" in str(error)


@pytest.mark.parametrize("path", ["/dev/null", "/"])
def test_ext_09_what_is_no_regular_file_is_refused(serve: Serve, path: str) -> None:
    errors: Journal[Exception | None] = Journal()
    assert serve(refusing(pathsend(Path(path)), errors)).exchange(GET).body == b"other"
    error = errors.next()
    assert isinstance(error, OSError) and error.filename == path


def test_ext_06_a_pipe_is_refused(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()
    with pipe() as reads:
        assert serve(refusing(zerocopysend(reads), errors)).exchange(GET).body == b"other"
    error = errors.next()
    assert isinstance(error, OSError) and "not a regular file" in str(error)


def test_ext_06_a_socket_is_refused(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()
    with socket.socket() as unconnected:
        assert serve(refusing(zerocopysend(unconnected), errors)).exchange(GET).body == b"other"
    error = errors.next()
    assert isinstance(error, OSError) and "not a regular file" in str(error)


def test_ext_06_a_file_that_is_open_for_writing_alone_is_refused(serve: Serve, file: Path) -> None:
    errors: Journal[Exception | None] = Journal()
    with file.open("ab") as opened:
        assert serve(refusing(zerocopysend(opened, offset=0), errors)).exchange(GET).body == b"other"
    error = errors.next()
    assert isinstance(error, OSError) and "not open for reading" in str(error)


# --- what happens to a file while it is sent


def test_ext_10_a_file_that_is_replaced_or_removed_is_sent_as_it_was(serve: Serve, file: Path) -> None:
    """What `send` has taken is open: neither a new file of the same name nor none changes it."""
    sent = Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(file))
        sent.add(None)

    server = serve(app)
    with server.connect(receive_buffer=4096) as client:
        client.send(GET)
        sent.next()
        replacement = file.with_name("replacement")
        replacement.write_bytes(b"new")
        replacement.replace(file)
        file.unlink()
        assert client.response().body == CONTENT


def test_ext_10_a_file_that_shrinks_breaks_off_its_response_alone(serve: Serve, tmp_path: Path) -> None:
    shrinking = tmp_path / "shrinking"
    shrinking.touch()
    length = 64 << 20
    os.truncate(shrinking, length)
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"%d" % length)]))
        with shrinking.open("rb") as opened:
            await raised_by(send(zerocopysend(opened, more_body=True)))
        await gate.passed()

    server = serve(app)
    with server.connect() as client, server.connect() as other:
        client.send(GET)
        assert client.head().status == 200
        os.truncate(shrinking, 1)
        assert len(client.read_to_end()) < length
        server.expect_problem("broke off a response", f"promised up to byte {length}", "nothing is left from byte ")
        other.send(request(b"HEAD"))
        gate.open()
        assert other.head().status == 200


def test_a_client_that_leaves_takes_its_descriptor_along(serve: Serve, sparse: Path) -> None:
    left: Journal[Event] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"%d" % LARGE)]))
        if scope["method"] == "HEAD":
            await send(body())
            return
        with sparse.open("rb") as opened:
            await raised_by(send(zerocopysend(opened, more_body=True)))
        await receive()
        left.add(await receive())

    server = serve(app)
    clients = [server.connect() for _ in range(10)]
    for client in clients:
        client.send(GET)
        assert client.head().status == 200
    assert str(sparse) in open_files()
    for client in clients:
        client.reset()
    assert left.take(len(clients)) == [{"type": "http.disconnect"}] * len(clients)
    # Another turn of the server, so that the last one is over.
    assert server.exchange(request(b"HEAD"), to=b"HEAD").status == 200
    assert str(sparse) not in open_files()
