"""Connections and streams: h2spec's cases of sections 3.5 to 5.5."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, BrokenConnection, BrokenStream, Done, End, Ignored
from conformance.http2.frames import Code, Setting, Type
from conformance.http2.peer import FailedError, NotApplicableError, Peer

case = Group("http2")

DUMMY = (b"x-dummy", b"a" * 100)
BLOCKED = {Setting.INITIAL_WINDOW_SIZE: 0}
"""No content can come, so that a stream with a response stays as it is."""


def unfinished(peer: Peer, stream: int = 1) -> bytes:
    """HEADERS without END_HEADERS."""
    return frames.headers(stream, peer.request(), complete=False)


# --- 3.5 connection preface


@case("3.5", "3.4", "the client's preface", Done("SETTINGS as the first frame"), preface=False)
def _(peer: Peer) -> None:
    peer.send(frames.PREFACE, frames.settings())
    first = peer.next_frame()
    if first is None or first.type != Type.SETTINGS:
        raise FailedError(f"the first frame is {first or 'none'}")


@case("3.5", "3.4", "another preface", End(), preface=False)
def _(peer: Peer) -> None:
    peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n")


# --- 4.1 frame format


@case("4.1", "4.1", "a frame of an unknown type", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.frame(0x16, 0, 0, bytes(8)))


@case("4.1", "4.1", "PING with flags that are not defined", Done("PING with ACK"))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.PING, 0x16, 0, b"flagged!"))
    peer.wait_for(lambda frame: frame.type == Type.PING and frame.payload == b"flagged!", "PING with ACK")


@case("4.1", "4.1", "PING with the reserved bit", Done("PING with ACK"))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.PING, 0, 1 << 31, b"reserved"))
    peer.wait_for(lambda frame: frame.type == Type.PING and frame.payload == b"reserved", "PING with ACK")


# --- 4.2 frame size


def largest(peer: Peer) -> int:
    return peer.settings.get(Setting.MAX_FRAME_SIZE, frames.FRAME_SIZE)


@case("4.2", "4.2", "DATA of 2^14 octets", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.data(1, bytes(frames.FRAME_SIZE), end=True))


@case("4.2", "4.2", "DATA above SETTINGS_MAX_FRAME_SIZE", BrokenStream(Code.FRAME_SIZE_ERROR, or_connection=True))
def _(peer: Peer) -> None:
    opening = frames.headers(1, peer.request(b"POST"), end=False)
    peer.send(opening, frames.data(1, bytes(largest(peer) + 1), end=True))


@case("4.2", "4.2", "HEADERS above SETTINGS_MAX_FRAME_SIZE", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    block = fields.plain(peer.fields())
    while len(block) <= largest(peer):
        block += fields.literal(b"x-large", b"a" * 4000)
    peer.send(frames.headers(1, block))


# --- 4.3 header compression


@case("4.3", "4.3", "a header block that ends inside of a field", BrokenConnection(Code.COMPRESSION_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, b"\x00\x07:method"))


@case("4.3", "4.3", "PRIORITY inside of a header block", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.priority(1, 0), frames.continuation(1, peer.block([DUMMY])))


@case("4.3", "4.3", "HEADERS of another stream inside of a header block", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.headers(3, peer.request()))


# --- 5.1 stream states


@case("5.1", "5.1", "idle: DATA", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.data(1, b"test", end=True))


@case("5.1", "5.1", "idle: RST_STREAM", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.rst_stream(1))


@case("5.1", "5.1", "idle: WINDOW_UPDATE", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(1, 100))


@case("5.1", "5.1", "idle: CONTINUATION", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.continuation(1, peer.request()))


@case("5.1", "5.1", "half-closed (remote): DATA", BrokenStream(Code.STREAM_CLOSED), settings=BLOCKED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()), frames.data(1, b"test", end=True))


@case("5.1", "5.1", "half-closed (remote): HEADERS", BrokenStream(Code.STREAM_CLOSED), settings=BLOCKED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()), frames.headers(1, peer.request()))


@case(
    "5.1",
    "5.1",
    "half-closed (remote): CONTINUATION",
    BrokenConnection(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR),
    settings=BLOCKED,
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()), frames.continuation(1, peer.block([DUMMY])))


def reset(peer: Peer) -> None:
    """Opens stream 1 and resets it."""
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.rst_stream(1))


@case("5.1", "5.1", "closed by the client's RST_STREAM: DATA", BrokenStream(Code.STREAM_CLOSED))
def _(peer: Peer) -> None:
    reset(peer)
    peer.send(frames.data(1, b"test", end=True))


@case("5.1", "5.1", "closed by the client's RST_STREAM: HEADERS", BrokenStream(Code.STREAM_CLOSED, or_connection=True))
def _(peer: Peer) -> None:
    reset(peer)
    peer.send(frames.headers(1, peer.request()))


@case(
    "5.1",
    "5.1",
    "closed by the client's RST_STREAM: CONTINUATION",
    BrokenConnection(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR),
)
def _(peer: Peer) -> None:
    reset(peer)
    peer.send(frames.continuation(1, peer.block([DUMMY])))


def close(peer: Peer) -> None:
    """Has stream 1 end with a request and its response."""
    peer.send(frames.headers(1, peer.request()))
    peer.response()


@case("5.1", "5.1", "closed by END_STREAM: DATA", BrokenStream(Code.STREAM_CLOSED))
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.data(1, b"test", end=True))


@case("5.1", "5.1", "closed by END_STREAM: HEADERS", BrokenConnection(Code.STREAM_CLOSED))
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.headers(1, peer.request()))


@case("5.1", "5.1", "closed by END_STREAM: CONTINUATION", BrokenConnection(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.continuation(1, peer.block([DUMMY])))


# --- 5.1.1 stream identifiers


@case("5.1.1", "5.1.1", "a request on stream 2", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(2, peer.request()))


@case("5.1.1", "5.1.1", "a request on stream 3 behind one on stream 5", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(5, peer.request()), frames.headers(3, peer.request()))


# --- 5.1.2 stream concurrency


@case(
    "5.1.2",
    "5.1.2",
    "one stream more than SETTINGS_MAX_CONCURRENT_STREAMS",
    Done("stream error PROTOCOL_ERROR or REFUSED_STREAM"),
    settings=BLOCKED,
)
def _(peer: Peer) -> None:
    limit = peer.settings.get(Setting.MAX_CONCURRENT_STREAMS)
    if limit is None:
        raise NotApplicableError("the server sets no limit")
    streams = range(1, 2 * limit + 2, 2)
    for stream in streams:
        peer.send(frames.headers(stream, peer.request()))
    BrokenStream(Code.PROTOCOL_ERROR, Code.REFUSED_STREAM, stream=streams[-1]).check(peer)


# --- 5.3.1 stream dependencies


@case("5.3.1", "RFC 7540 5.3.1", "HEADERS on which the stream depends itself", BrokenStream(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(), priority=frames.dependency(1, 255)))


@case("5.3.1", "RFC 7540 5.3.1", "PRIORITY of a stream that depends on itself", BrokenStream(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.priority(1, 1, 255))


# --- 5.4.1 connection errors


@case("5.4.1", "5.4.1", "PING on a stream", End())
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.PING, 0, 3, bytes(8)))


@case("5.4.1", "5.4.1", "PING on a stream, behind a request", Done("GOAWAY with the last stream, then the end"))
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.frame(Type.PING, 0, 3, bytes(8)))
    told = peer.wait_for(lambda frame: frame.type == Type.GOAWAY, "GOAWAY")
    if (told.code, told.last_stream) != (Code.PROTOCOL_ERROR, 1):
        raise FailedError(f"{told}, last stream {told.last_stream}")
    End().check(peer)


# --- 5.5 extending HTTP/2


@case("5.5", "5.5", "a frame of an unknown type on a stream", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.frame(0x16, 0, 1, bytes(8)))


@case("5.5", "5.5", "a frame of an unknown type inside of a header block", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.frame(0x16, 0, 1, bytes(8)), frames.continuation(1, peer.block([DUMMY])))
