"""More of RFC 9113, frame by frame: sections 3.4 to 4.3 and 6."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.app import LARGE
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, BrokenConnection, BrokenStream, Done, End, Ignored, IgnoredOrEnd
from conformance.http2.frames import WINDOW, Code, Flag, Setting, Type
from conformance.http2.peer import FailedError, Peer

from .streams import BLOCKED, DUMMY, largest, unfinished
from .wire import opening

case = Group("rfc9113")


# --- 3.4 connection preface


@case("3.4", "3.4", "the client's preface, octet by octet", Answer(), preface=False)
def _(peer: Peer) -> None:
    whole = frames.PREFACE + frames.settings() + frames.headers(1, peer.request())
    for position in range(len(whole)):
        peer.send(whole[position : position + 1])


@case("3.4", "3.4", "preface, SETTINGS and a request in one write", Answer(), preface=False)
def _(peer: Peer) -> None:
    peer.send(frames.PREFACE, frames.settings(), frames.headers(1, peer.request()))


@case("3.4", "3.4", "a preface that is wrong in its last octet", End(), preface=False)
def _(peer: Peer) -> None:
    peer.send(frames.PREFACE[:-1] + b"\r", frames.settings())


@case("3.4", "3.4", "a preface without SETTINGS", BrokenConnection(Code.PROTOCOL_ERROR), preface=False)
def _(peer: Peer) -> None:
    peer.send(frames.PREFACE, frames.ping())


@case(
    "3.4", "3.4", "a preface with SETTINGS that only acknowledge", BrokenConnection(Code.PROTOCOL_ERROR), preface=False
)
def _(peer: Peer) -> None:
    peer.send(frames.PREFACE, frames.settings(ack=True), frames.ping())


# --- 4.1, 4.2 frames


@case("4.1", "4.1", "a reserved bit in HEADERS and DATA", Answer())
def _(peer: Peer) -> None:
    block = fields.plain(peer.fields(b"POST"))
    peer.send(frames.frame(Type.HEADERS, Flag.END_HEADERS, 1 << 31 | 1, block))
    peer.send(frames.frame(Type.DATA, Flag.END_STREAM, 1 << 31 | 1, b"test"))


@case("4.1", "4.1", "flags that are not defined on HEADERS and DATA", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.HEADERS, Flag.END_HEADERS | 0x50, 1, peer.request(b"POST")))
    peer.send(frames.frame(Type.DATA, Flag.END_STREAM | 0x56, 1, b"test"))


@case("4.2", "4.2", "a request for more than one frame may hold", Done("no frame above SETTINGS_MAX_FRAME_SIZE"))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, 1 << 20), frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    peer.send(frames.headers(1, peer.request(b"GET", b"/large")))
    response = peer.response()
    if response.body != LARGE:
        raise FailedError("another content was received")
    if max(len(frame.payload) for frame in response.frames) > frames.FRAME_SIZE:
        raise FailedError(f"a frame of more than {frames.FRAME_SIZE} octets")


@case("4.2", "4.2", "SETTINGS above SETTINGS_MAX_FRAME_SIZE", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.settings(*[(0xFF, 1)] * (largest(peer) // 6 + 1)))


@case("4.2", "4.2", "a frame of an unknown type above SETTINGS_MAX_FRAME_SIZE", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(0x16, 0, 0, bytes(largest(peer) + 1)))


@case("4.2", "4.2", "CONTINUATION above SETTINGS_MAX_FRAME_SIZE", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(unfinished(peer), frames.continuation(1, bytes(largest(peer) + 1)))


def inside(kind: str, frame: bytes) -> None:
    """Declares the case of `frame` inside of a header block."""

    @case("4.3", "4.3", f"{kind} inside of a header block", BrokenConnection(Code.PROTOCOL_ERROR))
    def _(peer: Peer) -> None:
        peer.send(unfinished(peer), frame, frames.continuation(1, peer.block([DUMMY])))


inside("DATA", frames.data(1, b"test"))
inside("RST_STREAM", frames.rst_stream(1))
inside("SETTINGS", frames.settings())
inside("PING", frames.ping())
inside("GOAWAY", frames.goaway())
inside("WINDOW_UPDATE for the connection", frames.window_update(0, 1))
inside("CONTINUATION of another stream", frames.continuation(3, b""))


# --- 6.1 DATA


@case("6.1", "6.1", "padded DATA without the pad length", BrokenConnection(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.DATA, Flag.PADDED | Flag.END_STREAM, 1, b""))


@case("6.1", "6.1", "DATA with padding that is the whole payload", Answer())
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(1, b"", padding=255, end=True))


@case("6.1", "6.1", "DATA with padding that is as long as the payload", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.DATA, Flag.PADDED | Flag.END_STREAM, 1, b"\x05Test!"[:5]))


@case("6.1", "6.1", "empty DATA frames, then the end", Answer())
def _(peer: Peer) -> None:
    peer.send(opening(peer), *[frames.data(1)] * 5, frames.data(1, end=True))


@case("6.1", "6.9.1", "padding that fills the windows", Done("WINDOW_UPDATE for the padding as well"))
def _(peer: Peer) -> None:
    """Padding counts (section 6.1): where it earned no credit, the stream would come to its end."""
    window = peer.settings.get(Setting.INITIAL_WINDOW_SIZE, WINDOW)
    peer.send(opening(peer), frames.headers(3, peer.request(b"POST"), end=False))
    room = {0: WINDOW, 1: window}
    for frame in peer.read:
        if frame.type == Type.WINDOW_UPDATE:
            room[frame.stream] += int.from_bytes(frame.payload)
    least = min(room.values())
    padded = frames.data(1, bytes(100), padding=155)
    peer.send(padded * (least // 256))
    peer.wait_for(lambda frame: frame.type == Type.WINDOW_UPDATE, "WINDOW_UPDATE")


# --- 6.2 HEADERS


@case("6.2", "6.2", "HEADERS with priority in 4 octets", BrokenConnection(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    flags = Flag.PRIORITY | Flag.END_HEADERS | Flag.END_STREAM
    peer.send(frames.frame(Type.HEADERS, flags, 1, bytes(4)))


@case(
    "6.2", "6.2", "padded HEADERS without the pad length", BrokenConnection(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)
)
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.HEADERS, Flag.PADDED | Flag.END_HEADERS | Flag.END_STREAM, 1, b""))


@case("6.2", "6.2", "HEADERS with padding and priority", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(), padding=200, priority=frames.dependency(0)))


# --- 6.3 PRIORITY


@case("6.3", "6.3", "PRIORITY of 6 octets", BrokenStream(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.PRIORITY, 0, 1, bytes(6)))


@case("6.3", "6.3", "PRIORITY of a hundred streams that never come", Answer())
def _(peer: Peer) -> None:
    peer.send(*(frames.priority(stream, 0) for stream in range(3, 203, 2)), frames.headers(1, peer.request()))


# --- 6.4 RST_STREAM


@case("6.4", "6.4", "RST_STREAM of 5 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.frame(Type.RST_STREAM, 0, 1, bytes(5)))


@case("6.4", "5.4.2", "RST_STREAM, with a response on its way", Done("no RST_STREAM in answer"), settings=BLOCKED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()), frames.rst_stream(1), frames.window_update(0, 1000))
    if any(frame.type == Type.RST_STREAM for frame in peer.answers_ping()):
        raise FailedError("RST_STREAM is answered with RST_STREAM")
    later = peer.answers_ping(b"and now?")
    if any(frame.stream == 1 and frame.type in (Type.DATA, Type.HEADERS) for frame in later):
        raise FailedError("frames on a stream that was reset")


# --- 6.5 SETTINGS


def acknowledged(peer: Peer, count: int) -> None:
    for _ in range(count):
        peer.wait_for(lambda frame: frame.type == Type.SETTINGS and frame.is_ack, "SETTINGS with ACK")


@case("6.5", "6.5.3", "three SETTINGS frames", Done("three acknowledgements"))
def _(peer: Peer) -> None:
    peer.send(frames.settings() * 3)
    acknowledged(peer, 3)


@case("6.5", "6.5.2", "the server's own SETTINGS", Done("allowed values, and no push"))
def _(peer: Peer) -> None:
    told = peer.settings
    wrong = [
        told.get(Setting.ENABLE_PUSH, 0) != 0,
        told.get(Setting.INITIAL_WINDOW_SIZE, 0) > frames.LARGEST_WINDOW,
        not frames.FRAME_SIZE <= told.get(Setting.MAX_FRAME_SIZE, frames.FRAME_SIZE) <= frames.LARGEST_FRAME_SIZE,
        told.get(Setting.ENABLE_CONNECT_PROTOCOL, 0) > 1,
    ]
    if any(wrong):
        raise FailedError(f"{told}")


@case("6.5", "6.5.2", "SETTINGS_ENABLE_PUSH of 0 and of 1", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.ENABLE_PUSH: 1}), frames.settings({Setting.ENABLE_PUSH: 0}))


@case("6.5", "6.5.2", "the largest values that there are", Answer())
def _(peer: Peer) -> None:
    extremes = {
        Setting.HEADER_TABLE_SIZE: 2**32 - 1,
        Setting.MAX_CONCURRENT_STREAMS: 2**32 - 1,
        Setting.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW,
        Setting.MAX_FRAME_SIZE: frames.LARGEST_FRAME_SIZE,
        Setting.MAX_HEADER_LIST_SIZE: 2**32 - 1,
    }
    peer.decoder.max_allowed_table_size = 2**32 - 1
    peer.send(frames.settings(extremes), frames.headers(1, peer.request()))


@case("6.5", "6.5.2", "SETTINGS_MAX_CONCURRENT_STREAMS of 0, which is about pushes", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.MAX_CONCURRENT_STREAMS: 0}), frames.headers(1, peer.request()))


@case("6.5", "6.5.1", "SETTINGS of 7 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.SETTINGS, 0, 0, bytes(7)))


# --- 6.7 PING, 6.8 GOAWAY


@case("6.7", "6.7", "PING of 9 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.ping(bytes(9)))


@case("6.7", "6.7", "PING between HEADERS and DATA", Done("an acknowledgement, then the response"))
def _(peer: Peer) -> None:
    peer.send(opening(peer))
    peer.answers_ping()
    peer.send(frames.data(1, b"test", end=True))
    peer.response()


@case("6.8", "6.8", "GOAWAY of 7 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.GOAWAY, 0, 0, bytes(7)))


@case("6.8", "6.8", "GOAWAY twice", IgnoredOrEnd())
def _(peer: Peer) -> None:
    peer.send(frames.goaway() * 2)


@case("6.8", "6.8", "GOAWAY while a response is on its way", Answer(), settings=BLOCKED)
def _(peer: Peer) -> None:
    """What the client closes is the server's own streams, of which there are none."""
    peer.send(frames.headers(1, peer.request()))
    peer.head()
    peer.send(frames.goaway(), frames.window_update(1, 1000))


# --- 6.9 WINDOW_UPDATE


@case("6.9", "6.9", "WINDOW_UPDATE of 5 octets", BrokenConnection(Code.FRAME_SIZE_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.WINDOW_UPDATE, 0, 0, bytes(4) + b"\x01"))


@case("6.9", "6.9", "WINDOW_UPDATE with the reserved bit", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, 1 << 31 | 1))


@case("6.9", "6.9", "WINDOW_UPDATE of 0 with the reserved bit", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, 1 << 31))


@case("6.9.1", "6.9.1", "a connection window of 2^31-1, exactly", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, frames.LARGEST_WINDOW - WINDOW))


def quiet(peer: Peer) -> int:
    """How many octets of DATA come before a PING is acknowledged, twice: what the server had to send is here then."""
    before = [*peer.answers_ping(b"quiet? 1"), *peer.answers_ping(b"quiet? 2")]
    return sum(len(frame.payload) for frame in before if frame.type == Type.DATA)


@case(
    "6.9.1",
    "6.9.1",
    "a response that is larger than the connection's window",
    Done("65,535 octets, then the rest after WINDOW_UPDATE"),
    settings={Setting.INITIAL_WINDOW_SIZE: 1 << 20},
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"GET", b"/large")))
    peer.body(1, WINDOW)
    if quiet(peer):
        raise FailedError("more than the connection's window")
    peer.send(frames.window_update(0, 1 << 20))
    if peer.response().body != LARGE:
        raise FailedError("another content was received")


@case(
    "6.9.1",
    "6.9.1",
    "a response in windows of 7 octets",
    Done("never more than the window"),
    settings={Setting.INITIAL_WINDOW_SIZE: 7},
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"GET", b"/large")))
    for octets in (7, 14, 21):
        peer.body(1, octets)
        if quiet(peer) or len(peer.head().body) != octets:
            raise FailedError("more than the stream's window")
        peer.send(frames.window_update(1, 7))


@case("6.9.1", "6.9.1", "two responses under one connection window", Done("65,535 octets of both together"))
def _(peer: Peer) -> None:
    peer.send(*(frames.headers(stream, peer.request(b"GET", b"/large")) for stream in (1, 3)))
    received = 0
    while received < WINDOW:
        received += len(peer.wait_for(lambda frame: frame.type == Type.DATA, "DATA").payload)
    if received + quiet(peer) != WINDOW:
        raise FailedError("more than the connection's window")


@case("6.9.2", "6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE", Done("the connection's window stays as it is"))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    peer.send(frames.headers(1, peer.request(b"GET", b"/large")))
    peer.body(1, WINDOW)
    if quiet(peer):
        raise FailedError("the setting has changed the connection's window")


@case(
    "6.9.2",
    "6.9.2",
    "SETTINGS_INITIAL_WINDOW_SIZE that takes a window above 2^31-1",
    BrokenConnection(Code.FLOW_CONTROL_ERROR),
)
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.window_update(1, frames.LARGEST_WINDOW - WINDOW))
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: WINDOW + 1}))


@case("6.9", "5.2.1", "a HEAD request and an empty window", Answer(), settings=BLOCKED)
def _(peer: Peer) -> None:
    """Only DATA is under flow control."""
    peer.send(frames.headers(1, peer.request(b"HEAD")))


# --- 6.10 CONTINUATION


@case("6.10", "6.10", "a header block octet by octet, in CONTINUATION frames", Answer())
def _(peer: Peer) -> None:
    block = peer.request()
    parts = [frames.continuation(1, block[at : at + 1], complete=False) for at in range(len(block))]
    peer.send(frames.headers(1, b"", complete=False), *parts, frames.continuation(1, b""))


@case("6.10", "6.10", "CONTINUATION on an idle stream", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.continuation(3, peer.block([DUMMY])))
