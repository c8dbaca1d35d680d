"""More of RFC 9113 about streams: section 5."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, BrokenConnection, BrokenStream, Done, Ignored
from conformance.http2.frames import WINDOW, Code, Setting, Type
from conformance.http2.peer import FailedError, NotApplicableError, Peer

from .streams import close
from .wire import opening

case = Group("rfc9113")


@case("5.1", "5.1", "closed: WINDOW_UPDATE right behind the end", Ignored())
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.window_update(1, 100))


@case("5.1", "5.1", "closed: RST_STREAM right behind the end", Ignored())
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.rst_stream(1))


@case("5.1", "5.1", "half-closed (remote): RST_STREAM, then another request", Answer(3))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()), frames.rst_stream(1), frames.headers(3, peer.request()))


@case("5.1", "5.1", "idle, behind a used one: DATA", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    close(peer)
    peer.send(frames.data(3, b"test", end=True))


@case("5.1", "5.1", "the server's idle stream 2: DATA", BrokenConnection(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def _(peer: Peer) -> None:
    peer.send(frames.data(2, b"test", end=True))


@case("5.1", "5.1", "the server's idle stream 2: WINDOW_UPDATE", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(2, 1))


@case("5.1", "5.1", "the server's idle stream 2: RST_STREAM", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.rst_stream(2))


@case("5.1.1", "5.1.1", "a request on a stream far above the last", Answer(2**31 - 1))
def _(peer: Peer) -> None:
    peer.send(frames.headers(2**31 - 1, peer.request()))


@case(
    "5.1.1",
    "5.1.1",
    "DATA on a stream that a higher one has closed",
    BrokenStream(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR, stream=3),
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(5, peer.request()))
    peer.response(5)
    peer.send(frames.data(3, b"test"))


def reset_or_goaway(peer: Peer) -> frames.Frame:
    """The RST_STREAM that is next. Raises NotApplicableError for a server that makes more of it."""
    told = peer.wait_for(lambda frame: frame.type in (Type.RST_STREAM, Type.GOAWAY), "RST_STREAM")
    if told.type == Type.GOAWAY:
        raise NotApplicableError("the server makes it a connection error")
    return told


@case("5.1.2", "5.1.2", "as many streams as there may be, and one when one has ended", Answer(1))
def _(peer: Peer) -> None:
    limit = peer.settings.get(Setting.MAX_CONCURRENT_STREAMS)
    if limit is None or limit > 1000:
        raise NotApplicableError("the server sets no limit, or a large one")
    streams = range(1, 2 * limit + 1, 2)
    for stream in streams:
        peer.send(opening(peer, stream))
    peer.send(frames.data(streams[-1], end=True))
    peer.response(streams[-1])
    another = streams[-1] + 2
    peer.send(frames.headers(another, peer.request()))
    peer.response(another)
    peer.send(frames.data(1, end=True))


@case("5.1.2", "5.1.2", "a stream that is refused because of the limit", Done("the header tables stay in step"))
def _(peer: Peer) -> None:
    limit = peer.settings.get(Setting.MAX_CONCURRENT_STREAMS)
    if limit is None or limit > 1000:
        raise NotApplicableError("the server sets no limit, or a large one")
    for stream in range(1, 2 * limit + 1, 2):
        peer.send(opening(peer, stream))
    refused = 2 * limit + 1
    peer.send(frames.headers(refused, peer.request(b"GET", b"/", (b"x-refused", b"entered"))))
    told = reset_or_goaway(peer)
    if told.stream != refused:
        raise FailedError(f"{told}, though stream {refused} is the one above the limit")
    peer.send(frames.data(1, end=True))
    peer.response()
    peer.send(frames.headers(refused + 2, peer.request(b"GET", b"/fields", (b"x-refused", b"entered"))))
    if b"x-refused: entered\n" not in peer.response(refused + 2).body:
        raise FailedError("the field was lost with the stream that was refused")


@case("5.2", "6.9.1", "content on a stream that was reset", Done("WINDOW_UPDATE for the connection"))
def _(peer: Peer) -> None:
    """What is not wanted any more counts as well, and its credit comes back: section 6.9."""
    room = WINDOW + sum(
        int.from_bytes(frame.payload) for frame in peer.read if frame.type == Type.WINDOW_UPDATE and not frame.stream
    )
    window = peer.settings.get(Setting.INITIAL_WINDOW_SIZE, WINDOW)
    stream = 1
    while room > 0:
        peer.send(opening(peer, stream))
        share = min(room, window)
        content = bytes(share)
        peer.send(*(frames.data(stream, content[at : at + 16_384]) for at in range(0, share, 16_384)))
        peer.send(frames.rst_stream(stream))
        room -= share
        stream += 2
    if not any(frame.type == Type.WINDOW_UPDATE and not frame.stream for frame in peer.read):
        peer.wait_for(lambda frame: frame.type == Type.WINDOW_UPDATE and not frame.stream, "WINDOW_UPDATE")


@case("5.4.2", "5.4.2", "a malformed request with content behind it", Done("the other stream is answered"))
def _(peer: Peer) -> None:
    """Frames on a stream that the server has reset are let go: they may have been on their way."""
    malformed = fields.plain([*peer.fields(b"POST"), (b"Bad", b"1")])
    peer.send(opening(peer), frames.headers(3, malformed, end=False))
    reset_or_goaway(peer)
    peer.send(frames.data(3, b"test"), frames.headers(3, fields.plain([(b"x-trailer", b"1")])))
    peer.send(frames.data(1, b"test", end=True))
    if peer.response().body != b"test":
        raise FailedError("another content was received")


@case("5.4.2", "4.3", "a malformed request, then another", Done("the header tables stay in step"))
def _(peer: Peer) -> None:
    entered = fields.indexing(b"x-entered", b"yes")
    peer.send(frames.headers(1, fields.plain(peer.fields()) + entered + fields.literal(b"Bad", b"1")))
    reset_or_goaway(peer)
    block = fields.plain(peer.fields(b"GET", b"/fields")) + fields.indexed(fields.STATIC + 1)
    peer.send(frames.headers(3, block))
    if b"x-entered: yes\n" not in peer.response(3).body:
        raise FailedError("the field was lost with the malformed request")


@case("5.5", "5.5", "unknown frames on idle, open and closed streams", Answer(3))
def _(peer: Peer) -> None:
    unknown = [frames.frame(kind, 0xFF, stream, b"?") for kind in (0x0B, 0x42, 0xFF) for stream in (1, 3, 5)]
    peer.send(*unknown)
    close(peer)
    peer.send(*unknown, opening(peer, 3), *unknown, frames.data(3, b"test", end=True))
