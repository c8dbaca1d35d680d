"""HTTP semantics: h2spec's cases of sections 7 and 8."""

from __future__ import annotations

from conformance.http2 import frames
from conformance.http2.case import Group
from conformance.http2.expectations import BrokenConnection, BrokenStream, Ignored, IgnoredOrEnd
from conformance.http2.frames import Code
from conformance.http2.peer import Peer

from .wire import opening

case = Group("http2")

Field = tuple[bytes, bytes]

MALFORMED = BrokenStream(Code.PROTOCOL_ERROR)
"""Section 8.1.1: a malformed request is a stream error."""


def request(peer: Peer, *fields: Field, without: bytes = b"") -> None:
    """A GET whose fields are the usual ones, but for the pseudo-header `without`, and `fields` behind them."""
    usual = [pair for pair in peer.fields() if pair[0] != without]
    peer.send(frames.headers(1, peer.block([*usual, *fields])))


# --- 7 error codes


@case("7", "7", "GOAWAY with a code that is not known", IgnoredOrEnd())
def _(peer: Peer) -> None:
    peer.send(frames.goaway(0, 0xFF))


@case("7", "7", "RST_STREAM with a code that is not known", Ignored())
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.rst_stream(1, 0xFF))


# --- 8.1 exchange


@case("8.1", "8.1", "a second HEADERS frame without END_STREAM", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.headers(1, peer.block([(b"x-test", b"ok")]), end=False))
    peer.send(frames.data(1, b"test", end=True))


@case("8.1.2", "8.2.1", "a field name in upper case", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b"X-TEST", b"ok"))


@case("8.1.2.1", "8.3", "a pseudo-header field that is not known", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.block([(b":test", b"ok"), *peer.fields()])))


@case("8.1.2.1", "8.3", "a pseudo-header field of responses", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.block([(b":status", b"200"), *peer.fields()])))


@case("8.1.2.1", "8.3", "a pseudo-header field in trailers", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(1, b"test"), frames.headers(1, peer.block([(b":method", b"POST")])))


@case("8.1.2.1", "8.3", "a pseudo-header field behind another field", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.block([*peer.fields()[:3], (b"x-test", b"ok"), *peer.fields()[3:]])))


@case("8.1.2.2", "8.2.2", "a connection-specific field", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b"connection", b"keep-alive"))


@case("8.1.2.2", "8.2.2", "TE with something else than trailers", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b"trailers", b"test"), (b"te", b"trailers, deflate"))


@case("8.1.2.3", "8.3.1", "an empty :path", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"GET", b"")))


@case("8.1.2.3", "8.3.1", "no :method", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, without=b":method")


@case("8.1.2.3", "8.3.1", "no :scheme", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, without=b":scheme")


@case("8.1.2.3", "8.3.1", "no :path", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, without=b":path")


@case("8.1.2.3", "8.3.1", ":method twice", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b":method", b"GET"))


@case("8.1.2.3", "8.3.1", ":scheme twice", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b":scheme", peer.target.scheme))


@case("8.1.2.3", "8.3.1", ":path twice", MALFORMED)
def _(peer: Peer) -> None:
    request(peer, (b":path", b"/"))


def announced(peer: Peer, *parts: bytes) -> None:
    """A POST that announces one octet, and `parts` of content."""
    peer.send(frames.headers(1, peer.request(b"POST", b"/", (b"content-length", b"1")), end=False))
    peer.send(*(frames.data(1, part, end=part is parts[-1]) for part in parts))


@case("8.1.2.6", "8.1.1", "a content-length that one DATA frame does not have", MALFORMED)
def _(peer: Peer) -> None:
    announced(peer, b"test")


@case("8.1.2.6", "8.1.1", "a content-length that several DATA frames do not have", MALFORMED)
def _(peer: Peer) -> None:
    announced(peer, b"te", b"st")


@case("8.2", "8.4", "PUSH_PROMISE", BrokenConnection(Code.PROTOCOL_ERROR))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.push_promise(1, 3, peer.request()))
