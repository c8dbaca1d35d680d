"""Frame by frame: h2spec's cases of section 6."""

from __future__ import annotations

from conformance.http2 import frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, BrokenConnection, BrokenStream, Done, Ignored
from conformance.http2.frames import Code, Flag, Setting, Type
from conformance.http2.peer import FailedError, Peer

from .streams import BLOCKED, DUMMY, unfinished

case = Group("http2")


def opening(peer: Peer, stream: int = 1) -> bytes:
    """The HEADERS of a request whose content follows."""
    return frames.headers(stream, peer.request(b"POST"), end=False)


def first_data_has(peer: Peer, length: int) -> None:
    peer.head()
    got = peer.wait_for(lambda frame: frame.type == Type.DATA, "DATA")
    if len(got.payload) != length:
        raise FailedError(f"DATA of {len(got.payload)} octets, where {length} are allowed")


# --- 6.1 DATA


@case("6.1", "6.1", "DATA on stream 0", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(0, b"test", end=True))


@case("6.1", "6.1", "DATA on a stream that the client has ended", BrokenStream(Code.STREAM_CLOSED), settings=BLOCKED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.send(frames.data(1, b"test", end=True))


@case("6.1", "6.1", "DATA with more padding than payload", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.DATA, Flag.PADDED | Flag.END_STREAM, 1, b"\x06Test!"))


# --- 6.2 HEADERS


@case("6.2", "6.2", "HEADERS without END_HEADERS, then PRIORITY", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.priority(1, 0))


@case("6.2", "6.2", "HEADERS without END_HEADERS, then HEADERS elsewhere", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.headers(3, peer.request()))


@case("6.2", "6.2", "HEADERS on stream 0", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(0, peer.request()))


@case("6.2", "6.2", "HEADERS with more padding than payload", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    block = peer.request()
    flags = Flag.PADDED | Flag.END_HEADERS | Flag.END_STREAM
    peer.send(frames.frame(Type.HEADERS, flags, 1, bytes([len(block) + 1]) + block))


# --- 6.3 PRIORITY


@case("6.3", "6.3", "PRIORITY on stream 0", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.priority(0, 0))


@case("6.3", "6.3", "PRIORITY of 3 octets", BrokenStream(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.PRIORITY, 0, 1, b"\x80\x00\x00"))


# --- 6.4 RST_STREAM


@case("6.4", "6.4", "RST_STREAM on stream 0", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.rst_stream(0))


@case("6.4", "6.4", "RST_STREAM on an idle stream", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.rst_stream(1))


@case("6.4", "6.4", "RST_STREAM of 3 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.RST_STREAM, 0, 1, bytes(3)))


# --- 6.5 SETTINGS


@case("6.5", "6.5", "SETTINGS with ACK and a payload", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}, ack=True))


@case("6.5", "6.5", "SETTINGS on a stream", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.SETTINGS, 0, 1, bytes.fromhex("000300000064")))


@case("6.5", "6.5", "SETTINGS of 3 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.SETTINGS, 0, 0, bytes(3)))


@case("6.5.2", "6.5.2", "SETTINGS_ENABLE_PUSH of 2", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.ENABLE_PUSH: 2}))


@case("6.5.2", "6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", BrokenConnection(Code.FLOW_CONTROL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 2**31}))


@case("6.5.2", "6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^14-1", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.MAX_FRAME_SIZE: frames.FRAME_SIZE - 1}))


@case("6.5.2", "6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.MAX_FRAME_SIZE: frames.LARGEST_FRAME_SIZE + 1}))


@case("6.5.2", "6.5.2", "a setting that is not known", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.settings((0xFF, 1)))


@case("6.5.3", "6.5.3", "one setting twice in a frame", Done("the last value holds"))
def _(peer: Peer) -> None:
    peer.send(frames.settings((Setting.INITIAL_WINDOW_SIZE, 100), (Setting.INITIAL_WINDOW_SIZE, 1)))
    peer.send(frames.headers(1, peer.request()))
    first_data_has(peer, 1)


@case("6.5.3", "6.5.3", "SETTINGS", Done("SETTINGS with ACK, empty"))
def _(peer: Peer) -> None:
    peer.send(frames.settings())
    told = peer.wait_for(lambda frame: frame.type == Type.SETTINGS and frame.is_ack, "SETTINGS with ACK")
    if told.payload:
        raise FailedError(f"{told}: an acknowledgement is empty")


# --- 6.7 PING


@case("6.7", "6.7", "PING", Done("PING with ACK and the same payload"))
def _(peer: Peer) -> None:
    peer.answers_ping()


@case("6.7", "6.7", "PING with ACK", Done("no answer to it"))
def _(peer: Peer) -> None:
    peer.send(frames.ping(b"unasked!", ack=True))
    if any(frame.type == Type.PING for frame in peer.answers_ping()):
        raise FailedError("an acknowledgement is answered")


@case("6.7", "6.7", "PING on a stream", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.PING, 0, 1, bytes(8)))


@case("6.7", "6.7", "PING of 6 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.ping(bytes(6)))


# --- 6.8 GOAWAY


@case("6.8", "6.8", "GOAWAY on a stream", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.GOAWAY, 0, 1, bytes(8)))


# --- 6.9 WINDOW_UPDATE


@case("6.9", "6.9", "WINDOW_UPDATE of 0 for the connection", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, 0))


@case("6.9", "6.9", "WINDOW_UPDATE of 0 for a stream", BrokenStream(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.window_update(1, 0))


@case("6.9", "6.9", "WINDOW_UPDATE of 3 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.WINDOW_UPDATE, 0, 0, b"\x00\x00\x01"))


@case(
    "6.9.1",
    "6.9.1",
    "a request with a window of 1",
    Done("DATA of 1 octet"),
    settings={Setting.INITIAL_WINDOW_SIZE: 1},
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    first_data_has(peer, 1)


@case("6.9.1", "6.9.1", "a connection window above 2^31-1", BrokenConnection(Code.FLOW_CONTROL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, frames.LARGEST_WINDOW), frames.window_update(0, frames.LARGEST_WINDOW))


@case("6.9.1", "6.9.1", "a stream's window above 2^31-1", BrokenStream(Code.FLOW_CONTROL_ERROR))
def _(peer: Peer) -> None:
    update = frames.window_update(1, frames.LARGEST_WINDOW)
    peer.send(opening(peer), update, update)


@case(
    "6.9.2",
    "6.9.2",
    "SETTINGS_INITIAL_WINDOW_SIZE raised from 0 to 1 during a request",
    Done("DATA of 1 octet"),
    settings=BLOCKED,
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}))
    first_data_has(peer, 1)


@case(
    "6.9.2",
    "6.9.2",
    "SETTINGS_INITIAL_WINDOW_SIZE that makes a window negative, then WINDOW_UPDATE",
    Done("no more DATA than there is room for"),
    settings={Setting.INITIAL_WINDOW_SIZE: 3},
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    first_data_has(peer, 3)
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 2}), frames.window_update(1, 2))
    first_data_has(peer, 1)


@case("6.9.2", "6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", BrokenConnection(Code.FLOW_CONTROL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 2**31}))


# --- 6.10 CONTINUATION


@case("6.10", "6.10", "two CONTINUATION frames behind HEADERS", Answer())
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.continuation(1, peer.block([DUMMY]), complete=False))
    peer.send(frames.continuation(1, peer.block([DUMMY])))


@case("6.10", "6.10", "CONTINUATION, then DATA inside of the header block", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), complete=False, end=False))
    peer.send(frames.continuation(1, peer.block([DUMMY]), complete=False), frames.data(1, b"test", end=True))


@case("6.10", "6.10", "CONTINUATION on stream 0", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.continuation(0, peer.block([DUMMY])))


@case("6.10", "6.10", "CONTINUATION behind HEADERS with END_HEADERS", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.continuation(1, peer.block([DUMMY])))


@case("6.10", "6.10", "CONTINUATION behind CONTINUATION with END_HEADERS", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), complete=False, end=False))
    peer.send(frames.continuation(1, peer.block([DUMMY])), frames.continuation(1, peer.block([DUMMY])))


@case("6.10", "6.10", "CONTINUATION behind DATA", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(1, b"test"), frames.continuation(1, peer.block([DUMMY])))
