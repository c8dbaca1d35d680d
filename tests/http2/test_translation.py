"""The client that speaks the tests' HTTP/1.1 over HTTP/2: that it says what was meant, and hides nothing."""

from __future__ import annotations

import pytest

from tests.support.asgi import Gate, Receive, Scope, Send, body, read_body, respond, start
from tests.support.client import GET, Truncated, chunked, request
from tests.support.server import Serve
from tests.support.translation import Content, Opened, Trailers, Translator, UntranslatableError, Word
from tests.support.transports import Transport

CHUNKED = (b"transfer-encoding", b"chunked")
HOST = (b"host", b"test")

REQUESTS: list[tuple[bytes, list[Word]]] = [
    (GET, [Opened(b"GET", b"/", [HOST], True)]),
    (
        request(b"POST", b"/a?b", [(b"X-A", b"1")], b"hello"),
        [Opened(b"POST", b"/a?b", [HOST, (b"x-a", b"1"), (b"content-length", b"5")], False), Content(b"hello", True)],
    ),
    (
        request(b"POST", headers=[(b"content-length", b"0")]),
        [Opened(b"POST", b"/", [HOST, (b"content-length", b"0")], True)],
    ),
    (
        request(b"POST", headers=[CHUNKED], body=chunked(b"abc", b"d" * 20)),
        [Opened(b"POST", b"/", [HOST, CHUNKED], False), Content(b"abc" + b"d" * 20, False), Content(b"", True)],
    ),
    (
        request(b"POST", headers=[CHUNKED], body=b"1;x=y\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"),
        [Opened(b"POST", b"/", [HOST, CHUNKED], False), Content(b"a", False), Trailers([(b"x-sum", b"1")])],
    ),
]


def joined(words: list[Word]) -> list[Word]:
    """`words` with neighbouring parts of a content made one, but for its empty end."""
    whole: list[Word] = []
    for word in words:
        last = whole[-1] if whole else None
        if isinstance(word, Content) and isinstance(last, Content) and not last.end and word.data:
            whole[-1] = Content(last.data + word.data, word.end)
        else:
            whole.append(word)
    return whole


@pytest.mark.parametrize(("data", "words"), REQUESTS, ids=["GET", "length", "nothing", "chunks", "trailers"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_pieces_are_the_same_words(data: bytes, words: list[Word], size: int) -> None:
    translator = Translator()
    said: list[Word] = []
    twice = data * 2
    for position in range(0, len(twice), size):
        said += translator.feed(twice[position : position + size])
    assert joined(said) == words * 2


@pytest.mark.parametrize(
    "data",
    [
        request(version=b"1.0"),
        request(headers=[(b"connection", b"close")]),
        request(headers=[(b"transfer-encoding", b"gzip")]),
    ],
    ids=["HTTP/1.0", "connection", "coding"],
)
def test_what_http_2_cannot_say_is_an_error(data: bytes) -> None:
    with pytest.raises(UntranslatableError):
        Translator().feed(data)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/broken":
        await send(start(200, [(b"content-length", b"10")]))
        await send(body(b"part", more=True))
        raise LookupError
    await respond(send, scope["path"].encode() + await read_body(receive))


def test_responses_are_read_in_the_order_of_their_requests(serve: Serve) -> None:
    with serve(app, transport=Transport.H2C).connect() as client:
        client.send(b"".join(request(target=b"/%d" % number) for number in range(5)))
        assert [client.response().body for _ in range(5)] == [b"/%d" % number for number in range(5)]


def test_a_broken_response_is_told(serve: Serve) -> None:
    server = serve(app, transport=Transport.H2C)
    for _ in range(2):
        with server.connect() as client:
            client.send(request(target=b"/broken"))
            with pytest.raises(Truncated):
                client.response()
            client.send(GET)
            assert client.response().body == b"/", "the connection goes on"
        server.expect_problem("LookupError")


def test_the_parts_of_a_broken_response_have_no_end(serve: Serve) -> None:
    server = serve(app, transport=Transport.H2C)
    with server.connect() as client:
        client.send(request(target=b"/broken") + GET)
        assert client.head().status == 200
        assert client.read_to_end() in (b"", b"part")
        assert client.response().body == b"/"
    server.expect_problem("LookupError")


def test_silence_and_news_are_told_apart(serve: Serve) -> None:
    gate = Gate()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.passed()
        await respond(send)

    with serve(waiting, transport=Transport.H2C).connect() as client:
        client.send(GET)
        assert client.is_silent(0.05)
        gate.open()
        assert not client.is_silent(5)
        assert client.response().body == b"ok"
        assert client.exchange_ends()


def test_a_whole_response_ends_as_chunks_do(serve: Serve) -> None:
    with serve(app, transport=Transport.H2C).connect() as client:
        client.send(GET)
        assert client.read_to_end() == b"HTTP/2 200 /0\r\n\r\n"
