"""httpx, with HTTP/2 as Python applications speak it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.interop.app import EVENTS, PAGE, pattern
from tests.interop.origin import Origin

MEBIBYTE = 1 << 20


def client(origin: Origin) -> httpx.AsyncClient:
    """HTTP/2 only where there is no TLS, which is by prior knowledge."""
    context = origin.authority.client_context()
    return httpx.AsyncClient(base_url=origin.url, verify=context, http1=origin.secure, http2=True, timeout=30)


def test_pages_and_the_scope(origin: Origin) -> None:
    async def main() -> None:
        async with client(origin) as http:
            page = await http.get("/")
            assert (page.http_version, page.status_code, page.content) == ("HTTP/2", 200, PAGE)
            about = (await http.get("/about", headers={"cookie": "a=1"})).json()
            assert (about["http_version"], about["scheme"]) == ("2", origin.url.partition(":")[0])
            assert ["cookie", "a=1"] in about["headers"]
            head = await http.head("/")
            assert (head.headers["content-length"], head.content) == (str(len(PAGE)), b"")
            assert (await http.get("/nowhere")).status_code == 404

    asyncio.run(main())


def test_without_http2_it_is_answered_in_http_1(origin: Origin) -> None:
    with httpx.Client(base_url=origin.url, verify=origin.authority.client_context()) as http:
        answer = http.get("/about")
    assert (answer.http_version, answer.json()["http_version"]) == ("HTTP/1.1", "1.1")


@pytest.mark.parametrize("known_length", [True, False])
def test_an_upload_arrives_whole(origin: Origin, known_length: bool) -> None:
    content = b"".join(pattern(4 * MEBIBYTE))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 100_000):
            yield content[at : at + 100_000]

    async def main() -> httpx.Response:
        async with client(origin) as http:
            return await http.post("/digest", content=content if known_length else pieces())

    assert asyncio.run(main()).text == f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"


def test_many_requests_run_on_one_connection(origin: Origin) -> None:
    async def main() -> list[httpx.Response]:
        async with client(origin) as http:
            bodies = [b"request %d" % number * number for number in range(200)]
            answers = await asyncio.gather(*(http.post("/echo", content=body) for body in bodies))
            assert [answer.content for answer in answers] == bodies
            return answers

    answers = asyncio.run(main())
    assert len({id(answer.extensions["network_stream"]) for answer in answers}) == 1


def test_events_come_one_by_one_while_others_are_answered(origin: Origin) -> None:
    """Each is sent only when the one before has been seen, which is told on the same connection."""

    async def main() -> list[str]:
        seen = []
        async with client(origin) as http, http.stream("GET", "/events?channel=httpx") as response:
            async for line in response.aiter_lines():
                if line:
                    seen.append(line)
                    await http.post("/seen?channel=httpx")
        return seen

    assert asyncio.run(main()) == [f"data: {number}" for number in range(EVENTS)]


def test_a_slow_reader_gets_all_and_holds_up_nobody(origin: Origin) -> None:
    """While one stream is not read, others on the same connection are answered."""

    async def main() -> bytes:
        received = bytearray()
        async with client(origin) as http, http.stream("GET", f"/large?bytes={4 * MEBIBYTE}") as response:
            async for piece in response.aiter_bytes(MEBIBYTE):
                received += piece
                assert (await http.get("/")).content == PAGE
        return bytes(received)

    assert asyncio.run(main()) == b"".join(pattern(4 * MEBIBYTE))
