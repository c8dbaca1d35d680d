"""permessage-deflate (RFC 7692): what is negotiated, what is decompressed, and what a bomb does."""

from __future__ import annotations

import os
import random
import sys
import zlib

import pytest

from tests.support.asgi import Receive, Scope, Send
from tests.support.process import StartProcess
from tests.support.server import Serve
from tests.support.websocket import (
    COMPRESSED,
    DEFLATE,
    Deflater,
    Inflater,
    Opcode,
    WebSocket,
    connection,
    fragments,
    frame,
    handshake,
    ping,
    text,
    websocket,
)
from tests.support.websocket_apps import Echo, Recorder, connected, message, say

TEXT = "To be, or not to be, that is the question. " * 20


def offer(value: bytes) -> tuple[bytes, bytes]:
    return b"sec-websocket-extensions", value


def parameters(value: bytes | None) -> dict[bytes, bytes | None] | None:
    """The parameters of the one extension that was accepted, None where none was."""
    if value is None:
        return None
    name, *rest = (part.strip() for part in value.split(b";"))
    assert name == b"permessage-deflate"
    pairs = [part.partition(b"=") for part in rest]
    found = {key: setting if equals else None for key, equals, setting in pairs}
    assert len(found) == len(pairs)
    return found


def negotiated(serve: Serve, *offers: bytes, **options: object) -> dict[bytes, bytes | None] | None:
    with connection(serve(Echo(), **options)) as client:
        client.send(handshake(headers=[offer(value) for value in offers]))
        return parameters(client.accepted().header(b"sec-websocket-extensions"))


PARAMETERS = {
    b"server_no_context_takeover",
    b"client_no_context_takeover",
    b"server_max_window_bits",
    b"client_max_window_bits",
}


@pytest.mark.parametrize(
    "offers",
    [
        [b"permessage-deflate"],
        [b"permessage-deflate; client_max_window_bits"],
        [b"permessage-deflate; client_max_window_bits=10"],
        [b"permessage-deflate;client_no_context_takeover"],
        [b"permessage-deflate ; server_no_context_takeover ; client_no_context_takeover"],
        [b'permessage-deflate; server_max_window_bits="12"'],
        [b"x-unknown, permessage-deflate"],
        [b"x-unknown; a=1", b"permessage-deflate"],
        [b"permessage-deflate; unknown=1, permessage-deflate"],
        [b"permessage-deflate; server_max_window_bits=10, permessage-deflate"],
        [b", permessage-deflate,"],
    ],
    ids=lambda offers: b" | ".join(offers).decode(),
)
def test_an_offer_that_is_accepted(serve: Serve, offers: list[bytes]) -> None:
    found = negotiated(serve, *offers)
    assert found is not None
    assert set(found) <= PARAMETERS
    if not any(b"client_max_window_bits" in value for value in offers):
        assert b"client_max_window_bits" not in found, "RFC 7692 section 7.1.2.2: only where it was offered"


@pytest.mark.parametrize(
    "offers",
    [
        [],
        [b"x-unknown"],
        [b"permessage-deflat"],
        [b"x-webkit-deflate-frame"],
        [b"permessage-deflate; unknown"],
        [b"permessage-deflate; server_max_window_bits"],
        [b"permessage-deflate; server_max_window_bits=7"],
        [b"permessage-deflate; server_max_window_bits=16"],
        [b"permessage-deflate; server_max_window_bits=08"],
        [b"permessage-deflate; server_max_window_bits=x"],
        [b"permessage-deflate; client_max_window_bits=7"],
        [b"permessage-deflate; client_max_window_bits=16"],
        [b"permessage-deflate; client_max_window_bits=010"],
        [b"permessage-deflate; server_no_context_takeover=1"],
        [b"permessage-deflate; client_no_context_takeover=true"],
        [b"permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        [b"permessage-deflate; client_max_window_bits; client_max_window_bits=10"],
    ],
    ids=lambda offers: b" | ".join(offers).decode(),
)
def test_an_offer_that_is_declined(serve: Serve, offers: list[bytes]) -> None:
    """RFC 7692 section 7.1: each of these makes the offer none. The handshake goes on without."""
    assert negotiated(serve, *offers) is None


def test_off_by_option(serve: Serve) -> None:
    assert negotiated(serve, b"permessage-deflate", ws_per_message_deflate=False) is None


def test_without_the_extension_nothing_is_compressed(serve: Serve) -> None:
    with websocket(serve(Echo())) as client:
        client.send(text(TEXT))
        assert client.frame().rsv == 0


def test_what_the_client_asks_of_the_server_is_confirmed(serve: Serve) -> None:
    """RFC 7692 sections 7.1.1.1 and 7.1.2.1: an offer with them may only be accepted with them."""
    found = negotiated(serve, b"permessage-deflate; server_no_context_takeover; server_max_window_bits=10")
    assert found is not None
    assert b"server_no_context_takeover" in found
    assert found[b"server_max_window_bits"] is not None
    assert 8 <= int(found[b"server_max_window_bits"]) <= 10


@pytest.mark.parametrize("bits", [9, 10, 15])
def test_a_window_of_the_client_is_not_made_larger(serve: Serve, bits: int) -> None:
    found = negotiated(serve, b"permessage-deflate; client_max_window_bits=%d" % bits)
    assert found is not None
    if (chosen := found.get(b"client_max_window_bits")) is not None:
        assert 8 <= int(chosen) <= bits


def compressed(opcode: int, payload: bytes) -> bytes:
    return frame(opcode, payload, rsv=COMPRESSED)


def deflating(client: WebSocket, accepted: bytes | None) -> Deflater:
    """A compressor for what the client sends, by the server's answer, which also sets the client's decompressor."""
    found = parameters(accepted)
    assert found is not None
    server_bits, client_bits = (
        found.get(name) or b"15" for name in (b"server_max_window_bits", b"client_max_window_bits")
    )
    client.inflater = Inflater(bits=int(server_bits), takeover=b"server_no_context_takeover" not in found)
    return Deflater(bits=max(9, int(client_bits)), takeover=b"client_no_context_takeover" not in found)


OFFERS = [
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits",
    b"permessage-deflate; client_no_context_takeover",
    b"permessage-deflate; server_no_context_takeover",
    b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    b"permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=10; server_no_context_takeover",
    b"permessage-deflate; server_max_window_bits=8",
]


def sample(size: int) -> bytes:
    """Something that neither compresses to nothing nor stays as it is, with repetitions far apart."""
    source = random.Random(size)
    words = [source.randbytes(source.randrange(1, 12)) for _ in range(500)]
    data = b"".join(source.choice(words) for _ in range(size // 5 + 1))[:size]
    return data + bytes(size - len(data))


@pytest.mark.parametrize("value", OFFERS, ids=lambda value: value.decode().removeprefix("permessage-deflate"))
def test_messages_both_ways_under_every_parameter(serve: Serve, value: bytes) -> None:
    """The client's inflater fails where the server keeps less to what was negotiated than it promised."""
    with connection(serve(Echo())) as client:
        client.send(handshake(headers=[offer(value)]))
        accepted = client.accepted().header(b"sec-websocket-extensions")
        if accepted is None:
            assert b"=8" in value, "a server may decline the window that zlib cannot make"
            return
        deflater = deflating(client, accepted)
        for size in (0, 1, 10, 100, 1000, 10_000, 100_000, 1000, 100_000):
            data = sample(size)
            client.send(compressed(Opcode.BINARY, deflater.message(data)))
            assert client.message() == data
            client.send(compressed(Opcode.TEXT, deflater.message(TEXT.encode())))
            assert client.message() == TEXT
        client.close_cleanly()


def test_large_messages_are_compressed_and_context_is_taken_over(serve: Serve) -> None:
    with connection(serve(Echo())) as client:
        client.send(handshake(headers=[DEFLATE]))
        deflater = deflating(client, client.accepted().header(b"sec-websocket-extensions"))
        data = sample(3000)
        sizes = []
        for _ in range(2):
            client.send(compressed(Opcode.BINARY, deflater.message(data)))
            answer = client.frame()
            assert answer.rsv == COMPRESSED
            assert client.inflater is not None
            assert client.inflater.message(answer.payload) == data
            sizes.append(len(answer.payload))
    assert sizes[0] < len(data)
    assert sizes[1] < sizes[0] / 10, "the second is known from the first"


def test_without_context_takeover_each_message_stands_alone(serve: Serve) -> None:
    with websocket(serve(Echo()), headers=[offer(b"permessage-deflate; server_no_context_takeover")]) as client:
        sizes = set()
        for _ in range(3):
            client.send(text(TEXT))
            answer = client.frame()
            assert answer.rsv == COMPRESSED
            assert Inflater().message(answer.payload) == TEXT.encode()
            sizes.add(len(answer.payload))
    assert len(sizes) == 1


def test_uncompressed_messages_stay_allowed(serve: Serve) -> None:
    """RFC 7692 section 6: each message says for itself whether it is compressed."""
    recorder = Recorder()
    deflater = Deflater()
    with websocket(serve(recorder), headers=[DEFLATE]) as client:
        client.send(text("plain") + compressed(Opcode.TEXT, deflater.message(b"small")) + text("plain"))
        client.send(compressed(Opcode.TEXT, deflater.message(b"small")))
        expected = [message(word) for word in ("plain", "small", "plain", "small")]
        assert recorder.events.take(4) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_compressed_messages_in_fragments(serve: Serve, size: int) -> None:
    """The first frame alone says that it is compressed; the others are cut anywhere, with a ping in between."""
    recorder = Recorder()
    deflater = Deflater()
    with websocket(serve(recorder), headers=[DEFLATE]) as client:
        for _ in range(2):
            payload = deflater.message(TEXT.encode())
            parts = [payload[at : at + size] for at in range(0, len(payload), size)]
            first, *rest = parts
            client.send(frame(Opcode.TEXT, first, fin=False, rsv=COMPRESSED) + ping(b"?"))
            assert client.pong() == b"?"
            client.send(b"".join(frame(Opcode.CONTINUATION, part, fin=False) for part in rest))
            client.send(frame(Opcode.CONTINUATION, b""))
            assert recorder.events.next() == message(TEXT)


def test_compressed_messages_byte_by_byte(serve: Serve) -> None:
    recorder = Recorder()
    deflater = Deflater()
    with websocket(serve(recorder), headers=[DEFLATE]) as client:
        for word in ("one", TEXT, ""):
            client.send_each_byte(compressed(Opcode.TEXT, deflater.message(word.encode())))
            assert recorder.events.next() == message(word)


def strategies(data: bytes) -> dict[str, bytes]:
    """Different streams that all mean `data` (RFC 7692 section 7.2.3)."""
    stored = zlib.compressobj(0, zlib.DEFLATED, -15)
    fixed = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FIXED)
    full = zlib.compressobj(9, zlib.DEFLATED, -15)
    final = zlib.compressobj(9, zlib.DEFLATED, -15)
    flushed = zlib.compressobj(9, zlib.DEFLATED, -15)
    two_blocks = flushed.compress(data[:5]) + flushed.flush(zlib.Z_SYNC_FLUSH) + flushed.compress(data[5:])
    return {
        "stored": (stored.compress(data) + stored.flush(zlib.Z_SYNC_FLUSH))[:-4],
        "fixed codes": (fixed.compress(data) + fixed.flush(zlib.Z_SYNC_FLUSH))[:-4],
        "full flush": (full.compress(data) + full.flush(zlib.Z_FULL_FLUSH))[:-4],
        "final block": final.compress(data) + final.flush(zlib.Z_FINISH) + b"\0",
        "two blocks": two_blocks + flushed.flush(zlib.Z_SYNC_FLUSH)[:-4],
    }


@pytest.mark.parametrize("name", strategies(b""))
def test_every_kind_of_block(serve: Serve, name: str) -> None:
    """The last of them, with BFINAL set, is of section 7.2.3.4; what follows it starts anew."""
    payload = strategies(TEXT.encode())[name]
    recorder = Recorder()
    with websocket(serve(recorder), headers=[offer(b"permessage-deflate; client_no_context_takeover")]) as client:
        for _ in range(2):
            client.send(compressed(Opcode.TEXT, payload))
            assert recorder.events.next() == message(TEXT)


def test_the_examples_of_the_rfc(serve: Serve) -> None:
    """RFC 7692 section 7.2.3: "Hello" alone, in the context of the first, stored, in a final block, in two blocks."""
    recorder = Recorder()
    with websocket(serve(recorder), headers=[DEFLATE]) as client:
        client.send(compressed(Opcode.TEXT, bytes.fromhex("f248cdc9c90700")))
        client.send(compressed(Opcode.TEXT, bytes.fromhex("f200110000")))
        client.send(compressed(Opcode.TEXT, bytes.fromhex("000500faff48656c6c6f00")))
        client.send(compressed(Opcode.TEXT, bytes.fromhex("f348cdc9c9070000")))
        client.send(compressed(Opcode.TEXT, bytes.fromhex("f24805000000ffffcac9c90700")))
        assert recorder.events.take(5) == [message("Hello")] * 5


@pytest.mark.parametrize("payload", [b"\x00", b""], ids=["as section 7.2.3.6 has it", "no byte"])
def test_an_empty_compressed_message(serve: Serve, payload: bytes) -> None:
    recorder = Recorder()
    with websocket(serve(recorder), headers=[DEFLATE]) as client:
        client.send(compressed(Opcode.TEXT, payload) + text("after"))
        assert recorder.events.take(2) == [message(""), message("after")]


def second_of_two() -> bytes:
    """A message that refers to one before it."""
    deflater = Deflater()
    return [deflater.message(TEXT.encode()) for _ in range(2)][1]


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (compressed(Opcode.TEXT, b"\xff\xff\xff\xff"), (1002, 1007)),
        (compressed(Opcode.BINARY, b"\x06" + bytes(10)), (1002, 1007)),
        (compressed(Opcode.TEXT, second_of_two()), (1002, 1007)),
        (compressed(Opcode.TEXT, Deflater().message(b"caf\xc3")), (1007,)),
        (compressed(Opcode.TEXT, Deflater().message(b"x" * 1000 + b"\xff" + b"x" * 1000)), (1007,)),
        (frame(Opcode.TEXT, Deflater().message(b"a\xff" * 100), fin=False, rsv=COMPRESSED), (1007,)),
        (frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONTINUATION, b"\0", rsv=COMPRESSED), (1002,)),
        (frame(Opcode.TEXT, b"", fin=False, rsv=COMPRESSED) + frame(0, b"\0", rsv=COMPRESSED), (1002,)),
        (frame(Opcode.PING, b"\0", rsv=COMPRESSED), (1002,)),
        (frame(Opcode.CLOSE, b"\0", rsv=COMPRESSED), (1002,)),
    ],
    ids=[
        *("nonsense", "reserved block type", "beyond the window"),
        *("cut UTF-8", "no UTF-8", "no UTF-8 in an unfinished message"),
        *("continuation of plain", "continuation of compressed", "ping", "close"),
    ],
)
def test_ws_26_what_cannot_be_decompressed_closes(serve: Serve, data: bytes, codes: tuple[int, ...]) -> None:
    recorder = Recorder()
    server = serve(recorder)
    with websocket(server, headers=[DEFLATE]) as client:
        client.send(data)
        code, _ = client.closing()
        assert code in codes
        assert client.ends()
    assert recorder.events.next()["code"] == code
    server.expect_problem()


@pytest.mark.parametrize("fragmented", [False, True], ids=["whole", "fragments"])
def test_ws_26_the_limit_is_for_what_is_decompressed(serve: Serve, fragmented: bool) -> None:
    recorder = Recorder()
    server = serve(recorder, ws_max_size=10_000)
    deflater = Deflater()
    with websocket(server, headers=[DEFLATE]) as client:
        client.send(compressed(Opcode.BINARY, deflater.message(bytes(10_000))))
        assert recorder.events.next() == message(bytes(10_000))
        payload = deflater.message(bytes(10_001))
        parts = [payload[:3], payload[3:]] if fragmented else [payload]
        client.send(fragments(Opcode.BINARY, parts, rsv=COMPRESSED))
        client.is_closed_with(1009)
    assert recorder.events.next()["code"] == 1009
    server.expect_problem()


def test_ws_26_random_data_just_below_the_limit_is_taken(serve: Serve) -> None:
    """Compressed it is larger than the limit: the limit is for the message."""
    recorder = Recorder()
    data = os.urandom(10_000)
    with websocket(serve(recorder, ws_max_size=10_000), headers=[DEFLATE]) as client:
        payload = Deflater(level=0).message(data)
        assert len(payload) > 10_000
        client.send(compressed(Opcode.BINARY, payload))
        assert recorder.events.next() == message(data)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("limit", ["1000000", "16777216"])
def test_ws_26_a_compression_bomb_is_1009_in_bounded_memory(start_process: StartProcess, limit: str) -> None:
    """512 MiB of zeros in half a megabyte: no more of it is decompressed than the limit allows."""
    arguments = ("--no-access-log", "--ws-max-size", limit)
    server = start_process("tests.support.websocket_apps:by_path", *arguments).wait_until_running()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflater.compress(bytes(1024 * 1024)) for _ in range(512)) + deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]
    with websocket(server) as other:
        before = server.resident_peak()
        for _ in range(3):
            with websocket(server, headers=[DEFLATE]) as client:
                client.send_until_end(compressed(Opcode.BINARY, bomb))
                assert client.closing()[0] == 1009
        assert server.resident_peak() - before < 3 * int(limit) + 8 * 1024 * 1024
        other.send(text("hello"))
        assert other.message() == "hello"


def test_a_message_of_the_application_that_grows_by_compression(serve: Serve) -> None:
    """Random bytes: whatever the server does with them, they arrive."""
    data = os.urandom(1_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await connected(receive, send)
        for size in (0, 1, 5, 1_000_000, 3):
            await send(say(data[:size]))

    with websocket(serve(app), headers=[DEFLATE]) as client:
        client.inflater = Inflater()
        assert client.messages(5) == [data[:size] for size in (0, 1, 5, 1_000_000, 3)]


def test_a_broadcast_to_different_windows(serve: Serve) -> None:
    """One application, clients that have negotiated differently: nothing is shared that must not be."""
    server = serve(Echo())
    clients: list[tuple[WebSocket, Deflater]] = []
    for value in OFFERS[:6]:
        client = connection(server)
        client.send(handshake(headers=[offer(value)]))
        clients.append((client, deflating(client, client.accepted().header(b"sec-websocket-extensions"))))
    for number in range(20):
        data = sample(1000 + number)
        for client, deflater in clients:
            client.send(compressed(Opcode.BINARY, deflater.message(data)))
        for client, _ in clients:
            assert client.message() == data
    for client, _ in clients:
        client.close_cleanly()
        client.close()
